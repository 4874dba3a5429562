"""What went wrong, as a program is told: `{code, message, field, rule}`."""

from __future__ import annotations

import msgspec

from ..answers import Trouble


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request has no answer."""

    code: str
    """A stable word, of `am2z_trio.model.errors` or of the API itself: `NOT_FOUND`, `METHOD_NOT_ALLOWED`,
    `REFUSED`, `HTTP`, `TIMEOUT`, `INTERNAL`."""
    message: str
    field: str
    """What is wrong of what was asked; empty where it is none of its parts."""
    rule: str
    """What that must be."""

    @classmethod
    def of(cls, trouble: Trouble) -> Fault:
        """The same as is said to people."""
        return cls(code=trouble.code, message=trouble.text, field=trouble.field, rule=trouble.rule)
