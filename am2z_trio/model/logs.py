"""What the engine says to a person: its loggers, one line per thing that went wrong, and for who asks for it
one per job that was run.

| logger | says | level |
|---|---|---|
| `am2z_trio.jobs` | an attempt of a job has failed: with its traceback, the user's frames of it | WARNING |
| | a job has failed since its workers were lost once too often | WARNING |
| | a processor falls back; a thread has outlived its job; a job keeps the event loop to itself | WARNING |
| | a hook of a retry policy has raised | ERROR |
| `am2z_trio.jobs.runs` | a job's code begins; it has completed, was cancelled, or goes back | INFO |
| `am2z_trio.tracing` | what a user's tracer has raised, once | ERROR |
| `am2z_trio.events` | a handler has raised | ERROR |
| | events were dropped: at most once a second, with their number | WARNING |
| `am2z_trio.results` | nobody serves a processor that callers wait for; somebody does again | WARNING |
| `am2z_trio.audit` | what an operator does, and what came of it | INFO |
| | it has failed, or was refused | WARNING |
| | what came of it could not be written down | ERROR |
| `am2z_trio.store.connections` | a connection to Redis is lost, or is back | WARNING |
| | the server refuses it | ERROR |
| `am2z_trio.worker` `.node` `.settler` `.store` … | what the store refuses, what is tried again | WARNING |
| | what a person has to see to | ERROR |

`ctx.log` is `am2z_trio.jobs`, too: who wants what jobs say at INFO, and not each that is run, sets the level
of `am2z_trio.jobs.runs` to WARNING. States and the data of events are never logged, what users' exceptions
say is. The engine configures no logging; `observe.logs` does where it is asked to.

A record is one line, whatever the names, ids and texts in it are, and where there is one a traceback
below it, indented: no text can pass for a line of its own, or steer a terminal. Both are bounded. Those of a
job have `job`, `processor`, `session` and `attempt` as attributes, of one that has failed `code`, too.
"""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from .limits import KIB, MAX_TRACEBACK_BYTES
from .telling import attempt, cut, cut_middle, described, text_of

MAX_LOGGED_BYTES: Final = 2 * KIB
"""Of one name, id or text in a log line."""

TRACE_BELOW: Final = "\n%s"
"""How the message of a record ends that has a traceback below its line."""

current_trace: Final[ContextVar[str]] = ContextVar("am2z trace", default="")
"""Id of the trace that the job in this task is a part of, told by its tracer; empty for none."""

UNFIT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What ends a line, steers a terminal, is not seen, turns the direction of what is, or cannot be encoded."""

_UNFIT_BUT_NEWLINE: Final = re.compile(UNFIT.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


@contextmanager
def quieter(name: str, level: int) -> Iterator[None]:
    """Within, this logger says nothing below this level: it is told otherwise."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def one_line(text: str) -> str:
    """The text with what does not belong into a line escaped."""
    return UNFIT.sub(_escaped, text)


def block(text: str) -> str:
    """Several lines to stand below another one: indented, with the same escaped but for their ends."""
    return textwrap.indent(_UNFIT_BUT_NEWLINE.sub(_escaped, text.rstrip()), "  ")


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def attributes(**given: object) -> dict[str, object]:
    """Attributes of a record. A user's format may name them, so texts are escaped here, too."""
    return {
        name: one_line(_short(value)) if isinstance(value, str) else value for name, value in given.items()
    }


class Log:
    """A logger for the engine's own code, by its name. Nothing that a user's handler or filter raises goes
    through, but for `KeyboardInterrupt`: it is no fault of the job that something is said about."""

    __slots__ = ("_logger", "is_enabled_for")

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self.is_enabled_for = self._logger.isEnabledFor
        """Whether anything of a level is said: for whoever would have to put it together first."""

    def debug(self, template: str, *args: object) -> None:
        self._log(logging.DEBUG, template, args, "", None)

    def info(self, template: str, *args: object, about: dict[str, object] | None = None) -> None:
        self._log(logging.INFO, template, args, "", about)

    def warning(
        self, template: str, *args: object, trace: str = "", about: dict[str, object] | None = None
    ) -> None:
        """`trace`: lines that stand below; `about`: attributes of the record."""
        self._log(logging.WARNING, template, args, trace, about)

    def error(
        self, template: str, *args: object, trace: str = "", about: dict[str, object] | None = None
    ) -> None:
        self._log(logging.ERROR, template, args, trace, about)

    def _log(
        self,
        level: int,
        template: str,
        args: tuple[object, ...],
        trace: str,
        about: dict[str, object] | None,
    ) -> None:
        try:
            if not self._logger.isEnabledFor(level):
                return
            told = [arg if type(arg) in (int, float) else one_line(_short(arg)) for arg in args]
            if trace:
                template += TRACE_BELOW
                told.append(block(cut_middle(trace, MAX_TRACEBACK_BYTES)))
            # The frame that the record names is the one which has something to say.
            self._logger.log(level, template, *told, extra=about, stacklevel=3)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            _complain(raised)


class JobLog(logging.LoggerAdapter[logging.Logger]):
    """What `ctx.log` is: a logger of the standard library's that says which job it is. As with the engine's
    own, nothing that a handler or filter raises goes through: what is logged does not fail the job."""

    def __init__(
        self,
        logger: logging.Logger,
        extra: dict[str, object],
        keep: Callable[[str, str], None] | None = None,
    ) -> None:
        """`keep`: who is given level and text of what is said at INFO and above, whatever is logged."""
        super().__init__(logger, extra)
        self._keep = keep

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        fields, trace = self.extra or {}, current_trace.get()
        if trace:
            fields = {**fields, "trace_id": trace}
        # Not instead of what the call itself gives.
        kwargs["extra"] = {**fields, **(kwargs.get("extra") or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        try:
            if self._keep is not None and level >= logging.INFO:
                self._keep(logging.getLevelName(level), _put_together(msg, args, kwargs.get("exc_info")))
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            _complain(raised)


def _put_together(msg: object, args: tuple[object, ...], about: object) -> str:
    """What a record says, in one text; of an exception its last words."""
    text = text_of(msg)
    if args:
        text = attempt(lambda: text % args, f"{text} {text_of(args)}")
    if about is True:
        about = sys.exc_info()[1]
    return f"{text}: {described(about, KIB)}" if isinstance(about, BaseException) else text


def _short(value: object) -> str:
    return cut(text_of(value, MAX_LOGGED_BYTES), MAX_LOGGED_BYTES)


def _complain(raised: BaseException) -> None:
    """As `logging` does where a handler of its own fails."""
    try:
        if logging.raiseExceptions:
            sys.stderr.write(f"am2z_trio: logging failed: {one_line(described(raised, KIB))}\n")
    except KeyboardInterrupt:
        raise
    except BaseException:
        return
