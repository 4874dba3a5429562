"""Who asks, and what they may: roles are sets of permissions, and a principal may be limited to some sessions
and queues."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal, get_args

import msgspec

from am2z_trio.model.checks import require, require_text
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.limits import MAX_NAME_BYTES, MAX_SESSION_BYTES

Permission = Literal[
    "view",
    "reveal",
    "cancel",
    "retry",
    "pause",
    "edit",
    "enqueue",
    "schedule",
    "stop_session",
    "drain",
    "purge",
    "restore_state",
    "silence",
    "audit",
]
"""`view` is to look, at all but payloads; `reveal` to look at those, which is audited. `retry` is to have
something run again or next; `edit` to have it run with another input; `purge` to drop what is kept or waits;
`audit` to read who has done what."""

PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)

_OPERATES: Final[tuple[Permission, ...]] = (
    *("view", "reveal", "cancel", "retry", "pause", "enqueue"),
    *("schedule", "stop_session", "drain", "silence"),
)

ROLES: Final[dict[str, frozenset[Permission]]] = {
    "viewer": frozenset({"view"}),
    "operator": frozenset(_OPERATES),
    "admin": frozenset(PERMISSIONS),
}

EVERYTHING: Final = ("*",)


class NotPermittedError(AM2ZError):
    """Whoever asks may not do this: `context` names the `permission` that is missing. Nothing was done, and
    it was written down that somebody has tried."""

    code = "NOT_PERMITTED"
    category = "configuration"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who asks and acts.

    `sessions` and `queues` are patterns, exact but for `*`, which stands for any characters. A job without a
    session is in the session '', so that only patterns such as `*` or an empty one are of it.
    """

    name: str
    """Stands in the audit: `ada@laptop`, an address, what the proxy has said."""
    role: str
    """What it is called in the audit. One of `ROLES` unless `permissions` are given."""
    permissions: frozenset[Permission] | None = None
    """A set of its own, whatever the role is called; `None`: the role's."""
    sessions: tuple[str, ...] = EVERYTHING
    queues: tuple[str, ...] = EVERYTHING

    def __post_init__(self) -> None:
        require_text("principal.name", self.name, most=MAX_NAME_BYTES)
        require_text("principal.role", self.role, most=MAX_NAME_BYTES)
        if self.permissions is None:
            known = ", ".join(ROLES)
            rule = f"must be one of {known}, or come with permissions of its own"
            require(self.role in ROLES, "principal.role", self.role, rule)
        else:
            _require_known(self.permissions)
        for field, patterns, most in (
            ("principal.sessions", self.sessions, MAX_SESSION_BYTES),
            ("principal.queues", self.queues, MAX_NAME_BYTES),
        ):
            require(isinstance(patterns, tuple), field, patterns, "must be a tuple of patterns")
            for pattern in patterns:
                require_text(field, pattern, most=most, empty=True)

    @property
    def may(self) -> frozenset[Permission]:
        """All that it may."""
        return ROLES[self.role] if self.permissions is None else self.permissions

    @property
    def sees_all(self) -> bool:
        """Whether neither sessions nor queues are kept from it."""
        return self.is_for_all()

    def is_for_all(self, *, queue: str | None = None, session: str | None = None) -> bool:
        """Whether all that is of this queue, whichever session, or of this session, whichever queue, is its
        business."""
        return (
            self.is_for(queue=queue, session=session)
            and (queue is not None or "*" in self.queues)
            and (session is not None or "*" in self.sessions)
        )

    def is_for(self, *, queue: str | None = None, session: str | None = None) -> bool:
        """Whether what is of this queue and session, as far as they are named, is any business of it."""
        return (queue is None or fits_any(queue, self.queues)) and (
            session is None or fits_any(session, self.sessions)
        )


def _require_known(permissions: Iterable[object]) -> None:
    rule = f"must be a frozenset of {', '.join(PERMISSIONS)}"
    require(isinstance(permissions, frozenset), "principal.permissions", permissions, rule)
    for one in permissions:
        require(one in PERMISSIONS, "principal.permissions", one, rule)


def fits_any(text: str, patterns: Collection[str]) -> bool:
    """Whether one of the patterns is of this text."""
    return "*" in patterns or any(fits(text, pattern) for pattern in patterns)


def fits(text: str, pattern: str) -> bool:
    """Whether the pattern is of all of the text: `*` stands for any characters, everything else for itself.
    Takes as long as both are, whatever they hold."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *between, last = others
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    place, end = len(first), len(text) - len(last)
    for part in between:
        # The first place is as good as any: what is left is the longest.
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True
