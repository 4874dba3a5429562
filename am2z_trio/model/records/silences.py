"""Findings that somebody wants to hear no more of for a while."""

from __future__ import annotations

import msgspec


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that is not shown until then."""

    code: str
    target: str = ""
    """Empty: of whatever it is found."""
    until: int
    """Ms since the epoch, by the store's clock."""
    by: str = ""
    """Who has asked for it."""
    reason: str = ""

    def covers(self, code: str, target: str) -> bool:
        """Whether a finding of this code and target is one of those."""
        return self.code == code and self.target in ("", target)
