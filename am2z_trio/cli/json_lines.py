"""Any processor over a file of JSON lines: what `am2z run` does.

Output lines come in the order of the input. A line that cannot be read, or whose job fails, goes to
the errors file with its number and reason, and stops nothing. Every line is written whole, so an
interrupted run leaves valid files.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, cast

import anyio
import msgspec

from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.errors import AM2ZError, ConfigurationError, ResourceError, ValidationError
from am2z_trio.model.places import where_not_finite

from .display import progress, say

WINDOW: Final = 1000
"""Lines under way at a time: bounds memory whatever the file's size."""

CHUNK: Final = 1 << 16
"""Bytes read at a time."""

STANDARD: Final = Path("-")
"""Standard input, or output."""

Entry = tuple[int, bytes, Job[Any] | AM2ZError]
"""A line's number, the line, and its job or why it has none."""


class LineError(msgspec.Struct, frozen=True):
    """One line of the errors file."""

    line: int
    """Counting from 1."""
    error: str
    """The error's code."""
    reason: str
    input: str
    """The line itself, shortened."""


class Counts:
    """What became of the lines."""

    __slots__ = ("failed", "lines", "written")

    def __init__(self) -> None:
        self.lines = self.written = self.failed = 0


# A pipe opens when somebody is at its other end.
_in_thread: Final = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)


async def run_lines(
    runtime: Runtime,
    processor: Processor[Any],
    *,
    source: Path,
    target: Path,
    errors: Path | None,
    session_key: str | None,
) -> Counts:
    """Run every line of `source`; results to `target`, failures to `errors`, if that is given.

    Each may be a pipe or a device, and `-` is standard input or output: what comes line by line is run and
    written line by line. Cancelled, it has written every result that had arrived, in order, and cancels the
    rest.
    """
    with ExitStack() as files:
        lines, is_file = await _open_lines(files, source, target, errors)
        runtime.register(processor)
        total = await _in_thread(_count_lines, source) if is_file and source != STANDARD else None
        out = files.enter_context(await _in_thread(_create, target, "--output"))
        bad = None if errors is None else files.enter_context(await _in_thread(_create, errors, "--errors"))
        advance = files.enter_context(progress(processor.name, total))
        counts, under_way = Counts(), deque[Entry]()
        send, receive = anyio.create_memory_object_stream[Entry](WINDOW)

        async def write_each() -> None:
            async for entry in receive:
                await _write(entry, out, bad, counts)
                under_way.popleft()
                advance(1)

        try:
            with unwrapped():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(write_each)
                    with send:
                        async for number, line in _numbered(lines, is_file):
                            if not line.strip():
                                advance(1)
                                continue
                            counts.lines += 1
                            entry = (number, line, await _submit(runtime, processor, line, session_key))
                            under_way.append(entry)
                            await send.send(entry)
        except BaseException:
            await _cancel(under_way)
            raise
        finally:
            receive.close()
    return counts


async def _open_lines(
    files: ExitStack, source: Path, target: Path, errors: Path | None
) -> tuple[BufferedReader, bool]:
    """The input, and whether it is a file. No output may be the same one, or another output."""
    lines = files.enter_context(await _in_thread(_open_input, source))
    is_file = stat.S_ISREG(os.fstat(lines.fileno()).st_mode)
    for path in (target, errors):
        if path is not None and is_file and _is_open(path, lines):
            raise ConfigurationError(f"{str(path)!r} is the input: it would be overwritten")
    if errors is not None and _same_place(target, errors):
        raise ConfigurationError(f"{str(target)!r} cannot be the output and the errors file at once")
    return lines, is_file


def is_standard_output(path: Path) -> bool:
    """Whether what is written there goes where the command's own words would."""
    try:
        return path == STANDARD or os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


def errors_beside(target: Path) -> Path | None:
    """Where bad lines go if nobody says so: beside the output, if that is a file; else nowhere but to
    standard error, as they do in any case."""
    if is_standard_output(target) or (target.exists() and not target.is_file()):
        return None
    return target.parent / f"{target.stem}.errors.jsonl"


def _open_input(path: Path) -> BufferedReader:
    if path == STANDARD:
        # Not `sys.stdin`: whoever imports the processor's module may have put something else there.
        return os.fdopen(os.dup(0), "rb")
    if path.is_dir() or not path.exists():
        raise ConfigurationError(f"--input: there is no file {str(path)!r}")
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigurationError(
            f"--input: {str(path)!r} cannot be read ({error.strerror})", cause=error
        ) from None


async def _numbered(lines: BufferedReader, is_file: bool) -> AsyncIterator[tuple[int, bytes]]:
    """The lines with their numbers, without a byte-order mark in front."""
    number = 0
    async for some in _in_file(lines) if is_file else _in_pipe(lines):
        for line in some:
            number += 1
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


async def _in_file(lines: BufferedReader) -> AsyncIterator[list[bytes]]:
    while some := lines.readlines(CHUNK):
        yield some


async def _in_pipe(lines: BufferedReader) -> AsyncIterator[list[bytes]]:
    begun: list[bytes] = []
    # Who cancels does not wait for what may never come; the thread is given up.
    while data := await anyio.to_thread.run_sync(lines.raw.read, CHUNK, abandon_on_cancel=True):
        first, *others = data.split(b"\n")
        begun.append(first)
        if others:
            last = others.pop()
            yield [b"".join(begun), *others]
            begun = [last]
    yield [b"".join(begun)]


def _is_open(path: Path, file: BufferedReader) -> bool:
    try:
        found = os.fstat(1) if path == STANDARD else path.stat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(file.fileno()))


def _same_place(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other) and not one.is_char_device()


def _create(path: Path, option: str) -> IO[bytes]:
    if is_standard_output(path):
        # As it was opened: what is there stays, and what others write there does.
        return os.fdopen(os.dup(1), "wb", buffering=0)
    try:
        return path.open("wb", buffering=0)
    except OSError as error:
        raise ConfigurationError(
            f"{option}: {str(path)!r} cannot be written ({error.strerror})", cause=error
        ) from None


def _append(file: IO[bytes], line: bytes) -> None:
    """Write a whole line, or none of it. A pipe or a full disk may take only a part at first."""
    written = 0
    try:
        while written < len(line):
            written += file.write(line[written:])
    except OSError as error:
        if written and file.seekable():
            file.truncate(file.tell() - written)
        raise ResourceError(f"{file.name!r} cannot be written ({error.strerror})", cause=error) from None


def _count_lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: lines.read(1 << 20), b""))


async def _submit(
    runtime: Runtime, processor: Processor[Any], line: bytes, session_key: str | None
) -> Job[Any] | AM2ZError:
    try:
        value = cast(object, msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return ValidationError(f"not JSON: {error}")
    if value is None:
        return ValidationError("null is no state")
    session: str | None = None
    if session_key is not None:
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        found = fields.get(session_key)
        # True is an int in Python, and no name for a session.
        if not isinstance(found, str | int) or isinstance(found, bool) or found == "":
            return ValidationError(f"no text or number in the field {session_key!r} (--session-key)")
        session = str(found)
    try:
        return await runtime.submit(processor, cast(Any, value), session=session)
    except AM2ZError as error:
        return error


async def _cancel(entries: Iterable[Entry]) -> None:
    with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 2):
        for _, _, job in entries:
            if isinstance(job, Job):
                await job.cancel("the run was interrupted")


async def _write(entry: Entry, out: IO[bytes], bad: IO[bytes] | None, counts: Counts) -> None:
    number, line, job = entry
    error: AM2ZError | None
    data = b""
    if isinstance(job, Job):
        result = await job.result()
        error = result.error
        if error is None:
            try:
                data = msgspec.json.encode(result.state)
            except (TypeError, ValueError) as unwritable:
                error = ValidationError(f"the result cannot be written as JSON: {unwritable}")
            else:
                error = _refuse_infinities(result.state, data)
    else:
        error = job
    # One write per line, unbuffered: whatever ends this process, the file ends with a whole line.
    if error is None:
        _append(out, data + b"\n")
        counts.written += 1
        return
    text = line.decode(errors="replace").rstrip("\r\n")
    if bad is not None:
        _append(bad, msgspec.json.encode(LineError(number, error.code, error.message, text[:500])) + b"\n")
    say(f"line {number}: {error.message}", error=True)
    counts.failed += 1


def _refuse_infinities(state: object, data: bytes) -> ValidationError | None:
    # Written as null, or as a text where it is a key.
    where = where_not_finite(state) if b"null" in data or b'inf"' in data else None
    if where is None:
        return None
    return ValidationError(f"the result cannot be written as JSON: infinity at {where}")
