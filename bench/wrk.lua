-- What wrk sends: path, query and cookie differ from request to request and from run to run.
-- wrk -s wrk.lua URL -- KIND SEED, where KIND is short or browser.

local browser = table.concat({
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Accept-Language: en-US,en;q=0.5",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Connection: keep-alive",
  "Upgrade-Insecure-Requests: 1",
  "Sec-Fetch-Dest: document",
  "Sec-Fetch-Mode: navigate",
  "Sec-Fetch-Site: same-origin",
  "Priority: u=0, i",
}, "\r\n") .. "\r\n"

local kind, host, count = "short", "", 0

function init(args)
  kind = args[1]
  count = tonumber(args[2]) * 10000000
  host = "Host: " .. wrk.host .. ":" .. wrk.port .. "\r\n"
end

function request()
  count = count + 1
  local word = count * 2654435761 % 4294967296
  if kind == "short" then
    return string.format("GET /short/%d HTTP/1.1\r\n%sCookie: s=%08x\r\n\r\n", count, host, word)
  end
  return string.format(
    "GET /browser/items/%d/edit?page=%d&sort=name HTTP/1.1\r\n%s%s" ..
    "Referer: http://localhost/browser/items/%d\r\n" ..
    "Cookie: session=%08x%08x%08x; theme=dark; seen=%d\r\n\r\n",
    count, count % 97, host, browser, count - 1, word, count % 1048573, count % 65521, count
  )
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\nmeasured requests=%d seconds=%.6f p50_us=%d p99_us=%d errors=%d\n",
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
