"""Who acts by the command line: whoever can reach the Redis may do all, and is named in the audit."""

from __future__ import annotations

import argparse
import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from am2z_trio.admin import Admin, Principal
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.limits import KIB
from am2z_trio.model.telling import cut
from am2z_trio.model.views.actions import Answer

from .connection import client
from .exits import DONE, REFUSED
from .output import Output


@asynccontextmanager
async def open_admin(options: argparse.Namespace) -> AsyncIterator[Admin]:
    """The service for operators, on the Redis that the options name; while a list is watched, the one with
    which the first look was taken."""
    if options.admin is not None:
        yield options.admin
        return
    async with client(options) as runtime:
        yield admin_over(runtime)


def admin_over(runtime: Runtime) -> Admin:
    """The same over a runtime that is entered."""
    return Admin(runtime, principal=Principal(name=operator(), role="admin"), face="cli")


def operator() -> str:
    """`user@host`, as the audit has it."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # In a container, a user without a name.
        user = "somebody"
    return cut(f"{user}@{socket.gethostname()}", KIB // 2)


def add_reason(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the audit")


def answered(options: argparse.Namespace, target: str, answer: Answer) -> int:
    """Say what became of an action; the exit status of that."""
    found = {"target": target, "done": answer.done, "text": answer.text, "job": answer.job}
    output = Output(options.json)
    if answer.done:
        output.done(f"{target}: {answer.text}", found, made=answer.job)
    else:
        output.told(f"{target}: {answer.text}", found)
    return DONE if answer.done else REFUSED


def require_one(options: argparse.Namespace, name: str) -> None:
    """Either a thing or `--where`."""
    if (getattr(options, name) is None) == (options.where is None):
        raise ConfigurationError(f"give either {name.upper()} or --where QUERY")
