"""Jobs that other jobs submit without waiting for them: each once, and with a life of its own."""

from __future__ import annotations

from am2z_trio.model.records import EnqueueAnswer

from .bench import Bench, Outcome
from .builders import bulk_of, ids_of, job, settled


class SentCases:
    """What becomes of a job that another one has sent off."""

    async def test_what_a_job_sends_is_none_of_its_calls(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        parent = await a.claim_one()
        sent = [job(id, sender="p") for id in ("runs", "waits")]
        assert [answer.status for answer in await a.store.enqueue(sent)] == ["queued"] * 2
        runs = await a.claim_one()
        assert runs.spec == sent[0].spec
        # What is not called by any goes behind what is.
        await a.store.enqueue([job("called", parent="p")])
        assert ids_of(await a.claim(1, calls_only=True)) == ["called"]
        await a.settle(parent, "failed", result=b"\x06")
        assert [await a.status(id) for id in ("called", "runs", "waits")] == ["active", "active", "waiting"]
        assert (await a.settle(runs)).status == "applied"
        assert ids_of(await a.claim(9)) == ["waits"]

    async def test_what_a_job_has_sent_is_there_once_for_all_of_its_runs(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        sent = job("s", "other", sender="p")
        outcomes: list[tuple[Outcome, str]] = [("retry", "queued"), ("released", "dup"), ("retry", "dup")]
        for outcome, status in outcomes:
            parent = await a.claim_one()
            answer, again = await a.store.enqueue([sent, sent])
            assert (answer.status, again.status) == (status, "dup")
            await a.settle(parent, outcome)
        (grant,) = await a.claim(9, "other")
        await a.settle(grant, "failed", result=b"\x06")
        await a.claim_one()
        failed = settled("s", "failed", result=b"\x06")
        assert await a.store.enqueue([sent]) == [EnqueueAnswer(status="dup", settled=failed)]
        assert await a.claim(9, "other") == []

    async def test_who_has_ended_sends_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        orphan = EnqueueAnswer(status="orphan")
        assert await a.store.enqueue([job("s", sender="p")]) == [orphan]
        await a.store.enqueue([job("p")])
        parent = await a.claim_one()
        await a.store.enqueue([job("early", sender="p")])
        await a.store.cancel("p", "enough")
        await a.settle(parent, "cancelled")
        assert await a.store.enqueue([job("s", sender="p"), job("early", sender="p")]) == [orphan] * 2
        answer = await a.store.enqueue_bulk(bulk_of(job(sender="p"), ["b"]))
        assert (answer.accepted, answer.refused) == (0, orphan)
        assert ids_of(await a.claim(9)) == ["early"]
