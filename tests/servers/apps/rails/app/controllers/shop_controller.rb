require "digest/sha2"

class ShopController < ActionController::Base
  skip_forgery_protection
  before_action { response.set_header("X-Generation", ENV.fetch("RAINBOWD_GENERATION", "0")) }

  def up
    render plain: "up"
  end

  def slow
    sleep 0.3
    render plain: "slow"
  end

  def echo
    body = request.raw_post
    render json: { length: body.bytesize, sha256: Digest::SHA256.hexdigest(body) }
  end

  def closed
    head :unauthorized
  end
end
