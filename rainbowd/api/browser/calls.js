// Calls of the API. The token goes into their header and into this tab's session storage, and nowhere else.

const KEPT = "rainbowd.token"
const SILENCE_MS = 40_000  // the agent sends something every 15 seconds

const token = {
  get: () => sessionStorage.getItem(KEPT),
  keep: text => sessionStorage.setItem(KEPT, text),
  forget: () => sessionStorage.removeItem(KEPT),
}

// The agent's clock, from which the journal has its times, can differ from the browser's.
const clock = { aheadMs: 0, now: () => Date.now() + clock.aheadMs }

// The agent refused the token.
class Refused extends Error {}

// The agent refused a request; the message is the problem's detail.
class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `The agent answered ${status}.`)
    this.status = status
  }
}

async function call(path, { headers, ...options } = {}) {
  const answer = await fetch(path, {
    ...options,
    cache: "no-store",
    headers: { ...headers, Authorization: `Bearer ${token.get()}` },
  })
  const at = Date.parse(answer.headers.get("date"))
  if (at && Math.abs(at - clock.now()) > 2000) clock.aheadMs = at - Date.now()
  if (answer.status === 401) throw new Refused("The token was refused.")
  if (!answer.ok) throw new Problem(answer.status, await answer.text().then(parse).catch(() => ({})))
  return answer
}

// Text from the app, a deployer or a file name can contain characters that hide or reorder the text next to them.
// They are shown as escapes, as on a terminal; tabs stay.
const UNPRINTABLE = /(?!\t)[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu

const escapeControl = text => text.replace(UNPRINTABLE, one => {
  const code = one.codePointAt(0), [mark, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8]
  return { "\n": "\\n", "\r": "\\r" }[one] ?? `\\${mark}${code.toString(16).padStart(digits, "0")}`
})

const parse = text => JSON.parse(text, (_, value) => (typeof value === "string" ? escapeControl(value) : value))

const TIMEOUT_MS = 3000

// An agent that hangs does not answer, and does not refuse either.
const json = async path => parse(await (await call(path, { signal: AbortSignal.timeout(TIMEOUT_MS) })).text())

const requestDeploy = async (path, fields) => {
  const answer = await call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(fields),
  })
  return (await answer.json()).deploy
}

// The journal's events after `lastId` as they arrive, until the stream ends: the HTML standard, section 9.2.6.
async function* events(lastId, signal) {
  const ended = new AbortController()
  signal.addEventListener("abort", () => ended.abort())
  let watchdog
  const resetWatchdog = () => {
    clearTimeout(watchdog)
    watchdog = setTimeout(() => ended.abort(), SILENCE_MS)
  }
  try {
    resetWatchdog()
    const answer = await call("events", { headers: { "Last-Event-ID": lastId }, signal: ended.signal })
    let rest = ""
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      resetWatchdog()
      const blocks = (rest + part.value).split("\n\n")
      rest = blocks.pop()
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map(line => line.split(/: (.*)/s)))
        if (fields.data) yield { id: fields.id, event: parse(fields.data) }
      }
    }
  } finally {
    clearTimeout(watchdog)
    ended.abort()
  }
}
