# Capistrano 3: `rainbowd deploy` switches the link, instead of Capistrano's own step.
#
# Copy it to lib/capistrano/tasks/rainbowd.rake; the Capfile that `cap install` writes imports it. The server needs
# deploy_to/rainbowd.json, with "release": "current", and a running agent.
#
#   set :rainbowd, "/opt/rainbowd/bin/rainbowd"     # if it is not on the server's PATH
#
# `cap deploy` then shows the deploy. If it fails, so does cap, with the app's last lines, and `current` names the live
# release again.

require "shellwords"

namespace :deploy do
  namespace :symlink do
    Rake::Task["deploy:symlink:release"].clear_actions

    # One server after another: if the deploy fails on one, the remaining servers are unchanged.
    task :release do
      on release_roles(:all), in: :sequence do
        config = deploy_path.join("rainbowd.json")
        note = Shellwords.escape(fetch(:rollback_timestamp) ? rollback_log_message : revision_log_message)
        execute fetch(:rainbowd, "rainbowd"), "deploy", "--config", config, "--note=#{note}", release_path
      end
    end
  end

  # After a rollback, Capistrano archives and removes the release that was live, whose requests may not have ended yet.
  # Remove it later instead, as :keep_releases says.
  Rake::Task["deploy:cleanup_rollback"].clear_actions
end
