class StreamsController < ActionController::Base
  include ActionController::Live

  before_action { response.set_header("X-Generation", ENV.fetch("RAINBOWD_GENERATION", "0")) }

  def show
    10.times do |number|
      response.stream.write("#{number}\n")
      sleep 0.05
    end
    response.stream.write("end\n")
  ensure
    response.stream.close
  end
end
