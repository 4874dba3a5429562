"""`am2z run`: any processor over a file of JSON lines.

Output lines come in the order of the input. A line that cannot be read, or whose job fails, goes to
the errors file with its number and reason, and stops nothing. Every line is written whole, so an
interrupted run leaves valid files.
"""

from __future__ import annotations

import codecs
import os
from collections import deque
from pathlib import Path
from typing import IO, Any, Final, cast

import anyio
import msgspec

from am2z_trio.engine.job import Job
from am2z_trio.engine.processor import Processor
from am2z_trio.engine.runtime import Runtime
from am2z_trio.model.errors import AM2ZError, ConfigurationError, ResourceError, ValidationError

from .display import progress, say

WINDOW: Final = 1000
"""Lines under way at a time: bounds memory whatever the file's size."""


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


async def run_lines(
    runtime: Runtime,
    processor: Processor[Any],
    *,
    source: Path,
    target: Path,
    errors: Path,
    session_key: str | None,
) -> Counts:
    """Run every line of `source`; results to `target`, failures to `errors`.

    Cancelled, it has written every result that had arrived, in order, and cancels the rest.
    """
    if not await anyio.Path(source).is_file():
        raise ConfigurationError(f"--input: there is no file {str(source)!r}")
    for path in (target, errors):
        if await anyio.Path(path).exists() and await anyio.Path(path).samefile(source):
            raise ConfigurationError(f"{str(path)!r} is the input: it would be overwritten")
    if _same_place(target, errors):
        raise ConfigurationError(f"{str(target)!r} cannot be the output and the errors file at once")
    runtime.register(processor)
    counts = Counts()
    total = await anyio.to_thread.run_sync(_count_lines, source)
    with (
        source.open("rb") as lines,
        _create(target, "--output") as out,
        _create(errors, "--errors") as bad,
        progress(processor.name, total) as advance,
    ):
        under_way: deque[tuple[int, bytes, Job[Any] | AM2ZError]] = deque()
        try:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901
                if not line.strip():
                    advance(1)
                    continue
                counts.lines += 1
                under_way.append((number, line, await _submit(runtime, processor, line, session_key)))
                if len(under_way) >= WINDOW:
                    await _write(under_way.popleft(), out, bad, counts)
                    advance(1)
            while under_way:
                await _write(under_way.popleft(), out, bad, counts)
                advance(1)
        except BaseException:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 2):
                for _, _, job in under_way:
                    if isinstance(job, Job):
                        await job.cancel("the run was interrupted")
            raise
    return counts


def _same_place(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other) and not one.is_char_device()


def _create(path: Path, option: str) -> IO[bytes]:
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


async def _write(
    entry: tuple[int, bytes, Job[Any] | AM2ZError], out: IO[bytes], bad: IO[bytes], counts: Counts
) -> None:
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
        error = job
    # One write per line, unbuffered: whatever ends this process, the file ends with a whole line.
    if error is None:
        _append(out, data + b"\n")
        counts.written += 1
        return
    text = line.decode(errors="replace").rstrip("\r\n")
    _append(bad, msgspec.json.encode(LineError(number, error.code, error.message, text[:500])) + b"\n")
    say(f"line {number}: {error.message}", error=True)
    counts.failed += 1
