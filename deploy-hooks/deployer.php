<?php
// Deployer 7: `rainbowd deploy` turns the link, in place of Deployer's own step.
//
// In deploy.php, behind the recipe: require 'deployer.php'. Expected on the server is deploy_path/rainbowd.json, with
// "release": "current", and an agent that runs by it. Where the deploy fails, so does `dep deploy`, and `current` names
// again what is live.

namespace Deployer;

task('deploy:symlink', function () {
    run('rainbowd deploy --config {{deploy_path}}/rainbowd.json {{release_path}}');
    run('rm {{deploy_path}}/release'); // what the release was called until here
});

task('rollback', function () {
    run('rainbowd rollback --config {{deploy_path}}/rainbowd.json');
});
