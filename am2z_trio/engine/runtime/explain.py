"""Why a job does not run, runs so long, or has ended as it has."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.checks import require, require_text
from am2z_trio.model.codec import RecordDecoder
from am2z_trio.model.limits import MAX_ANY_ID_BYTES
from am2z_trio.model.records import StackQuestion
from am2z_trio.model.views.diagnosis import Diagnosis
from am2z_trio.model.views.stack import JobStack
from am2z_trio.policy.diagnosis import diagnose, unknown_job
from am2z_trio.policy.whereabouts import located, node_to_ask, unlocated

from .life import Life

_decode_stack: Final = RecordDecoder[JobStack | None](JobStack | None)


class ExplainMethods(Life):
    """What a runtime's user may ask about one job, whoever has submitted it."""

    async def explain(self, job_id: str, *, ask_node: bool = True) -> Diagnosis:
        """Why the job does not run, runs so long, or has ended as it has; and what to do about it.

        For one that has not begun: every gate on its way to a worker's code, in the order in which it meets
        them. Read in one step of the store, which changes nothing, and of bounded work whatever the backlog;
        true at that time (`Diagnosis.at`). It never says that a job will or will not be granted where the
        next claim does otherwise. A job that nothing is known of is no error: the verdict says so. Raises
        `NetworkError` where the store cannot be reached.

        Of a running job its node is asked at which line it is (`Diagnosis.where`), and has a second to say
        so, unless `ask_node=False`; where it does not answer, the verdict says that.
        """
        job_id = require_text("job_id", job_id, most=MAX_ANY_ID_BYTES)
        require(isinstance(ask_node, bool), "ask_node", ask_node, "must be True or False")
        facts = await self._running().store.inspection.facts(job_id)
        if facts is None:
            return unknown_job(job_id)
        found, node = diagnose(facts), node_to_ask(facts)
        return await self._located(found, node) if ask_node and node else found

    async def _located(self, found: Diagnosis, node: str) -> Diagnosis:
        question = StackQuestion(found.job)
        told = (await self._running().control.asking.ask([node], "stack", question))[node]
        if told is None:
            return unlocated(found, f"{node} has not answered within a second where")
        if told.refusal:
            return unlocated(found, f"{node} does not say where: {told.refusal}")
        return located(found, node, _decode_stack(told.payload))
