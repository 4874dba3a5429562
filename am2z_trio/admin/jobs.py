"""Jobs: searched, looked at, and acted upon one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import anyio
import msgspec

from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.runtime.signals import new_signal
from am2z_trio.engine.submission.job import read_result
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.checks import require, require_count, require_seconds
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.evolution import of_version, unlabelled
from am2z_trio.model.limits import MAX_REASON_BYTES
from am2z_trio.model.options import BACKOFFS, Backoff, JobOptions
from am2z_trio.model.records import NO_STATE, JobSpec
from am2z_trio.model.telling import text_of
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.actions import Answer, JobShown, Waited
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.search import Count, Group, Page
from am2z_trio.policy.spans import span

from .asking import NOT_KEPT, Asking
from .fingerprints import groups_of
from .query import Input, Query, parse
from .redaction import NOTHING, Redaction
from .search import ANYTHING, Search

MOST_ROWS: Final = 500
"""Of one page."""

MOST_WAITED: Final = 300.0
"""Seconds that one call waits for a job's end."""

BY_INPUT: Final = "search by input"
"""What of a search the audit has."""

ASKED_AGAIN_MS: Final = 60_000
"""For which a search by input that is asked again is the same one."""


def reveals(query: Query, redaction: Redaction) -> bool:
    """Whether what a query finds tells something of payloads that not everybody may see."""
    return any(isinstance(term, Input) and not redaction.is_shown(term.path) for term in query.terms)


class JobDesk(Asking):
    """What an operator asks of jobs, and does with them."""

    async def search(self, query: str = "", *, limit: int = 50, cursor: str = "") -> Page:
        """Jobs that a query asks for (see `admin.query`; all of them for an empty one), at most `limit`, and
        the cursor with which they go on.

        A page looks at some 1,000 records and says how many of how many it has looked at; where it has found
        fewer than `limit`, there may be more behind its cursor all the same. One that has found nothing says
        what each term of the query has excluded of the jobs that it has looked at. Raises `ValidationError`
        for what is no query or no cursor of it.
        """
        await self._require_view("search")
        limit = require_count("limit", limit, most=MOST_ROWS)
        require(isinstance(cursor, str), "cursor", cursor, "must be a text that an earlier page has named")
        asked = parse(query)
        async with self._seeing(asked):
            return await self._search(asked, limit, cursor, tells_why=True)

    async def count(self, query: str, *, most: int = 20_000) -> Count:
        """How many jobs a query asks for, looking at about `most` records."""
        await self._require_view("count")
        return await self._count(parse(query), require_count("most", most, most=10_000_000))

    async def _count(self, asked: Query, most: int) -> Count:
        matched, cursor = 0, ""
        async with self._seeing(asked):
            while True:
                page = await self._search(asked, MOST_ROWS, cursor)
                matched, cursor = matched + len(page.rows), page.cursor
                if not cursor or page.looked_at >= most:
                    return Count(matched=matched, looked_at=page.looked_at, of=page.of, complete=not cursor)

    async def dead_groups(self, query: str = "status:dead", *, most: int = 20_000) -> list[Group]:
        """The jobs that a query asks for, by what has gone wrong with them; looking at about `most`
        records."""
        await self._require_view("dead_groups")
        most = require_count("most", most, most=10_000_000)
        asked, rows, cursor = parse(query), list[JobRow](), ""
        async with self._seeing(asked):
            while True:
                page = await self._search(asked, MOST_ROWS, cursor)
                rows, cursor = rows + page.rows, page.cursor
                if not cursor or page.looked_at >= most:
                    return groups_of(rows)

    async def _search(self, query: Query, limit: int, cursor: str, *, tells_why: bool = False) -> Page:
        """One page, `_seeing` what is asked for."""
        principal = self.principal
        bound = "\0".join((*principal.queues, "", *principal.sessions))
        search = Search(self._store, self._sees, lambda session: principal.is_for(session=session))
        queues = await self._queues()
        return await search.page(
            query, queues, limit=limit, cursor=cursor, now=self.now(), of=bound, tells_why=tells_why
        )

    async def _require_seen(self, query: Query) -> bool:
        """What may not be seen of payloads is not asked for: answers would tell it, letter by letter. Returns
        whether some of it is seen by those alone who may reveal."""
        for term in query.terms:
            if isinstance(term, Input) and self._redaction.is_hidden(term.path):
                rule = f"asks for input.{'.'.join(term.path)}, which a rule hides from everybody"
                raise ValidationError(f"query {rule}", context={"field": "query", "rule": rule})
        if not reveals(query, self._redaction):
            return False
        await self._require("reveal", BY_INPUT, query=str(query))
        return True

    @asynccontextmanager
    async def _seeing(self, query: Query) -> AsyncIterator[None]:
        """Around a search. One that tells of payloads what takes the permission to reveal is written down as
        that is: once a minute where one desk is asked the same again and again, cursors included."""
        text, now = str(query), self.now()
        if not await self._require_seen(query) or now - self._asked_by_input.get(text, 0) < ASKED_AGAIN_MS:
            yield
            return
        async with self._acting("reveal", BY_INPUT, query=text):
            yield
        # One that has failed has told nothing, and is written down again.
        lately = [(known, at) for known, at in self._asked_by_input.items() if now - at < ASKED_AGAIN_MS]
        self._asked_by_input = {**dict(lately), text: now}

    async def show(self, job_id: str, *, reveal: bool = False, reason: str = "") -> JobShown:
        """One job. Of its payloads only what rules show, unless they are to be revealed: that takes the
        permission, and is audited. Raises `JobNotFoundError`."""
        await self._require_view("show")
        require(isinstance(reveal, bool), "reveal", reveal, "must be True or False")
        reason = self._reason(reason)
        row = await self._row(job_id)
        if not reveal:
            return await self._shown(row, revealed=False)
        async with self._acting_on(row, "reveal", "reveal", reason):
            return await self._shown(row, revealed=True)

    async def _shown(self, row: JobRow, *, revealed: bool) -> JobShown:
        store = self._store
        input = output = NOT_KEPT
        traceback = ""
        if row.size:
            (spec,) = await store.inspection.specs([row.id])
            if spec is not None and spec.state != NO_STATE:
                input = self._payload(bytes(spec.state), revealed=revealed)
        if row.status in TERMINAL:
            (view,) = await store.view([row.id])
            if view is not None and view.settled is not None:
                result = read_result(
                    view.settled, ANYTHING, processor=row.processor, session=row.session or None
                )
                traceback = "" if result.error is None else result.error.remote_traceback
                if result.success:
                    output = self._redaction.shown(result.state, revealed=revealed)
        return JobShown(
            row=row,
            input=input,
            output=output,
            calls=await store.inspection.children(row.id),
            traceback=traceback,
        )

    async def wait(self, job_id: str, *, timeout: float = 10.0) -> Waited:
        """Wait for the end of a job, for `timeout` seconds at most (300), and say what has become of it. It
        changes nothing for the job. Of what it has returned only what rules show: `show` reveals it. Raises
        `JobNotFoundError`."""
        await self._require_view("wait")
        timeout = require_seconds("timeout", timeout)
        require(timeout <= MOST_WAITED, "timeout", timeout, f"must be at most {MOST_WAITED:g} seconds")
        row = await self._row(job_id)
        job = await self._runtime.job(row.id, object)
        result = None
        with anyio.move_on_after(timeout):
            result = await job.result()
        if result is None:
            return Waited(job=row.id, ended=False)
        if result.error is not None:
            error = result.error
            return Waited(job=row.id, ended=True, code=error.code, message=error.message)
        output = self._redaction.shown(result.state, revealed=False)
        return Waited(job=row.id, ended=True, success=True, output=output)

    # --- actions ----------------------------------------------------------------------------

    async def cancel(self, job_id: str, *, reason: str = "") -> Answer:
        """Cancel a job that waits or runs. One that waits has ended when this returns; one that runs ends at
        its next checkpoint."""
        reason = self._reason(reason)
        row = await self._row(job_id)
        async with self._acting_on(row, "cancel", "cancel", reason) as under:
            why = text_of(reason or f"cancelled by {self.principal.name}", MAX_REASON_BYTES)
            before = await self._store.cancel(row.id, why)
            told = {
                "active": "it runs, and ends at its next checkpoint",
                "waiting": "it waited, and has ended",
                "later": "it was delayed, and has ended",
            }
            under.result = answer = await self._answer(row.id, before in told, told.get(before or "", ""))
            return answer

    async def retry(self, job_id: str, *, reason: str = "") -> Answer:
        """Queue a dead letter again under its id, as if it had just come."""
        reason = self._reason(reason)
        row = await self._row(job_id)
        async with self._acting_on(row, "retry", "retry", reason) as under:
            (said,) = await self._store.revive([row.id])
            if said == "stopped":
                answer = Answer(done=False, text=f"its session {row.session!r} is being stopped")
            elif said == "unreadable":
                answer = Answer(done=False, text="its record has been spoilt: nothing is left that could run")
            else:
                answer = await self._answer(
                    row.id, said == "queued", "it waits, and runs again", "no dead letter"
                )
            under.result = answer
            return answer

    async def promote(self, job_id: str, *, reason: str = "") -> Answer:
        """Have a job that waits or is delayed begin next."""
        reason = self._reason(reason)
        row = await self._row(job_id)
        async with self._acting_on(row, "retry", "promote", reason) as under:
            before = await self._store.promote(row.id)
            told = {"waiting": "it is the next one", "later": "it waits no longer, and is the next one"}
            under.result = answer = await self._answer(row.id, before in told, told.get(before or "", ""))
            return answer

    async def signal(self, job_id: str, name: str, value: Any = None, *, reason: str = "") -> Answer:
        """Send a job a signal, which it waits for or will (`ctx.wait_for`). The value is not written down."""
        reason, signal = self._reason(reason), new_signal(name, value)
        row = await self._row(job_id)
        acting = self._acting(
            "enqueue",
            "signal",
            target=row.id,
            queue=row.processor,
            session=row.session,
            preview={"signal": signal.name},
            reason=reason,
        )
        async with acting as under:
            said = await self._store.waits.signal(row.id, signal)
            full = "too many signals are there that it has not taken" if said == "full" else ""
            told = f"signal {signal.name!r} is there for it"
            under.result = answer = await self._answer(row.id, said == "kept", told, full)
            return answer

    async def drop(self, job_id: str, *, reason: str = "") -> Answer:
        """Drop a dead letter: what it was given goes at once, its outcome a minute later."""
        reason = self._reason(reason)
        row = await self._row(job_id)
        async with self._acting_on(row, "purge", "drop", reason) as under:
            (dropped,) = await self._store.drop_dead_letters([row.id])
            under.result = answer = await self._answer(row.id, dropped, "it is dropped", "no dead letter")
            return answer

    async def edit(
        self,
        job_id: str,
        state: Any,
        *,
        options: JobOptions | None = None,
        timeout: float | None = None,
        reason: str = "",
    ) -> Answer:
        """Run what a job was asked for anew, with another state, as a new job; the old one stays as it is.

        `state` is plain data, of the version of its form that the old one was given; where the processor is
        registered here it is checked as its type, and a `ValidationError` says what does not fit. Session,
        priority, tags, how long its record is kept and the time from its submission to its deadline
        (`total_timeout`) are the old job's, and where what it was given is kept so are its timeout, attempts,
        backoff and whether it commits; what `options` and `timeout` (seconds) say takes their place. It
        begins now, whatever the old one's delay and expiry. `[hidden]` in the state, where a rule hides
        something from everybody, stands for what was given there.
        """
        require(options is None or isinstance(options, JobOptions), "options", options, "must be JobOptions")
        if timeout is not None:
            timeout = require_seconds("timeout", timeout, zero=False)
        reason = self._reason(reason)
        row = await self._row(job_id)
        (spec,) = await self._store.inspection.specs([row.id])
        kept = options_of(row, spec)
        chosen: dict[str, Any] = {
            "options": kept if options is None else options.over(kept),
            "timeout": spec.timeout if timeout is None and spec is not None else timeout,
        }
        session, given, version = row.session or None, _given(spec), _version_given(spec)
        return await self._submit(
            "edit", row.id, reason, row.processor, state, session, given=given, version=version, **chosen
        )

    async def enqueue(
        self,
        processor: Processor[Any] | str,
        state: Any = None,
        *,
        session: str | None = None,
        options: JobOptions | None = None,
        job_id: str | None = None,
        state_version: int | None = None,
        reason: str = "",
    ) -> Answer:
        """Submit a job that nobody waits for; the arguments are `runtime.submit`'s, `state` as in `edit`.
        `state_version`: of which version of its form that is, as by `at_version`; by default 1, or where the
        processor is registered here the one that it has."""
        name, reason, state = name_of(processor), self._reason(reason), of_version(state, state_version)
        if session is not None:
            session = require_session(session)
        chosen: dict[str, Any] = {"options": options, "job_id": job_id}
        return await self._submit("enqueue", name, reason, name, state, session, **chosen)

    async def _submit(
        self,
        action: Literal["edit", "enqueue"],
        target: str,
        reason: str,
        processor: str,
        state: Any,
        session: str | None,
        *,
        given: object = NOTHING,
        version: int = 0,
        **chosen: Any,
    ) -> Answer:
        acting = self._acting(
            action, action, target=target, queue=processor, session=session or "", reason=reason
        )
        async with acting as under:
            if action == "edit":
                state = self._redaction.put_back(state, given)
            typed = None if state is None else self._typed(processor, state, version)
            job = await self._runtime.submit(processor, typed, session=session, **chosen)
            answer = Answer(done=True, text=f"job {job.id} is accepted", job=job.id)
            under.result = answer
            return answer

    async def _answer(self, id: str, done: bool, told: str, other: str = "") -> Answer:
        if done:
            return Answer(done=True, text=told)
        (row,) = await self._store.inspection.rows([id])
        return Answer(done=False, text=moved_on(row, self.now(), other))


def options_of(row: JobRow, spec: JobSpec | None) -> JobOptions:
    """How a job was queued, as far as its record says; `spec`: what it was given, where that is kept."""
    kept = JobOptions(
        priority=row.priority,
        tags=row.tags,
        total_timeout=(row.deadline - row.at) / 1000 if 0 < row.at < row.deadline else None,
        remove_on_complete=row.on_complete,
        remove_on_fail=row.on_fail,
    )
    if spec is None:
        return kept
    backoff: float | Backoff | None = spec.backoff
    if spec.backoff is not None and spec.multiplier is not None:
        is_fixed = spec.multiplier == BACKOFFS["fixed"]
        backoff = Backoff(type="fixed" if is_fixed else "exponential", delay=spec.backoff)
    return msgspec.structs.replace(kept, attempts=spec.attempts, backoff=backoff, commit=spec.commits)


def _given(spec: JobSpec | None) -> object:
    """What a job was given, as plain data; `NOTHING` where that is not kept, or cannot be read."""
    if spec is None or spec.state == NO_STATE:
        return NOTHING
    try:
        return ANYTHING.decode(bytes(spec.state))
    except AM2ZError:
        return NOTHING


def _version_given(spec: JobSpec | None) -> int:
    """Of the form of what a job was given; 0 where that is not kept."""
    if spec is None or spec.state == NO_STATE:
        return 0
    found = unlabelled(spec.state)
    return 1 if found is None else found[0]


def moved_on(row: JobRow | None, now: int, other: str = "") -> str:
    """What is so now, of a job with which something could not be done."""
    if row is None:
        return "it is no longer kept"
    if row.status in TERMINAL:
        ago = f" {span((now - row.ended) / 1000)} ago" if row.ended else ""
        said = f"it {'was ' if row.status == 'cancelled' else 'has '}{row.status}{ago}"
        return f"{said}, and is {other}" if other else said
    said = {"active": "it runs", "waiting": "it waits", "later": "it is delayed"}.get(
        row.status, "it is spoilt"
    )
    return f"{said}, and is {other}" if other else said
