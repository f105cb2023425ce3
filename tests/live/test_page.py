"""The page in a real browser, of a real agent."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from rainbowd.api.page import BROWSER, words
from rainbowd.cli.terminal import escape_control
from rainbowd.report.sentences import SENTENCES, sentence
from tests.live.agent import PATIENCE_SECONDS, ROOT, Agent, free_port, running
from tests.live.api import Caller, enabled
from tests.live.browser import DESKTOP, PHONE, Page, chromium
from tests.live.load import Load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver

pytestmark = pytest.mark.live

CONTRAST_MIN = 4.5
"""WCAG 2.2, 1.4.3."""

FAINT = """
const ratio = (one, other) => {
  const light = ([red, green, blue]) => [red, green, blue]
    .map(level => (level / 255 <= 0.04045 ? level / 255 / 12.92 : ((level / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, level, index) => sum + level * [0.2126, 0.7152, 0.0722][index], 0)
  const [high, low] = [light(one), light(other)].sort((a, b) => b - a)
  return (high + 0.05) / (low + 0.05)
}
const levels = text => text.match(/[\\d.]+/g).map(Number)
const behind = element => {
  for (let one = element; one; one = one.parentElement) {
    const [red, green, blue, alpha = 1] = levels(getComputedStyle(one).backgroundColor)
    if (alpha === 1) return [red, green, blue]
  }
}
return [...document.querySelectorAll("body *")].flatMap(element => {
  const isText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
  if (!isText || !element.checkVisibility() || element.closest("script, style, :disabled")) return []
  const style = getComputedStyle(element)
  const found = ratio(levels(element instanceof SVGElement ? style.fill : style.color), behind(element))
  return found < arguments[0] ? [`${element.tagName} ${element.textContent.slice(0, 40)}: ${found.toFixed(1)}`] : []
})
"""
"""The texts whose contrast with what is behind them is too small."""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Run one agent for all tests; each test must find out which release is live."""
    port = free_port()
    with running(tmp_path_factory.mktemp("site"), **enabled(port)) as agent:
        agent.add_release(
            "bad", exit_status=3, output=["<script>alert(1)</script>", "no such table: basket" + "!" * 300]
        )
        caller = Caller(agent, port)
        caller.until_it_listens()
        yield caller


@pytest.fixture
def page(api: Caller, driver: webdriver.Chrome) -> Iterator[Page]:
    page = Page(driver, api)
    yield page
    assert page.complaints() == []


@pytest.fixture
def board(page: Page) -> Page:
    page.run("sessionStorage.setItem('rainbowd.token', arguments[0])", page.api.token)
    page.driver.refresh()
    page.until("#live", f"{live(page)} is live")
    return page


def live(page: Page) -> str:
    """Return the name of the live release."""
    status = page.api.agent.status()
    return next(Path(one["release"]).name for one in status["generations"] if one["id"] == status["live"])


def other(page: Page) -> str:
    """Return the name of the release that is not live."""
    return "a" if live(page) == "b" else "b"


def asked(page: Page) -> list[str]:
    return [event["trigger"] for event in page.api.agent.events() if event["event"] == "deploy.requested"]


def told(page: Page) -> list[str]:
    """Return the journal as a terminal shows it, newest first."""
    return [escape_control(words) for event in reversed(page.api.agent.events()) if (words := sentence(event))]


def redeploy(page: Page, release: str, note: str = "") -> None:
    page.wait(lambda: page.find("#redeploy").is_enabled(), "an agent that answers")
    page.click("#redeploy")
    page.find("#release").send_keys(release)
    page.find("#note").send_keys(note)
    page.click("#ask-go")


KEEP_DEPLOYING = """
const place = document.getElementById("deploying")
window.kept = []
new MutationObserver(() => window.kept.push(place.textContent))
  .observe(place, { childList: true, subtree: true, characterData: true })
"""
"""Keeps every text that the page shows of a deploy: a short one may be gone before a test looks."""

HOSTILE = "<img src=x onerror=alert(1)>\u202e<script>alert(1)</script>"
"""Markup, and a character that reorders the text after it."""
INERT = HOSTILE.replace("\u202e", "\\u202e")


def mood(page: Page) -> str:
    return str(page.run("return document.documentElement.dataset.mood"))


def redness(page: Page, selector: str) -> bool:
    """Return whether the text of an element is red."""
    red, green, blue = page.run(f"return getComputedStyle(document.querySelector({selector!r})).color.match(/\\d+/g)")
    return int(red) > 1.5 * max(int(green), int(blue))


def opacity(page: Page, selector: str) -> float:
    return float(page.run(f"return getComputedStyle(document.querySelector({selector!r})).opacity"))


def test_the_app_has_its_name_in_the_title_and_a_healthy_one_is_not_red(board: Page) -> None:
    name = board.api.agent.directory.name
    assert board.text("h1") == name
    assert board.driver.title == f"{live(board)} is live \u2013 {name}"
    board.wait(lambda: mood(board) == "live" and not redness(board, "#live"), "a headline that is not red")
    icon = str(board.run("return document.querySelector('link[rel=icon]').href"))
    assert icon.startswith("data:image/svg+xml")


def test_what_apps_deployers_and_files_say_is_shown_and_neither_run_nor_obeyed(board: Page) -> None:
    agent = board.api.agent
    agent.add_release("evil\u202egnp.exe", exit_status=3, output=[HOSTILE])
    board.api.deploy({"release": "evil\u202egnp.exe", "note": HOSTILE})
    board.until("#deploys", INERT)
    board.until("#progress", INERT)
    board.until("#deploys b", "evil\\u202egnp.exe")
    assert board.run("return document.body.textContent.includes('\\u202e')") is False
    assert board.run("return document.querySelectorAll('body img, body script:not([type=module])').length") == 0
    board.click("#redeploy")
    board.click("#ask-cancel")


def test_a_deploy_shows_what_it_is_doing_and_the_one_before_is_not_shown(board: Page) -> None:
    agent, release = board.api.agent, other(board)
    hook = "echo bundling; until test -e ../../go; do sleep 0.02; done"
    agent.configure(**enabled(board.api.port), hooks={"before_launch": hook})
    redeploy(board, release)
    board.until("#deploying", f"deploying {release}: before_launch hook, ")
    board.until("#deploying", "; bundling")
    board.until("#progress pre", "bundling")
    assert board.text("#last-deploy") == ""
    (agent.directory / "go").touch()
    board.until("#last-deploy", "last deploy succeeded")
    assert board.text("#deploying") == ""
    board.until("#deploys li:first-child", "through the API")
    (agent.directory / "go").unlink()
    agent.configure(**enabled(board.api.port))


def test_a_canary_is_a_band_of_its_own_and_a_bake_a_countdown(board: Page) -> None:
    agent, release = board.api.agent, other(board)
    agent.configure(**enabled(board.api.port), canary={"steps": [50], "seconds": 6}, bake=6)
    board.run(KEEP_DEPLOYING)
    redeploy(board, release)
    agent.wait_for("generation.canary", release=str(agent.directory / "releases" / release))
    board.wait(lambda: board.run("return document.querySelectorAll('#bands .canary').length") > 0, "a band")
    board.until("#deploys li:first-child", f"{release}\nsucceeded")
    shown = "\n".join(board.run("return window.kept"))
    assert f"deploying {release}: canary with 50 % of the clients, " in shown
    assert re.search("bake, .* s left; 0 requests, 0 failed", shown)
    (agent.directory / "rainbowd.maintenance").touch()
    board.until("#warnings", "maintenance: every request is answered 503")
    (agent.directory / "rainbowd.maintenance").unlink()
    agent.configure(**enabled(board.api.port))


def test_a_failed_bake_is_shown_with_its_numbers_and_the_generation_that_is_live_again(board: Page) -> None:
    agent, before = board.api.agent, board.api.agent.status()["live"]
    agent.add_release("failing", fail_every=1)
    agent.configure(**enabled(board.api.port), bake={"seconds": 120, "min_errors": 3})
    redeploy(board, "failing")
    live_at = agent.wait_for("generation.live", release=str(agent.directory / "releases" / "failing"))
    board.until("#progress", f"generation {live_at['generation']} is live")
    with Load(agent, 20).running():
        board.until("#progress-end", "the deploy failed after")
    assert f"generation {before} is live: new requests go to it" in board.text("#steps")
    assert "0 % before the switch), most of them GET /: 500" in board.text("#progress-end")
    agent.configure(**enabled(board.api.port))


def test_the_dialog_names_what_is_deployed_without_a_release(board: Page) -> None:
    board.click("#redeploy")
    assert board.run("return document.getElementById('release').placeholder").startswith(live(board))
    board.click("#ask-cancel")


@pytest.mark.parametrize("way", ["hung", "stopped"])
def test_an_agent_that_does_not_answer_is_the_headline_and_the_rest_is_dim(board: Page, way: str) -> None:
    agent, name = board.api.agent, live(board)
    assert agent.process is not None
    if way == "hung":
        agent.process.send_signal(signal.SIGSTOP)
    else:
        agent.stop()
    board.until("#live", "the agent does not answer")
    assert board.driver.title.startswith("the agent does not answer \u2013 ")
    board.wait(lambda: (mood(board), redness(board, "#live")) == ("gone", True), "a red headline")
    board.wait(lambda: opacity(board, ".figures") < 0.6 < opacity(board, ".hero"), "the rest to be dim")
    if way == "hung":
        agent.process.send_signal(signal.SIGCONT)
    else:
        agent.start()
    board.until("#live", f"{name} is live")
    board.wait(lambda: (mood(board), opacity(board, ".figures")) == ("live", 1), "the page in its colours")


def test_an_outage_is_red_and_named_and_a_new_agent_has_had_no_requests(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    port = free_port()
    with running(tmp_path, **enabled(port), name="The shop") as agent:
        caller = Caller(agent, port)
        caller.until_it_listens()
        page = Page(driver, caller)
        page.until("#gate", "cat .rainbowd/token")
        page.unlock()
        page.until("#live", "a is live")
        for chart in ("#requests text", "#latency text"):
            page.wait(lambda chart=chart: "no requests yet" in page.lines(chart), "an empty chart")  # type: ignore[misc]
        for name in ("a", "b"):
            (agent.directory / "releases" / name / "app.json").write_text('{"exit_status": 3}')
        os.kill(agent.status()["generations"][0]["pid"], signal.SIGKILL)
        page.until("#live", "nothing is live")
        assert page.driver.title == "nothing is live \u2013 The shop"
        page.wait(lambda: (mood(page), redness(page, "#live")) == ("down", True), "a red headline")


def test_before_the_first_release_the_page_waits_and_shows_no_failure(driver: webdriver.Chrome, tmp_path: Path) -> None:
    port = free_port()
    agent = Agent(tmp_path, **enabled(port))
    agent.start()
    try:
        caller = Caller(agent, port)
        caller.until_it_listens()
        page = Page(driver, caller)
        page.unlock()
        page.until("#live", "no release yet")
        page.wait(lambda: (mood(page), redness(page, "#live")) == ("waiting", False), "a headline that is not red")
        page.until("#live-more", "waiting for the first release")
        assert page.lines("#warnings li") == []
        agent.add_release("a")
        agent.flip("a")
        page.until("#live", "a is live")
    finally:
        agent.destroy()


def test_a_deploy_that_made_way_for_another_is_superseded_and_not_a_failure(board: Page) -> None:
    agent, first = board.api.agent, live(board)
    agent.add_release("never", listen=False)
    redeploy(board, "never")
    agent.wait_for("generation.launched", release=str(agent.directory / "releases" / "never"))
    agent.flip(first)
    board.until("#progress-end", f"superseded by {first}")
    board.until("#deploys", "never\nsuperseded")
    assert (
        board.run(
            "return [...document.querySelectorAll('#deploys .bad')].some(one => /superseded/.test(one.textContent))"
        )
        is False
    )


def test_the_page_prompts_for_a_token_once_and_shows_that_a_wrong_one_is_refused(page: Page) -> None:
    page.run("sessionStorage.clear()")
    page.driver.refresh()
    assert page.text("#board") == ""
    for wrong in ("x" * 43, "not a täken"):
        page.unlock(wrong)
        page.until("#refusal", "The token was refused")
    page.unlock()
    page.until("#live", f"{live(page)} is live")
    assert page.api.token not in page.driver.current_url
    page.driver.refresh()
    page.until("#live", f"{live(page)} is live")
    assert page.run("return [localStorage.length, document.cookie]") == [0, ""]


def test_a_deploy_is_requested_and_watched_to_its_end(board: Page) -> None:
    release, before = other(board), asked(board)
    redeploy(board, release, "to <b>it</b>")
    board.until("#progress-end", f"{release} is live: generation ")
    board.until("#live", f"{release} is live")
    assert asked(board) == [*before, "api"]
    number = board.api.agent.status()["live"]
    steps = board.lines("#steps span")
    assert steps[0] == f"{release} requested by 127.0.0.1 (api): to <b>it</b>"
    assert steps[1].startswith(f"launched {release} as generation {number}, pid ")
    assert steps[2:] == [
        f"generation {number} is healthy",
        f"generation {number} is live: new requests go to it",
    ]
    board.until("#deploys li:first-child", "to <b>it</b>")
    board.wait(lambda: board.lines("#journal span") == told(board), "the journal in the words of report/sentences.py")
    assert f"generation {number}, {release}: live" in board.lines("#bands-told")[0]
    assert board.lines("#announcer[aria-live=polite]") == [f"the deploy of {release} succeeded"]


def test_a_failed_deploy_is_shown_with_the_apps_output(board: Page) -> None:
    before = live(board)
    redeploy(board, "bad")
    board.until("#progress-end", "the app exited with status 3 before it was ready")
    board.until("#progress-end", "<script>alert(1)</script>\nno such table: basket")
    board.until("#deploys details[open]", "no such table: basket")
    board.api.agent.wait_for("link.restored")
    board.wait(lambda: board.lines("#journal span") == told(board), "the journal")
    assert "no such table" in board.text("#progress-end")  # that the link was restored is not shown as well
    board.until("#last-deploy", "last deploy failed ")
    assert board.text("#live") == f"{before} is live"


def test_a_rollback_is_done_when_it_is_confirmed_and_not_before(board: Page) -> None:
    release = other(board)
    redeploy(board, release)
    board.until("#live", f"{release} is live")
    board.until("#deploys li:first-child", f"{release}\nsucceeded")
    before, asked_before = other(board), asked(board)
    for selector, keys in (("#ask-cancel", Keys.ENTER), ("#note", Keys.ESCAPE)):
        board.click("#rollback")
        assert board.text("#ask-go") == f"Roll back to {before}"
        board.find(selector).send_keys(keys)
        board.wait(lambda: not board.find("#ask").is_displayed())
    assert asked(board) == asked_before
    board.click("#rollback")
    board.click("#ask-go")
    board.until("#progress-end", f"{before} is live: generation ")


def test_a_declined_request_is_shown_at_its_button(board: Page) -> None:
    before = asked(board)
    redeploy(board, "nowhere")
    board.until("#ask-refusal", "nowhere")
    assert board.find("#ask").is_displayed()
    assert asked(board) == before


def test_it_is_used_by_keyboard_alone(board: Page) -> None:
    def press(*keys: str) -> str:
        for key in keys:
            board.driver.switch_to.active_element.send_keys(key)
        return str(board.run("return document.activeElement.id || document.activeElement.name"))

    release = other(board)
    board.wait(lambda: board.find("#rollback").is_enabled(), "an agent that answers")
    order = [press(Keys.TAB) for _ in range(3)]
    assert order == ["redeploy", "rollback", "span"]
    board.find("#redeploy").send_keys(Keys.ENTER)
    assert press(release, Keys.TAB) == "note"
    assert press(Keys.TAB, Keys.TAB) == "ask-go"
    press(Keys.ENTER)
    board.until("#progress-end", f"{release} is live")
    assert board.run("return document.activeElement.id") == "redeploy"


def test_everything_has_a_name_and_a_place_for_screen_readers(board: Page) -> None:
    nodes = board.command("Accessibility.getFullAXTree")["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    assert {role for role, _ in named} >= {"button", "radio", "image", "region", "table", "list", "heading", "status"}
    assert [role for role, name in named if role in {"button", "radio", "image", "region"} and not name.strip()] == []
    assert [role for role, _ in named if role in {"banner", "main"}] == ["banner", "main"]
    headings = board.run("return [...document.querySelectorAll('h1,h2,h3')].map(one => Number(one.tagName[1]))")
    assert (headings[0], headings.count(1)) == (1, 1)
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    assert board.run("return document.documentElement.lang") == "en"


def test_all_of_it_can_be_read_at_any_size_by_day_and_by_night(board: Page) -> None:
    board.api.deploy({"release": "bad"})
    board.until("#deploys details[open]", "no such table")
    for width, height in (DESKTOP, (820, 1180), PHONE, (320, 640)):
        board.show(width, height)
        assert board.run("return document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        board.show(*PHONE, scheme)
        assert board.run(FAINT, CONTRAST_MIN) == []


def test_the_page_continues_with_the_next_agent_and_misses_nothing(board: Page) -> None:
    agent = board.api.agent
    assert agent.stop() == 0
    board.until("#connection", "the agent does not answer")
    assert not board.find("#redeploy").is_enabled()
    since = len(agent.events())
    agent.start()
    board.until("#connection", "connected")
    agent.decision(since, trigger="start")
    board.wait(lambda: board.lines("#journal span") == told(board), "the journal, without a gap and nothing twice")
    release = other(board)
    redeploy(board, release)
    board.until("#live", f"{release} is live")


def test_the_page_prompts_again_for_an_outdated_token(board: Page) -> None:
    agent = board.api.agent
    assert agent.stop() == 0
    (agent.state_dir / "token").write_text("another-token-than-before")
    agent.start()
    board.until("#refusal", "The token was refused: the agent has a new one.")
    assert board.text("#board") == ""


def test_the_example_takes_heading_and_colour_of_the_next_release_while_it_is_open(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "examples" / "hello" / "releases", tmp_path / "releases")
    agent = Agent(tmp_path, run=["python3", "app.py", "{port}"])
    agent.flip("v1")
    agent.start()

    def until(release: str, *other_than: str) -> str:
        look = "return [document.querySelector('h1').textContent, getComputedStyle(document.body).backgroundColor]"
        found: list[str] = []

        def is_shown(_: object) -> bool:
            found[:] = driver.execute_script(look)
            return found[0] == release and found[1] not in other_than

        WebDriverWait(driver, PATIENCE_SECONDS).until(is_shown)
        return found[1]

    try:
        agent.decision(0, trigger="start")
        driver.get(f"http://127.0.0.1:{agent.port}/")
        blue = until("v1", "rgba(0, 0, 0, 0)")
        agent.flip("v2")
        until("v2", blue)
        assert driver.title == "hello from v2"
    finally:
        agent.destroy()
        driver.get("about:blank")


def test_words_are_filled_in_as_on_a_terminal(driver: webdriver.Chrome) -> None:
    events: list[dict[str, Any]] = [
        {"event": "deploy.requested", "release": "/srv/v1", "by": "ann", "trigger": "file", "note": "why"},
        {"event": "deploy.requested", "release": None, "by": None, "trigger": "api", "note": None},
        {"event": "generation.retired", "generation": 3, "requests": 0, "killed": True, "left": [5, 6]},
        {"event": "generation.retired", "generation": 3, "requests": 1871, "killed": False, "left": []},
        {"event": "generation.standby", "generation": 3, "seconds": 2.5},
        {"event": "generation.standby", "generation": 3, "seconds": 60.0},
        {"event": "deploy.failed", "release": "/srv/v2", "reason": "superseded by /srv/v1", "superseded_by": "/srv/v1"},
        {"event": "something.new"},
    ]
    events += [{"event": name, "reason": "because", "hook": "after_live"} for name in SENTENCES]
    script = f"const WORDS = {words()}\n{(BROWSER / 'timeline.js').read_text()}\nreturn arguments[0].map(sentence)"
    assert driver.execute_script(script, events) == [sentence(event) for event in events]
