"""What the command's exit status says, and which error means which."""

from __future__ import annotations

from typing import Final

from am2z_trio.admin import NotPermittedError
from am2z_trio.model.errors import (
    AM2ZError,
    JobNotFoundError,
    NetworkError,
    ProcessorNotFoundError,
    ScheduleNotFoundError,
    UnsupportedServerError,
)

DONE: Final = 0
FAILED: Final = 1
"""What was asked about has failed: a job, a check; or some lines of many."""
USAGE: Final = 2
"""An argument or a setting is wrong."""
MISSING: Final = 3
"""There is no such job, session, queue, node or schedule."""
REFUSED: Final = 4
"""Not permitted; or it needs `--yes`; or what was to be acted on has moved on."""
UNREACHABLE: Final = 5
"""Redis cannot be reached."""
INTERRUPTED: Final = 130
"""Ctrl-C or SIGTERM has ended it, as shells have it."""

LEGEND: Final = """\
exit status:
  0 done; 1 what was asked about has failed; 2 usage; 3 no such thing;
  4 refused; 5 Redis is out of reach; 130 interrupted"""


def exit_status(error: AM2ZError) -> int:
    """For a command that ends with this error."""
    if isinstance(error, UnsupportedServerError):
        # It has answered; what is wrong is what it is, or how it was set up.
        return USAGE
    if isinstance(error, NetworkError):
        return UNREACHABLE
    if isinstance(error, NotPermittedError):
        return REFUSED
    missing = isinstance(error, JobNotFoundError | ProcessorNotFoundError | ScheduleNotFoundError)
    return MISSING if missing else USAGE
