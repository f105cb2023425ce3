# Mina: for config/deploy.rb. Mina always switches its own link, `current`. So rainbowd has another link: set
# "release": "live" in deploy_to/rainbowd.json. `rainbowd deploy .`, run in the new release, switches that link.
#
# If the deploy fails, so does `mina deploy`: rainbowd restores `live`, and Mina restores `current` and removes the new
# release.

task :deploy do
  deploy do
    invoke :"git:clone"
    invoke :"deploy:link_shared_paths"

    on :launch do
      command %(rainbowd deploy --config #{fetch(:deploy_to)}/rainbowd.json .)
    end
  end
end
