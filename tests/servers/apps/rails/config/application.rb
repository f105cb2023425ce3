# A Rails application: its router and controllers, without a database.
require "rails"
require "action_controller/railtie"

module Shop
  class Application < Rails::Application
    config.load_defaults Rails::VERSION::STRING.to_f
    config.eager_load = true
    config.secret_key_base = "only for the tests"
    config.logger = Logger.new($stdout)
    config.log_level = :warn
    config.hosts = ENV.fetch("SHOP_HOSTS", "").split
    config.force_ssl = ENV["SHOP_REDIRECTS"] == "yes"
  end
end
