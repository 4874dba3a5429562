"""The service for operators: who may, what is done, and what is written down of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    Backoff,
    Every,
    JobNotFoundError,
    JobOptions,
    NetworkError,
    QueueRuntime,
    Retention,
    RetryPolicy,
    Schedule,
    ValidationError,
    at_version,
    processor,
)
from am2z_trio.admin import PERMISSIONS, ROLES, Admin, NotPermittedError, Principal, Rules
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import AM2ZError
from am2z_trio.testing.conformance import HOSTILE
from tests.support.desks import admin
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@dataclass
class Order:
    number: int
    card: str = "4111"


@processor(retry=RetryPolicy(max_attempts=1))
async def charge(order: Order) -> Order:
    if order.number < 0:
        raise ValueError(f"no order {order.number}")
    return order


@processor
async def hold(n: int) -> int:
    await anyio.sleep_forever()
    return n


async def audited(runtime: Runtime) -> list[tuple[str, str, str]]:
    """Action, target or query, and outcome of what was written down, in order."""
    page = await runtime.node.store.chronicle.audit_page()
    return [(one.action, one.target or one.query, one.outcome) for one in reversed(page.entries)]


async def refusal_of(call: Awaitable[Any]) -> AM2ZError | None:
    try:
        await call
    except AM2ZError as error:
        return error
    return None


async def until_status(runtime: Runtime, id: str, status: str) -> None:
    job = await runtime.job(id)
    with anyio.fail_after(PATIENCE):
        while await job.status() != status:
            await anyio.sleep(0.01)


async def dead_letter(runtime: Runtime, number: int = -1, **options: Any) -> str:
    job = await runtime.submit(charge, Order(number), **options)
    await job.result()
    return job.id


async def test_jobs_are_found_by_tag_and_schedule(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        tagged = JobOptions(tags=["spring", "two words", "spring"])
        one = await runtime.submit(charge, Order(1), options=tagged)
        await runtime.submit(charge, Order(2), options=JobOptions(tags=["autumn"]))
        await runtime.schedules.upsert(Schedule("nightly/charge", charge, Every(3600), state=Order(3)))
        ran = (await runtime.schedules.run_now("nightly/charge")).id
        service = admin(runtime)
        for id in (one.id, ran):
            await until_status(runtime, id, "completed")

        async def found(query: str) -> list[str]:
            return [row.id for row in (await service.search(query)).rows]

        assert await found("tag:spr*") == await found('tag:"two words"') == [one.id]
        assert await found("-tag:spring tag:spring") == []
        assert await found("schedule:nightly*") == [ran]
        (row,) = (await service.search(one.id)).rows
        assert (row.tags, row.schedule, row.trace) == (("spring", "two words"), "", "")


async def test_a_job_that_is_edited_runs_as_it_was_queued(make_runtime):
    """But for what is replaced, and for when."""
    async with make_runtime() as runtime:
        runtime.register(charge)
        options = JobOptions(
            attempts=1,
            backoff=Backoff(type="fixed", delay=7),
            priority=3,
            commit=False,
            tags=["spring"],
            total_timeout=900,
            remove_on_complete=Retention(age=120),
            remove_on_fail=50,
        )
        id = await dead_letter(runtime, session="s", timeout=30, options=options)
        await runtime.pause(charge)
        desk = admin(runtime)
        inspection = runtime.node.store.inspection

        async def kept(id: str) -> tuple[Any, ...]:
            (row,), (spec,) = await inspection.rows([id]), await inspection.specs([id])
            assert (row.on_complete, row.on_fail) == (Retention(age=120), Retention(count=50))
            assert 899 < (row.deadline - row.at) / 1000 <= 900.1
            queued = row.session, row.priority, row.tags
            return *queued, spec.timeout, spec.attempts, spec.backoff, spec.multiplier, spec.commits

        same = await desk.edit(id, {"number": 5})
        assert await kept(same.job) == await kept(id) == ("s", 3, ("spring",), 30.0, 1, 7.0, 1.0, False)
        changed = JobOptions(priority=0, backoff=2, tags=[], delay=600)
        other = await desk.edit(id, {"number": 5}, options=changed, timeout=9)
        assert await kept(other.job) == ("s", 0, (), 9.0, 1, 2.0, None, False)
        assert (await runtime.node.store.inspection.rows([other.job]))[0].status == "later"
        # Of a completed one it is not kept what it was given, nor its timeout.
        await runtime.resume(charge)
        await until_status(runtime, same.job, "completed")
        again = await desk.edit(same.job, {"number": 6}, options=JobOptions(delay=600))
        assert await kept(again.job) == ("s", 3, ("spring",), None, None, None, None, True)


class Bill(msgspec.Struct):
    total: int
    currency: str


def in_euros(form: dict[str, Any]) -> dict[str, Any]:
    return {"total": form.get("amount", form.get("total")), "currency": "EUR"}


@processor(state_version=2, migrate={1: in_euros})
async def bill(given: Bill) -> Bill:
    return given


@pytest.mark.parametrize("knows", [True, False], ids=["knows its type", "knows its name"])
async def test_an_edited_job_is_of_the_version_of_what_the_old_one_was_given(redis_url, knows):
    async with QueueRuntime(redis_url) as worker, QueueRuntime(redis_url, workers=False) as looks:
        worker.register(bill)
        await worker.sync_processors()
        if knows:
            looks.register(bill)
        await worker.pause(bill)
        new = await worker.submit(bill, Bill(7, "CHF"))
        old = await worker.submit("bill", at_version(2, {"total": 7, "currency": "CHF"}))
        desk = admin(looks)
        edited = [await desk.edit(job.id, {"total": 8, "currency": "CHF"}) for job in (new, old)]
        await worker.resume(bill)
        for answer in edited:
            result = await (await worker.job(answer.job)).result()
            assert msgspec.to_builtins(result.unwrap()) == {"total": 8, "currency": "CHF"}


async def test_what_waits_and_what_runs_is_cancelled_and_written_down(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(hold)
        runs = await runtime.submit(hold, 1)
        await until_status(runtime, runs.id, "active")
        waits = await runtime.submit(hold, 2, options=JobOptions(delay=60))
        desk = admin(runtime)
        assert (await desk.cancel(waits.id)).done
        answer = await desk.cancel(runs.id, reason="stuck")
        assert (answer.done, answer.text) == (True, "it runs, and ends at its next checkpoint")
        assert (await runs.result()).error.message == "stuck"
        assert (await waits.result()).error.message == "cancelled by ada@laptop"
        again = await desk.cancel(runs.id)
        assert not again.done
        assert again.text.startswith("it was cancelled")
        assert [one for one in await audited(runtime) if one[1] == runs.id] == [
            ("cancel", runs.id, ""),
            ("cancel", runs.id, "done"),
            ("cancel", runs.id, ""),
            ("cancel", runs.id, "done"),
        ]


async def test_a_dead_letter_is_retried_edited_and_dropped(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        desk, id = admin(runtime), await dead_letter(runtime)
        edited = await desk.edit(id, {"number": 7})
        assert edited.done
        assert (await (await runtime.job(edited.job)).result()).unwrap() == Order(7)
        with pytest.raises(ValidationError, match="number"):
            await desk.edit(id, {"number": "seven"})
        assert (await desk.retry(id)).done
        with anyio.fail_after(PATIENCE):
            while not (await desk.drop(id)).done:
                await anyio.sleep(0.01)
        assert not (await desk.retry(id)).done
        assert ("edit", id, "failed") in await audited(runtime)


async def test_a_job_is_put_before_others(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(hold)
        job = await runtime.submit(hold, 1, options=JobOptions(delay=600))
        answer = await admin(runtime).promote(job.id)
        assert (answer.done, answer.text) == (True, "it waits no longer, and is the next one")
        await until_status(runtime, job.id, "active")
        assert (await admin(runtime).promote(job.id)).text == "it runs"


async def test_queues_sessions_and_states_are_acted_upon(make_runtime):
    async with make_runtime(state_history=5) as runtime:
        runtime.register(hold)
        desk = admin(runtime)
        assert (await desk.pause("hold")).done
        job = await runtime.submit(hold, 1, session="alice")
        assert await job.status() == "waiting"
        assert (await desk.resume("hold")).done
        await until_status(runtime, job.id, "active")
        assert (await desk.pause("nobody")).text == "there is no such queue"
        assert (await desk.stop_session("alice")).done
        assert (await job.result()).error.code == "SESSION_STOPPED"
        for n in (1, 2, 3):
            await runtime.state.set("bob", n)
        assert (await desk.restore_state("bob", 2)).done
        assert (await runtime.state.get("bob", int)).state == 2
        assert not (await desk.restore_state("bob", 4)).done
        assert "not kept" in (await desk.restore_state("bob", 99)).text


async def test_payloads_are_hidden_unless_they_are_revealed_which_is_written_down(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        id = await dead_letter(runtime)
        rules = Rules(show=("number",))
        viewer = Admin(runtime, principal=Principal(name="v", role="viewer"), redaction=rules)
        shown = await viewer.show(id)
        assert (shown.input.value, shown.input.hidden) == ({"number": -1}, 1)
        assert shown.row.error.endswith("ValueError: no order -1")
        with pytest.raises(NotPermittedError, match="reveal"):
            await viewer.show(id, reveal=True)
        shown = await admin(runtime).show(id, reveal=True)
        assert shown.input.value == {"number": -1, "card": "4111"}
        assert [one[::2] for one in await audited(runtime)] == [
            ("reveal", "refused"),
            ("reveal", ""),
            ("reveal", "done"),
        ]


async def test_what_may_not_be_seen_of_payloads_is_not_found_by_it_either(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        id = await dead_letter(runtime)
        rules = Rules(show=("number",), hide=("card",))
        viewer = Admin(runtime, principal=Principal(name="v", role="viewer"), redaction=rules)
        assert [row.id for row in (await viewer.search("input.number:-1")).rows] == [id]
        (counted,) = (await viewer.search("input.number:4")).excluded
        assert (counted.terms, counted.of, counted.excluded) == ("input.number:4", 1, 1)
        operator = Admin(runtime, principal=Principal(name="o", role="operator"), redaction=Rules())
        assert [row.id for row in (await operator.search("input.card:4*")).rows] == [id]
        refused = Admin(runtime, principal=Principal(name="v", role="viewer"))
        asks: list[Callable[[Admin, str], Awaitable[Any]]] = [
            lambda desk, query: desk.search(query),
            lambda desk, query: desk.count(query),
            lambda desk, query: desk.dead_groups(query),
            lambda desk, query: desk.loosened(query),
            lambda desk, query: desk.preview_bulk("retry", query),
            lambda desk, query: desk.begin_bulk("retry", query),
        ]
        boss = Admin(runtime, principal=Principal(name="b", role="admin"), redaction=rules)
        for ask in asks:
            for query in ("status:dead input.number:-1", "status:dead -input.Number.x:2"):
                with pytest.raises(NotPermittedError, match="reveal"):
                    await ask(refused, query)
            for query in ("status:dead input.card:4*", "status:dead input.CARD.digits.0:4"):
                for desk in (viewer, boss):
                    with pytest.raises(ValidationError, match="hides from everybody"):
                        await ask(desk, query)
        assert ("search by input", "status:dead input.number:-1", "refused") in await audited(runtime)


async def test_who_finds_jobs_by_what_only_some_may_see_has_revealed_it(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        runtime.register(charge)
        await dead_letter(runtime)
        rules = Rules(show=("card",), hide=())
        desk = Admin(runtime, principal=Principal(name="o", role="operator"), redaction=rules)
        await desk.search("input.card:4*")
        await desk.search("status:dead")
        assert await audited(runtime) == []
        query = "input.number:-1 status:dead"
        await desk.search(query)
        await desk.preview_bulk("retry", query)
        await desk.dead_groups(query)
        await desk.loosened(query)
        page = ("search by input", query)
        # One look, however many questions it takes.
        assert await audited(runtime) == [(*page, ""), (*page, "done")]
        await desk.count("-input.number:5 status:dead")
        assert (await audited(runtime))[2:] == [
            ("search by input", "-input.number:5 status:dead", ""),
            ("search by input", "-input.number:5 status:dead", "done"),
        ]
        monkeypatch.setattr("am2z_trio.admin.jobs.ASKED_AGAIN_MS", 0)
        await desk.search(query)
        assert (await audited(runtime))[4:] == [(*page, ""), (*page, "done")]


async def test_a_search_that_has_failed_hides_none_that_reveals_something_after_it(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        await dead_letter(runtime)
        desk = Admin(runtime, principal=Principal(name="o", role="operator"))
        page = ("search by input", "input.number:-1 status:dead")
        with pytest.raises(ValidationError):
            await desk.search(page[1], cursor="none of ours")
        assert len((await desk.search(page[1])).rows) == 1
        assert await audited(runtime) == [(*page, ""), (*page, "failed"), (*page, ""), (*page, "done")]


HOURLY = Schedule("hourly", "charge", Every(3600), state={"number": 1})
LONG_AGO = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, 2, tzinfo=UTC))


def node_of(desk: Admin) -> str:
    return desk._runtime.node.id


ACTIONS: dict[str, Callable[[Admin, str], Awaitable[Any]]] = {
    "cancel": lambda desk, id: desk.cancel(id),
    "retry": lambda desk, id: desk.retry(id),
    "retry ": lambda desk, id: desk.promote(id),
    "purge": lambda desk, id: desk.drop(id),
    "edit": lambda desk, id: desk.edit(id, {"number": 1}),
    "enqueue": lambda desk, id: desk.enqueue("charge", {"number": 1}),
    "pause": lambda desk, id: desk.pause("charge"),
    "pause ": lambda desk, id: desk.resume("charge"),
    "pause all": lambda desk, id: desk.pause_all(),
    "pause none": lambda desk, id: desk.resume_all(),
    "stop_session": lambda desk, id: desk.stop_session("alice"),
    "restore_state": lambda desk, id: desk.restore_state("alice", 1),
    "schedule": lambda desk, id: desk.add_schedule(HOURLY),
    "schedule terms": lambda desk, id: desk.amend_schedule("hourly", jitter=1.0),
    "schedule ": lambda desk, id: desk.pause_schedule("hourly"),
    "schedule  ": lambda desk, id: desk.resume_schedule("hourly"),
    "schedule   ": lambda desk, id: desk.run_schedule("hourly"),
    "schedule    ": lambda desk, id: desk.backfill_schedule("hourly", *LONG_AGO, dry_run=False),
    "schedule     ": lambda desk, id: desk.remove_schedule("hourly"),
    "cancel ": lambda desk, id: desk.begin_bulk("cancel", id),
    "retry  ": lambda desk, id: desk.begin_bulk("retry", id),
    "purge ": lambda desk, id: desk.begin_bulk("drop", id),
    "reveal": lambda desk, id: desk.show(id, reveal=True),
    "view": lambda desk, id: desk.search(),
    "view ": lambda desk, id: desk.show(id),
    "view queues": lambda desk, id: desk.preview_pause_all(),
    "view  ": lambda desk, id: desk.preview_bulk("cancel", id),
    "view nodes": lambda desk, id: desk.nodes(),
    "view health": lambda desk, id: desk.node_health(node_of(desk)),
    "view tree": lambda desk, id: desk.tree(),
    "view stack": lambda desk, id: desk.stack(id),
    "view drain": lambda desk, id: desk.preview_drain(node_of(desk)),
    "view stop": lambda desk, id: desk.preview_stop_worker(node_of(desk), "charge"),
    "view why": lambda desk, id: desk.explain(id),
    "view logs": lambda desk, id: desk.job_logs(id),
    "view findings": lambda desk, id: desk.findings(),
    "view server": lambda desk, id: desk.examine(),
    "reveal logs": lambda desk, id: desk.job_logs(id, reveal=True),
    "silence": lambda desk, id: desk.silence("held", 60, reason="the import runs"),
    "cancel task": lambda desk, id: desk.cancel_task(node_of(desk), id, "0", "0"),
    "drain": lambda desk, id: desk.drain_node(node_of(desk)),
    "drain undone": lambda desk, id: desk.undrain_node(node_of(desk)),
    "drain queue": lambda desk, id: desk.stop_worker(node_of(desk), "charge"),
    "stop_session worker": lambda desk, id: desk.stop_worker(node_of(desk), "charge", "alice"),
    "view week": lambda desk, id: desk.week_ahead(),
    "view what if": lambda desk, id: desk.what_if(Every(60)),
    "view last runs": lambda desk, id: desk.last_runs(["nightly"]),
    "view lost nodes": lambda desk, id: desk.lost_nodes(),
    "view healths": lambda desk, id: desk.node_healths(),
    "view cancel": lambda desk, id: desk.preview_cancel(id),
    "view stop session": lambda desk, id: desk.preview_stop_session("alice"),
    "view schedules": lambda desk, id: desk.schedules(),
    "view schedule": lambda desk, id: desk.schedule("nightly"),
    "view times": lambda desk, id: desk.schedule_times("nightly"),
    "view runs": lambda desk, id: desk.schedule_runs("nightly"),
    "view backfill": lambda desk, id: desk.backfill_schedule("nightly", *LONG_AGO),
}
"""Every action, by the permission that it takes, which is the first word."""


@pytest.mark.parametrize("role", [*ROLES, "nothing"])
async def test_every_action_asks_for_its_permission(make_runtime, role):
    permissions: frozenset[str] | None = frozenset() if role == "nothing" else None
    async with make_runtime() as runtime:
        runtime.register(charge)
        await runtime.schedules.upsert("nightly", charge, Every(10**6), state=Order(1))
        id = await dead_letter(runtime)
        desk = admin(runtime, role, permissions=permissions)
        for name, act in ACTIONS.items():
            permission = name.split()[0]
            if permission in desk.principal.may:
                await act(desk, id)
            else:
                # Who reveals has to be one who may look, too.
                missing = {permission, "view"} - desk.principal.may
                with pytest.raises(NotPermittedError) as refusal:
                    await act(desk, id)
                assert refusal.value.context["permission"] in missing
        refused = [one for one in await audited(runtime) if one[2] == "refused"]
        assert len(refused) == sum(name.split()[0] not in desk.principal.may for name in ACTIONS)
        assert {name.split()[0] for name in ACTIONS} <= {*PERMISSIONS}


async def test_what_is_of_others_is_not_there_for_who_is_limited(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge, hold)
        mine = await dead_letter(runtime, session="team-a/1")
        other = await dead_letter(runtime, session="team-b/1")
        desk = admin(runtime, sessions=("team-a/*",), queues=("charge",))
        assert [row.id for row in (await desk.search("status:dead")).rows] == [mine]
        assert (await desk.search(f"id:{other}")).rows == []
        for act in (desk.cancel, desk.retry, desk.show, desk.drop):
            with pytest.raises(JobNotFoundError):
                await act(other)
        for refused in (
            desk.enqueue("charge", {"number": 1}),
            desk.enqueue("hold", 1, session="team-a/1"),
            desk.stop_session("team-b/1"),
            desk.pause("hold"),
        ):
            with pytest.raises(NotPermittedError):
                await refused
        assert (await desk.enqueue("charge", {"number": 1}, session="team-a/2")).done


async def test_what_is_of_others_too_is_not_done_by_who_is_limited(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        by_session, by_queue = admin(runtime, sessions=("team-a/*",)), admin(runtime, queues=("charge",))
        for refused in (
            # A queue is of all sessions.
            by_session.pause("charge"),
            by_session.resume("charge"),
            by_session.stop_worker(node_of(by_session), "charge"),
            by_session.silence("held", 60, reason="known", target="charge"),
            # A session is of all queues.
            by_queue.stop_session("team-a/1"),
            by_queue.preview_stop_session("team-a/1"),
            by_queue.restore_state("team-a/1", 1),
        ):
            with pytest.raises(NotPermittedError, match="limited to some queues or sessions"):
                await refused
        assert {outcome for _, _, outcome in await audited(runtime)} == {"refused"}
        assert not (await runtime.get_queue_stats())["charge"].paused
        assert (await by_session.stop_session("team-a/1")).done
        assert (await by_session.stop_worker(node_of(by_session), "charge", "team-a/1")).text
        assert (await by_queue.pause("charge")).done
        assert (await by_queue.resume("charge")).done


async def test_what_cannot_be_written_down_is_not_done(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        runtime.register(hold)
        job = await runtime.submit(hold, 1)
        await until_status(runtime, job.id, "active")

        async def away(*_: Any) -> None:
            raise NetworkError("the store is away")

        monkeypatch.setattr(type(runtime.node.store.chronicle), "append_audit", away)
        with pytest.raises(NetworkError, match="away"):
            await admin(runtime).cancel(job.id)
        assert await job.status() == "active"
        view = (await runtime.node.store.inspection.rows([job.id]))[0]
        assert view is not None
        assert view.cancel == ""


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.strip()])
async def test_any_text_is_a_name_or_one_clear_error(make_runtime, text):
    async with make_runtime() as runtime:
        runtime.register(charge)
        desk = admin(runtime)
        await desk.enqueue("charge", {"number": 1}, session=text, reason=text[:200])
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        if len(text) < 400:
            page = await desk.search(f'session:"{quoted}"')
            assert {row.session for row in page.rows} <= {text}
        for call in (
            desk.cancel(text),
            desk.search(text),
            desk.search("", cursor=text),
            desk.pause(text),
            desk.node_health(text),
            desk.undrain_node(text),
            desk.stack(text),
            desk.explain(text),
            desk.job_logs(text),
            desk.silence(text, 60, reason=text, target=text),
            desk.pause_schedule(text),
            desk.schedule(text),
            desk.bulk(text),
            desk.enqueue(text, 1),
            desk.edit(text, 1),
        ):
            error = await refusal_of(call)
            assert error is None or len(error.message) < 20_000
