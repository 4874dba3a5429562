"""Where a RESP message ends: the boundaries in a byte stream, and the words at a message's start.

hiredis would hand out values; a proxy needs the very bytes. Source: the RESP3 specification,
https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md. Its streamed types
(`$?`, `*?`) are not known here: no Redis sends them.
"""

from __future__ import annotations

from typing import Final

_LINES: Final = frozenset(b"+-:_,#(")
_BLOBS: Final = frozenset(b"$!=")
# How many more elements belong to the message, for every one that the header announces.
_GROUPS: Final = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, ord("|"): 2}
_ATTRIBUTE: Final = ord("|")
_ARRAY: Final = ord("*")
# What a line typed by hand may begin with. A TLS record begins with 22.
_TYPED: Final = frozenset(range(32, 127)) | frozenset(b"\r\n\t")


class FrameScanner:
    """Cuts a stream into complete messages, whatever pieces it comes in. Never waits.

    Bytes that are not RESP set `broken`; from then on nothing is cut, and `take_rest` gives the
    bytes that belong to no complete message.

    Costs one pass over the headers: what is in a bulk string is never looked at, and what was
    looked at is not looked at again when more comes.
    """

    def __init__(self, *, typed: bool = False) -> None:
        """`typed`: the stream of requests, where a line without a header is a message too."""
        self.broken = False
        self._typed = typed
        self._buffer = bytearray()
        self._at = 0
        """Where the next header begins; beyond the buffer, while a bulk string is incomplete."""
        self._seen = 0
        """Up to here, no end of a line has been found after `_at`."""
        self._owed = 1
        """Elements that are still to come before the message is complete."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has arrived; returns the messages it completes, in order, with all their bytes."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start = 0
        at, seen, owed, size = self._at, self._seen, self._owed, len(buffer)
        while not self.broken:
            if owed == 0:
                if at > size:
                    break
                frames.append(bytes(buffer[start:at]))
                start, owed = at, 1
            if at >= size:
                break
            typed = self._typed and at == start and buffer[at] != _ARRAY
            mark = b"\n" if typed else b"\r\n"
            end = buffer.find(mark, max(at, seen))
            if end < 0:
                # Not beyond a CR whose LF may be the next byte to come.
                seen = max(at, size - 1)
                self.broken = buffer[at] not in _TYPED
                break
            if typed:
                self.broken = buffer[at] not in _TYPED
                at, owed = end + 1, 0
                continue
            kind = buffer[at]
            header = end + 2
            if kind in _LINES:
                at, owed = header, owed - 1
                continue
            count = _count(buffer[at + 1 : end])
            if count is None:
                self.broken = True
            elif kind in _BLOBS:
                at, owed = header if count < 0 else header + count + 2, owed - 1
            elif kind in _GROUPS:
                # An attribute stands before the element it describes, not in its place.
                owed += max(count, 0) * _GROUPS[kind] - (kind != _ATTRIBUTE)
                at = header
            else:
                self.broken = True
        del buffer[:start]
        self._at, self._seen, self._owed = at - start, max(seen - start, 0), owed
        return frames

    def take_rest(self) -> bytes:
        """Return the bytes that are in no complete message, and forget them."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._at, self._seen, self._owed = 0, 0, 1
        return rest


def first_words(frame: bytes, most: int) -> list[bytes]:
    """Return at most so many leading elements of a complete message: bulk strings and lines as text.

    Of a line typed by hand, its words. Of anything that is no list of texts, what can be read.
    """
    if frame[:1] not in (b"*", b">"):
        return frame.split(None, most)[:most]
    words: list[bytes] = []
    end = frame.index(b"\r\n")
    left = min(most, _count(frame[1:end]) or 0)
    while left > 0:
        at, left = end + 2, left - 1
        end = frame.index(b"\r\n", at)
        if frame[at] in _GROUPS:
            break
        if frame[at] not in _BLOBS:
            words.append(frame[at + 1 : end])
            continue
        size = max(_count(frame[at + 1 : end]) or 0, 0)
        words.append(frame[end + 2 : end + 2 + size])
        if frame[at + 1 : end] != b"-1":
            end += 2 + size
    return words


def length(frame: bytes) -> int:
    """Return how many elements a complete message announces; of a line typed by hand, its words."""
    if frame[:1] in (b"*", b">"):
        return _count(frame[1 : frame.index(b"\r\n")]) or 0
    return len(frame.split())


def _count(digits: bytes | bytearray) -> int | None:
    # Python refuses to read thousands of digits; Redis has no bulk of more than ten.
    if digits.isdigit() and len(digits) <= 18:
        return int(digits)
    return -1 if digits == b"-1" else None
