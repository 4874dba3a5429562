"""Whatever names and texts others have chosen, a record of the log stays one, and no terminal is moved."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import am2z_trio
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.logs import Log, attributes, one_line

FORGED = "alice\n2026-11-26 ERROR am2z_trio.node: all is lost\r\x1b[2J\x9b1m\u202egnissim\x00\u2028\ud800"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the log of the package says, with every field of a record that a format may name."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("am2z_trio")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


class Nasty:
    def __str__(self) -> str:
        raise SystemExit(3)

    def __repr__(self) -> str:
        return FORGED


@pytest.mark.parametrize("argument", [FORGED, ValidationError(FORGED), OSError(2, FORGED), Nasty(), [FORGED]])
@pytest.mark.parametrize("template", ["session %s was stopped", "session %r was stopped"])
def test_a_name_forges_no_line(written: io.StringIO, argument: object, template: str) -> None:
    Log("am2z_trio.test").warning(template, argument)
    line = written.getvalue()
    assert line.startswith("WARNING session ")
    assert line.endswith(" was stopped\n")
    assert one_line(line[:-1]) == line[:-1]


def test_what_is_harmless_is_logged_as_it_is(written: io.StringIO) -> None:
    Log("am2z_trio.test").warning("%s %r %d %.1f %s", "Zoë – 東京", "x", 7, 0.5, ValidationError("no"))
    assert written.getvalue() == "WARNING Zoë – 東京 'x' 7 0.5 no\n"


def test_the_lines_of_a_traceback_are_set_in(written: io.StringIO) -> None:
    trace = f"Traceback:\n  File x\nValueError: {FORGED}\n"
    Log("am2z_trio.test").error("a handler raised", trace=trace)
    first, *others = written.getvalue()[:-1].split("\n")
    assert first == "ERROR a handler raised"
    assert others[0] == "  Traceback:"
    assert all(line.startswith("  ") and one_line(line) == line for line in others)
    assert "  2026-11-26 ERROR am2z_trio.node: all is lost\\r\\x1b[2J" in written.getvalue()


def test_what_a_format_may_name_is_escaped() -> None:
    told = attributes(session=FORGED, attempt=2)
    assert told["attempt"] == 2
    assert told["session"] == one_line(str(told["session"])) != FORGED
    assert len(str(attributes(session="x" * 16_384)["session"])) < 3_000


def test_no_module_has_a_logger_of_its_own() -> None:
    root = Path(am2z_trio.__file__).parent
    with_own = [
        str(path.relative_to(root)) for path in root.rglob("*.py") if "getLogger(" in path.read_text()
    ]
    # Those of contexts are for what processors log themselves, that of the console's server for the server.
    of_jobs = ["engine/execution/contexts.py", "engine/execution/processes/runs.py", "testing/contexts.py"]
    assert sorted(with_own) == sorted(["model/logs.py", "web/serving.py", *of_jobs])


@given(st.text())
def test_what_is_spelt_can_be_printed_on_one_line(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert "\x1b" not in shown
    assert one_line(shown) == shown
