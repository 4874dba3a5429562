"""Which events somebody asks for: a pattern, and perhaps one session and one job."""

from __future__ import annotations

from typing import NamedTuple

from am2z_trio.model.checks import require_text
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_SESSION_BYTES


class Filters(NamedTuple):
    """What is asked for; `None` for any."""

    pattern: str
    session: str | None = None
    job: str | None = None
    """In full."""


def checked(pattern: object, session: object, job: object) -> Filters:
    """The filters that a user means, in exact types."""
    return Filters(
        require_text("pattern", pattern, most=MAX_NAME_BYTES),
        None if session is None else require_text("session", session, most=MAX_SESSION_BYTES),
        None if job is None else require_text("job", job, most=MAX_ANY_ID_BYTES),
    )
