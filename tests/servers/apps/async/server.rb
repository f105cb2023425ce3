# The engine of falcon, async-http, with an application of its own.
require "async"
require "async/http/endpoint"
require "async/http/server"
require "digest/sha2"
require "json"

FIELDS = { "x-generation" => ENV.fetch("RAINBOWD_GENERATION", "0") }.freeze

def say(text)
  Protocol::HTTP::Response[200, FIELDS, [text]]
end

def stream
  body = Async::HTTP::Body::Writable.new
  Async do |task|
    10.times do |number|
      body.write("#{number}\n")
      task.sleep 0.05
    end
    body.write("end\n")
  ensure
    body.close
  end
  Protocol::HTTP::Response[200, FIELDS, body]
end

def answer(request)
  case request.path.split("?").first # "/up" answers as all others do
  when "/stream" then stream
  when "/slow"
    Async::Task.current.sleep(0.3)
    say("slow")
  when "/echo"
    received = request.read.to_s
    say(JSON.generate("length" => received.bytesize, "sha256" => Digest::SHA256.hexdigest(received)))
  else say("up")
  end
end

endpoint = Async::HTTP::Endpoint.parse("http://127.0.0.1:#{ARGV.fetch(0)}")
Async do
  Async::HTTP::Server.for(endpoint, &method(:answer)).run
end
