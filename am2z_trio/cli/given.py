"""Values that are given to a command as JSON: in an argument, in a file, or on its input."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from am2z_trio.model.errors import ConfigurationError

from .operators import add_reason


def given_json(text: str, *, field: str = "--state") -> Any:
    """JSON from the argument, a file (`@FILE`) or the input (`-`). `field`: what it is called."""
    try:
        if text == "-":
            data = sys.stdin.buffer.read()
        else:
            data = (
                Path(text[1:]).read_bytes() if text.startswith("@") else text.encode(errors="surrogateescape")
            )
    except OSError as error:
        raise ConfigurationError(
            f"{field}: {text[1:]!r} cannot be read ({error.strerror})", cause=error
        ) from None
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{field}: not JSON: {error}", cause=error) from None


def add_state_version(parser: argparse.ArgumentParser) -> None:
    """For what gives a state to a processor that this program knows by its name alone."""
    of = "of which version of its form the state is (1), as the processor's state_version counts them"
    parser.add_argument("--state-version", type=int, metavar="N", help=of)


def add_signal(parser: argparse.ArgumentParser) -> None:
    """For what sends a signal: its name, and a value."""
    parser.add_argument("name", metavar="NAME", help="the signal's, as in ctx.wait_for")
    parser.add_argument("value", metavar="JSON", nargs="?", help="its value: JSON, @FILE, or - for the input")
    add_reason(parser)


def signal_value(options: argparse.Namespace) -> Any:
    """What is sent; `None` where nothing was given."""
    return None if options.value is None else given_json(options.value, field="JSON")
