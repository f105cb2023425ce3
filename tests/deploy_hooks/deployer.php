<?php
// What a Deployer recipe is told by, so that one can be run without Deployer: php deployer.php RECIPE TASK NAME=VALUE...
// It runs a task's commands in a local shell, and fails where one does.

namespace Deployer;

$tasks = [];
$values = [];

function task(string $name, callable $body): void
{
    global $tasks;
    $tasks[$name] = $body;
}

function run(string $command): void
{
    global $values;
    $line = preg_replace_callback('/{{(\w+)}}/', fn ($found) => $values[$found[1]], $command);
    passthru($line, $status);
    if ($status !== 0) {
        exit($status);
    }
}

foreach (array_slice($argv, 3) as $setting) {
    [$name, $value] = explode('=', $setting, 2);
    $values[$name] = $value;
}
require $argv[1];
$tasks[$argv[2]]();
