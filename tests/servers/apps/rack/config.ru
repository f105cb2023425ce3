# A Rack application.
require "digest/sha2" # now, not in the first thread that needs it
require "json"

class Lines
  def each
    10.times do |number|
      yield "#{number}\n"
      sleep 0.05
    end
    yield "end\n"
  end
end

run(lambda do |env|
  path = env["PATH_INFO"] # "/up" answers as all others do
  fields = { "Content-Type" => "text/plain", "X-Generation" => ENV.fetch("RAINBOWD_GENERATION", "0") }
  next [200, fields, Lines.new] if path == "/stream"
  sleep 0.3 if path == "/slow"
  body = path
  if path == "/echo"
    received = env["rack.input"].read
    body = JSON.generate("length" => received.bytesize, "sha256" => Digest::SHA256.hexdigest(received))
  end
  [200, fields.merge("Content-Length" => body.bytesize.to_s), [body]]
end)
