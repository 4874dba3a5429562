"""Sessions: what runs in them, their states in versions, and both acted upon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.engine.runtime.signals import new_signal
from am2z_trio.engine.states.access import NodeStates
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.checks import require, require_count, require_seconds, require_text
from am2z_trio.model.codec import checksum
from am2z_trio.model.errors import StateIntegrityError
from am2z_trio.model.integrity import is_whole, verified
from am2z_trio.model.limits import KIB, MAX_SESSION_BYTES
from am2z_trio.model.records import LockPlace, LockStanding, StateRecord
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.preview import Preview
from am2z_trio.model.views.search import SessionPage
from am2z_trio.model.views.sessions import (
    LaneRow,
    SessionRow,
    SessionShown,
    StateShown,
    StoredBytes,
    VersionRow,
)

from .asking import Asking
from .changes import changes
from .principals import NotPermittedError
from .session_query import sessions_asked_for
from .session_search import SessionSearch

MOST_SESSIONS: Final = 200
"""Of one page, and of one stop of several."""

AT_ONCE: Final = 20
"""Sessions that are stopped at a time."""

MOST_JOBS: Final = 1_000
"""Jobs of one session that are counted by processor."""

MOST_VERSIONS: Final = 100
"""That are shown of one state, the newest."""

MOST_BYTES: Final = 64 * KIB
"""Of a stored state that are shown as bytes."""


class SessionDesk(Asking):
    """What an operator asks of sessions, and does with them."""

    # --- what is there ----------------------------------------------------------------------

    async def sessions(
        self, prefix: str = "", *, query: str = "", limit: int = 50, cursor: str = ""
    ) -> SessionPage:
        """Sessions that have jobs which have not ended, in no order: at most `limit`, whose ids begin with
        `prefix` and are what `query` asks for (`team-*`, `-team-boss`, `running>0`, `idle>10m`, `locked`:
        `admin.session_query`), and the cursor with which they go on. Those that are asked for by all of their
        ids are told at rest, too.

        A page looks at some 2,000 names, or some 500 sessions where more is asked for than ids; where it has
        found fewer than `limit` there may be more behind its cursor all the same."""
        await self._require_view("sessions")
        prefix = require_text("prefix", prefix, most=MAX_SESSION_BYTES, empty=True)
        asked = sessions_asked_for(query)
        limit = require_count("limit", limit, most=MOST_SESSIONS)
        cursor = require_text("cursor", cursor, most=100, empty=True)

        def is_theirs(session: str) -> bool:
            return session.startswith(prefix) and self.principal.is_for(session=session)

        return await SessionSearch(self._store.inspection, asked, is_theirs, self.now()).page(limit, cursor)

    async def session_rows(self, sessions: Sequence[str]) -> list[SessionRow]:
        """Sessions by their ids, with jobs or at rest; those that are the principal's business."""
        await self._require_view("session_rows")
        theirs = [one for one in _several(sessions) if self.principal.is_for(session=one)]
        return await self._store.inspection.session_rows(theirs)

    async def session(self, session: str) -> SessionShown:
        """One session: its jobs by processor, its lock, and the versions of its state that are kept. Of its
        state nothing is shown: that is `state`."""
        session = require_session(session)
        await self._require("view", "session", target=session, session=session)
        inspection = self._store.inspection
        (row,) = await inspection.session_rows([session])
        bad = ""
        try:
            verified(await inspection.stored_state(session), session)
        except StateIntegrityError as error:
            bad = error.message
        kept = await self._kept(session)
        versions = [_version(one, newest=one.version == row.version) for one in kept]
        lanes = Counter[tuple[str, str]]()
        for job in await inspection.rows(await inspection.of_session(session, MOST_JOBS)):
            if job is not None and self._sees(job):
                lanes[job.processor, job.status] += 1
        return SessionShown(
            row=row,
            lock=await self._lock(session),
            lanes=[
                LaneRow(
                    queue=name,
                    waiting=lanes[name, "waiting"],
                    active=lanes[name, "active"],
                    delayed=lanes[name, "later"],
                )
                for name in sorted({name for name, _ in lanes})
            ],
            versions=versions,
            bad=bad,
        )

    async def _lock(self, session: str) -> LockStanding:
        """The session's lock; the job that holds it, or waits for it, may be another session's, and nobody
        else's business."""
        lock = await self._store.states.lock_standing(session)
        if self.principal.sees_all:
            return lock
        asked = list(dict.fromkeys(filter(None, [lock.job, *(one.job for one in lock.line)])))
        rows = await self._store.inspection.rows(asked) if asked else []
        theirs = {row.id for row in rows if row is not None and self._sees(row)}
        line = (LockPlace(one.job if one.job in theirs else "", one.node) for one in lock.line)
        job = lock.job if lock.job in theirs else ""
        return msgspec.structs.replace(lock, job=job, line=tuple(line))

    async def state(
        self,
        session: str,
        version: int | None = None,
        *,
        against: int | None = None,
        reveal: bool = False,
        reason: str = "",
    ) -> StateShown | None:
        """One version of a session's state, the newest if none is named, and what it has changed of the one
        before, or of `against`. Of both only what rules show, unless it is to be revealed: that takes the
        permission, and is audited. `None`: it is not kept. Raises `StateIntegrityError` where what is stored
        is not what was written."""
        session, reason = require_session(session), self._reason(reason)
        version = None if version is None else require_count("version", version)
        against = None if against is None else require_count("against", against)
        require(isinstance(reveal, bool), "reveal", reveal, "must be True or False")
        await self._require("view", "state", target=session, session=session)
        if not reveal:
            return await self._state(session, version, against, revealed=False)
        seen = {"version": version, "against": against}
        acting = self._acting(
            *("reveal", "reveal_state"), target=session, session=session, preview=seen, reason=reason
        )
        async with acting:
            return await self._state(session, version, against, revealed=True)

    async def _state(
        self, session: str, version: int | None, against: int | None, *, revealed: bool
    ) -> StateShown | None:
        kept = await self._kept(session)
        numbers = {one.version: one for one in kept}
        # A version that is kept is there although the newest may have been spoilt since.
        is_kept = version is not None and version in numbers and is_whole(numbers[version])
        newest = None if is_kept else await self._states.store.read(session)
        if newest is not None and newest.exists:
            kept = [newest, *(other for other in kept if other.version != newest.version)]
            numbers[newest.version] = newest
        one = None if not numbers else numbers.get(max(numbers) if version is None else version)
        if one is None or (version is None and newest is not None and not newest.exists):
            return None
        _require_whole(one, session)
        # One that is spoilt is compared with nothing.
        earlier = [other for other in kept if other.version < one.version and is_whole(other)]
        other = (earlier[0] if earlier else None) if against is None else numbers.get(against)
        after = self._payload(one.blob, revealed=revealed)
        shown = StateShown(version=_version(one, newest=one.version == max(numbers)), value=after)
        if other is None:
            return shown
        _require_whole(other, session)
        before = self._payload(other.blob, revealed=revealed)
        if before.value is None and after.value is None and before.hidden and after.hidden:
            return msgspec.structs.replace(shown, before=other.version, hidden_before=before.hidden)
        found, same = changes(before.value, after.value)
        return msgspec.structs.replace(
            shown, before=other.version, changes=found, same=same, hidden_before=before.hidden
        )

    async def stored_bytes(self, session: str, *, reason: str = "") -> StoredBytes:
        """The bytes that are stored as the session's state, whether they are what was written or not. Takes
        the permission to reveal, and is audited. Raises `NotPermittedError` where they can be read, and a
        rule hides from everybody what is in them."""
        session, reason = require_session(session), self._reason(reason)
        acting = self._acting("reveal", "reveal_bytes", target=session, session=session, reason=reason)
        async with acting:
            record = await self._store.inspection.stored_state(session)
            self._require_nothing_hidden(session, record)
            return StoredBytes(
                version=record.version,
                checksum=record.checksum,
                actual=checksum(record.blob) if record.exists else "",
                size=len(record.blob),
                data=record.blob[:MOST_BYTES],
            )

    def _require_nothing_hidden(self, session: str, record: StateRecord) -> None:
        """Bytes have no paths, so that rules leave nothing out of them."""
        if record.exists and self._redaction.hides_of(self._payload(record.blob, revealed=True)):
            raise NotPermittedError(
                "nobody may see its bytes: a rule hides what is in them",
                context={"action": "reveal_bytes", "session": session},
            )

    async def verify_state(self, session: str) -> Answer:
        """Whether what is stored as the session's state is what was written, and so are the versions of it
        that are kept."""
        session = require_session(session)
        await self._require("view", "verify_state", target=session, session=session)
        kept = await self._kept(session)
        spoilt = ", ".join(str(one.version) for one in kept if not is_whole(one))
        of_them = f"of the versions that are kept, these are not what was written: {spoilt}" if spoilt else ""
        try:
            current = await self._states.store.read(session)
        except StateIntegrityError as error:
            return Answer(done=False, text=f"{error.message}; {of_them}" if of_them else error.message)
        if not current.exists:
            return Answer(done=True, text="it has no state")
        if spoilt:
            return Answer(done=False, text=f"version {current.version} is what was written; {of_them}")
        others = len([one for one in kept if one.version != current.version])
        told = f", and so are the {others} before it" if others else ""
        return Answer(done=True, text=f"version {current.version} is what was written{told}")

    async def _kept(self, session: str) -> list[StateRecord]:
        """The versions that are kept, the newest first; those that were spoilt, too."""
        return (await self._states.store.history(session, spoilt=True))[:MOST_VERSIONS]

    @property
    def _states(self) -> NodeStates:
        return self._runtime.node.states

    # --- what may be done -------------------------------------------------------------------

    async def preview_stop_session(self, session: str) -> Preview:
        """What `stop_session` would do."""
        session = require_session(session)
        await self._require("view", "preview_stop_session", target=session, session=session, whole=True)
        return await self._runtime.control.preview_stop_session(session)

    async def stop_sessions(
        self, sessions: Sequence[str], *, grace: float = 0.0, reason: str = ""
    ) -> list[Answer]:
        """Stop several sessions, some at a time: what became of each, in this order. One that may not be
        stopped keeps none of the others."""
        names = _several(sessions)
        grace, reason = require_seconds("grace", grace), self._reason(reason)
        found = dict[str, Answer]()

        async def stop(some: Sequence[str]) -> None:
            for name in some:
                try:
                    found[name] = await self.stop_session(name, grace=grace, reason=reason)
                except NotPermittedError as refusal:
                    found[name] = Answer(done=False, text=refusal.message)

        with unwrapped():
            async with current_host().open_nursery() as nursery:
                for first in range(min(AT_ONCE, len(names))):
                    nursery.start_soon(stop, names[first::AT_ONCE])
        return [found[name] for name in names]

    async def stop_session(self, session: str, *, grace: float = 0.0, reason: str = "") -> Answer:
        """Stop a session on every node, as `runtime.stop_session` does; its state stays."""
        session = require_text("session", session, most=MAX_SESSION_BYTES)
        grace, reason = require_seconds("grace", grace), self._reason(reason)
        counts = await self._store.session_counts(session)
        preview = {"active": counts.active, "waiting": counts.waiting, "delayed": counts.delayed}
        acting = self._acting(
            *("stop_session", "stop_session"),
            target=session,
            session=session,
            whole=True,
            preview=preview,
            reason=reason,
        )
        async with acting as under:
            await self._runtime.stop_session(session, grace)
            under.result = answer = Answer(done=True, text="none of its jobs runs or waits any more")
            return answer

    async def signal_session(self, session: str, name: str, value: Any = None, *, reason: str = "") -> Answer:
        """Send a session a signal, which one of its jobs takes: the one that has waited longest for it
        (`ctx.wait_for`). Without any it is kept for a week. The value is not written down."""
        session, reason, signal = require_session(session), self._reason(reason), new_signal(name, value)
        acting = self._acting(
            *("enqueue", "signal_session"),
            target=session,
            session=session,
            whole=True,
            preview={"signal": signal.name},
            reason=reason,
        )
        async with acting as under:
            said = await self._store.waits.signal_session(session, signal)
            told = {
                "kept": f"signal {signal.name!r} is there for the first of its jobs that waits for it",
                "full": "too many signals are there that none of its jobs has taken",
                "stopped": "it is being stopped",
            }
            under.result = answer = Answer(done=said == "kept", text=told[said])
            return answer

    async def restore_state(self, session: str, version: int, *, reason: str = "") -> Answer:
        """Make an earlier version of a session's state the newest one. Versions that there were are kept;
        where the state moves meanwhile, nothing is done. One that was spoilt is written over."""
        session = require_text("session", session, most=MAX_SESSION_BYTES)
        version, reason = require_count("version", version), self._reason(reason)
        states = self._states
        acting = self._acting(
            *("restore_state", "restore_state"),
            target=session,
            session=session,
            whole=True,
            preview={"version": version},
            reason=reason,
        )
        async with acting as under:
            try:
                current = await states.store.read(session)
            except StateIntegrityError:
                # What was spoilt is written over, whatever it has become.
                current = None
            kept = await states.store.history(session, spoilt=True)
            earlier = [one for one in kept if one.version == version]
            if current is not None and current.version == version:
                answer = Answer(done=False, text=f"version {version} is the newest one")
            elif not earlier or not earlier[0].exists:
                answer = Answer(done=False, text=f"version {version} is not kept (state_history)")
            elif not is_whole(earlier[0]):
                answer = Answer(done=False, text=f"version {version} is not what was written")
            else:
                written = await states.write(
                    session, earlier[0].blob, expected=None if current is None else current.mark
                )
                now = 0 if written.current is None else written.current.version
                done = written.status == "applied"
                told = f"version {now} is what {version} was" if done else f"it has moved, to version {now}"
                answer = Answer(done=done, text=told)
            under.result = answer
            return answer


def _several(sessions: object) -> list[str]:
    rule = f"must be a list of at most {MOST_SESSIONS} ids of sessions"
    fits = isinstance(sessions, list | tuple) and len(cast("Sequence[object]", sessions)) <= MOST_SESSIONS
    names = cast("Sequence[object]", sessions)
    require(fits, "sessions", names, rule)
    return [*dict.fromkeys(require_text("sessions", one, most=MAX_SESSION_BYTES) for one in names)]


def _require_whole(record: StateRecord, session: str) -> None:
    if not is_whole(record):
        raise StateIntegrityError(
            f"version {record.version} of the state of session {session!r} was changed by something else: "
            "it does not match its checksum",
            context={"session": session},
        )


def _version(record: StateRecord, *, newest: bool) -> VersionRow:
    return VersionRow(
        version=record.version,
        checksum=record.checksum,
        size=len(record.blob),
        updated=record.updated,
        by=record.by,
        newest=newest,
        spoilt=not is_whole(record),
    )
