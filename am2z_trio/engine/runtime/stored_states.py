"""Whether what is stored can be read by this program: its states are decoded, and nothing else is done.

A sample, so that it costs the store little. Of what is found wrong no value is told, only where it is and
which rule it breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, get_args

import msgspec

from am2z_trio.engine.processors.dependencies import with_dependencies
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.processors.snapshot import evolution_of
from am2z_trio.model.checks import require_count
from am2z_trio.model.codec import MOST_FIELDS, StateCodec
from am2z_trio.model.errors import PayloadTooLargeError, StateIntegrityError, ValidationError
from am2z_trio.model.evolution import StateMigrationError, StateVersionError
from am2z_trio.model.integrity import verified
from am2z_trio.model.limits import MAX_TEXT_BYTES
from am2z_trio.model.records import NO_STATE, queue_name
from am2z_trio.model.telling import class_of, cut
from am2z_trio.model.unknown import shape_with_records, unknown_fields
from am2z_trio.model.views.jobs import JobRow, Source
from am2z_trio.store.ports import BATCH, Store

from .life import Life

SOURCES: Final[tuple[Source, ...]] = get_args(Source)

MOST: Final = 1_000
"""Jobs of each source, and sessions, of a processor that are looked at, unless somebody says otherwise."""

MOST_ALLOWED: Final = 100_000


class StateFault(msgspec.Struct, frozen=True, kw_only=True):
    """A stored state that the program cannot use as it is."""

    processor: str
    where: str
    """`session`, or of a job, in which it is: `waiting`, `later`, `active` or `dead`."""
    id: str
    """Of the session, or of the job."""
    rule: str
    """`unreadable`, `newer`, `migration`, `unknown_fields` or `integrity`."""
    path: str = "$"
    """Where in the state; keys of mappings, which may be a user's, are `[...]`."""
    text: str = ""
    """What is wrong, without any value."""


class StoredStates(msgspec.Struct, kw_only=True):
    """What was looked at of one processor."""

    processor: str
    jobs: int = 0
    """States of jobs that were read."""
    sessions: int = 0
    """Stored states of sessions that were read."""
    unread: int = 0
    """Jobs whose record cannot be read, whatever its state."""
    whole: bool = True
    """There are no others; else it is a sample."""
    counts: dict[str, int] = {}
    """Faults, by their rule."""
    faults: list[StateFault] = []


async def check_stored(
    runtime: Life, processors: Iterable[Processor[Any]], *, most: int = MOST
) -> list[StoredStates]:
    """Read what is stored of these processors' states: at most `most` jobs of each sort (waiting, delayed,
    running, dead letters), and the states of at most `most` sessions that these jobs, or those that have
    ended, belong to. Changes nothing. The runtime is entered; it need not know the processors."""
    most = require_count("most", most, most=MOST_ALLOWED)
    limit = runtime.options.max_state_bytes
    found = with_dependencies(processors).values()
    return [await _Reading(runtime.node.store, one, limit, most).read() for one in found]


class _Reading:
    def __init__(self, store: Store, processor: Processor[Any], limit: int, most: int) -> None:
        self._store = store
        self._queue = queue_name(processor.name)
        self._codec: StateCodec[Any] = StateCodec(
            processor.state_type, max_bytes=limit, evolution=evolution_of(processor)
        )
        self._most = most
        self._found = StoredStates(processor=processor.name, counts={}, faults=[])
        self._sessions = dict[str, bool]()
        """Those that the jobs work on; whether that is said by the job, or has to be by the state."""
        self._jobs = set[str]()

    async def read(self) -> StoredStates:
        for source in SOURCES:
            await self._read_source(source)
        for session, is_sure in self._sessions.items():
            await self._read_session(session, is_sure)
        return self._found

    async def _read_source(self, source: Source) -> None:
        at, seen = 0, 0
        while seen < self._most:
            page = await self._store.inspection.page(self._queue, source, at, min(BATCH, self._most - seen))
            seen += len(page.rows)
            await self._read_jobs(source, page.rows)
            if page.next is None:
                return
            at = page.next
        self._found.whole = False

    async def _read_jobs(self, source: Source, rows: Sequence[JobRow]) -> None:
        specs = await self._store.inspection.specs([row.id for row in rows])
        for row, spec in zip(rows, specs, strict=True):
            self._jobs.add(row.id)
            if spec is None:
                self._found.unread += source != "recent"
                self._meet(row.session, False)
                continue
            self._meet(spec.session, spec.commits or spec.state == NO_STATE)
            if source != "recent" and spec.state != NO_STATE:
                self._found.jobs += 1
                self._decode(bytes(spec.state), source, row.id)

    def _meet(self, session: str, is_sure: bool) -> None:
        if not session:
            return
        if session in self._sessions or len(self._sessions) < self._most:
            self._sessions[session] = self._sessions.get(session, False) or is_sure
        else:
            self._found.whole = False

    async def _read_session(self, session: str, is_sure: bool) -> None:
        record = await self._store.inspection.stored_state(session)
        if not record.exists or not (is_sure or record.by.job in self._jobs):
            return
        self._found.sessions += 1
        try:
            verified(record, session)
        except StateIntegrityError:
            self._tell("session", session, "integrity", "its bytes are not those that were written")
            return
        self._decode(record.blob, "session", session)

    def _decode(self, data: bytes, where: str, id: str) -> None:
        codec = self._codec
        try:
            codec.decode(data)
            lost = self._lost(data)
        except StateVersionError as error:
            version, known = error.context["version"], error.context["known"]
            self._tell(where, id, "newer", f"it is of version {version}, and the program knows {known}")
        except StateMigrationError as error:
            steps = f"from version {error.context['from']} to {error.context['to']}"
            why = error.__cause__
            text = f"there is no way {steps}" if why is None else f"the way {steps} raised {class_of(why)}"
            self._tell(where, id, "migration", text)
        except PayloadTooLargeError as error:
            self._tell(where, id, "unreadable", error.message)
        except ValidationError as error:
            text, path = redacted(error.message)
            self._tell(where, id, "unreadable", text, path)
        else:
            for path in lost:
                text = "the program does not know this field: it would be lost"
                self._tell(where, id, "unknown_fields", text, path)

    def _lost(self, data: bytes) -> list[str]:
        """Paths of the fields that would be lost if this were written again."""
        shape = shape_with_records(self._codec.type)
        if shape is None:
            return []
        plain = msgspec.msgpack.decode(self._codec.form(data))
        paths = islice(unknown_fields(shape, plain), MOST_FIELDS)
        return [*dict.fromkeys(cut(_KEY.sub("[...]", path), MAX_TEXT_BYTES) for path in paths)]

    def _tell(self, where: str, id: str, rule: str, text: str, path: str = "$") -> None:
        found = self._found
        found.counts[rule] = found.counts.get(rule, 0) + 1
        found.faults.append(
            StateFault(processor=found.processor, where=where, id=id, rule=rule, path=path, text=text)
        )


_KEY: Final = re.compile(r"""\[(?:b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|[^\]]*)\]""")
"""Of a mapping, or the index of a list."""

_PLACE: Final = re.compile(r" - at `([^`]*)`$")

_TYPE: Final = r"`[\w |]+`"
_SAYS: Final = re.compile(
    rf"Expected {_TYPE}(?:, got {_TYPE}| (?:[<>]=?|of length|that's a multiple of|matching regex|with) .*)?"
    r"|Object missing required field `[^`]*`|Object contains unknown field `[^`]*`"
)
"""What msgspec says of types alone. All else may quote the state."""


def redacted(message: str) -> tuple[str, str]:
    """What an error says of a state, without anything of the state, and the place that it names."""
    place = _PLACE.search(message)
    path = "$" if place is None else place.group(1)
    rest = message if place is None else message[: place.start()]
    says = re.search(rf"(?:{_SAYS.pattern})$", rest)
    if says is not None:
        return cut(says.group(), MAX_TEXT_BYTES), path
    if "is not readable" in rest:
        return "it is no msgpack", path
    return "its value is refused", path
