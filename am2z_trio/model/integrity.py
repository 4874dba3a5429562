"""Bytes that are not what was written are never data."""

from __future__ import annotations

from typing import Final

from .codec import checksum
from .errors import StateIntegrityError
from .records import StateRecord

MISSING: Final = "missing"
"""Stands in a record for a checksum that is not there although it should be."""


def is_whole(record: StateRecord) -> bool:
    """Whether its bytes are what was written."""
    return not record.exists or checksum(record.blob) == record.checksum


def verified(record: StateRecord, session: str) -> StateRecord:
    """Return the record; `StateIntegrityError` unless its bytes match its checksum."""
    if not is_whole(record):
        what = "its checksum is gone" if record.checksum == MISSING else "it does not match its checksum"
        raise StateIntegrityError(
            f"the stored state of session {session!r} was changed by something else: {what}",
            context={"session": session},
        )
    return record
