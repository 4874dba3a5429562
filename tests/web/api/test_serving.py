"""The API over HTTP: by a token or a cookie, under any prefix, whatever ids there are."""

from __future__ import annotations

import json

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from am2z_trio.admin import Principal
from am2z_trio.model.segments import segment
from am2z_trio.testing.conformance import HOSTILE
from am2z_trio.web import console
from am2z_trio.web.api import listening
from tests.support.waiting import PATIENCE
from tests.web.by_hand import never, scope_of

pytestmark = pytest.mark.anyio


async def test_a_program_asks_and_acts_and_the_audit_says_that_it_was_a_program(open_site):
    async with open_site(work=True) as site:
        program = site.as_("admin")
        page = (await program.get("/api/v1/jobs", params={"query": "queue:price status:dead"})).json()
        assert [row["id"] for row in page["rows"]] == [site.jobs["dead"]]
        assert page["rows"][0]["code"] == "PROCESSOR_EXECUTION"
        id = segment(site.jobs["dead"])
        answer = await program.post(f"/api/v1/jobs/{id}/drop", json={"reason": "known"})
        assert (answer.status_code, answer.json()["done"]) == (200, True)
        assert answer.headers["content-type"] == "application/json"
        wrong = await program.get("/api/v1/audit?since=yesterday")
        assert (wrong.status_code, wrong.json()["field"]) == (400, "since")
        assert "must be a length of time" in wrong.json()["rule"]
        assert (await program.get("/api/v1/audit?since=2100-01-01")).json()["entries"] == []
        audit = (await program.get("/api/v1/audit?since=1h")).json()
        assert [(one["action"], one["face"], one["outcome"]) for one in audit["entries"]] == [
            ("drop", "api", "done"),
            ("drop", "api", ""),
        ]
        assert audit["entries"][0]["told"]["done"] is True


async def test_what_a_program_may_is_told_and_what_it_may_not_is_refused(open_site):
    async with open_site(work=True) as site:
        viewer = site.as_("viewer")
        me = (await viewer.get("/api/v1/me")).json()
        assert me == {
            "name": "viewer@test",
            "role": "viewer",
            "may": ["view"],
            "sessions": ["*"],
            "queues": ["*"],
        }
        refused = await viewer.post(f"/api/v1/jobs/{site.jobs['waiting']}/cancel")
        assert (refused.status_code, refused.json()["rule"]) == (403, "takes the permission 'cancel'")
        nobody = await site.as_("nobody").get("/api/v1/me")
        assert (nobody.status_code, set(nobody.json())) == (401, {"code", "message", "field", "rule"})


async def test_the_document_is_there_with_the_prefix_under_which_it_is_mounted(open_site):
    async with open_site() as site:
        mounted = Starlette(routes=[Mount("/deep/down", site.app)])
        transport = httpx.ASGITransport(mounted)
        headers = {"X-Test-Role": "viewer"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers
        ) as client:
            document = (await client.get("/deep/down/api/v1/openapi.json")).json()
            (server,) = document["servers"]
            assert server["url"] == "/deep/down/api/v1"
            assert (await client.get(f"{server['url']}/me")).json()["role"] == "viewer"


async def test_ids_of_any_text_are_reached(open_site):
    async with open_site() as site:
        client = site.as_("admin")
        for id in ["a/b", "..", "%2f", "~", "", *HOSTILE]:
            await site.runtime.state.set(id, 1) if id else None
            shown = await client.get(f"/api/v1/sessions/{segment(id)}")
            if not id:
                assert shown.json()["field"] == "session"
                continue
            assert shown.json()["row"]["session"] == id
        assert (await client.get("/api/v1/sessions/a:b")).json()["row"]["session"] == "a:b"
        assert (await client.get("/api/v1/sessions/%C3%BC%20x")).json()["row"]["session"] == "ü x"
        for path in ("sessions/~zz", "sessions/", "sessions//x", "nothing", ""):
            assert (await client.get(f"/api/v1/{path}")).status_code == 404, path
        wrong = await client.delete("/api/v1/jobs")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")


async def test_what_comes_from_a_page_of_elsewhere_changes_nothing(open_site):
    async with open_site(work=True) as site:
        path = f"/api/v1/jobs/{site.jobs['waiting']}/cancel"
        elsewhere = {"Sec-Fetch-Site": "cross-site", "X-Test-Role": "admin"}
        transport = httpx.ASGITransport(site.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=elsewhere
        ) as client:
            refused = await client.post(path)
            assert (refused.status_code, refused.json()["code"]) == (403, "REFUSED")
            # A token of its own is no browser's to add.
            assert (await client.post(path, headers={"Authorization": "Bearer x"})).json()["done"] is True


async def test_a_body_is_bounded(open_site):
    async with open_site() as site:
        answer = await site.as_("admin").post("/api/v1/jobs", content=b'"' + b"x" * 2**20 + b'"')
        assert answer.status_code == 413
        assert set(answer.json()) == {"code", "message", "field", "rule"}


async def test_events_are_streamed_until_whoever_listens_has_gone(open_site):
    async with open_site(work=True) as site:
        got = list[bytes]()
        gone = anyio.Event()
        path = "/api/v1/events/live"
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"pattern=mine:*",
            "headers": [(b"host", b"127.0.0.1"), (b"x-test-role", b"operator")],
            "server": ("127.0.0.1", 80),
            "scheme": "http",
        }

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                got.append(message["body"])

        async with anyio.create_task_group() as group:
            group.start_soon(site.app, scope, receive, send)
            with anyio.fail_after(PATIENCE):
                while not got:
                    await anyio.sleep(0.01)
                assert listening.Listening.under_way == 1
                site.runtime.emit("mine:one", {"a": "b\r\nevent: x"})
                while len(got) < 2:
                    await anyio.sleep(0.01)
            gone.set()
        assert listening.Listening.under_way == 0
        lines = got[1].decode().split("\n")
        assert lines[0] == "event: mine:one"
        assert json.loads(lines[-3].removeprefix("data: "))["data"] == {"a": "b\r\nevent: x"}


async def test_a_listener_that_takes_nothing_is_left(open_site, monkeypatch):
    async def send(message):
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    monkeypatch.setattr(listening, "SEND_WAIT", 0.01)
    async with open_site() as site:
        with anyio.fail_after(PATIENCE):
            await site.app(scope_of("/api/v1/events/live"), never, send)
        assert listening.Listening.under_way == 0


async def test_a_listener_that_may_no_longer_listens_no_longer(open_site, monkeypatch):
    known = [Principal(name="ada", role="viewer")]

    async def send(message):
        if message["type"] == "http.response.body":
            known[:] = [Principal(name="ada", role="nobody", permissions=frozenset())]

    monkeypatch.setattr(listening, "WHO_EVERY", 0.01)
    async with open_site() as site:
        app = console(site.runtime, authenticate=lambda _: known[0])
        with anyio.fail_after(PATIENCE):
            await app(scope_of("/api/v1/events/live"), never, send)
        assert listening.Listening.under_way == 0


async def test_listeners_are_bounded_and_what_they_ask_is_checked(open_site, monkeypatch):
    async with open_site() as site:
        wrong = await site.as_("viewer").get("/api/v1/events/live?pattern=")
        assert wrong.status_code == 400
        assert wrong.json()["field"]
        monkeypatch.setattr(listening, "MOST_STREAMS", 0)
        assert (await site.as_("viewer").get("/api/v1/events/live")).status_code == 429
