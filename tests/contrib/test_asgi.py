"""A runtime in web applications, as an ASGI server calls them: on both hosts, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    BusinessError,
    ConfigurationError,
    Context,
    Job,
    JobCancelledError,
    JobNotFoundError,
    JobOptions,
    LocalRuntime,
    NetworkError,
    RuntimeStateError,
    chain,
    processor,
)
from am2z_trio.contrib.asgi import AskedJob, jobs, lifespan, runtime_of, sse, streams, websocket
from am2z_trio.contrib.asgi import telling as telling_room
from am2z_trio.model.segments import segment
from tests.support.waiting import PATIENCE, until

from .clients import Client, asked

pytestmark = pytest.mark.anyio


class Order(msgspec.Struct):
    kites: int
    price: int = 0


@processor
async def price(order: Order) -> Order:
    return Order(order.kites, order.kites * 5)


@processor
async def forever(order: Order, ctx: Context) -> Order:
    await ctx.update_progress(0.5)
    ctx.emit("shop:begun", {"kites": order.kites})
    await anyio.sleep_forever()
    return order


@processor
async def fails(order: Order) -> Order:
    if order.kites:
        raise BusinessError("there are no kites left", code="SOLD_OUT")
    raise ValueError("the password is hunter2")


@processor
async def hidden(order: Order) -> Order:
    return order


@pytest.fixture
async def runtime() -> AsyncIterator[LocalRuntime]:
    async with LocalRuntime(shutdown_grace=0) as one:
        one.register(price, forever, fails, hidden)
        yield one


@pytest.fixture
def app(runtime: LocalRuntime) -> Any:
    return jobs(runtime, processors=[price, forever, fails], authorize=lambda asked: True, max_body=1000)


# --- server-sent events -----------------------------------------------------------------------------


async def test_a_stream_tells_how_a_job_gets_on_and_how_it_ended(runtime):
    job = await runtime.submit(price, Order(2))
    client = await Client(sse(job), "/").run()
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    ids, names, data = zip(*client.events(), strict=True)
    assert (names[0], names[-1]) == ("status", "result")
    assert data[-1] == {"id": job.id, "status": "completed", "state": {"kites": 2, "price": 10}}
    assert ids[-1] == "end"
    assert len({*ids}) == len(ids)
    assert client.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_who_has_the_last_event_is_told_to_stop(runtime):
    job = await runtime.submit(price, Order(2))
    client = await Client(sse(job), "/", headers={"Last-Event-ID": "end"}).run()
    assert (client.status, client.body) == (204, b"")


async def running(runtime: LocalRuntime, number: int = 1) -> Any:
    job = await runtime.submit(forever, Order(number))
    while await job.progress() == 0:
        await anyio.sleep(0.001)
    return job


@pytest.mark.parametrize("make", [sse, websocket])
@pytest.mark.parametrize(("on_disconnect", "cancels"), [("cancel", True), ("leave", False)])
async def test_a_client_that_leaves_cancels_its_job_or_not_as_asked(runtime, make, on_disconnect, cancels):
    job = await running(runtime)
    kind = "websocket" if make is websocket else "http"
    client = Client(make(job, on_disconnect=on_disconnect), "/", type=kind)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: len(client.sent) >= 2)
        client.leave()
    if cancels:
        assert (await job.result()).error is not None
    else:
        assert await job.status() == "active"


async def test_a_client_that_takes_nothing_any_more_has_left(runtime, monkeypatch):
    monkeypatch.setattr(streams, "SEND_WAIT", 0.01)
    job = await running(runtime)
    client = Client(sse(job), "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: len(client.sent) >= 2)
        client.blocks = True
        tasks.start_soon(_progress, runtime, job)
    assert isinstance((await job.result()).error, JobCancelledError)


async def _progress(runtime: LocalRuntime, job: Any) -> None:
    grant = next(claim.grant for claim in runtime.node.claims.all())
    await runtime.node.store.report(job.id, grant.token, 0.7)


async def test_who_comes_back_within_the_grace_keeps_the_job(runtime):
    job = await running(runtime)
    stream = sse(job, grace=0.05)
    first, second = Client(stream, "/"), Client(stream, "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.run)
        await until(lambda: len(first.sent) >= 2)
        first.leave()
        tasks.start_soon(second.run)
        await until(lambda: len(second.sent) >= 2)
        await anyio.sleep(0.1)
        assert await job.status() == "active"
        second.leave()
    assert isinstance((await job.result()).error, JobCancelledError)


async def test_a_server_that_ends_is_no_client_that_has_left(runtime):
    job = await running(runtime)
    client = Client(sse(job), "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: len(client.sent) >= 2)
        tasks.cancel_scope.cancel()
    assert await job.status() == "active"


async def test_the_chunks_of_a_stream_are_its_body_and_closing_them_is_leaving(runtime):
    job = await runtime.submit(price, Order(2))
    body = b"".join([chunk async for chunk in sse(job).chunks()])
    assert body.count(b"event: ") >= 2
    job = await running(runtime)
    chunks = sse(job).chunks()
    assert b"event: status" in await anext(chunks)
    await chunks.aclose()
    assert isinstance((await job.result()).error, JobCancelledError)


async def test_what_the_code_of_a_job_emits_is_told_if_asked_for(runtime):
    await runtime.pause(forever)
    job = await runtime.submit(forever, Order(3))
    client = Client(sse(job, events="*"), "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: bool(client.events()))
        await runtime.resume(forever)
        await until(lambda: ("shop:begun", {"kites": 3}) in [one[1:] for one in client.events()])
        client.leave()


async def test_while_nothing_happens_there_is_a_beat(runtime, monkeypatch):
    monkeypatch.setattr(telling_room, "BEAT", 0.005)
    job = await running(runtime)
    for make in (sse, websocket):
        kind = "websocket" if make is websocket else "http"
        client = Client(make(job, on_disconnect="leave"), "/", type=kind)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.run)
            await until(client.has_beat)
            client.leave()


async def test_messages_of_errors_are_told_where_they_were_written_to_be(runtime):
    for kites, reveal, message in (
        (1, False, "there are no kites left"),
        (0, False, "the job has failed"),
        (0, True, "'fails' raised ValueError: the password is hunter2"),
    ):
        job = await runtime.submit(fails, Order(kites))
        client = await Client(sse(job, reveal_errors=reveal), "/").run()
        assert client.events()[-1][2]["status"] == "failed"
        assert client.events()[-1][2]["error"]["message"] == message
        assert ("hunter2" in client.body.decode()) is reveal


async def test_the_message_of_a_step_that_has_failed_its_chain_is_told(runtime):
    inner = chain("inner", [fails], inline=True)
    outer = chain("outer", [inner], inline=True)
    runtime.register(outer)
    job = await runtime.submit(outer, Order(1))
    client = await Client(sse(job), "/").run()
    assert client.events()[-1][2]["error"]["code"] == "SOLD_OUT"


async def test_a_job_that_is_gone_is_a_problem_of_its_own(runtime):
    job = await runtime.submit(price, Order(2))
    await job.result()
    job.id = "no such job"
    client = await Client(sse(job), "/").run()
    assert client.status == 404
    assert client.headers["content-type"] == "application/problem+json"
    assert client.json["code"] == JobNotFoundError.code


@pytest.mark.parametrize(
    "wrong", [{"on_disconnect": "go"}, {"grace": -1}, {"events": ""}, {"reveal_errors": 1}]
)
@pytest.mark.parametrize("make", [sse, websocket])
async def test_wrong_options_are_refused(runtime, make, wrong):
    job = await runtime.submit(price, Order(2))
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        make(job, **wrong)
    with pytest.raises(ConfigurationError, match="job"):
        make(5)
    with pytest.raises(ConfigurationError, match="origins"):
        websocket(job, origins="https://shop")


# --- WebSockets -------------------------------------------------------------------------------------


async def test_a_socket_tells_the_same_and_is_closed(runtime):
    job = await runtime.submit(price, Order(2))
    client = await Client(websocket(job), "/", type="websocket").run()
    assert client.sent[0] == {"type": "websocket.accept"}
    assert client.told()[-1]["data"]["state"] == {"kites": 2, "price": 10}
    assert client.sent[-1]["code"] == 1000


async def test_a_client_may_cancel_over_its_socket(runtime):
    job = await running(runtime)
    client = Client(websocket(job, on_disconnect="leave"), "/", type="websocket")
    client.say({"type": "websocket.receive", "text": "cancel"})
    await client.run()
    assert client.told()[-1]["data"]["status"] == "cancelled"


async def test_a_server_is_sent_one_message_at_a_time_and_none_after_the_close(runtime):
    job = await running(runtime)
    sending, most, sent, both = 0, 0, list[Any](), anyio.Event()
    say, hear = anyio.create_memory_object_stream[dict[str, Any]](10)

    async def send(message: Any) -> None:
        nonlocal sending, most
        sending += 1
        most = max(most, sending)
        if sending > 1:
            both.set()
        if message["type"] == "websocket.send":
            # While it is on its way, what makes the socket be closed is heard.
            say.send_nowait({"type": "websocket.receive", "text": "what?"})
            with anyio.move_on_after(0.2):
                await both.wait()
        sending -= 1
        sent.append(message["type"])

    say.send_nowait({"type": "websocket.connect"})
    with say, hear, anyio.fail_after(20):
        await websocket(job)({"type": "websocket", "headers": []}, hear.receive, send)
    assert most == 1
    assert sent == ["websocket.accept", "websocket.send", "websocket.close"]


@pytest.mark.parametrize("message", [{"text": "x" * 100}, {"bytes": b"cancel"}, {"text": None}])
async def test_what_a_socket_does_not_understand_closes_it(runtime, message):
    job = await running(runtime)
    client = Client(websocket(job, on_disconnect="leave"), "/", type="websocket")
    client.say({"type": "websocket.receive", **message})
    await client.run()
    assert client.sent[-1]["code"] == 1003
    assert await job.status() == "active"


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [("http://shop", True), ("https://evil.example", False), ("null", False), ("https://ally.example", True)],
)
async def test_a_page_of_another_origin_is_refused(runtime, app, origin, welcome):
    job = await runtime.submit(price, Order(2))
    made = websocket(job, origins=["https://ally.example"])
    client = await Client(made, "/", type="websocket", headers={"Origin": origin}).run()
    assert (client.sent[0]["type"] == "websocket.accept") is welcome
    if "ally" not in origin:
        client = await asked(app, "/price", "POST", {"state": {"kites": 1}}, headers={"Origin": origin})
        assert client.status == (202 if welcome else 403)


# --- the application of jobs ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "raw", "path", "at"),
    [
        ("", b"/price", "/price", ""),
        # As Starlette mounts, behind a proxy or not; as Litestar does, which names its mount nowhere else.
        ("/jobs", b"/jobs/price", "/jobs/price", "/jobs"),
        ("/shop/jobs", b"/jobs/price?a=b/c", "/shop/jobs/price", "/shop/jobs"),
        ("", b"/jobs/price", "/price", "/jobs"),
        ("/shop", b"/shop/jobs/price", "/price", "/shop/jobs"),
        ("/shop", b"/jobs/price", "/price", "/shop/jobs"),
        ("/j\u00f6bs", b"/j%C3%B6bs/price", "/j\u00f6bs/price", "/j%C3%B6bs"),
        ("", b"//elsewhere.example/price", "/price", "/elsewhere.example"),
    ],
)
async def test_a_job_is_where_its_application_is_mounted(app, root, raw, path, at):
    client = await asked(app, path, "POST", {"state": {"kites": 2}}, root_path=root, raw_path=raw)
    assert client.headers["location"] == client.json["links"]["self"] == f"{at}/{client.json['id']}"


async def test_a_job_is_submitted_looked_at_and_waited_for(app):
    client = await asked(app, "/price", "POST", {"state": {"kites": 2}}, root_path="/jobs")
    assert client.status == 202
    id, at = client.json["id"], client.headers["location"]
    assert at == f"/jobs/{segment(id)}"
    # Servers leave the place where it is mounted in front of the path, or take it away.
    for path in (at, at.removeprefix("/jobs")):
        done = await asked(app, f"{path}/result?wait=10", root_path="/jobs")
        assert done.status == 200
        assert done.json == {"id": id, "status": "completed", "state": {"kites": 2, "price": 10}}
    seen = await asked(app, at, root_path="/jobs")
    assert seen.json == {"id": id, "processor": "price", "status": "completed", "progress": 0.0}
    assert (await asked(app, f"{at}/events", root_path="/jobs")).events()[-1][1] == "result"


@processor
async def waits_for(order: Order, ctx: Context) -> Order:
    await ctx.wait_for("approval", bool, timeout=3600)
    return order


async def test_a_job_that_is_parked_is_told_so_with_what_it_waits_for(runtime):
    runtime.register(waits_for)
    app = jobs(runtime, processors=[waits_for], authorize=lambda asked: True)
    job = await runtime.submit(waits_for, Order(1))
    with anyio.fail_after(PATIENCE):
        while await job.status() != "parked":
            await anyio.sleep(0.001)
    (wait,) = await job.waits()
    said = {"signal": "approval", "since": wait.since, "until": wait.until}
    assert wait.until is not None
    assert wait.until - wait.since == 3_600_000
    looked = (await asked(app, f"/{job.id}")).json
    assert (looked["status"], looked["waits"]) == ("parked", [said])
    client = Client(sse(job), "/")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: len(client.sent) >= 2)
        await job.signal("approval", True)
    first = client.events()[0]
    assert (first[1], first[2]["status"], first[2]["waits"]) == ("status", "parked", [said])
    assert await job.status() == "completed"
    assert await job.waits() == []
    delayed = await runtime.submit(price, Order(1), options=JobOptions(delay=3600))
    assert (await delayed.status(), await delayed.waits()) == ("delayed", [])


@processor(name="evolved", state_version=2, migrate={1: lambda old: {"kites": old["number"]}})
async def evolved(order: Order) -> Order:
    return order


async def test_a_state_is_of_the_version_that_is_said(runtime):
    runtime.register(evolved)
    app = jobs(runtime, processors=[evolved], authorize=lambda asked: True)
    for body in (
        {"state": {"number": 3}, "state_version": 1},
        {"state": {"kites": 3}, "state_version": 2},
        {"state": {"kites": 3}},
    ):
        at = (await asked(app, "/evolved", "POST", body)).headers["location"]
        assert (await asked(app, f"{at}/result?wait=10")).json["state"]["kites"] == 3
    for body, code in (
        ({"state": {"number": 3}}, "VALIDATION"),
        ({"state": {}, "state_version": 3}, "STATE_VERSION"),
        ({"state": {}, "state_version": 0}, "CONFIGURATION"),
    ):
        refused = await asked(app, "/evolved", "POST", body)
        assert (400 <= refused.status < 500, refused.json["code"]) == (True, code), body


async def test_a_result_that_is_not_there_yet_is_not_waited_for_for_ever(app):
    at = (await asked(app, "/forever", "POST", {"state": {"kites": 2}})).headers["location"]
    for wait in ("", "?wait=0.01"):
        client = await asked(app, f"{at}/result{wait}")
        assert client.status == 202
        assert client.json["status"] in ("waiting", "active")
        assert client.headers["retry-after"] == "1"
    assert (await asked(app, at, "DELETE")).json["cancelled"] is True
    assert (await asked(app, f"{at}/result?wait=10")).json["error"]["code"] == "JOB_CANCELLED"
    assert (await asked(app, at, "DELETE")).json["cancelled"] is False


async def test_who_waits_and_leaves_is_not_waited_for(app):
    at = (await asked(app, "/forever", "POST", {"state": {"kites": 2}})).headers["location"]
    client = Client(app, f"{at}/result?wait=30")
    client.leave()
    assert (await client.run()).status == 202


async def test_a_job_id_makes_it_one_job_by_the_body_or_the_header(app):
    body = {"state": {"kites": 2}, "job_id": "order 1/2", "session": "@ali/ce~"}
    client = await asked(
        app, "/price", "POST", {"state": {"kites": 2}, "job_id": "o-1", "session": "@ali/ce~"}
    )
    again = await asked(
        app,
        "/price",
        "POST",
        {"state": {"kites": 2}, "session": "@ali/ce~"},
        headers={"Idempotency-Key": "o-1"},
    )
    assert client.json["id"] == again.json["id"]
    assert (await asked(app, client.headers["location"])).status == 200
    assert (await asked(app, "/price", "POST", body)).status == 422


@pytest.mark.parametrize(
    ("said", "options", "status"),
    [
        (b"{", {}, 400),
        (b"\xff", {}, 400),
        (b"[" * 900, {}, 422),
        (b"x" * 1001, {}, 413),
        ([], {}, 422),
        ({"state": {"kites": "two"}}, {}, 422),
        ({"state": {}}, {}, 422),
        ({"stat": {}}, {}, 422),
        ({}, {}, 422),
        ({"state": {"kites": 1}, "job_id": "a/b"}, {}, 422),
        ({"state": {"kites": 1}, "job_id": ""}, {}, 202),
        ({"state": {"kites": 1}}, {"headers": {"Content-Type": "text/plain"}}, 415),
        ({"state": {"kites": 1}}, {"headers": {"Content-Length": "9" * 40}}, 413),
    ],
)
async def test_a_body_that_is_none_is_a_problem(app, said, options, status):
    client = await asked(app, "/price", "POST", said, **options)
    assert client.status == status
    if status != 202:
        assert client.headers["content-type"] == "application/problem+json"
        assert client.json["status"] == status


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/nobody", "GET", 404),
        ("/~", "GET", 404),
        ("/~zz", "GET", 404),
        ("/" + "x" * 20_000, "GET", 414),
        ("/a/b/c", "GET", 404),
        ("/a/secret", "GET", 404),
        ("/a", "PUT", 405),
        ("/a/result", "POST", 405),
        ("/a/result", "DELETE", 405),
        ("/unknown", "POST", 404),
        ("/hidden", "POST", 404),
    ],
)
async def test_what_is_not_there_is_a_problem(app, path, method, status):
    client = await asked(app, path, method, {"state": {"kites": 1}} if method == "POST" else None)
    assert client.status == status
    assert client.json["title"]


@pytest.mark.parametrize("wait", ["x", "-1", "nan", "1" * 5000])
async def test_a_wait_that_is_no_number_is_a_problem(app, wait):
    at = (await asked(app, "/price", "POST", {"state": {"kites": 2}})).headers["location"]
    client = await asked(app, f"{at}/result?wait={wait}")
    assert client.status in (200, 422)
    assert (client.status == 200) == (wait[0] == "1")


async def test_jobs_of_other_processors_are_not_there(app, runtime):
    job = await runtime.submit(hidden, Order(1))
    for path, method in (("", "GET"), ("/result", "GET"), ("/events", "GET"), ("", "DELETE")):
        assert (await asked(app, f"/{segment(job.id)}{path}", method)).status == 404


async def test_who_may_not_is_told_no_more_than_that_there_is_no_such_job(runtime):
    seen = list[AskedJob]()

    async def authorize(asked: AskedJob) -> bool:
        seen.append(asked)
        return asked.header("X-User") == asked.session

    app = jobs(runtime, processors=[price], authorize=authorize)
    said = {"state": {"kites": 1}, "session": "ann"}
    assert (await asked(app, "/price", "POST", said, headers={"X-User": "bob"})).status == 403
    at = (await asked(app, "/price", "POST", said, headers={"X-User": "ann"})).headers["location"]
    for path, method in (("", "GET"), ("/result", "GET"), ("/events", "GET"), ("", "DELETE")):
        client = await asked(app, f"{at}{path}", method, headers={"X-User": "bob"})
        assert client.status == 404
    assert (await asked(app, at, headers={"X-User": "ann"})).status == 200
    assert [one.action for one in seen[2:6]] == ["status", "result", "events", "cancel"]


async def test_so_many_streams_are_open_and_no_more(runtime):
    app = jobs(runtime, processors=[forever], authorize=lambda asked: True, max_streams=1)
    at = (await asked(app, "/forever", "POST", {"state": {"kites": 2}})).headers["location"]
    client = Client(app, f"{at}/events")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.run)
        await until(lambda: len(client.sent) >= 2)
        assert (await asked(app, f"{at}/events")).status == 503
        assert (await asked(app, f"{at}/result?wait=1")).status == 503
        client.leave()
    assert (await asked(app, f"{at}/result")).status == 202


async def test_its_socket_may_cancel_where_its_client_may(runtime):
    may = {"submit", "events"}
    app = jobs(runtime, processors=[forever], authorize=lambda asked: asked.action in may)
    job = await running(runtime)
    at = f"/{segment(job.id)}/socket"
    for code, action in ((1003, "submit"), (1000, "cancel")):
        may.add(action)
        client = Client(app, at, type="websocket")
        client.say({"type": "websocket.receive", "text": "cancel"})
        await client.run()
        assert client.sent[-1]["code"] == code
    client = await Client(app, "/nobody/socket", type="websocket").run()
    assert client.sent[0]["code"] == 1008


async def test_while_the_runtime_is_not_entered_the_answer_is_503(anyio_backend):
    runtime = LocalRuntime()
    app = jobs(runtime, processors=[price], authorize=lambda asked: True)
    client = await asked(app, "/price", "POST", {"state": {"kites": 1}})
    assert client.status == 503
    assert client.headers["retry-after"] == "5"


async def test_a_socket_that_cannot_be_served_is_closed(runtime):
    def fails(asked: AskedJob) -> bool:
        raise ValueError("the directory is away")

    job = await running(runtime)
    for of, authorize in ((LocalRuntime(), lambda asked: True), (runtime, fails)):
        app = jobs(of, processors=[forever], authorize=authorize)
        client = await Client(app, f"/{segment(job.id)}/socket", type="websocket").run()
        (close,) = client.sent
        assert (close["type"], close["code"]) == ("websocket.close", 1008)
        assert "directory" not in close["reason"]
        assert len(close["reason"]) <= 123


async def test_a_cancel_that_does_not_reach_the_job_is_told_and_may_be_tried_again(runtime, monkeypatch):
    job = await running(runtime)
    cancel, tried = Job.cancel, list[str]()

    async def away(job: Job[Any], reason: str) -> bool:
        tried.append(reason)
        if len(tried) == 1:
            raise NetworkError("the store is away")
        return await cancel(job, reason)

    monkeypatch.setattr(Job, "cancel", away)
    client = Client(websocket(job), "/", type="websocket")
    for _ in range(2):
        client.say({"type": "websocket.receive", "text": "cancel"})
    await client.run()
    troubles = [one["data"] for one in client.told() if one["event"] == "trouble"]
    assert troubles == [{"status": 503, "detail": "Jobs cannot be reached now: try again."}]
    assert client.told()[-1]["data"]["status"] == "cancelled"
    assert client.sent[-1]["code"] == 1000


async def never() -> Any:
    await anyio.sleep_forever()


async def test_a_client_that_does_not_take_the_end_has_left(runtime, monkeypatch):
    monkeypatch.setattr(streams, "SEND_WAIT", 0.01)
    job = await runtime.submit(price, Order(2))
    await job.result()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await anyio.sleep_forever()

    with anyio.fail_after(PATIENCE):
        await sse(job)({"type": "http", "headers": []}, never, send)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("processors", [5]), ("processors", 5), ("authorize", None), ("max_body", 0), ("max_streams", "x")],
)
async def test_wrong_options_of_it_are_refused(field, wrong):
    options: dict[str, Any] = {"processors": [price], "authorize": lambda asked: True}
    with pytest.raises(ConfigurationError, match=field):
        jobs(LocalRuntime(), **(options | {field: wrong}))


# --- lifespans --------------------------------------------------------------------------------------


class App:
    """An application, as far as a lifespan knows one."""

    def __init__(self) -> None:
        self.state = type("State", (), {})()


@pytest.mark.parametrize("made", [asynccontextmanager, lambda own: own])
async def test_a_lifespan_enters_the_runtime_and_goes_around_the_applications_own(made):
    runtime, log = LocalRuntime(), list[str]()

    @made
    async def own(app: Any) -> AsyncIterator[dict[str, int]]:
        log.append(f"in, {runtime.is_started}")
        yield {"answer": 42}
        log.append(f"out, {runtime.is_started}")

    app = App()
    async with lifespan(runtime, own)(app) as state:
        assert state["answer"] == 42
        assert runtime_of({"type": "http", "app": app}) is runtime
        assert runtime_of({"type": "http", "state": state}) is runtime
    assert log == ["in, True", "out, True"]
    assert not runtime.is_entered


async def test_an_application_without_one_says_so():
    with pytest.raises(RuntimeStateError, match=r"lifespan\(runtime\)"):
        runtime_of({"type": "http"})
    with pytest.raises(ConfigurationError, match="runtime"):
        lifespan(5)  # type: ignore[arg-type]
