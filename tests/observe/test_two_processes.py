"""From a request over HTTP through a chain of three over two processes: one connected tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream, TaskStatus
from opentelemetry.trace import SpanKind

from am2z_trio import Processor, QueueRuntime, chain, processor
from tests.observe.seen import Place, Seen, Told, parts, told

ROOT = Path(__file__).parents[2]


def adds_one(name: str) -> Processor[int]:
    @processor(name=name)
    async def part(n: int) -> int:
        return n + 1

    return part


A, C = adds_one("a"), adds_one("c")


@processor(name="b")
async def elsewhere(n: int) -> int:
    raise AssertionError("it is served by the other process")


whole = chain("whole", [A, elsewhere, C])


async def serve_http(
    runtime: QueueRuntime, seen: Seen, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """`GET /n` answers what the chain makes of n."""
    tracer = seen.tracers.get_tracer("http")

    async def handle(stream: SocketStream) -> None:
        async with stream:
            request = (await stream.receive()).decode()
            number = int(request.split()[1].strip("/"))
            with tracer.start_as_current_span("GET /{n}", kind=SpanKind.SERVER):
                answer = str((await runtime.execute(whole, number)).unwrap())
            await stream.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n{answer}".encode())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
        await listener.serve(handle)


async def get(port: int, number: int) -> str:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return (await stream.receive()).decode().rpartition("\r\n")[2]


@pytest.mark.anyio
@pytest.mark.parametrize("parenting", [False, True], ids=["by links", "by parents"])
async def test_a_request_is_one_tree_over_two_processes(
    redis_url: str, anyio_backend_name: str, parenting: bool
) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.observe.traced_worker", redis_url, anyio_backend_name, str(parenting)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = Seen()
    try:
        assert worker.stdout is not None
        with anyio.fail_after(60):
            assert await anyio.to_thread.run_sync(worker.stdout.readline) == "serves\n"
            async with (
                QueueRuntime(redis_url, otel=seen.otel(trace_parenting=parenting)) as runtime,
                anyio.create_task_group() as tasks,
            ):
                runtime.register(whole)
                assert await runtime.workers.stop_worker(elsewhere)
                port = await tasks.start(serve_http, runtime, seen)
                assert await get(port, 1) == "21"
                tasks.cancel_scope.cancel()
            there, _ = await anyio.to_thread.run_sync(worker.communicate, "end\n")
    finally:
        worker.kill()
        worker.communicate()
    spans = [told(span) for span in seen.spans] + [read(row) for row in json.loads(there)]
    jobs = ["whole", "a", "b", "c"]
    expected = ["GET /{n}", *(f"{what} {job}" for job in jobs for what in ("send", "process"))]
    assert sorted(span.name for span in spans) == sorted(expected)
    (tree,) = parts(spans, by_links=not parenting)
    assert tree == {span.place for span in spans}
    if parenting:
        assert [span.name for span in spans if span.parent is None] == ["GET /{n}"]
        assert len({span.place.trace for span in spans}) == 1


def read(row: list[object]) -> Told:
    name, kind, place, parent, links = row
    return Told(
        str(name),
        str(kind),
        Place(*place),  # type: ignore[misc]
        None if parent is None else Place(*parent),  # type: ignore[misc]
        [Place(*link) for link in links],  # type: ignore[attr-defined]
    )
