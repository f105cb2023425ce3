<?php
// Deployer 7: `rainbowd deploy` switches the link, instead of Deployer's own step.
//
// In deploy.php, after the recipe: require 'deployer.php'. The server needs deploy_path/rainbowd.json, with "release":
// "current", and a running agent. If the deploy fails, so does `dep deploy`, and `current` names the live release again.

namespace Deployer;

task('deploy:symlink', function () {
    run('rainbowd deploy --config {{deploy_path}}/rainbowd.json {{release_path}}');
    run('rm {{deploy_path}}/release'); // the name of the release up to this step
});

task('rollback', function () {
    run('rainbowd rollback --config {{deploy_path}}/rainbowd.json');
});
