"""A headless Chromium that looks at an agent's page, driven as a person would."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.live.agent import PATIENCE_SECONDS, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

    from tests.live.api import Caller

SWITCHES = (
    "--headless",
    "--no-sandbox",  # which needs more than root of a container has
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1440, 900), (390, 844)
LOOK_SECONDS = 0.02


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """The system's own, with an empty profile."""
    options = Options()
    options.binary_location = needs("chromium")
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(needs("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """Open the page of an agent again; the tab keeps a token that it was given before."""

    def __init__(self, driver: webdriver.Chrome, api: Caller) -> None:
        self.driver = driver
        self.api = api
        self.show(*DESKTOP)
        driver.get(f"http://127.0.0.1:{api.port}/")
        driver.get_log("browser")  # type: ignore[no-untyped-call]

    def unlock(self, token: str | None = None) -> None:
        """Type a token, or the agent's own."""
        field = self.find("#token")
        field.clear()
        field.send_keys(self.api.token if token is None else token)
        self.click("#unlock button")

    def find(self, selector: str) -> WebElement:
        """Return the only element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        """Click it."""
        self.find(selector).click()

    def text(self, selector: str) -> str:
        """Return the visible text; empty if the element is hidden or does not exist."""
        while True:  # what the page replaces between the two calls is found again
            with contextlib.suppress(StaleElementReferenceException):
                return " ".join(one.text for one in self.driver.find_elements(By.CSS_SELECTOR, selector))

    def lines(self, selector: str) -> list[str]:
        """Return the text of each such element, also if it is hidden or scrolled away."""
        return list(self.run(f"return [...document.querySelectorAll({selector!r})].map(one => one.textContent)"))

    def until(self, selector: str, text: str) -> None:
        """Wait until that is to be read there."""
        self.wait(lambda: text in self.text(selector), f"{text!r} in {selector}, which has {self.text(selector)!r}")

    def wait(self, look: Callable[[], object], what: str = "it") -> None:
        """Wait until ``look`` sees something."""
        waiting = WebDriverWait(
            self.driver, PATIENCE_SECONDS, LOOK_SECONDS, ignored_exceptions=[StaleElementReferenceException]
        )
        waiting.until(lambda _: look(), f"nothing came: {what}")

    def run(self, script: str, *arguments: object) -> Any:
        """Return the result of a script."""
        return self.driver.execute_script(script, *arguments)

    def show(self, width: int, height: int, scheme: str = "light") -> None:
        """Take another size or colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def command(self, name: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def complaints(self) -> list[str]:
        """Return the messages of the console: scripts that failed, and what the policy refused."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["source"] != "network"]
