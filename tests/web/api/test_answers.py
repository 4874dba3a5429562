"""What the API answers: in every role what that may, as the document says; else one clear fault."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest

from am2z_trio import Every, Job, JobOptions, NetworkError, RetryPolicy, processor
from am2z_trio.admin import ROLES, Admin, Principal
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import UnknownOutcomeError
from am2z_trio.web.api.answering import Reply, answered
from am2z_trio.web.api.openapi import document
from am2z_trio.web.api.routes import Route
from am2z_trio.web.api.table import ROUTES
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

DOCUMENT = json.loads(document(ROUTES, server="/api/v1", cookie="__Host-am2z"))


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


class Situation:
    """A runtime in which there is one of everything, and what a request says to each route."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.said: dict[str, dict[str, Any]] = {}

    async def prepare(self) -> None:
        runtime = self.runtime
        runtime.register(charge)
        runtime.register(hold)
        dead = await runtime.submit(charge, Order(-1))
        await dead.result()
        later = [await runtime.submit(hold, n, options=JobOptions(delay=600)) for n in range(3)]
        for n in (1, 2, 3):
            await runtime.state.set("bob", n)
        await runtime.schedules.upsert("nightly", hold, Every(3600), state=1)
        await runtime.schedules.upsert("yearly", hold, Every(3600), state=1)
        held = await runtime.submit(hold, 4)
        await until_active(held)
        now = datetime.now(UTC)
        node, worker = runtime.node_id, {"node": runtime.node_id, "processor": "hold"}
        backfill = {"start": (now - timedelta(hours=3)).isoformat(), "end": now.isoformat()}
        nightly = {"schedule_id": "nightly"}
        bulk = await self.admin("admin").begin_bulk("cancel", "queue:nobody")
        self.said = {
            "enqueue": {"processor": "charge", "state": {"number": 1}},
            "show": {"job_id": dead.id},
            "reveal": {"job_id": dead.id, "reason": "asked for"},
            "wait": {"job_id": held.id, "timeout": 0.01},
            "cancel": {"job_id": later[0].id, "reason": "not wanted"},
            "promote": {"job_id": later[1].id},
            "signal": {"job_id": later[2].id, "name": "approval", "value": {"yes": True}},
            "retry": {"job_id": dead.id},
            "edit": {"job_id": dead.id, "state": {"number": 7}},
            "drop": {"job_id": dead.id},
            "preview_bulk": {"action": "cancel", "query": "queue:hold"},
            "begin_bulk": {"action": "cancel", "query": "queue:nobody"},
            "bulk": {"bulk_id": bulk.id},
            "stop_bulk": {"bulk_id": bulk.id},
            "carry_on": {"bulk_id": bulk.id},
            "samples": {"queue": "hold", "since": 60},
            "throughput": {"queue": "hold"},
            "series": {"span": "15m"},
            "queue": {"queue": "hold"},
            "drain_queue": {"queue": "charge"},
            "audit": {"since": "1h", "containing": "hold"},
            "purge": {"queue": "charge", "agreed": 10},
            "preview_cancel": {"job_id": held.id},
            "pause": {"queue": "hold"},
            "resume": {"queue": "hold"},
            "preview_pause_all": {"resume": True},
            "stop_session": {"session": "nobody"},
            "signal_session": {"session": "bob", "name": "approval", "value": {"yes": True}},
            "restore_state": {"session": "bob", "version": 2},
            "explain": {"job_id": later[2].id},
            "stack": {"job_id": held.id},
            "job_logs": {"job_id": dead.id},
            "reveal_logs": {"job_id": dead.id},
            "schedule": nightly,
            "schedule_times": {"schedule_id": "nightly", "n": 3},
            "schedule_runs": nightly,
            "add_schedule": {**nightly, "processor": "hold", "every": 7200, "state": 1},
            "amend_schedule": {**nightly, "every": 1800, "note": "amended"},
            "last_runs": {"ids": ["nightly", "nobody"]},
            "week_ahead": {},
            "what_if": {"every": 60, "n": 3},
            "pause_schedule": nightly,
            "resume_schedule": nightly,
            "run_schedule": nightly,
            "remove_schedule": {"schedule_id": "yearly"},
            "preview_backfill": nightly | backfill,
            "backfill_schedule": nightly | backfill,
            "node_health": {"node": node},
            "preview_drain": {"node": node},
            "drain_node": {"node": node, "grace": 60},
            "undrain_node": {"node": node},
            "preview_stop_worker": worker,
            "stop_worker": {**worker, "session": "nobody"},
            "cancel_task": {"node": node, "job_id": held.id, "token": "1", "path": "0"},
            "silence": {"code": "unserved", "target": "hold", "seconds": 60, "reason": "known"},
            "loosened": {"query": "status:dead queue:hold"},
            "explain_some": {"job_ids": [dead.id, held.id]},
            "calls": {"job_id": held.id},
            "changes": {"job_id": held.id},
            "reveal_changes": {"job_id": held.id},
            "as_test": {"job_id": dead.id},
            "session_rows": {"sessions": ["bob", "nobody"]},
            "stop_sessions": {"sessions": ["nobody", "no one"]},
            "session": {"session": "bob"},
            "state": {"session": "bob", "version": 2, "against": 1},
            "reveal_state": {"session": "bob"},
            "stored_bytes": {"session": "bob"},
            "verify_state": {"session": "bob"},
            "preview_stop_session": {"session": "bob"},
            "count": {"query": "status:delayed"},
        }

    def admin(self, role: str, **limits: Any) -> Admin:
        return Admin(self.runtime, principal=Principal(name=role, role=role, **limits), face="api")

    async def ask(self, admin: Admin, route: Route) -> Reply:
        said = dict(self.said.get(route.name, {}))
        parts = [said.pop(part[1:-1]) if part.startswith("{") else part for part in route.parts]
        if route.verb != "GET":
            return await answered(admin, route.verb, parts, "", json.dumps(said).encode())
        return await answered(admin, route.verb, parts, urlencode(said, doseq=True), b"")


async def until_active(job: Job[Any]) -> None:
    with anyio.fail_after(PATIENCE):
        while await job.status() != "active":
            await anyio.sleep(0.01)


def told(reply: Reply) -> Any:
    return json.loads(reply.body)


def conforms(route: Route, answer: Any) -> None:
    """It is what the document says."""
    operation = DOCUMENT["paths"][route.path][route.verb.lower()]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    validator = pytest.importorskip("jsonschema", reason="of the extra `test`")
    validator.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer)


async def test_every_route_in_every_role_answers_as_the_document_says_or_refuses(make_runtime):
    async with make_runtime(state_history=5, event_history=1_000, shutdown_grace=0) as runtime:
        situation = Situation(runtime)
        await situation.prepare()
        for role, may in ROLES.items():
            admin = situation.admin(role)
            for route in ROUTES:
                reply = await situation.ask(admin, route)
                if set(route.permissions) & may:
                    assert reply.status == 200, (role, route.name, reply)
                    conforms(route, told(reply))
                elif route.name == "stop_sessions":
                    # Each of them is answered for itself.
                    assert not any(one["done"] for one in told(reply))
                else:
                    assert reply.status == 403, (role, route.name, reply)
                    fault = told(reply)
                    assert fault["code"] == "NOT_PERMITTED"
                    assert any(f"{one!r}" in fault["rule"] for one in route.permissions), fault
        entries = (await runtime.node.store.chronicle.audit_page("", 1_000)).entries
        acts = {route.method for route in ROUTES if route.verb != "GET"}
        refused = {one.action for one in entries if one.outcome == "refused" and one.who == "viewer"}
        # What is refused has been written down: to look alone is nobody's secret.
        assert len(refused) >= len(acts - {"show", "begin_bulk", "stop_bulk"})


@pytest.mark.parametrize(
    ("verb", "path", "query", "body", "status", "fault"),
    [
        ("GET", ("jobs", "nobody"), "", b"", 404, {"code": "JOB_NOT_FOUND"}),
        ("GET", ("nothing",), "", b"", 404, {"code": "NOT_FOUND"}),
        (
            "DELETE",
            ("jobs",),
            "",
            b"",
            405,
            {"code": "METHOD_NOT_ALLOWED", "message": "this path takes GET, POST"},
        ),
        (
            "GET",
            ("jobs",),
            "limit=900",
            b"",
            400,
            {"field": "limit", "rule": "must be a whole number, from 1 to 500"},
        ),
        ("GET", ("jobs",), "query=status:what", b"", 400, {"code": "VALIDATION"}),
        ("POST", ("bulks",), "", b'{"action": "cancel", "query": ""}', 400, {"field": "query"}),
        (
            "POST",
            ("jobs",),
            "",
            b'{"processor": "charge", "state": {"number": "x"}}',
            400,
            {"code": "VALIDATION"},
        ),
        ("POST", ("jobs",), "", b'{"processor": "nobody"}', 404, {"code": "PROCESSOR_NOT_FOUND"}),
    ],
)
async def test_what_is_wrong_is_told_by_field_and_rule(make_runtime, verb, path, query, body, status, fault):
    async with make_runtime(shutdown_grace=0) as runtime:
        runtime.register(charge)
        admin = Admin(runtime, principal=Principal(name="a", role="admin"), face="api")
        reply = await answered(admin, verb, path, query, body)
        assert reply.status == status, reply
        assert fault.items() <= told(reply).items()


async def test_where_the_store_is_away_that_is_said_and_so_is_what_may_have_been_done(
    make_runtime, monkeypatch
):
    async with make_runtime(shutdown_grace=0) as runtime:
        admin = Admin(runtime, principal=Principal(name="a", role="admin"), face="api")
        for error, status in (
            (NetworkError("away"), 503),
            (UnknownOutcomeError("sent"), 504),
            (OSError("hush"), 500),
        ):

            async def fails(error: Exception = error, **_: Any) -> None:
                raise error

            monkeypatch.setattr(admin, "search", fails)
            reply = await answered(admin, "GET", ["jobs"], "", b"")
            assert reply.status == status
            assert "hush" not in reply.body.decode()


async def test_what_is_no_business_of_a_principal_is_not_there_for_it(make_runtime):
    async with make_runtime(shutdown_grace=0) as runtime:
        situation = Situation(runtime)
        await situation.prepare()
        narrow = situation.admin("operator", queues=("charge",))
        theirs = await situation.ask(narrow, named("search"))
        assert {row["processor"] for row in told(theirs)["rows"]} == {"charge"}
        assert (await situation.ask(narrow, named("cancel"))).status == 404
        assert (await situation.ask(narrow, named("pause"))).status == 403


async def test_payloads_are_shown_to_who_reveals_them_alone(make_runtime):
    async with make_runtime(shutdown_grace=0) as runtime:
        situation = Situation(runtime)
        await situation.prepare()
        admin = situation.admin("operator")
        assert told(await situation.ask(admin, named("show")))["input"]["value"] is None
        assert told(await situation.ask(admin, named("reveal")))["input"]["value"] == {
            "number": -1,
            "card": "4111",
        }


def named(name: str) -> Route:
    return next(route for route in ROUTES if route.name == name)
