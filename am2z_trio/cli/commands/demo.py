"""`am2z demo`: a map-reduce over real text files.

One session per top-level package, one `count` job per file, one `total` job per session whose state
stays in the session. The figures are those of a plain loop over the same files.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

import anyio
import anyio.to_thread
import msgspec

from am2z_trio.engine.processors.decorator import processor
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.options import QueueOptions

from ..display import note, progress, say, table
from ..parsing import Commands, add_command
from ..places import add_place, place
from .web import BIND, check, console_of

EXAMPLES = (
    "am2z demo                          count the standard library's words on a private Redis",
    "am2z demo --web                    and watch it in the console",
    "am2z demo ~/src --local --json     another tree, in memory, figures as JSON",
)

AHEAD: Final = 500
"""Files of one session that are under way at a time: bounds memory, keeps every worker busy."""

SESSIONS_AT_ONCE: Final = 16

HISTORY: Final = 10_000
"""Events that are kept where it is shown in the console."""

PAUSE: Final = 0.5
"""Seconds between two sessions, once all have been counted."""

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
"""Folders that pip and Debian put into the standard library's, and that are no part of it."""


class Count(msgspec.Struct, frozen=True):
    """What a text holds; before it is counted, only where it is."""

    path: str = ""
    files: int = 0
    lines: int = 0
    words: int = 0
    size: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            "",
            self.files + other.files,
            self.lines + other.lines,
            self.words + other.words,
            self.size + other.size,
        )


class Total(msgspec.Struct, frozen=True):
    """A session's counts, and their sum once they are reduced."""

    name: str
    parts: list[Count]
    total: Count = Count()


def count_file(path: str) -> Count:
    """Count one file: what the job does, and what a check may do without the engine."""
    data = Path(path).read_bytes()
    return Count(path, 1, data.count(b"\n"), len(data.split()), len(data))


@processor(name="demo.count", timeout=60, queue=QueueOptions(concurrency=64))
def count(task: Count) -> Count:
    """Map: count one file. Reading blocks, so this is a plain `def`: it runs in a thread."""
    return count_file(task.path)


@processor(name="demo.total", timeout=60)
async def total(task: Total) -> Total:
    """Reduce: add a session's counts up."""
    return Total(task.name, [], sum(task.parts, Count()))


def find_sessions(root: Path) -> dict[str, list[str]]:
    """Python files by top-level package; modules that stand alone share the session `(modules)`.

    Below the standard library, what was installed next to it is left out.
    """
    if not root.is_dir():
        raise ConfigurationError(f"{str(root)!r} is not a directory")
    sessions: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if path.is_file() and not (root == default_root() and parts[0] in INSTALLED):
            sessions.setdefault(parts[0] if len(parts) > 1 else "(modules)", []).append(str(path))
    if not sessions:
        raise ConfigurationError(f"no *.py files below {str(root)!r}")
    return sessions


def default_root() -> Path:
    """The running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


async def demo(runtime: Runtime, root: Path, *, as_json: bool) -> int:
    """Run the demonstration; 0 if every job succeeded."""
    sessions = await anyio.to_thread.run_sync(find_sessions, root)
    files = sum(map(len, sessions.values()))
    runtime.register(count, total)
    totals: list[Total] = []
    failures: list[str] = []
    limiter = anyio.CapacityLimiter(SESSIONS_AT_ONCE)
    began = time.perf_counter()
    with progress("counting", files, quiet=as_json) as advance:

        async def one(name: str, paths: list[str]) -> None:
            async with limiter:
                parts: list[Count] = []
                for start in range(0, len(paths), AHEAD):
                    tasks = [Count(path) for path in paths[start : start + AHEAD]]
                    for task, result in zip(tasks, await runtime.execute_many(count, tasks), strict=True):
                        if result.error is None:
                            parts.append(msgspec.structs.replace(result.unwrap(), path=""))
                        else:
                            failures.append(f"{task.path}: {result.error}")
                    advance(len(tasks))
                reduced = await runtime.execute(total, Total(name, parts), session=f"demo/{name}")
                if reduced.error is None:
                    totals.append(reduced.unwrap())
                else:
                    failures.append(f"{name}: {reduced.error}")

        async with anyio.create_task_group() as tasks:
            for name, paths in sessions.items():
                tasks.start_soon(one, name, paths)
    seconds = time.perf_counter() - began
    _report(root, totals, failures, jobs=files + len(sessions), seconds=seconds, as_json=as_json)
    return 1 if failures else 0


def _report(
    root: Path, totals: Iterable[Total], failures: list[str], *, jobs: int, seconds: float, as_json: bool
) -> None:
    ranked = sorted(totals, key=lambda t: (-t.total.words, t.name))
    everything = sum((t.total for t in ranked), Count())
    if as_json:
        figures = {
            "root": str(root),
            "sessions": {t.name: _figures(t.total) for t in ranked},
            "total": _figures(everything),
            "jobs": jobs,
            "failed": len(failures),
            "seconds": round(seconds, 3),
            "jobs_per_second": round(jobs / seconds, 1),
        }
        print(json.dumps(figures, indent=2))
    else:
        shown = ranked[:15]
        rows: list[tuple[object, ...]] = [
            (t.name, t.total.files, t.total.lines, t.total.words, t.total.size) for t in shown
        ]
        rest = sum((t.total for t in ranked[15:]), Count())
        if rest.files:
            rows.append((f"… {len(ranked) - 15} more", rest.files, rest.lines, rest.words, rest.size))
        rows.append(("total", everything.files, everything.lines, everything.words, everything.size))
        print(table(("session", "files", "lines", "words", "bytes"), rows))
        print(f"\n{jobs:,} jobs in {seconds:.2f} s: {jobs / seconds:,.0f} jobs/s, {len(failures)} failed")
    for failure in failures[:20]:
        say(f"failed: {failure}", error=True)


async def go_on(runtime: Runtime, root: Path) -> NoReturn:
    """Count a session after the other, until cancelled: something to look at."""
    note("counted; it goes on, slowly, for whoever looks. Ctrl-C ends")
    sessions = await anyio.to_thread.run_sync(find_sessions, root)
    while True:
        for name, paths in sessions.items():
            tasks = [Count(path) for path in paths[:AHEAD]]
            parts = [one.unwrap() for one in await runtime.execute_many(count, tasks) if one.success]
            await runtime.execute(total, Total(name, parts), session=f"demo/{name}")
            await anyio.sleep(PAUSE)


def _figures(count: Count) -> dict[str, int]:
    return {"files": count.files, "lines": count.lines, "words": count.words, "bytes": count.size}


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "demo",
        _run,
        "a map-reduce over real text files",
        description="Counts lines, words and bytes of all *.py files below PATH: a session per top-level "
        "package, a job per file, a job per session that adds up.",
        example=EXAMPLES,
        redis=False,
    )
    parser.add_argument("path", nargs="?", type=Path, metavar="PATH", help="default: the standard library")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--web", action="store_true", help="show it in the console, and go on, slowly, until Ctrl-C"
    )
    parser.add_argument("--bind", metavar="HOST:PORT", help=f"of the console; default: {BIND}; port 0: any")
    add_place(parser)


async def _run(options: argparse.Namespace) -> int:
    root = default_root() if options.path is None else options.path

    bind = options.bind or BIND
    if options.web:
        check(bind, authenticate=None, named=())
    elif options.bind is not None:
        raise ConfigurationError("--bind goes with --web")

    if not options.web:
        async with place(options) as runtime:
            return await demo(runtime, root, as_json=options.json)
    async with (
        place(options, event_history=HISTORY) as runtime,
        console_of(runtime, bind, where="am2z demo"),
    ):
        await demo(runtime, root, as_json=options.json)
        return await go_on(runtime, root)
