"""The server, asked for by the service for operators."""

from __future__ import annotations

import pytest

from am2z_trio import JobOptions, processor
from am2z_trio.admin import Admin, Principal
from am2z_trio.store.redis.figures import script_figures, server_figures

pytestmark = pytest.mark.anyio


@processor
async def double(n: int) -> int:
    return 2 * n


async def test_what_the_memory_holds_is_counted(make_runtime):
    async with make_runtime(event_history=100) as runtime:
        runtime.register(double)
        for n in range(3):
            assert (await runtime.execute(double, n)).success
        await runtime.submit(double, 9, session="s", options=JobOptions(delay=60))
        shown = await Admin(runtime, principal=Principal(name="ada", role="viewer")).server()
        holds = {one.what: one for one in shown.holds}
        assert holds["records of ended jobs"].number == 3
        assert holds["jobs that have not ended"].number == 1
        assert holds["sessions with work"].number == 1
        length = (await runtime.node.store.chronicle.events("", 1)).length
        assert holds["event history"].number == length > 0
        assert shown.outlook is not None
        if shown.figures.kind == "memory":
            assert shown.scripts.calls == 0
        else:
            assert shown.figures.clients > 0
            assert shown.scripts.calls > 0
            assert shown.scripts.seconds > 0
            old = shown.figures.version.startswith("6.")
            assert (shown.scripts.p99 is None) == old


def test_what_a_server_says_of_itself_is_read():
    told = b"cmdstat_fcall:calls=4,usec=100,usec_per_call=25\r\ncmdstat_evalsha:calls=1,usec=20"
    assert (script_figures(told).calls, script_figures(told).seconds) == (5, 120e-6)
    assert script_figures(b"").calls == 0
    times = b"latency_percentiles_usec_evalsha:p50=1.003,p99=9.023,p99.9=9.5\r\n"
    times += b"latency_percentiles_usec_fcall:p50=20.095,p99.9=300.031,p99=88.063\r\n"
    # That of the command by which most of them were called; a server may be told to say other ones.
    assert script_figures(told, times).p99 == pytest.approx(88.063e-6)
    assert script_figures(told[:-1], times[:30]).p99 is None
    assert script_figures(told, times.replace(b",p99=88.063", b"")).p99 is None
    assert script_figures(b"", times).p99 is None
    said = b"instantaneous_ops_per_sec:7\r\nrdb_last_save_time:5\r\nconnected_clients:2\r\nevicted_keys:1\r\n"
    server = server_figures(said, 0.0, 0.0)
    assert (server.commands, server.saved, server.clients, server.evicted) == (7, 5_000, 2, 1)
