"""A session is a tenant: nothing that one of them chooses reads, stops or stands in for what is another's."""

from __future__ import annotations

from contextlib import suppress

import anyio
import anyio.lowlevel
import msgspec
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    JobCancelledError,
    JobNotFoundError,
    JobOptions,
    QueueRuntime,
    UnknownOutcomeError,
    processor,
)
from am2z_trio.model.events import OWN, Event
from am2z_trio.model.ids import RULE, chosen_id
from am2z_trio.model.limits import MAX_ANY_ID_BYTES
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


class Vault:
    """A processor that keeps what it was given until it is let go."""

    def __init__(self) -> None:
        self.begun: list[tuple[str | None, str]] = []
        self.gate = anyio.Event()

        @processor
        async def vault(secret: str, ctx: Context) -> str:
            self.begun.append((ctx.session_id, secret))
            await self.gate.wait()
            return secret

        self.processor = vault


# --- ids ------------------------------------------------------------------------------------------


@on_both_hosts
async def test_the_same_job_id_in_two_sessions_is_two_jobs(make_runtime):
    ran: list[tuple[str | None, str, str]] = []

    @processor
    async def note(n: int, ctx: Context) -> int:
        ran.append((ctx.session_id, ctx.execution_id, ctx.idempotency_key))
        return n

    heard: list[tuple[str, str]] = []
    async with make_runtime() as runtime:
        runtime.register(note)
        runtime.on("job:completed", lambda event: heard.append((event.session, event.job)))
        with anyio.fail_after(20):
            for n, session in enumerate(("alice", "bob", None, "bob@example.org")):
                for _ in range(2):
                    result = await runtime.execute(note, n, session=session, job_id="order-17")
                    assert result.unwrap() == n
                    assert result.metadata.job_id == ran[-1][1]
            await until(lambda: len(heard) == 4)
    ids = ["@alice/order-17", "@bob/order-17", "order-17", chosen_id("order-17", "bob@example.org")]
    assert ran == [(s, i, i) for s, i in zip(("alice", "bob", None, "bob@example.org"), ids, strict=True)]
    assert heard == [(s or "", i) for s, i, _ in ran]


@on_both_hosts
@pytest.mark.parametrize("attacker", ["bob", None])
@pytest.mark.parametrize("chosen", [True, False])
async def test_nobody_reads_stops_or_stands_in_for_another_sessions_job(make_runtime, attacker, chosen):
    vault = Vault()

    @processor
    async def parent(secret: str, ctx: Context) -> str:
        return await ctx.call(vault.processor, secret, key="k")

    heard: list[Event] = []
    async with make_runtime() as runtime:
        runtime.register(vault.processor, parent)
        runtime.on("job:started", heard.append)
        named = {"job_id": "it"} if chosen else {}
        alone = await runtime.submit(vault.processor, "alone", session="alice", **named)
        whole = await runtime.submit(parent, "called", session="alice")
        await until(lambda: len(vault.begun) == 2 and len(heard) == 3)
        (called,) = (event.job for event in heard if event.job.startswith(whole.id + "/"))
        aims = [alone.id, whole.id, called, f"{alone.id}:children", f"{whole.id}/#1:0123456789abcdef", "it"]

        async def attack(secret: str) -> None:
            for aim in aims:
                for which in (vault.processor, parent):
                    # A job of the attacker's own, under the attacker's own id, waits to be let go.
                    own = aim == "it" or (aim.endswith(":children") and "/" not in aim)
                    with anyio.move_on_after(0.05 if own else 60) as scope:
                        # With the very input, too: who can guess it learns nothing by it.
                        result = await runtime.execute(which, secret, session=attacker, job_id=aim)
                    if own:
                        assert scope.cancelled_caught or result.metadata.job_id != alone.id
                        continue
                    assert not scope.cancelled_caught
                    assert isinstance(result.error, ConfigurationError)
                    assert "another session" in result.error.message or RULE in result.error.message
                    assert "alice" not in result.error.message.replace(aim, "")
                    with pytest.raises(ConfigurationError):
                        await runtime.submit(which, secret, session=attacker, job_id=aim)

        await attack("mine")
        await attack("alone")
        assert await alone.status() == "active"
        assert await whole.status() == "active"
        async with runtime.session("bob") as session:
            job = await session.submit(vault.processor, "mine", job_id="other")
            await job.cancel()
        await runtime.stop_session("bob")
        vault.gate.set()
        with anyio.fail_after(20):
            assert (await alone.result()).unwrap() == "alone"
            assert (await whole.result()).unwrap() == "called"
        await attack("mine")
        await attack("alone")
        if chosen:
            # Whose it is can ask as before.
            again = await runtime.execute(vault.processor, "alone", session="alice", job_id="it")
            assert again.unwrap() == "alone"
    of_alice = [secret for session, secret in vault.begun if session == "alice"]
    assert sorted(of_alice) == ["alone", "called"]


@on_both_hosts
async def test_who_asks_for_anothers_id_while_its_outcome_arrives_hears_nothing_of_it(make_runtime):
    """Both wait on one node: what arrives for the one is not the other's."""
    vault = Vault()
    async with make_runtime() as runtime:
        runtime.register(vault.processor)
        for _ in range(20):
            vault.gate = anyio.Event()
            jobs = [await runtime.submit(vault.processor, "secret", session="alice") for _ in range(3)]
            stolen: list[object] = []

            async def steal(id: str, stolen: list[object] = stolen) -> None:
                stolen.append((await runtime.execute(vault.processor, "?", session="bob", job_id=id)).error)

            async with anyio.create_task_group() as tasks:
                vault.gate.set()
                for job in jobs:
                    tasks.start_soon(steal, job.id)
                    # Whenever the outcome comes, they are somewhere on their way.
                    await anyio.lowlevel.checkpoint()
            assert [(await job.result()).unwrap() for job in jobs] == ["secret"] * 3
            assert [type(error) for error in stolen] == [ConfigurationError] * 3


@on_both_hosts
@pytest.mark.parametrize(
    "job_id",
    [
        "",
        "/",
        "a/b",
        "a/#1:0123456789abcdef",
        "a\n",
        "\0",
        "a\0" + "1",
        "\x1b[2J",
        "\x7f",
        "\x85",
        "\u2028",
        "\ud800",
        "@",
        "@alice/x",
        "@bob/",
        "@bob/@bob/x",
        "@bob/x/k:0123456789abcdef",
        "x" * 201,
        "x" * 10_240,
        b"x",
        7,
    ],
    ids=repr,
)
async def test_an_id_that_could_be_anothers_is_refused_in_one_way(make_runtime, job_id):
    vault = Vault()
    async with make_runtime() as runtime:
        runtime.register(vault.processor)
        for session in ("bob", None):
            result = await runtime.execute(vault.processor, "x", session=session, job_id=job_id)
            assert isinstance(result.error, ConfigurationError)
            assert result.error.message.startswith("job_id=")
            assert result.error.context["field"] == "job_id"
            assert result.error.context["rule"] == RULE
            assert len(result.error.message) < 600
            assert result.error.message.isprintable()
            with pytest.raises(ConfigurationError):
                await runtime.submit(vault.processor, "x", session=session, job_id=job_id)
    assert vault.begun == []


@on_both_hosts
@pytest.mark.parametrize(
    "job_id", [":", "a:b", "a:children", "{}", "{x}:job", "~a", "#1", "a@b", "*", "é" * 200, "1f-0", " "]
)
async def test_any_other_text_is_an_id(make_runtime, job_id):
    vault = Vault()
    vault.gate.set()
    async with make_runtime() as runtime:
        runtime.register(vault.processor)
        for session in ("bob", None, "b/o:b@"):
            for _ in range(2):
                result = await runtime.execute(vault.processor, "x", session=session, job_id=job_id)
                assert result.unwrap() == "x"
            # As it is shown it is understood, too.
            again = await runtime.execute(
                vault.processor, "x", session=session, job_id=result.metadata.job_id
            )
            assert again.metadata.job_id == result.metadata.job_id
    assert len(vault.begun) == 3


class Order(msgspec.Struct):
    total: float
    item: str
    tags: set[str] = msgspec.field(default_factory=set)


@on_both_hosts
async def test_one_id_is_one_input(make_runtime):
    ran: list[Order] = []

    @processor
    async def ship(order: Order) -> Order:
        ran.append(order)
        if order.item == "nothing":
            raise ValueError(order.item)
        return order

    async with make_runtime() as runtime:
        runtime.register(ship)
        chair = Order(1.0, "chair", {"a", "b", "c"})
        assert (await runtime.execute(ship, chair, job_id="a")).unwrap() == chair
        # The same in other words is the same.
        same = {"tags": ["a", "b", "c"], "item": "chair", "total": 1.0}
        assert (await runtime.execute("ship", same, job_id="a")).success
        for other in (Order(2.0, "chair", {"a", "b", "c"}), Order(1.0, "table"), Order(1.0, "chair")):
            error = (await runtime.execute(ship, other, job_id="a")).error
            assert isinstance(error, ConfigurationError)
            assert error.message == "job_id='a': it is the id of a job that was given another input"
            with pytest.raises(ConfigurationError):
                await runtime.submit(ship, other, job_id="a")
        # One that has ended without completing runs anew with what is right.
        assert not (await runtime.execute(ship, Order(1.0, "nothing"), job_id="b")).success
        assert (await runtime.execute(ship, chair, job_id="b")).unwrap() == chair
    assert [order.item for order in ran] == ["chair", "nothing", "chair"]


@on_both_hosts
async def test_whose_id_is_used_for_another_input_does_not_hear_of_that(make_runtime, monkeypatch):
    @processor
    async def positive(n: int) -> int:
        if n < 0:
            raise ValueError(n)
        return n

    async with make_runtime() as runtime:
        runtime.register(positive)
        looking = runtime.node.in_flight.looking
        asleep: list[str] = []
        read_soon = looking.read_soon
        with monkeypatch.context() as patch:
            patch.setattr(looking, "read_soon", asleep.append)
            first = await runtime.submit(positive, -1, job_id="a")
            await until(lambda: asleep == [first.id])
        with anyio.fail_after(20):
            second = await runtime.submit(positive, 2, job_id="a")
            assert (await second.result()).unwrap() == 2
            read_soon(first.id)
            error = (await first.result()).error
    assert isinstance(error, UnknownOutcomeError)
    assert "used for another input" in error.message


@on_both_hosts
async def test_an_id_that_the_engine_has_made_joins_its_job_and_makes_none(make_runtime):
    vault = Vault()
    async with make_runtime() as runtime:
        runtime.register(vault.processor)
        error = (await runtime.execute(vault.processor, "x", job_id=f"{'0' * 19}-1")).error
        assert isinstance(error, JobNotFoundError)
        job = await runtime.submit(vault.processor, "kept", session="alice")
        await until(lambda: len(vault.begun) == 1)
        # Who joins it and goes away again has taken nothing along.
        with anyio.move_on_after(0.02):
            await runtime.execute(vault.processor, "?", session="alice", job_id=job.id)
        joined = await runtime.submit(vault.processor, "?", session="alice", job_id=job.id)
        vault.gate.set()
        with anyio.fail_after(20):
            assert (await joined.result()).unwrap() == (await job.result()).unwrap() == "kept"
    assert vault.begun == [("alice", "kept")]


@on_both_hosts
async def test_the_key_of_a_call_is_not_taken_for_another_call(make_runtime):
    ran: list[int] = []

    @processor
    async def leaf(n: int) -> int:
        ran.append(n)
        return n

    @processor
    async def inner(n: int, ctx: Context) -> int:
        return await ctx.call(leaf, n, key="b")

    @processor
    async def outer(n: int, ctx: Context) -> int:
        await ctx.call(inner, n, key="a", inline=True)
        await ctx.call(leaf, n, key="a/b")
        await ctx.call(leaf, n)
        await ctx.call(leaf, n, key="#1")
        await ctx.call(leaf, n, key="line\nline")
        return n

    heard: list[str] = []
    async with make_runtime() as runtime:
        runtime.register(outer, inner, leaf)
        runtime.on("job:completed", lambda event: heard.append(event.job))
        with anyio.fail_after(20):
            assert (await runtime.execute(outer, 1)).unwrap() == 1
            await until(lambda: len(heard) == 7)
    assert ran == [1] * 5
    assert all(id.isprintable() for id in heard)


@on_both_hosts
async def test_ids_do_not_grow_with_the_calls_they_name(make_runtime):
    ids: list[str] = []

    @processor
    async def deep(n: int, ctx: Context) -> int:
        ids.append(ctx.execution_id)
        return await ctx.call(deep, n - 1, key="\U0001f600" * 256, inline=n % 2 == 0) if n else 0

    async with make_runtime() as runtime:
        runtime.register(deep)
        result = await runtime.execute(deep, 9, session="s" * 16_384, job_id="\U0001f600" * 200)
        assert result.unwrap() == 0
    assert len(set(ids)) == 10
    assert max(len(id.encode()) for id in ids) <= MAX_ANY_ID_BYTES


# --- debounce -------------------------------------------------------------------------------------


@on_both_hosts
async def test_no_session_pre_empts_anothers_job_by_its_key(make_runtime):
    vault = Vault()
    vault.gate.set()
    options = JobOptions(debounce="doc", delay=600)
    async with make_runtime() as runtime:
        runtime.register(vault.processor)
        kept = [
            await runtime.submit(vault.processor, "kept", session=session, options=options)
            for session in ("alice", None)
        ]
        gone = [
            await runtime.submit(
                vault.processor, "x", session="bob", options=JobOptions(debounce=key, delay=600)
            )
            for key in ("doc", "doc@alice", "doc", "@alice", "doc@alice")
        ]
        for job in gone[0], gone[1]:
            assert isinstance((await job.result()).error, JobCancelledError)
        assert [await job.status() for job in kept] == ["delayed", "delayed"]
        assert [await job.status() for job in gone[2:]] == ["delayed"] * 3
        last = await runtime.submit(
            vault.processor, "last", session="alice", options=JobOptions(debounce="doc")
        )
        with anyio.fail_after(20):
            assert (await last.result()).unwrap() == "last"
            assert isinstance((await kept[0].result()).error, JobCancelledError)


# --- over several nodes ---------------------------------------------------------------------------


@on_both_hosts
async def test_no_client_cancels_a_job_of_another_session(redis_url):
    vault = Vault()
    async with QueueRuntime(redis_url) as worker, QueueRuntime(redis_url, workers=False) as client:
        worker.register(vault.processor)
        await worker.sync_processors()
        job = await worker.submit(vault.processor, "kept", session="alice", job_id="it")
        await until(lambda: len(vault.begun) == 1)
        for session, job_id in (("bob", "it"), ("bob", job.id), (None, "it"), (None, job.id)):
            with anyio.move_on_after(0.05):
                await client.execute("vault", "kept", session=session, job_id=job_id)
            with suppress(ConfigurationError):
                own = await client.submit("vault", "kept", session=session, job_id=job_id)
                await own.cancel()
        # Its departures have been dealt with when a later call has.
        await client.get_queue_stats()
        assert await job.status() == "active"
        vault.gate.set()
        with anyio.fail_after(20):
            assert (await job.result()).unwrap() == "kept"


# --- events ---------------------------------------------------------------------------------------


@on_both_hosts
@pytest.mark.parametrize("name", [*(f"{own}completed" for own in OWN), *OWN, "job:"])
async def test_nobody_but_the_engine_says_what_the_engine_says(make_runtime, name):
    @processor
    async def forger(n: int, ctx: Context) -> int:
        for emit in (ctx.emit, ctx.runtime.emit):
            with pytest.raises(ConfigurationError, match="must not begin as the engine's own"):
                emit(name, {"attempt": 1})
        return n

    @processor
    def in_a_thread(n: int, ctx: Context) -> int:
        ctx.emit(name)
        return n

    async with make_runtime() as runtime:
        runtime.register(forger, in_a_thread)
        assert (await runtime.execute(forger, 1)).unwrap() == 1
        error = (await runtime.execute(in_a_thread, 1)).error
        assert isinstance(error, ConfigurationError)
        with pytest.raises(ConfigurationError) as caught:
            runtime.emit(name)
    assert caught.value.context == {
        "field": "event",
        "value": repr(name),
        "rule": f"must not begin as the engine's own: {', '.join(OWN)}",
    }


@on_both_hosts
async def test_names_beside_the_engines_are_everybodys(make_runtime):
    async with make_runtime() as runtime, runtime.events("*") as stream:
        for name in ("jobs:done", "job", "my job:done", "Job:done", "order:session:opened"):
            runtime.emit(name)
            with anyio.fail_after(10):
                while (event := await stream.next()).name != name:
                    pass
            assert event.job == ""


@on_both_hosts
async def test_a_call_that_is_run_inline_tells_its_events_all_the_same(make_runtime):
    @processor
    async def inner(n: int) -> int:
        return n + 1

    @processor
    async def outer(n: int, ctx: Context) -> int:
        return await ctx.call(inner, n, inline=True)

    async with make_runtime() as runtime:
        runtime.register(inner, outer)
        heard: list[str] = []
        async with runtime.events("job:*") as stream:
            assert (await runtime.execute(outer, 1)).unwrap() == 2
            with anyio.fail_after(10):
                while heard.count("job:completed") < 2:
                    event = await stream.next()
                    heard.append(event.name)
                    if event.processor == "inner":
                        assert event.data == {"attempt": 1}
    assert heard.count("job:started") == 2
