"""Values that are given to a command as JSON: in an argument, in a file, or on its input."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from am2z_trio.model.errors import ConfigurationError

from .operators import add_reason


async def given_json(text: str, *, field: str = "--state") -> Any:
    """JSON from the argument, a file (`@FILE`) or the input (`-`), which is waited for until this is
    cancelled. `field`: what it is called."""
    data = text.encode(errors="surrogateescape")
    try:
        if text == "-" or text.startswith("@"):
            # In a thread, which is given up: whoever presses Ctrl-C does not wait for what may never come.
            data = await anyio.to_thread.run_sync(_read, text, abandon_on_cancel=True)
    except OSError as error:
        raise ConfigurationError(
            f"{field}: {text[1:]!r} cannot be read ({error.strerror})", cause=error
        ) from None
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{field}: not JSON: {error}", cause=error) from None


def _read(text: str) -> bytes:
    # Not `sys.stdin`: its lock would be with the thread that was given up, at the end of the process.
    with os.fdopen(os.dup(0), "rb") if text == "-" else Path(text[1:]).open("rb") as file:
        return file.read()


def add_state_version(parser: argparse.ArgumentParser) -> None:
    """For what gives a state to a processor that this program knows by its name alone."""
    of = "of which version of its form the state is (1), as the processor's state_version counts them"
    parser.add_argument("--state-version", type=int, metavar="N", help=of)


def add_signal(parser: argparse.ArgumentParser) -> None:
    """For what sends a signal: its name, and a value."""
    parser.add_argument("name", metavar="NAME", help="the signal's, as in ctx.wait_for")
    parser.add_argument("value", metavar="JSON", nargs="?", help="its value: JSON, @FILE, or - for the input")
    add_reason(parser)


async def signal_value(options: argparse.Namespace) -> Any:
    """What is sent; `None` where nothing was given."""
    return None if options.value is None else await given_json(options.value, field="JSON")
