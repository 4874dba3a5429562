"""Log lines that say which job they are of, as text or as JSON.

```python
import logging
from am2z_trio.observe import logs

logs.install(json=True, level="INFO")       # or, with handlers of one's own:
for handler in logging.root.handlers:
    handler.addFilter(logs.JobFields())
```

Every record that is made in a job's code gets `job`, `session`, `processor`, `attempt`, `node` and, where the
job is traced, `trace_id`: those of libraries, too, and those in its nursery and in its thread. A call with
`inline=True` is part of the job that made it. What a record says itself (`extra=`) stays.

What `LineFormatter` and `JSONFormatter` write is one line per record, whatever is in it: what would end a
line, steer a terminal or turn the direction of a text is escaped, and further lines of a text, or of a
traceback, stand below it, indented. So no text can pass for a line of its own.

structlog takes `structlog_fields` as one of its processors.
"""

from __future__ import annotations

import json as encoder
import logging
import re
import sys
import textwrap
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import IO, Any, Final

from am2z_trio.engine.claim import current_node, running
from am2z_trio.model.checks import require
from am2z_trio.model.limits import KIB
from am2z_trio.model.logs import TRACE_BELOW, UNFIT, attributes, block, current_trace, one_line
from am2z_trio.model.telling import cut_middle, text_of

FIELDS: Final = ("job", "session", "processor", "attempt", "node", "trace_id")

MAX_MESSAGE_BYTES: Final = 32 * KIB
"""Of what one record says, a traceback included; beyond it, the midst is left out."""

MAX_EXTRA_BYTES: Final = 8 * KIB
"""Of one value that a call has given as `extra`."""

_PLAIN: Final = re.compile(r"[^\s\"'=\\]+")
"""A value that can stand behind `name=` as it is."""

_LEVELS: Final = {name: level for level in (10, 20, 30, 40, 50) for name in (logging.getLevelName(level),)}

_STANDARD: Final = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", *FIELDS})
"""What any record has; the others are what its call has given as `extra`."""


def job_fields() -> dict[str, Any]:
    """Which job's code this is; empty outside of any. Texts are escaped, and cut."""
    claim = running.get()
    if claim is None:
        return {}
    spec = claim.grant.spec
    return attributes(
        job=spec.id,
        session=spec.session,
        processor=spec.processor,
        attempt=claim.grant.attempt,
        node=current_node.get(),
        trace_id=current_trace.get(),
    )


def structlog_fields(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: the same fields, where the event does not have them."""
    for name, value in job_fields().items():
        if value != "":
            event.setdefault(name, value)
    return event


class JobFields(logging.Filter):
    """For a handler: it gives every record all of the fields, so that a format may name them; empty ones
    outside of jobs."""

    def filter(self, record: logging.LogRecord) -> bool:
        fields = job_fields()
        for name in FIELDS:
            if not hasattr(record, name):
                setattr(record, name, fields.get(name, ""))
        return True


class LineFormatter(logging.Formatter):
    """`2026-11-27T03:12:45.123Z WARNING app.orders: no lorry  job=a1b2 session=alice attempt=1`."""

    def format(self, record: logging.LogRecord) -> str:
        first, _, rest = _said(record).partition("\n")
        told = " ".join(f"{name}={_valued(value)}" for name, value in _told(record))
        head = f"{_time(record)} {record.levelname} {one_line(record.name)}: {one_line(first)}"
        line = f"{head}  {told}" if told else head
        return f"{line}\n{_below(rest)}" if rest else line


class JSONFormatter(logging.Formatter):
    """An object per line: `time`, `level`, `logger`, `message`, the fields of the job, what the call
    has given as `extra`, and `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        message, trace = _message(record), _traceback(self, record)
        if isinstance(record.msg, str) and record.msg.endswith(TRACE_BELOW):
            # The engine's own: what stands below its line is no part of that.
            message, _, trace = message.partition("\n")
            trace = textwrap.dedent(trace)
        told: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": cut_middle(message, MAX_MESSAGE_BYTES),
        }
        for name, value in _told(record):
            told.setdefault(name, _encodable(value))
        if trace:
            told["traceback"] = cut_middle(trace, MAX_MESSAGE_BYTES)
        line = UNFIT.sub(_escaped, encoder.dumps(told, ensure_ascii=False))
        # Half a surrogate pair becomes an escape that JSON knows.
        return line.encode("utf-8", "backslashreplace").decode()


def install(
    *, json: bool = False, level: int | str = logging.INFO, stream: IO[str] | None = None
) -> logging.Handler:
    """Have the root logger write lines to `stream` (standard error) from this level on, and return its
    handler. Called again, that takes the place of the last one; other handlers stay."""
    require(isinstance(json, bool), "json", json, "must be True or False")
    handler = handler_of(json=json, level=level, stream=stream)
    for earlier in [one for one in logging.root.handlers if isinstance(one, _Installed)]:
        logging.root.removeHandler(earlier)
    logging.root.addHandler(handler)
    logging.root.setLevel(handler.level)
    return handler


def handler_of(*, json: bool, level: int | str, stream: IO[str] | None = None) -> logging.Handler:
    """The handler that `install` installs."""
    handler = _Installed(sys.stderr if stream is None else stream)
    handler.setLevel(level_of(level))
    handler.setFormatter(JSONFormatter() if json else LineFormatter())
    handler.addFilter(JobFields())
    return handler


def level_of(level: object) -> int:
    """A level by its number or its name, in any case."""
    found = _LEVELS.get(level.upper()) if isinstance(level, str) else level
    is_level = isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= 100
    require(is_level, "level", level, f"must be {', '.join(_LEVELS)}, or a number of logging's")
    assert isinstance(found, int)
    return found


class _Installed(logging.StreamHandler[IO[str]]):
    """What is installed here, and so replaced."""


# --- what a record says ----------------------------------------------------------------------


def _message(record: logging.LogRecord) -> str:
    """Its text; arguments that do not fit are shown as they are, and lose no line."""
    try:
        return text_of(record.getMessage(), MAX_MESSAGE_BYTES)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"{text_of(record.msg)} {text_of(record.args)}"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts: list[str] = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    elif record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _said(record: logging.LogRecord) -> str:
    trace = _traceback(_TRACES, record)
    return cut_middle("\n".join(filter(None, [_message(record), trace])), MAX_MESSAGE_BYTES)


_TRACES: Final = logging.Formatter()


def _told(record: logging.LogRecord) -> list[tuple[str, Any]]:
    """Its fields, then what its call has given."""
    given = record.__dict__
    fields = [(name, given[name]) for name in FIELDS if given.get(name, "") != ""]
    return fields + [
        (one_line(text_of(name, 200)), value) for name, value in given.items() if name not in _STANDARD
    ]


def _below(rest: str) -> str:
    """Further lines, indented once: those of the engine's own are already."""
    indented = block(rest)
    is_done = all(line.startswith("    ") for line in indented.split("\n"))
    return re.sub("^  ", "", indented, flags=re.MULTILINE) if is_done else indented


def _encodable(value: object) -> object:
    """What JSON can hold of it: itself where that is so and not too long, otherwise what it says."""
    if isinstance(value, str):
        return text_of(value, MAX_EXTRA_BYTES)
    try:
        text = encoder.dumps(value, allow_nan=False, default=text_of)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return text_of(value, MAX_EXTRA_BYTES)
    return encoder.loads(text) if len(text) <= MAX_EXTRA_BYTES else text_of(value, MAX_EXTRA_BYTES)


def _valued(value: object) -> str:
    text = one_line(text_of(value, KIB))
    return text if _PLAIN.fullmatch(text) else encoder.dumps(text, ensure_ascii=False)


def _time(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _escaped(found: re.Match[str]) -> str:
    """As JSON has it. What ends a line and the like is escaped by the encoder already."""
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))
