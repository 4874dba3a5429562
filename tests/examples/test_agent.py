"""The agent of docs/examples/agent, as somebody at a terminal has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

MAIN = Path(__file__).parents[2] / "docs" / "examples" / "agent" / "main.py"


class Terminal:
    """One process of it: what is typed, and what it has printed."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        self._looked_at = 0
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(MAIN), *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ,
            )
        self.reads("talking as")

    def types(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def reads(self, pattern: str) -> str:
        """Wait for a line that matches, behind the last one that did; its first group, or all of it."""
        found: list[re.Match[str]] = []

        def is_there() -> bool:
            text = self._log.read_text(encoding="utf-8")
            match = re.compile(pattern).search(text, self._looked_at)
            found[:] = [] if match is None else [match]
            assert match is not None or self.process.poll() is None, text
            return match is not None

        wait_until(is_there, f"{pattern!r} on the terminal")
        self._looked_at = found[0].end()
        return found[0][1] if found[0].re.groups else found[0][0]

    def ends(self) -> None:
        assert self.process.wait(30) == 0, self._log.read_text(encoding="utf-8")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        if self.process.stdin is not None:
            self.process.stdin.close()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[type[Terminal]]:
    """Starts some; all are gone after the test."""
    opened = list[Terminal]()

    class Opened(Terminal):
        def __init__(self, *arguments: str) -> None:
            super().__init__(tmp_path / f"terminal-{len(opened)}", *arguments)
            opened.append(self)

    yield Opened
    for one in opened:
        one.kill()


def test_one_command_starts_an_agent_that_asks_before_it_pays(terminal):
    you = terminal()
    you.types("hello there, agent")
    you.reads("thinking, 100%")
    you.reads("You have said 3 words")
    you.types("please refund order 17")
    approve = you.reads(r"(/approve @you/turn-\d+)")
    # It talks on while that waits.
    you.types("and what is the time")
    you.reads("You have said 5 words")
    you.types(approve)
    you.reads("Done: 50 euros for order 17, receipt")
    you.types("refund order 18")
    you.types(you.reads(r"/approve (@you/turn-\d+)").join(("/deny ", "")))
    you.reads("I am sorry: you has not agreed")
    you.types("/approve @you/turn-1")
    you.reads("! no record of job")
    you.types("/history")
    you.reads("you: please refund order 17")
    you.types("/quit")
    you.ends()


def test_what_waits_for_a_person_outlives_the_process(terminal, redis_url):
    first = terminal("--redis", redis_url, "--as", "ada")
    first.types("please refund order 21")
    approve = first.reads(r"(/approve @ada/turn-\d+)")
    first.kill()
    second = terminal("--redis", redis_url, "--as", "ada")
    second.types(approve)
    second.reads("Done: 50 euros for order 21")
    second.reads("answered")
    second.types("/history")
    second.reads("you: please refund order 21")
    second.types("/quit")
    second.ends()
