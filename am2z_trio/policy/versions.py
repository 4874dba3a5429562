"""Versions of servers that are known to be bad, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

Version = tuple[int, ...]


class Flaw(NamedTuple):
    """Why a server should not be used, and from which versions on it may be."""

    says: str
    mended: Mapping[str, tuple[Version, ...]]
    """By kind: the first version of each line that is without it; later lines are, too."""
    since: Version = (0, 0, 0)
    """The first version that has it."""


FLAWS: Final = (
    # CVE-2026-23479: Redis 7.2.0 to 8.6.2. 7.4.9, 8.2.6, 8.4.3 and 8.6.3 by their release notes
    # (github.com/redis/docs/pull/3292); of 7.2 a release that is known to be later (7.2.16, in the record of
    # CVE-2026-81934), of 8.0 none. Valkey by its 00-RELEASENOTES (github.com/valkey-io/valkey/pull/3631 to
    # 3634).
    Flaw(
        "whoever may use it may run code of his own there (CVE-2026-23479)",
        {
            "redis": ((7, 2, 16), (7, 4, 9), (8, 2, 6), (8, 4, 3), (8, 6, 3)),
            "valkey": ((7, 2, 13), (8, 0, 8), (8, 1, 7), (9, 0, 4)),
        },
        since=(7, 2, 0),
    ),
    # CVE-2025-49844: all versions with Lua. Redis 8.2.2 by the record itself, 6.2.20 by
    # github.com/cloudogu/redis/releases/tag/v6.2.20-1, the others by what users have told of the same day.
    # Valkey 8.0.6 by its 00-RELEASENOTES, 8.1.4 by github.com/valkey-io/valkey/issues/3473, and 7.2.11 of the
    # same day (github.com/valkey-io/valkey-io.github.io/pull/376); 9.0.0 is later.
    Flaw(
        "a script may break out of its sandbox there (CVE-2025-49844)",
        {
            "redis": ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
            "valkey": ((7, 2, 11), (8, 0, 6), (8, 1, 4)),
        },
    ),
)
"""The newest first: what is without that one is without those before it."""


def version_of(text: str) -> Version | None:
    """`7.0.15` as numbers; `None` for what is none."""
    found = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", text)
    return None if found is None else tuple(map(int, found.groups()))


def known_bad(kind: str, text: str) -> str:
    """Why a server of this version should not be used, and which may; empty if nothing is known."""
    version = version_of(text)
    found = None if version is None else _flaw_of(kind, version)
    if found is None:
        return ""
    flaw, better = found
    while (further := _flaw_of(kind, better)) is not None:
        better = further[1]
    return f"{flaw.says}; {'.'.join(map(str, better))} is the next version without that"


def _flaw_of(kind: str, version: Version) -> tuple[Flaw, Version] | None:
    """The newest flaw of a version, and the next one that is without it."""
    for flaw in FLAWS:
        better = _better(version, flaw.mended.get(kind, ())) if version >= flaw.since else None
        if better is not None:
            return flaw, better
    return None


def _better(version: Version, mended: tuple[Version, ...]) -> Version | None:
    """The next version that is mended; `None` where this one is."""
    own = next((fixed for fixed in mended if fixed[:2] == version[:2]), None)
    if own is not None:
        return None if version >= own else own
    return next((fixed for fixed in mended if fixed > version), None)
