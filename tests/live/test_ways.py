"""Every way in which tools and people turn a link and touch a file, by the tools themselves, on a real agent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.agent import PATIENCE_SECONDS, ROOT, Agent, needs, running
from tests.live.traffic import Traffic

pytestmark = pytest.mark.live

# NEW is the release that is not live, as a relative path; LIVE is the other.
LINKING = {
    "ln -sfn": "ln -sfn $NEW current",
    "ln -sfn, absolute": "ln -sfn $PWD/$NEW current",
    "ln -sfn, with a slash": "ln -sfn $PWD/$NEW/ current",
    "ln -sfT": "ln -sfT $NEW current",
    "mv -T": "ln -s $NEW next && mv -T next current",
    "mv -T, absolute": "ln -s $PWD/$NEW next && mv -T next current",
    "rm and ln": "rm current && ln -s $NEW current",
    "rm and ln, absolute": "rm -f current; ln -s $PWD/$NEW current",
    "Capistrano": "ln -s $PWD/$NEW releases/current && mv releases/current $PWD",
    "Deployer": "ln -nfs --relative $PWD/$NEW $PWD/release && mv -fT $PWD/release $PWD/current",
    "Deployer, not atomic": "cd $PWD && ln -nfs --relative $PWD/$NEW current",
    "Mina": 'ln -nfs "$PWD/$NEW" "$PWD/current"',
    "Ansible's file": (
        'python3 -c \'import os, sys; os.symlink(sys.argv[1], ".tmp"); os.rename(".tmp", "current")\' $PWD/$NEW'
    ),
    "the same release": "ln -sfn $LIVE current",
    "the same release, mv -T": "ln -s $LIVE next && mv -T next current",
    "a link behind the link": "ln -sfn $LIVE latest && ln -sfn latest current",
    "the link behind it": "ln -sfn $NEW latest",
}
TOUCHING = {
    "touch, where there was none": "rm -f redeploy.trigger; touch redeploy.trigger",
    "touch": "touch redeploy.trigger",
    "rm and touch": "rm redeploy.trigger; touch redeploy.trigger",
    "replace": "echo words >new && mv new redeploy.trigger",
    "echo >": "echo words >redeploy.trigger",
    "append": "echo more >>redeploy.trigger",
    "truncate": ": >redeploy.trigger",
    "cp": "cp rainbowd.json redeploy.trigger",
    "cp -p": "cp -p rainbowd.json redeploy.trigger",
    "install": "install -m 644 /dev/null redeploy.trigger",
    "sed -i": "sed -i s/a/b/ redeploy.trigger",
    "dd": "dd if=/dev/zero of=redeploy.trigger bs=1M count=1 status=none",
    "by another name": "ln -f redeploy.trigger releases/other; touch releases/other",
    "a symlink": "rm redeploy.trigger; ln -s rainbowd.json redeploy.trigger",
    "through a symlink": "touch redeploy.trigger",
    "a FIFO": "rm redeploy.trigger; mkfifo redeploy.trigger",
    "a directory": "rm redeploy.trigger; mkdir redeploy.trigger",
    "a file in place of the directory": "rmdir redeploy.trigger; touch redeploy.trigger",
}
NOTHING = {
    "reading": "cat redeploy.trigger current/app.json >read",
    "chmod": "chmod 600 redeploy.trigger; chmod 644 redeploy.trigger",
    "removing": "rm redeploy.trigger",
    "a thousand files": "seq 1000 | xargs touch; mkdir current/files; (cd current/files; seq 1000 | xargs touch)",
    "taken away again": "seq 1000 | xargs rm; rm -r current/files",
}


def shell(agent: Agent, command: str, live: str = "a") -> None:
    new = "ab".replace(live, "")
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LIVE": f"releases/{live}", "NEW": f"releases/{new}"}
    subprocess.run(["sh", "-ec", command], cwd=agent.directory, env=env, check=True, timeout=PATIENCE_SECONDS)


def live_release(agent: Agent) -> str:
    status = agent.status()
    (release,) = (each["release"] for each in status["generations"] if each["id"] == status["live"])
    return str(release).rpartition("/")[2]


def requests(agent: Agent, since: int) -> list[str]:
    return [event["trigger"] for event in agent.events()[since:] if event["event"] == "deploy.requested"]


def go_every_way(agent: Agent) -> list[str]:
    """Deploy in every way, each after the outcome of the one before, and return what was wrong."""
    wrong = []
    live = live_release(agent)
    for trigger, ways in (("symlink", LINKING), ("file", TOUCHING)):
        for name, command in ways.items():
            since = len(agent.events())
            shell(agent, command, live)
            decided = agent.decision(since)
            live = live_release(agent)
            expected = str((agent.directory / "current").resolve())
            if (decided["event"], decided["release"]) != ("deploy.succeeded", expected):
                wrong.append(f"{name}: {decided}")
            if requests(agent, since) != [trigger]:
                wrong.append(f"{name}: {requests(agent, since)}")
    return wrong


async def under_load(agent: Agent, traffic: Traffic) -> list[str]:
    async with asyncio.TaskGroup() as tasks:
        for client in traffic.clients():
            tasks.create_task(client)
        tasks.create_task(be_busy(agent, traffic))
        try:
            return await asyncio.to_thread(go_every_way, agent)
        finally:
            traffic.over.set()


async def be_busy(agent: Agent, traffic: Traffic) -> None:
    """Cause 250 other events a second in the directory of the link and the trigger file."""
    while not traffic.over.is_set():
        (agent.directory / "busy").touch()
        await asyncio.sleep(0.004)


@pytest.mark.long
def test_every_way_of_linking_and_touching_is_exactly_one_deploy_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path, drain={"timeout": 20, "tunnels": 0.5}) as agent:
        since = len(agent.events())
        traffic = Traffic(agent.host, agent.port, gap_seconds=0.02)
        assert asyncio.run(under_load(agent, traffic)) == []
        assert traffic.failures == []
        assert min(traffic.counts.values()) > 0
        for command in NOTHING.values():
            shell(agent, command)
        last = len(agent.events())
        agent.touch()
        assert agent.decision(last)["event"] == "deploy.succeeded"
        # One too many that came late, or was taken together with the next way's, is seen here.
        assert requests(agent, since) == [*["symlink"] * len(LINKING), *["file"] * len(TOUCHING), "file"]
        launched = [event for event in agent.events()[since:] if event["event"] == "generation.launched"]
        assert len(launched) == len(LINKING) + len(TOUCHING) + 1


# --- where events do not come, or too many do ------------------------------------------------------------


def deploys_once(agent: Agent, command: str) -> list[str]:
    """Return the triggers of the deploys that a command has requested, and the outcome of the first."""
    since = len(agent.events())
    shell(agent, command, live_release(agent))
    decided = agent.decision(since)
    return [*requests(agent, since), decided["event"]]


SEEN = ["symlink", "deploy.succeeded"]
TOUCHED = ["file", "deploy.succeeded"]


def test_recreated_directories_and_files_without_events_are_watched_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "current").symlink_to("../current")
    (tmp_path / "ask").mkdir()
    with running(tmp_path, release="links/current", trigger_file="ask/trigger", drain={"tunnels": 0.5}) as agent:
        for command in (
            "rm -r ask; mkdir ask; touch ask/trigger",
            "mv ask old; mkdir ask; touch ask/trigger",
            "touch ask/trigger",
            "mkdir new; touch new/trigger; mv ask older; mv new ask",
            "ln ask/trigger name; touch name",  # told to the directory of that name alone
        ):
            assert deploys_once(agent, command) == TOUCHED, command
        for command in (
            "ln -sfn $NEW current",  # the link behind the link, in a directory that is not watched
            "rm -r links; mkdir links; ln -s ../$NEW links/current",
            "mv links old-links; mkdir links; ln -s ../$NEW links/current",
            "ln -sfn ../$NEW links/current",
        ):
            assert deploys_once(agent, command) == SEEN, command


def test_more_events_than_the_kernel_keeps_hide_no_trigger(tmp_path: Path) -> None:
    queued = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with running(tmp_path) as agent:
        assert agent.process is not None
        agent.process.send_signal(signal.SIGSTOP)
        for _ in range(queued // 2):  # two names in turn, for the same one again is the same event; each several
            (tmp_path / "one").touch()
            (tmp_path / "two").touch()
        since = len(agent.events())
        shell(agent, "touch redeploy.trigger")
        agent.process.send_signal(signal.SIGCONT)
        assert agent.decision(since, trigger="file")["event"] == "deploy.succeeded"
        assert deploys_once(agent, "ln -sfn $NEW current") == SEEN


WITHOUT_INOTIFY = 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"'


def test_without_inotify_files_are_compared_and_a_warning_names_the_limit(tmp_path: Path) -> None:
    unshare = [needs("unshare"), "--user", "--map-current-user", "--keep-caps", "sh", "-c", WITHOUT_INOTIFY, "sh"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the kernel gives no user namespace, in which inotify could be had no more")
    agent = Agent(tmp_path)
    for name in ("a", "b"):
        agent.add_release(name)
    agent.flip("a")
    rainbowd = [sys.executable, "-m", "rainbowd", "--config", str(tmp_path / "rainbowd.json")]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with agent.output_file.open("wb") as output:
        agent.process = subprocess.Popen(
            [*unshare, *rainbowd],
            env={**os.environ, "PYTHONPATH": path},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        agent.wait_for("deploy.succeeded")
        assert deploys_once(agent, "touch redeploy.trigger") == TOUCHED
        assert deploys_once(agent, "ln -sfn $NEW current") == SEEN
        warnings = [line for line in agent.output().splitlines() if "no events from the file system" in line]
        assert len(warnings) == 1
        assert "fs.inotify.max_user_instances" in warnings[0]
    finally:
        agent.destroy()
