"""One browser, and one server process with a worker, for all tests of this folder.

The browser is Debian's Chromium; where there is none these tests are left out, and say so. It is driven from
a thread of its own, as Playwright brings an event loop that others in the same thread would trip over:
`chromium.run(look, …)` runs `look(page, …)` there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec
import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, sync_playwright

from am2z_trio.web.addresses import address
from tests.support.servers import RedisProcess
from tests.support.waiting import wait_until

T = TypeVar("T")

HERE: Final = Path(__file__).parent
KEEP: Final = os.environ.get("AM2Z_SCREENSHOTS", "")
"""A folder in which each page is left as it looked."""

PHONE: Final = 390
"""Pixels that one is wide."""

WIDE: Final = {"width": 1280, "height": 900}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": WIDE},
    "plain": {"color_scheme": "light", "viewport": WIDE, "java_script_enabled": False},
}
"""How a page is looked at: `plain` is without a script."""

_WATCH: Final = """
addEventListener("securitypolicyviolation", (event) => console.error("CSP " + event.violatedDirective));
"""


class Site:
    """The server: where it is, what is there, and its Redis."""

    def __init__(self, base: str, ids: dict[str, dict[str, str]], redis: RedisProcess) -> None:
        self.base: Final = base
        self.ids: Final = ids
        self.redis: Final = redis

    def url(self, name: str, which: str = "plain", *, query: str = "", prefix: str = "") -> str:
        """Where a page is: of `which` job, session or the like."""
        ids = {part: known.get(which) or next(iter(known.values())) for part, known in self.ids.items()}
        return f"{self.base}{prefix}{address(name, ids)}{query and f'?{query}'}"

    def client(self, role: str = "viewer") -> httpx.Client:
        """A program that asks as a browser would."""
        headers = {"X-User": f"ada.{role}", "Sec-Fetch-Site": "same-origin"}
        return httpx.Client(base_url=self.base, headers=headers, timeout=30)

    def count(self) -> dict[str, int]:
        """What the console counts."""
        found: dict[str, int] = httpx.get(f"{self.base}/-count", timeout=30).json()
        return found


class Chromium:
    """The browser, with a window for each role and way to look."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "chromium")
        self._stack = contextlib.ExitStack()
        self._windows: dict[tuple[str, str], BrowserContext] = {}
        self._thread.submit(self._open).result(60)

    def _open(self) -> None:
        playwright = self._stack.enter_context(sync_playwright())
        # Without its sandbox where it is root's, as it has none there.
        sandbox = os.geteuid() != 0
        self._browser = playwright.chromium.launch(
            executable_path=program(), chromium_sandbox=sandbox, args=["--disable-gpu"]
        )
        self._stack.callback(self._browser.close)

    def close(self) -> None:
        """End it."""
        self._thread.submit(self._stack.close).result(60)
        self._thread.shutdown()

    def run(
        self,
        look: Callable[..., T],
        *args: Any,
        complains: bool = False,
    ) -> T:
        """Do it in a page of an operator's."""
        return self.run_as("operator", "light", look, *args, complains=complains)

    def run_as(
        self,
        role: str,
        look_like: str,
        look: Callable[..., T],
        *args: Any,
        complains: bool = False,
    ) -> T:
        """Do it in a page of somebody's. What the browser complains of meanwhile fails the test, unless it
        has reason to: what is not there cannot be loaded."""

        def work() -> T:
            window = self._window(role, look_like)
            page = window.new_page()
            complaints = list[str]()
            page.on("console", lambda said: complaints.extend(_complaint(said)))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.add_init_script(_WATCH)
            try:
                found = look(page, *args)
                assert complains or not complaints
            finally:
                page.close()
            return found

        return self._thread.submit(work).result(120)

    def _window(self, role: str, look_like: str) -> BrowserContext:
        window = self._windows.get((role, look_like))
        if window is None:
            headers = {"X-User": f"ada.{role}"}
            window = self._browser.new_context(extra_http_headers=headers, **LOOKS[look_like])
            window.set_default_timeout(20_000)
            self._windows[role, look_like] = window
        return window


def _complaint(said: ConsoleMessage) -> list[str]:
    if said.type not in ("error", "warning"):
        return []
    return [f"{said.type}: {said.text} ({said.location.get('url', '')})"]


def program() -> str | None:
    """Where Chromium is."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser."""
    if program() is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    browser = Chromium()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server, with one of everything."""
    with opened_site(tmp_path_factory.mktemp("console")) as opened:
        yield opened


@contextlib.contextmanager
def opened_site(folder: Path, program: str = "served.py") -> Iterator[Site]:
    """A server of its own: for a test that breaks it."""
    redis = RedisProcess(os.environ.get("AM2Z_TEST_REDIS") or None, data_dir=folder / "redis")
    redis.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening, (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / program), redis.url, str(listening.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listening.fileno()],
            )
            assert process.stdout is not None
            base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            line = process.stdout.readline()
            assert line, (folder / "log").read_text()
            site = Site(base, msgspec.json.decode(line), redis)
            wait_until(lambda: _answers(base), "the console to answer")
            yield site
        finally:
            process.kill()
            process.wait(20)
            process.stdout.close()
    finally:
        redis.close()


def _answers(base: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{base}/-count", timeout=30).status_code == 200
    return False
