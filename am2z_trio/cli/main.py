"""Arguments, signals, and one line per error."""

from __future__ import annotations

import argparse
import platform
import signal
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import trio
from anyio.abc import TaskStatus

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.runtime.local import LocalRuntime
from am2z_trio.engine.runtime.queue import QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import AM2ZError

from .demo import default_root, demo
from .display import say
from .loading import load
from .log import shown_if_nobody_logs
from .run import errors_beside, is_standard_output, run_lines
from .worker import serve

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # pyright: ignore[reportPrivateUsage]

INTERRUPTED: Final = 130
"""Exit status of a run that Ctrl-C or SIGTERM ended, as shells have it."""

DEMO_EXAMPLES: Final = """\
  am2z demo                          count the standard library's words on a private Redis
  am2z demo ~/src --local --json     another tree, in memory, figures as JSON
"""
RUN_EXAMPLES: Final = """\
  am2z run app.jobs:price --input orders.jsonl --output priced.jsonl --session-key customer
  am2z run app.jobs:price --input - --output - < orders.jsonl | head
"""
WORKER_EXAMPLES: Final = """\
  am2z worker app.main:runtime       serve the processors registered with `runtime`
"""


class _Layout(argparse.RawDescriptionHelpFormatter):
    """Wraps the description as usual and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


class _Version(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        try:
            own = version("am2z-trio")
        except PackageNotFoundError:
            own = "(not installed)"
        python = platform.python_version()
        print(f"am2z {own} (Python {python}, trio {version('trio')}, anyio {version('anyio')})")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with shown_if_nobody_logs():
            status: int = trio.run(options.command, options)
    except AM2ZError as error:
        say(f"am2z: {error.message}", error=True)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="am2z",
        description="Session-scoped processors, locally or over Redis.",
        epilog=_examples(DEMO_EXAMPLES + RUN_EXAMPLES + WORKER_EXAMPLES),
        formatter_class=_Layout,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show versions and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_run(commands)
    _add_worker(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="a map-reduce over real text files",
        epilog=_examples(DEMO_EXAMPLES),
        formatter_class=_Layout,
    )
    parser.description = (
        "Counts lines, words and bytes of all *.py files below PATH: a session per top-level "
        "package, a job per file, a job per session that adds up."
    )
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help="default: the standard library")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    _add_where(parser)
    parser.set_defaults(command=_demo)


def _add_run(commands: Commands) -> None:
    parser = commands.add_parser(
        "run",
        help="a processor over a file of JSON lines",
        epilog=_examples(RUN_EXAMPLES),
        formatter_class=_Layout,
    )
    parser.description = (
        "Runs MODULE:PROCESSOR on every line of a JSON lines file. Results keep the order of the input. "
        "A bad line goes to the errors file with its number and reason, and stops nothing."
    )
    parser.add_argument("target", metavar="MODULE:PROCESSOR", help="such as app.jobs:price or jobs.py:price")
    parser.add_argument("--input", type=Path, required=True, metavar="FILE.jsonl", help="-: standard input")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.jsonl", help="-: standard output")
    parser.add_argument(
        "--errors",
        type=Path,
        metavar="FILE.jsonl",
        help="default: OUTPUT with .errors.jsonl, if it is a file",
    )
    parser.add_argument("--session-key", metavar="FIELD", help="field of each line that names its session")
    _add_where(parser)
    parser.set_defaults(command=_run)


def _add_worker(commands: Commands) -> None:
    parser = commands.add_parser(
        "worker",
        help="serve a runtime's processors until a signal",
        epilog=_examples(WORKER_EXAMPLES),
        formatter_class=_Layout,
    )
    parser.description = (
        "Enters MODULE:RUNTIME, a QueueRuntime with processors registered, and serves until Ctrl-C or "
        "SIGTERM: then it claims no more and lets running jobs end. A second signal cancels them; they "
        "go back to their queues."
    )
    parser.add_argument("target", metavar="MODULE:RUNTIME", help="such as app.main:runtime")
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="how long running jobs may take; default: the runtime's",
    )
    parser.set_defaults(command=_worker)


def _examples(lines: str) -> str:
    return f"examples:\n{lines}"


def _add_where(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--redis", metavar="URL", help="use this Redis; default: a private, embedded one")
    where.add_argument("--local", action="store_true", help="in memory, without Redis")


def _runtime(options: argparse.Namespace) -> Runtime:
    if options.local:
        return LocalRuntime()
    if options.redis is not None:
        return QueueRuntime(options.redis)
    return QueueRuntime(embedded=True)


async def _demo(options: argparse.Namespace) -> int:
    root = default_root() if options.path is None else options.path

    async def work() -> int:
        async with _runtime(options) as runtime:
            return await demo(runtime, root, as_json=options.json)

    return await _until_signal(work)


async def _run(options: argparse.Namespace) -> int:
    kind: type[Processor[Any]] = Processor
    processor = load(options.target, kind, "processor")
    errors: Path | None = options.errors or errors_beside(options.output)

    async def work() -> int:
        async with _runtime(options) as runtime:
            counts = await run_lines(
                runtime,
                processor,
                source=options.input,
                target=options.output,
                errors=errors,
                session_key=options.session_key,
            )
        see = f", see {errors}" if errors is not None else ""
        failed = f"{counts.failed:,} failed{see}" if counts.failed else "none failed"
        piped = is_standard_output(options.output)
        where = "" if piped else f" in {options.output}"
        say(f"{counts.lines:,} lines: {counts.written:,} results{where}, {failed}", error=piped)
        return 1 if counts.failed else 0

    return await _until_signal(work)


async def _worker(options: argparse.Namespace) -> int:
    runtime: QueueRuntime = load(options.target, QueueRuntime, "runtime")
    return await serve(runtime, grace=options.grace)


async def _until_signal(work: Callable[[], Awaitable[int]]) -> int:
    """Run `work`; Ctrl-C or SIGTERM cancels it, so that it leaves in good order."""
    status = INTERRUPTED

    async def watch(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()

    # The group is the signal watcher's doing; a person wants the error.
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch, tasks.cancel_scope)
            status = await work()
            tasks.cancel_scope.cancel()
    return status
