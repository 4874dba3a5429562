"""Watching: why jobs do not run, what they have logged, what needs a person, and how the server is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from math import inf

from am2z_trio.concurrency import current_host
from am2z_trio.model.checks import require, require_seconds, require_text
from am2z_trio.model.errors import JobNotFoundError, ResourceError
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_REASON_BYTES
from am2z_trio.model.records import LogLine, Silence
from am2z_trio.model.transitions import UNDER_WAY
from am2z_trio.model.views.diagnosis import Diagnosis
from am2z_trio.model.views.findings import Check, Finding
from am2z_trio.policy.diagnosis import unknown_job
from am2z_trio.policy.findings import about
from am2z_trio.store.agreed import MOST_SILENCES

from . import doctor
from .asking import Asking
from .findings import FindingsWatch
from .following import LINGER, LOOK_EVERY, new_lines
from .redaction import HIDDEN


class WatchDesk(Asking):
    """What an operator asks when something is wrong."""

    async def explain(self, job_id: str) -> Diagnosis:
        """Why a job does not run, runs so long, or has ended as it has, as `runtime.explain` says it. Of one
        that the principal does not see it is that there is no record."""
        job_id = require_text("job_id", job_id, most=MAX_ANY_ID_BYTES)
        await self._require_view("explain", job_id)
        found = await self._runtime.explain(job_id)
        theirs = self.principal.is_for(queue=found.processor, session=found.session)
        return found if theirs else unknown_job(found.job)

    async def job_logs(self, job_id: str, *, reveal: bool = False, reason: str = "") -> list[LogLine]:
        """What a job has logged, as `runtime.job_logs` has it: when, and at which level. What it says may be
        anything that the job was given, in words of which no rule is: it is hidden, unless it is to be
        revealed, which takes the permission, and is audited. Raises `JobNotFoundError`."""
        await self._require_view("job_logs")
        require(isinstance(reveal, bool), "reveal", reveal, "must be True or False")
        reason = self._reason(reason)
        row = await self._row(job_id)
        if not reveal:
            found = await self._runtime.job_logs(row.id)
            return [LogLine(line.at, line.level, HIDDEN) for line in found]
        async with self._acting_on(row, "reveal", "job_logs", reason):
            return await self._runtime.job_logs(row.id)

    @asynccontextmanager
    async def follow_logs(
        self, job_id: str, *, reason: str = ""
    ) -> AsyncIterator[AsyncGenerator[LogLine, None]]:
        """The same as they come, from the oldest that is kept, until some seconds behind the job's end; of
        more lines within half a second than its nodes keep of a job, the last ones. They are revealed, which
        takes the permission, and is audited once. Raises `JobNotFoundError`."""
        await self._require_view("follow_logs")
        reason = self._reason(reason)
        row = await self._row(job_id)
        async with (
            self._acting_on(row, "reveal", "follow_logs", reason),
            aclosing(self._followed(row.id)) as lines,
        ):
            yield lines

    async def _followed(self, job_id: str) -> AsyncGenerator[LogLine, None]:
        host, seen, until = current_host(), list[LogLine](), inf
        while True:
            # Its status is read first: what it has logged before its end is in the look behind it.
            try:
                is_over = (await self._row(job_id)).status not in UNDER_WAY
                found = await self._runtime.job_logs(job_id)
            except JobNotFoundError:
                # It has ended, and is no longer kept.
                return
            for line in new_lines(seen, found):
                yield line
            seen, now = found, host.now()
            until = min(until, now + LINGER) if is_over else inf
            if now >= until:
                return
            await host.sleep(LOOK_EVERY)

    async def findings(self, *, silenced: bool = False, watch: FindingsWatch | None = None) -> list[Finding]:
        """What needs a person, the worst first: of the queues that are the principal's business, and of all
        nodes and the server; with `silenced`, also what was silenced.

        What has changed is found from the second look on. Those of this object are remembered in it, or in
        `watch`, which a face keeps for all who ask it.
        """
        require(isinstance(silenced, bool), "silenced", silenced, "must be True or False")
        require(watch is None or isinstance(watch, FindingsWatch), "watch", watch, "must be a FindingsWatch")
        await self._require_view("findings")
        found = await (watch or self._own_watch).look(silenced=silenced)
        return [one for one in found if self._concerns(one)]

    async def silence(self, code: str, seconds: float, *, reason: str, target: str = "") -> Silence:
        """Show findings of this code no more for so many seconds, to nobody who looks; of one target alone,
        if it is named. Who is limited to some queues names one of them; who is limited to some sessions may
        not.

        Raises `ResourceError` where `MOST_SILENCES` others are in force.
        """
        code = require_text("code", code, most=MAX_NAME_BYTES)
        seconds = require_seconds("seconds", seconds, zero=False)
        reason = require_text("reason", reason, most=MAX_REASON_BYTES)
        target = require_text("target", target, most=MAX_NAME_BYTES, empty=True)
        what = about(code) if target else "server"
        acting = self._acting(
            "silence",
            "silence",
            target=f"{code} {target}".rstrip(),
            queue=target if what == "queue" else None,
            session=target if what == "session" else None,
            whole=True,
            preview={"code": code, "target": target, "seconds": seconds},
            reason=reason,
        )
        async with acting as under:
            by, silences = self.principal.name, self._store.silences
            silence = await silences.put(code, target, seconds, by=by, reason=reason)
            if silence is None:
                raise ResourceError(f"{MOST_SILENCES} findings are silenced, which is all that may be")
            under.result = silence
            return silence

    async def examine(self) -> list[Check]:
        """Whether the server, and this process's rights on it, are fit for the work: every check, in the
        order in which they are to be read. Changes nothing."""
        await self._require_view("examine")
        return await doctor.examine(self._runtime)

    @cached_property
    def _own_watch(self) -> FindingsWatch:
        return FindingsWatch(self._runtime)

    def _concerns(self, one: Finding) -> bool:
        """The server and its nodes are everybody's."""
        if one.about == "queue":
            return self.principal.is_for(queue=one.target)
        if one.about == "session":
            return self.principal.is_for(session=one.target)
        return one.about != "schedule" or self.principal.is_for(queue=one.queue, session=one.session)
