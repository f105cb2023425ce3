# A Sinatra application.
require "digest/sha2"
require "json"
require "sinatra/base"

class Shop < Sinatra::Base
  before { headers "X-Generation" => ENV.fetch("RAINBOWD_GENERATION", "0") }

  get("/") { "shop" }
  get("/up") { "up" }

  get "/slow" do
    sleep 0.3
    "slow"
  end

  get "/stream" do
    stream do |out|
      10.times do |number|
        out << "#{number}\n"
        sleep 0.05
      end
      out << "end\n"
    end
  end

  post "/echo" do
    body = request.body.read
    JSON.generate("length" => body.bytesize, "sha256" => Digest::SHA256.hexdigest(body))
  end
end
