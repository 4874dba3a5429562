"""A moment as people say it: how long ago, or when."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.arguments import refusal
from am2z_trio.model.checks import require_text
from am2z_trio.model.errors import ValidationError
from am2z_trio.policy.spans import seconds_of

from .query import Since, parse

MOST_BYTES: Final = 100

RULE: Final = (
    "must be a length of time, as in 90s, 2h or 1d, or a moment: 11:00, 2026-11-27, 2026-11-27T11:00"
)


def moment_of(field: str, text: object, now: int) -> int:
    """The moment that is meant: a length of time until `now`, or what queries say by `since:`, in UTC. In ms
    since the epoch, as `now`. Raises `ConfigurationError` for what is neither; `field`: what it is called."""
    said = require_text(field, text, most=MOST_BYTES)
    seconds = seconds_of(said)
    if seconds is not None:
        return max(0, now - round(seconds * 1000))
    try:
        terms = parse(f"since:{said}").terms
    except ValidationError:
        terms = ()
    if len(terms) == 1 and isinstance(terms[0], Since):
        return terms[0].resolved(now)
    raise refusal(field, said, RULE)
