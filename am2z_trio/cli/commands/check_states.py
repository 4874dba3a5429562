"""`am2z check-states`: whether a program still reads what it has stored, before it is deployed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from typing import Any, Final

import anyio
import msgspec

from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.snapshot import snapshot_states
from am2z_trio.engine.runtime.queue import QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.runtime.stored_states import MOST, StoredStates, check_stored
from am2z_trio.model.errors import ConfigurationError, ValidationError
from am2z_trio.model.forms import MOST_BYTES, StatesSnapshot
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.policy.compatibility import StatesChange, compare_states

from ..display import many, note, say
from ..exits import DONE, FAILED
from ..loading import load, load_all
from ..output import Output
from ..parsing import Commands, add_command

EXAMPLES = (
    "am2z check-states app.main --against states.json     in CI: can it read what the last release stored?",
    "am2z check-states app.main:runtime --write states.json     at a release: the file is to be committed",
    "am2z check-states app.main:runtime --redis redis://staging/0     can it read what is stored there?",
)

SIGNS: Final = {"fine": "✓", "warning": "!", "error": "✕"}

COLUMNS = [("processor", "processor"), ("type", "type"), ("version", "version"), ("migrates", "migrates")]


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "check-states",
        _check_states,
        "whether the program still reads what it has stored",
        description="Looks at the types of the states of all processors: of MODULE:RUNTIME those that are "
        "registered, of MODULE all that have a name there. The exit status is 1 if states that were stored "
        "could not be read, or would lose something. It changes nothing but the file of --write.",
        example=EXAMPLES,
        redis=False,
    )
    parser.add_argument(
        "target", metavar="MODULE[:RUNTIME]", help="such as app.main, app.main:runtime or jobs.py"
    )
    parser.add_argument("--write", metavar="FILE", help="write a snapshot of the types; -: standard output")
    parser.add_argument("--against", metavar="FILE", help="compare with a snapshot that was written before")
    parser.add_argument("--redis", metavar="URL", help="read a sample of what is stored in this Redis")
    parser.add_argument(
        "--prefix",
        help="with --redis: the namespace; default: that of MODULE:RUNTIME, else AM2Z_PREFIX, or am2z",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=MOST,
        metavar="N",
        help="jobs of each sort, and sessions, that are read of each processor; default: 1000",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


async def _check_states(options: argparse.Namespace) -> int:
    runtime, processors = _program(options.target)
    snapshot = snapshot_states(processors)
    where = _where(options, runtime)
    failed = False
    if options.against is not None:
        failed = _tell_changes(options, compare_states(await _read(options.against), snapshot))
    if where is not None:
        async with where:
            failed |= _tell_stored(options, await check_stored(where, processors, most=options.most))
    if options.write is not None:
        await _write(options, snapshot)
    elif options.against is None and where is None:
        rows = [{"processor": name, **_row(one)} for name, one in snapshot.processors.items()]
        Output(options.json).rows(COLUMNS, rows, none="there are no processors")
    return FAILED if failed else DONE


def _row(state: Any) -> dict[str, Any]:
    migrates = ", ".join(map(str, state.migrates))
    return {"type": state.type, "version": state.version, "migrates": migrates}


def _program(target: str) -> tuple[Runtime | None, list[Processor[Any]]]:
    """The runtime that is named, and the processors that are looked at."""
    if ":" in target:
        runtime: Runtime = load(target, Runtime, "runtime")
        return runtime, runtime.processors
    kind: type[Processor[Any]] = Processor
    found = [*load_all(target, kind), *(one for of in load_all(target, Runtime) for one in of.processors)]
    if not found:
        raise ConfigurationError(f"{target!r} has no processors: name the module, or MODULE:RUNTIME")
    return None, [*{id(one): one for one in found}.values()]


def _where(options: argparse.Namespace, runtime: Runtime | None) -> QueueRuntime | None:
    """A runtime that serves nothing, where what is stored is read; `None`: nowhere."""
    if options.redis is None:
        return None
    own = RuntimeOptions(prefix=os.environ.get("AM2Z_PREFIX", "am2z")) if runtime is None else runtime.options
    prefix, limit = options.prefix or own.prefix, own.max_state_bytes
    return QueueRuntime(options.redis, prefix=prefix, max_state_bytes=limit, workers=False)


async def _read(name: str) -> StatesSnapshot:
    try:
        async with await anyio.open_file(name, "rb") as file:
            # No more than what shows that it is too large.
            data = await file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"--against {name!r} cannot be read: {error.strerror}", cause=error
        ) from None
    try:
        return StatesSnapshot.read(data)
    except ValidationError as error:
        raise ConfigurationError(f"--against {name!r}: {error.message}", cause=error) from None


async def _write(options: argparse.Namespace, snapshot: StatesSnapshot) -> None:
    if options.write == "-":
        print(snapshot.text(), end="")
        return
    try:
        await anyio.Path(options.write).write_text(snapshot.text(), encoding="utf-8")
    except OSError as error:
        what = f"--write {options.write!r} cannot be written: {error.strerror}"
        raise ConfigurationError(what, cause=error) from None
    text = f"{many(len(snapshot.processors), 'processor')} in {options.write}"
    if options.json:
        Output(True).line(
            {"found": "snapshot", "file": options.write, "processors": len(snapshot.processors)}
        )
    else:
        note(text)


def _tell_changes(options: argparse.Namespace, changes: Iterable[StatesChange]) -> bool:
    """Whether one of them is an error."""
    changes = [*changes]
    for one in changes:
        if options.json:
            Output(True).line({"found": "change", **msgspec.structs.asdict(one)})
            continue
        say(f"{SIGNS[one.severity]} {one.processor} {one.path}: {one.text}")
        if one.remedy:
            say(f"    {one.remedy}")
    errors = sum(one.severity == "error" for one in changes)
    if not options.json:
        bad = f"{errors:,} {'error' if errors == 1 else 'errors'}: some of what is stored would not be read"
        say(bad if errors else "all states can be read")
    return errors > 0


def _tell_stored(options: argparse.Namespace, found: Iterable[StoredStates]) -> bool:
    """Whether there is something that cannot be read."""
    bad = False
    for one in found:
        bad = bad or bool(one.faults) or one.unread > 0
        if options.json:
            for fault in one.faults:
                Output(True).line({"found": "fault", **msgspec.structs.asdict(fault)})
            counts = {name: getattr(one, name) for name in ("jobs", "sessions", "unread", "whole", "counts")}
            Output(True).line({"found": "looked at", "processor": one.processor, **counts})
            continue
        for fault in one.faults:
            what = "session" if fault.where == "session" else f"{fault.where} job"
            say(f"✕ {fault.processor} {fault.path} of {what} {fault.id}: {fault.rule}: {fault.text}")
        sign = "!" if one.faults or one.unread else "✓"
        sample = "" if one.whole else ", a sample"
        faults = ", ".join(f"{count:,} {rule}" for rule, count in sorted(one.counts.items()))
        unread = f"; {one.unread:,} jobs whose record cannot be read" if one.unread else ""
        read = f"states of {one.jobs:,} jobs and {one.sessions:,} sessions{sample}"
        say(f"{sign} {one.processor}: {read}: {faults or 'all can be read'}{unread}")
    return bad
