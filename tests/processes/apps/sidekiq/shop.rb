# A job.
require "sidekiq"

Sidekiq.configure_server { |config| config.redis = { url: ENV["BROKER"] } }
Sidekiq.configure_client { |config| config.redis = { url: ENV["BROKER"] } }

class Job
  include Sidekiq::Worker

  def perform(number, seconds)
    note("begin #{number}")
    sleep(seconds)
    note("end #{number}")
  end

  def note(line)
    File.open(ENV["RESULTS"], "a") { |file| file.syswrite("#{line}\n") }
  end
end
