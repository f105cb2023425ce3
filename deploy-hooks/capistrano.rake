# Capistrano 3: `rainbowd deploy` turns the link, in place of Capistrano's own step.
#
# Copy it to lib/capistrano/tasks/rainbowd.rake; a Capfile as `cap install` writes it imports what is there. Expected on
# the server is deploy_to/rainbowd.json, with "release": "current", and an agent that runs by it.
#
#   set :rainbowd, "/opt/rainbowd/bin/rainbowd"     # where the server's PATH has it not
#
# `cap deploy` then shows the deploy as it happens, and ends with it: where it fails, so does cap, the app's last lines are
# told, and `current` names again what is live.

require "shellwords"

namespace :deploy do
  namespace :symlink do
    Rake::Task["deploy:symlink:release"].clear_actions

    # One server after the other: where it fails on the first, the others stay as they are.
    task :release do
      on release_roles(:all), in: :sequence do
        config = deploy_path.join("rainbowd.json")
        note = Shellwords.escape(fetch(:rollback_timestamp) ? rollback_log_message : revision_log_message)
        execute fetch(:rainbowd, "rainbowd"), "deploy", "--config", config, "--note=#{note}", release_path
      end
    end
  end

  # After a rollback Capistrano packs the release away that was left, in which requests may still be finished. It goes with
  # the others, as :keep_releases says.
  Rake::Task["deploy:cleanup_rollback"].clear_actions
end
