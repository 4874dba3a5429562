"""`am2z web`: the console, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import anyio.to_thread

from am2z_trio.admin import ROLES, Principal
from am2z_trio.engine.runtime.queue import QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.observe.listen import address

from ..connection import client
from ..display import say
from ..exits import DONE
from ..loading import load
from ..operators import operator
from ..parsing import Commands, add_command

EXAMPLES = (
    "am2z web --open                    a console on this machine, in the browser",
    "am2z web app.main:runtime          with that program's Redis and options, and its types for new jobs",
    "am2z web --bind 0.0.0.0:8484 --host ops.example.com --authenticate ops.who:authenticate",
)

BIND: Final = "127.0.0.1:8484"


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "web",
        _web,
        "the console: see and act, in the browser",
        description="Serves the console until Ctrl-C or SIGTERM. On this machine alone it is opened by the "
        "link that it prints; at any other address somebody has to say who asks (--authenticate). With "
        "MODULE:RUNTIME it asks as that program would, instead of --redis and --prefix; it serves none of "
        "its processors, unless --work says so.",
        example=EXAMPLES,
    )
    parser.add_argument("target", nargs="?", metavar="MODULE:RUNTIME", help="such as app.main:runtime")
    parser.add_argument("--work", action="store_true", help="serve the runtime's processors here, too")
    add_web(parser)
    parser.add_argument("--open", action="store_true", help="open it in this machine's browser")
    parser.add_argument(
        "--authenticate",
        metavar="MODULE:NAME",
        help="what says who asks: a function of the request, or one that am2z_trio.web makes",
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which it may be asked for; may be given more than once",
    )


def add_web(parser: argparse.ArgumentParser) -> None:
    """Where the console is, and what whoever comes by its link may do."""
    parser.add_argument("--bind", default=BIND, metavar="HOST:PORT", help=f"default: {BIND}; port 0: any")
    parser.add_argument(
        "--role", choices=tuple(ROLES), default="admin", help="of who comes by the link; default: admin"
    )


async def _web(options: argparse.Namespace) -> int:
    # What is wrong with these is said before Redis is asked.
    who = None if options.authenticate is None else load(options.authenticate, object, "function")
    if who is not None and not callable(who):
        raise ConfigurationError(f"{options.authenticate!r} cannot be called: it has to say who asks")
    check(options.bind, authenticate=who, named=options.host)

    async with (
        _runtime(options) as runtime,
        console_of(
            runtime,
            options.bind,
            authenticate=who,
            named=options.host,
            role=options.role,
            where=runtime.place,
        ) as link,
        anyio.create_task_group() as tasks,
    ):
        if options.open:
            tasks.start_soon(_open, link)
        await runtime.wait_stopped()
        tasks.cancel_scope.cancel()
    return DONE


def _runtime(options: argparse.Namespace) -> Runtime:
    """What is looked at. It works only where somebody has said so: a look from a laptop is no worker."""
    if options.target is None:
        if options.work:
            raise ConfigurationError("--work needs MODULE:RUNTIME: its processors are served")
        return client(options)
    runtime: Runtime = load(options.target, Runtime, "runtime")
    return runtime if options.work or not isinstance(runtime, QueueRuntime) else runtime.client()


async def _open(url: str) -> None:
    """In a thread: a browser of a terminal stays until it is closed."""
    opened = await anyio.to_thread.run_sync(webbrowser.open, url, abandon_on_cancel=True)
    if not opened:
        say("there is no browser here that could be opened: the link is above", error=True)


def check(bind: str, *, authenticate: Callable[..., Any] | None, named: Sequence[str]) -> None:
    """Raises `ConfigurationError` where a console cannot, or may not, be served there."""
    try:
        from am2z_trio.web.security.hosts import is_loopback
        from am2z_trio.web.serving import hosts_of
    except ImportError:
        raise ConfigurationError("this needs the console: pip install 'am2z-trio[web]'") from None
    host, _ = address(bind)
    if authenticate is None and not is_loopback(host):
        raise ConfigurationError(
            f"{bind} is reached from other machines, and nothing says who asks: "
            "give --authenticate MODULE:NAME, or bind 127.0.0.1"
        )
    hosts_of(host, named)


@asynccontextmanager
async def console_of(
    runtime: Runtime,
    bind: str,
    *,
    authenticate: Callable[..., Any] | None = None,
    named: Sequence[str] = (),
    role: str = "admin",
    where: str = "",
) -> AsyncIterator[str]:
    """Serve the console of an entered runtime within the block, and say where it is. Gives the address that
    opens it, or the link."""
    from am2z_trio.web import console, loopback_token
    from am2z_trio.web.serving import hosts_of, serving

    host, port = address(bind)
    link = None
    if authenticate is None:
        authenticate = link = loopback_token(Principal(name=operator(), role=role))
    app = console(runtime, authenticate=authenticate, hosts=hosts_of(host, named), where=where)
    async with serving(app, host, port) as base:
        if link is None:
            opened_by = f"{base}/"
            say(f"console at {opened_by}; Ctrl-C ends", error=True)
        else:
            opened_by = link.link(base)
            say(f"console at {opened_by} (opens it once); Ctrl-C ends", error=True)
            link.used = lambda: say(f"for another browser: {link.link(base)}", error=True)
        yield opened_by
