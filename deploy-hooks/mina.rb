# Mina: for config/deploy.rb. Mina turns its own link `current` whatever comes; so rainbowd is given a link of its own,
# "release": "live" in deploy_to/rainbowd.json, and `rainbowd deploy .`, run in the new release, turns that.
#
# Where the deploy fails, so does `mina deploy`: `live` names again what is live, and Mina turns `current` back and removes
# the new release.

task :deploy do
  deploy do
    invoke :"git:clone"
    invoke :"deploy:link_shared_paths"

    on :launch do
      command %(rainbowd deploy --config #{fetch(:deploy_to)}/rainbowd.json .)
    end
  end
end
