"""What the engine says to a person: its loggers, one line per thing that went wrong.

| logger | says | level |
|---|---|---|
| `am2z_trio.jobs` | an attempt of a job has failed: with its traceback, the user's frames of it | WARNING |
| | a job has failed since its workers were lost once too often | WARNING |
| | a processor falls back; a thread has outlived its job; a job keeps the event loop to itself | WARNING |
| | a hook of a retry policy has raised | ERROR |
| `am2z_trio.events` | a handler has raised | ERROR |
| | events were dropped: at most once a second, with their number | WARNING |
| `am2z_trio.results` | nobody serves a processor that callers wait for; somebody does again | WARNING |
| `am2z_trio.worker` `.node` `.settler` `.store` … | what the store refuses, what is tried again | WARNING |
| | what a person has to see to | ERROR |

A job that completes is not logged; `ctx.log` is `am2z_trio.jobs`, too. States and the data of events are
never logged, what users' exceptions say is. The engine configures no logging.

A record is one line, whatever the names, ids and texts in it are, and where there is one a traceback
below it, indented: no text can pass for a line of its own, or steer a terminal. Both are bounded. Those of a
failed job have `job`, `processor`, `session`, `attempt` and `code` as attributes.
"""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import MutableMapping
from typing import Any, Final

from .limits import KIB, MAX_TRACEBACK_BYTES
from .telling import cut, cut_middle, described, text_of

MAX_LOGGED_BYTES: Final = 2 * KIB
"""Of one name, id or text in a log line."""

_UNFIT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What ends a line, steers a terminal, is not seen or turns the direction of what is."""

_UNFIT_BUT_NEWLINE: Final = re.compile(_UNFIT.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def one_line(text: str) -> str:
    """The text with what does not belong into a line escaped."""
    return _UNFIT.sub(_escaped, text)


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

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, template: str, *args: object) -> None:
        self._log(logging.DEBUG, template, args, "", None)

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
                template += "\n%s"
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

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        # Not instead of what the call itself gives.
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        try:
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:
            _complain(raised)


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
