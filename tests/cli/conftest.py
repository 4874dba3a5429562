"""The command line, run in this very process: quick, and on a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from am2z_trio.cli import main


class Answer(NamedTuple):
    """What a command has said."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of `--json`: an object each, and nothing else."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert all(isinstance(one, dict) for one in found)
        return found

    @property
    def object(self) -> dict[str, Any]:
        (found,) = self.objects
        return found


Command = Callable[..., Answer]

HOSTILE = (
    "a/b",
    "{}",
    "%2f",
    "line\r\nSet-Cookie: x",
    "\x1b[2Jwiped",
    "\u202egnp.txt",
    "x" * 500,
    "-–",
    "'; --",
)
"""Names that users give, or that somebody gives who means harm."""


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `am2z` with these arguments on the suite's server."""
    monkeypatch.setenv("AM2Z_REDIS_URL", redis_url)

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        try:
            status = main([str(one) for one in arguments])
        except SystemExit as exit:
            # argparse's, of a usage error or `--help`.
            status = int(exit.code or 0)
        said = capsys.readouterr()
        return Answer(status, said.out, said.err)

    return run


def is_harmless(text: str) -> bool:
    """Whether a terminal may have it: nothing moves the cursor, or turns the direction of reading."""
    return not any(c in text for c in "\x1b\r\x00\u202e")
