"""What operators have done, and tried: one entry before, and one that says what became of it."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ..checks import require
from ..codec import encode_record
from ..limits import KIB, MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_REASON_BYTES
from ..telling import cut

Outcome = Literal["", "done", "failed", "refused", "cancelled"]
"""Empty in the first entry, which is written before anything is done. `cancelled`: whoever asked for it has
gone meanwhile, and it may have been done or not."""

MAX_PREVIEW_BYTES: Final = 4 * KIB
"""Of what an action was said to do, and of what came of it, as msgpack."""

MAX_ENTRY_BYTES: Final = 64 * KIB

_NEXT: Final = re.compile(r"([0-9]{1,16})-([0-9]{1,16})")

_Name = Annotated[str, Meta(max_length=MAX_NAME_BYTES)]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit. Texts are cut at their bounds (`AuditEntry.of`)."""

    id: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[0-9a-f]+$")]
    """Of this entry; another one with the same is the same, sent again."""
    at: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """Milliseconds since the epoch, by the store's clock; 0 in what is yet to be written."""
    of: str = ""
    """The entry before, whose outcome this is; empty for one that was written before anything was done, and
    where nothing was, since it was refused."""
    who: _Name
    role: _Name
    face: _Name
    """By which way it was asked for: `cli`, `web`, `api` ..."""
    action: _Name
    target: Annotated[str, Meta(max_length=MAX_ANY_ID_BYTES)] = ""
    """What it was done to: a job, a session, a queue ..."""
    query: Annotated[str, Meta(max_length=MAX_ANY_ID_BYTES)] = ""
    """Or the filter that names them."""
    preview: msgspec.Raw = msgspec.Raw(b"\xc0")
    """What it was said to do, before; in the second entry what came of it. Packed; nil for nothing."""
    reason: Annotated[str, Meta(max_length=MAX_REASON_BYTES)] = ""
    """Why, as the one who asked for it says; in the second entry why it has failed or was refused."""
    outcome: Outcome = ""

    @classmethod
    def made(
        cls,
        id: str,
        by: dict[str, str],
        about: dict[str, str],
        *,
        preview: object = None,
        reason: str = "",
        outcome: Outcome = "",
        of: str = "",
    ) -> AuditEntry:
        """One of texts as they come: cut where they are too long. Of data that is too large, or cannot be
        kept, that is said.

        `by`: `who`, `role` and `face`; `about`: `action`, `target` and `query`."""
        return cls(
            id=id,
            of=of,
            who=cut(by["who"], MAX_NAME_BYTES),
            role=cut(by["role"], MAX_NAME_BYTES),
            face=cut(by["face"], MAX_NAME_BYTES),
            action=cut(about["action"], MAX_NAME_BYTES),
            target=cut(about.get("target", ""), MAX_ANY_ID_BYTES),
            query=cut(about.get("query", ""), MAX_ANY_ID_BYTES),
            preview=_packed(preview),
            reason=cut(reason, MAX_REASON_BYTES),
            outcome=outcome,
        )


def _packed(data: object) -> msgspec.Raw:
    try:
        packed = encode_record(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        packed = encode_record("what cannot be kept")
    if len(packed) > MAX_PREVIEW_BYTES:
        packed = encode_record(f"{len(packed):,} bytes, of which none are kept")
    return msgspec.Raw(packed)


def before_number(text: object) -> tuple[int, int]:
    """What `AuditPage.next` says. Raises `ConfigurationError` for what it has never said."""
    found = _NEXT.fullmatch(text) if isinstance(text, str) else None
    require(found is not None, "before", text, "must be what a page says as its `next`")
    assert found is not None
    return int(found[1]), int(found[2])


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries, the newest first."""

    entries: list[AuditEntry]
    next: str = ""
    """With which `audit_page` goes on; empty: there are no older ones."""
    unreadable: int = 0
    """Entries in between that cannot be read."""
