"""Parts that are begun as their node tells of them, where that is lost, comes late or comes twice."""

from __future__ import annotations

from typing import Any, Final

import anyio
import msgspec
import pytest

from am2z_trio import QueueRuntime
from am2z_trio.engine.node.sending import Sending
from am2z_trio.model.records import Enqueue
from tests.chaos.faults import DropReply, DropRequest, HoldRequest, open_fault_proxy
from tests.chaos.faults.plan import Fault
from tests.support.parts import CHAIN, RUNS, SIDE_BY_SIDE
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

FAULTS: Final = [DropReply(), DropRequest(), HoldRequest()]


@pytest.mark.parametrize("made", [CHAIN, SIDE_BY_SIDE], ids=lambda made: made.name)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_composition_ends_and_nothing_of_it_is_left(
    fault: Fault, made: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = list[str]()
    may_begin = Sending._may_begin

    async with open_fault_proxy(redis_url) as proxy, QueueRuntime(proxy.url) as runtime:
        runtime.register(made)
        workers, claims, store = runtime.node.fleet.workers, runtime.node.claims, runtime.node.store

        def arm(self: Sending, jobs: list[Enqueue]) -> Any:
            begun = may_begin(self, jobs)
            if begun and not met:
                met.append(next(iter(begun)))
                proxy.next(msgspec.structs.replace(fault, match=met[0].encode()))
            return begun

        monkeypatch.setattr(Sending, "_may_begin", arm)
        with anyio.fail_after(60):
            while not met:
                RUNS.clear()
                assert (await runtime.execute(made, {})).unwrap() == {"a": 1, "b": 1}
            assert RUNS.keys() == {"a", "b"}
            await proxy.deliver_held()
            await until(lambda: not len(claims))
            while sum(stats.active for stats in await store.stats([*workers])):
                await anyio.sleep(0.01)
            assert [worker.unconfirmed for worker in workers.values()] == [0] * 3
            # Its queues are served as before.
            for _ in range(3):
                assert (await runtime.execute(made, {})).unwrap() == {"a": 1, "b": 1}
        assert proxy.hits[fault.name] == 1
