"""Jobs that call jobs: as jobs of their own, durable, or inline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from am2z_trio.concurrency import Host
from am2z_trio.engine.claim import Claim, Stop
from am2z_trio.engine.events.emitter import Emitter
from am2z_trio.engine.processors.context import CallRequest, Context
from am2z_trio.engine.processors.processor import name_of
from am2z_trio.engine.processors.registry import Definition, Registry
from am2z_trio.engine.processors.result import Done
from am2z_trio.engine.states.job_state import JobState
from am2z_trio.engine.submission.outgoing import UNFOUNDED
from am2z_trio.engine.submission.request import Asked, SubmitRequest
from am2z_trio.engine.submission.submissions import MOST_REPEATS, Submissions, was_given_up, was_unfounded
from am2z_trio.model.checks import require, require_seconds
from am2z_trio.model.codec import RecordDecoder
from am2z_trio.model.error_records import error_of
from am2z_trio.model.errors import ConfigurationError, ResourceError
from am2z_trio.model.ids import inline_id
from am2z_trio.model.limits import MAX_CALLS
from am2z_trio.model.logs import Log
from am2z_trio.model.options import JobOptions
from am2z_trio.model.records import (
    EarlyOutcome,
    ResultRecord,
    Settlement,
    callers_below,
    queue_name,
    told_of_failure,
)


class Run(Protocol):
    """What runs a claimed job once, as `Executor.run` does."""

    async def __call__(
        self, claim: Claim, definition: Definition, *, stored: JobState | None
    ) -> Settlement | None: ...


logger: Final = Log("am2z_trio.jobs")

_decode_result: Final = RecordDecoder[ResultRecord](ResultRecord)


class Calls:
    """The calls of this node's running jobs."""

    def __init__(
        self,
        host: Host,
        submissions: Submissions,
        registry: Registry,
        emitter: Emitter,
        *,
        is_closed: Callable[[], bool],
    ) -> None:
        """`is_closed` says whether this node's jobs are being handed back, all of them."""
        self.host = host
        self._submissions = submissions
        self._registry = registry
        self._emitter = emitter
        self._is_closed = is_closed

    async def call(self, run: Run, claim: Claim, request: CallRequest, context: Context) -> Any:
        """Run a job for a running job and return what it returned, or raise its error."""
        root = claim.root
        root.called += 1
        if root.called > MAX_CALLS:
            raise _too_many(root)
        require(isinstance(request.inline, bool), "inline", request.inline, "must be True or False")
        if request.inline:
            return await self._run_inline(run, claim, request, context)
        early = self._early(claim) if request.early else None
        ask = self._ask(claim, request, early)
        async with root.holder.away(root):
            began, repeats = self.host.now(), 0
            result = await self._submissions.execute(request.processor, request.state, ask, began=began)
            while was_given_up(result.error) and repeats < MOST_REPEATS:
                ask = msgspec.structs.replace(ask, under="") if ask.under else ask
                result = await self._submissions.execute(request.processor, request.state, ask, began=began)
                repeats += 1
        if result.error is None:
            # Whatever it was told before, this job was accepted upon it.
            root.builds_on = tuple(early or ())
        elif was_unfounded(result.error):
            await self._run_again(root)
        return result.unwrap()

    async def send(self, claim: Claim, request: CallRequest) -> str:
        """Submit a job for a running job, which does not wait for it; returns its id."""
        root = claim.root
        root.called += 1
        if root.called > MAX_CALLS:
            raise _too_many(root)
        ask = msgspec.structs.replace(
            self._ask(claim, request, None), sends=True, by_key=request.by_key, waits=False
        )
        return await self._submissions.send(request.processor, request.state, ask)

    async def _run_again(self, root: Claim) -> None:
        """What it has called so far answers from its record, or is waited for."""
        logger.debug("job %s is run again: %s", root.grant.spec.id, UNFOUNDED)
        root.cancel(Stop("released", UNFOUNDED))
        await self.host.checkpoint()

    @staticmethod
    def _early(claim: Claim) -> list[EarlyOutcome] | None:
        """Where to note what is told early; `None` for a job within another one, whose outcome others of that
        see, and for a run that may have been told too much already."""
        grant = claim.grant
        return [] if claim.root is claim and grant.deliveries <= grant.attempt else None

    async def call_each(
        self, claim: Claim, many: int, call_of: Callable[[int], CallRequest], done: Done
    ) -> None:
        """Run jobs for a running job, none of them inline, side by side and in this one task; `done` is told
        of each as it ends, and whether to wait for the others."""
        root = claim.root
        room = MAX_CALLS - root.called
        root.called += many
        early = self._early(claim)

        def asked(number: int) -> Asked:
            if number >= room:
                raise _too_many(root)
            request = call_of(number)
            ask = self._ask(claim, request, early if request.early else None)
            return request.processor, request.state, ask

        async with root.holder.away(root):
            await self._submissions.execute_each(many, asked, done, partial(self._caller_survives, root))
        if early:
            root.builds_on = tuple(early)

    def _ask(self, claim: Claim, request: CallRequest, early: list[EarlyOutcome] | None) -> SubmitRequest:
        root = claim.root
        spec = root.grant.spec
        own_session = request.session is not None
        return SubmitRequest(
            session=request.session if own_session else spec.session or None,
            timeout=request.timeout,
            options=request.options,
            parent=claim.grant,
            root=spec.id,
            key=f"{claim.path}{request.key}",
            commits=own_session,
            builds_on=root.builds_on,
            early=early,
            caller_survives=partial(self._caller_survives, root),
            under=root.take_promised(queue_name(name_of(request.processor))) if root.promised else "",
        )

    def _caller_survives(self, root: Claim) -> bool:
        """Whether the job goes back to its queue, or is elsewhere already: its calls shall be there then."""
        if root.stop is not None:
            return root.stop.kind != "cancelled"
        return self._is_closed()

    # --- inline -----------------------------------------------------------------------------

    async def _run_inline(self, run: Run, claim: Claim, request: CallRequest, context: Context) -> Any:
        name = name_of(request.processor)
        definition = self._registry.get(name)
        if definition is None:
            raise ConfigurationError(
                f"{name!r} is not registered on this node, so it cannot be run inline",
                context={"processor": name},
            )
        child = self._inline_claim(claim, request, definition)
        settlement = await self._try_until_settled(run, child, definition, context.state)
        return definition.codec.decode(_outcome(settlement).state)

    def _inline_claim(self, claim: Claim, request: CallRequest, definition: Definition) -> Claim:
        """A job within a job: no store knows it, and it ends with what it is part of."""
        root, name = claim.root, definition.processor.name
        depth = self._submissions.preparation.depth_below(claim.grant)
        if request.state is None:
            raise ConfigurationError(f"{name!r} was called inline without a state")
        given, timeout = request.options, request.timeout
        require(given is None or isinstance(given, JobOptions), "options", given, "must be JobOptions")
        if timeout is not None:
            timeout = require_seconds("timeout", timeout, zero=False)
        usual = definition.processor.queue.default_job_options
        options = usual if given is None else given.over(usual)
        spec = msgspec.structs.replace(
            claim.grant.spec,
            id=inline_id(root.grant.spec.id, f"{claim.path}{request.key}"),
            processor=name,
            state=msgspec.Raw(definition.codec.encode(request.state)),
            timeout=timeout,
            attempts=options.attempts,
            backoff=options.first_backoff,
            multiplier=options.backoff_multiplier,
            depth=depth,
            callers=callers_below(claim.grant.spec),
            parent=root.grant.spec.id,
        )
        grant = msgspec.structs.replace(claim.grant, spec=spec, attempt=1, remaining=None)
        child = Claim(grant, claim.holder, self.host.now())
        child.caller, child.part_of, child.path = claim, root, f"{claim.path}{request.key}/"
        return child

    async def _try_until_settled(
        self, run: Run, child: Claim, definition: Definition, stored: JobState
    ) -> Settlement:
        """All its attempts, right here; each is told as those of other jobs are."""
        while True:
            grant = child.grant
            self._emitter.emit_of_job("job:started", {"attempt": grant.attempt}, grant.spec)
            settlement = await run(child, definition, stored=stored)
            assert settlement is not None
            child.holder.look_back(child, settlement)
            retried = settlement.outcome == "retry"
            failed = retried or settlement.outcome == "failed"
            told = told_of_failure(grant.attempt, settlement.reason if failed else "")
            event = "job:retrying" if retried else f"job:{settlement.outcome}"
            self._emitter.emit_of_job(event, told, grant.spec)
            if not retried:
                return settlement
            await self.host.sleep(settlement.delay)
            child.grant = msgspec.structs.replace(grant, attempt=grant.attempt + 1)


def _too_many(root: Claim) -> ResourceError:
    return ResourceError(
        f"{root.grant.spec.processor!r} has called {MAX_CALLS:,} jobs in this run, which is the limit",
        context={"calls": root.called, "limit": MAX_CALLS},
        retryable=False,
    )


def _outcome(settlement: Settlement) -> ResultRecord:
    record = _decode_result(settlement.result)
    if record.error is not None:
        raise error_of(record.error)
    return record
