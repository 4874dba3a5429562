"""The live tree and the nodes in the console: what runs, and an end for any of it, by whoever may."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from starlette.datastructures import QueryParams

from am2z_trio import Context, QueueRuntime, processor
from am2z_trio.admin import ROLES
from am2z_trio.model.views.tree import NodeTree, Tree
from am2z_trio.testing.conformance import HOSTILE
from am2z_trio.web.addresses import address
from tests.support.waiting import PATIENCE
from tests.web.conftest import until

pytestmark = pytest.mark.anyio


@processor(name="outer")
async def outer(n: int, ctx: Context) -> int:
    async def beside() -> None:
        await anyio.sleep_forever()

    ctx.nursery.start_soon(beside, name="<i>beside</i>")
    return await ctx.call("inner", n)


@processor(name="inner", timeout=3600)
async def inner(n: int) -> int:
    await anyio.sleep_forever()
    return n


SESSION = "tenant/7 <b>"


@asynccontextmanager
async def at_work(site: Any) -> AsyncIterator[dict[str, str]]:
    """A job on one node that has called one on another, which is no process of the console's runtime."""
    async with QueueRuntime(**site.place, shutdown_grace=0) as other:
        other.register(outer, inner)
        job = await other.submit(outer, 1, session=SESSION)
        rows: list[Any] = []
        with anyio.fail_after(PATIENCE):
            while not any(row.processor == "inner" and row.ran is not None for row in rows):
                found = await site.runtime.control.tree()
                rows = [row for node in found.nodes for row in node.rows if row.scope in ("job", "task")]
                await anyio.sleep(0.01)
        task = next(row for row in rows if row.scope == "task")
        called = next(row for row in rows if row.processor == "inner" and row.scope == "job")
        yield {
            "node": other.node.id,
            "outer": job.id,
            "inner": called.job,
            "token": task.token,
            "path": task.path,
        }


def scope(told: dict[str, str], kind: str) -> dict[str, str]:
    of = {
        "node": {"node": told["node"]},
        "session": {"session": SESSION},
        "worker": {"node": told["node"], "processor": "inner", "session": SESSION},
        "job": {"job": told["inner"]},
        "task": {"node": told["node"], "job": told["outer"], "token": told["token"], "path": told["path"]},
    }
    return {"kind": kind, **of[kind]}


async def test_nothing_there_says_how_to_begin(open_site, monkeypatch):
    async with open_site() as site:

        async def nobody(*_: Any) -> list[Any]:
            return []

        monkeypatch.setattr(type(site.runtime.node.store.control), "nodes", nobody)
        page = (await site.as_("viewer").get("/tree")).text
        assert "No node is here" in page
        assert "No node is here" in (await site.as_("viewer").get("/nodes")).text
        wrong = await site.as_("viewer").get("/tree?q=running>x")
        assert (wrong.status_code, "deadline&lt;30s" in wrong.text) == (400, True)


async def test_the_tree_has_every_scope_and_says_all_of_the_one_that_is_chosen(open_site):
    async with open_site() as site, at_work(site) as told:
        viewer = site.as_("viewer")
        page = (await viewer.get("/tree", params={"at": f"job:{told['inner']}"})).text
        levels = re.findall(r'aria-level="(\d)"', page)
        assert levels[0] == "1"
        assert {"1", "2", "3", "4", "5"} <= set(levels)
        assert "&lt;i&gt;beside&lt;/i&gt;" in page
        assert "tenant/7 &lt;b&gt;" in page
        assert page.count('aria-selected="true"') == 1
        side = page[page.index('data-live="side"') :]
        for said in (
            "Fencing token",
            "delivery 1, attempt 1",
            "its own timeout",
            "If you cancel it",
            told["node"],
        ):
            assert said in side
        assert "await anyio.sleep_forever()" in side
        chain = side[side.index("Causal chain") :]
        assert chain.index("outer") < chain.index("<b>inner")
        assert "/tree/cancel" not in page
        by_caller = (await viewer.get("/tree?by=caller")).text
        assert by_caller.index(">outer<") < by_caller.index(">inner<")
        assert "tenant/7 &lt;b&gt;" in (await viewer.get("/tree?by=session")).text
        for key in (
            f"node:{told['node']}",
            f"session:{told['node']}:{SESSION}",
            f"task:{told['outer']}:{told['path']}",
        ):
            assert page.count('aria-selected="true"') == 1
            assert (await viewer.get("/tree", params={"at": key})).text.count('aria-selected="true"') == 1
        assert "no longer here" in (await viewer.get("/tree?at=job:gone")).text


async def test_what_is_folded_stands_in_the_address_and_so_does_what_is_asked_for(open_site):
    async with open_site() as site, at_work(site):
        viewer = site.as_("viewer")
        page = (await viewer.get("/tree")).text
        (fold,) = re.findall(r'aria-expanded="true".*?\n.*?href="([^"]+)"', page)[:1]
        folded = (await viewer.get(fold.replace("&amp;", "&"))).text
        assert re.findall(r'aria-level="(\d)"', folded) == ["1", "1"]
        assert 'aria-expanded="false"' in folded
        (open_again, *_) = re.findall(r'data-tw[^>]*href="([^"]+)"', folded)
        assert open_again == "/tree"
        asked = (await viewer.get("/tree", params={"q": "processor:inner"})).text
        assert ">inner<" in asked
        assert ">outer<" not in asked


@pytest.mark.parametrize("role", [*ROLES])
async def test_every_scope_is_ended_by_who_may_alone_and_what_it_does_is_said_before(open_site, role):
    async with open_site() as site, at_work(site) as told:
        browser, may = site.as_(role), role != "viewer"
        assert ("/tree/cancel" in (await browser.get("/tree")).text) == may
        for kind in ("task", "job", "worker", "session", "node"):
            asked = await browser.get("/tree/cancel", params=scope(told, kind))
            assert asked.status_code == 200, kind
            assert ('class="btn danger"' in asked.text) == may
            assert "data-dialog-body" in asked.text
            answer = await browser.post(
                "/tree/cancel",
                data={**scope(told, kind), "reason": "stuck", "grace": "0", "back": "by=caller"},
            )
            assert answer.status_code == (303 if may else 403), kind
            if may:
                assert answer.headers["location"] == "/tree?by=caller"
        undrained = await browser.post(address("node.undrain", {"node": told["node"]}), data={"back": "tree"})
        assert undrained.status_code == (303 if may else 403)
        entries = (await site.runtime.node.store.chronicle.audit_page()).entries
        done = [one.action for one in reversed(entries) if one.outcome == "done"]
        names = ["cancel_task", "cancel", "stop_worker", "stop_session", "drain_node", "undrain_node"]
        assert done == (names if may else [])
        assert sum(one.outcome == "refused" for one in entries) == (0 if may else 6)


async def test_a_job_seen_in_the_tree_stops_on_its_own_node_once_it_is_cancelled_here(open_site):
    async with open_site() as site, at_work(site) as told:
        browser = site.as_("operator")
        page = (await browser.get("/tree", params={"q": f"job:{told['inner']}"})).text
        link = re.findall(r'href="(/tree/cancel[^"]*kind=job[^"]*)"', page)[0].replace("&amp;", "&")
        form = (await browser.get(link)).text
        assert "<b>1 job</b> runs on" in form
        assert "1 caller waits" in form
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
        done = await browser.post("/tree/cancel", data={**fields, "reason": "stuck"})
        assert done.headers["location"] == "/tree?" + str(QueryParams(q=f"job:{told['inner']}"))
        await until(site.runtime, told["inner"], "cancelled")
        with anyio.fail_after(PATIENCE):
            while told["inner"] in (await browser.get("/tree", params={"q": "processor:inner"})).text:
                await anyio.sleep(0.01)
        await browser.post("/tree/cancel", data=fields)
        assert "is cancelled" in (await browser.get("/tree")).text


async def test_the_session_of_jobs_that_name_none_is_ended_by_nobody(open_site):
    async with open_site() as site:
        browser = site.as_("admin")
        asked = await browser.get("/tree/cancel?kind=session")
        assert asked.status_code in (200, 400)
        assert 'class="btn danger"' not in asked.text
        assert (await browser.post("/tree/cancel", data={"kind": "session"})).status_code == 400
        for kind in ("", "all", "<b>"):
            assert (await browser.get("/tree/cancel", params={"kind": kind})).status_code == 400
        gone = await browser.post("/tree/cancel", data={"kind": "node", "node": "gone"})
        assert gone.status_code == 303
        assert "there is no node" in (await browser.get("/tree")).text
        assert (await browser.post("/tree/cancel", data={"kind": "job", "job": "gone"})).status_code == 303
        assert "no record of job gone" in (await browser.get("/tree")).text


async def test_a_node_that_does_not_answer_is_greyed_and_said_to_be_silent(open_site, monkeypatch):
    async with open_site() as site, at_work(site) as told:
        control = type(site.runtime.control)

        async def tree(*_: Any, **__: Any) -> Tree:
            return Tree(nodes=[NodeTree(node=told["node"], silent=True)])

        async def healths(_: Any) -> dict[str, None]:
            return {told["node"]: None}

        monkeypatch.setattr(control, "tree", tree)
        monkeypatch.setattr(control, "healths", healths)
        page = (await site.as_("viewer").get("/tree")).text
        assert 'class="node d1 gone"' in page
        assert "its lease is over in" in page
        assert "1 silent" in page
        nodes = (await site.as_("viewer").get("/nodes")).text
        assert "silent" in nodes
        assert (
            "it has not answered within a second"
            in (await site.as_("viewer").get(address("node", {"node": told["node"]}))).text
        )


async def test_nodes_say_how_they_are_and_who_was_lost(open_site):
    async with open_site() as site, at_work(site) as told:
        viewer = site.as_("viewer")
        page = (await viewer.get("/nodes")).text
        assert told["node"] in page
        assert "Nodes that were lost with jobs of theirs" in page
        assert "/tree/cancel" not in page
        assert "/tree/cancel" in (await site.as_("operator").get("/nodes")).text
        one = (await viewer.get(address("node", {"node": told["node"]}), params={"stacks": "1"})).text
        assert "GET /readyz on" in one
        # Or false: on a machine that stands still its loop is late.
        assert "&#34;ready&#34;: " in one
        assert "await anyio.sleep_forever()" in one
        await site.runtime.control.drain_node(told["node"])
        with anyio.fail_after(PATIENCE):
            while "Undrain" not in (await site.as_("operator").get("/nodes")).text:
                await anyio.sleep(0.02)
        assert (await viewer.get(address("node", {"node": "gone"}))).status_code == 404


async def test_any_text_is_shown_as_what_it_is(open_site, monkeypatch):
    async with open_site() as site, at_work(site):
        control = type(site.runtime.control)
        real = control.tree
        for text in HOSTILE:

            async def tree(self: Any, text: str = text, **asked: Any) -> Tree:
                found = await real(self, **{**asked, "session": None, "job": None, "processor": None})
                changed = [
                    msgspec.structs.replace(
                        one, rows=[msgspec.structs.replace(row, name=text, session=text) for row in one.rows]
                    )
                    for one in found.nodes
                ]
                return Tree(nodes=changed)

            with monkeypatch.context() as patch:
                patch.setattr(control, "tree", tree)
                for by in ("node", "session", "caller"):
                    page = await site.as_("operator").get("/tree", params={"by": by})
                    assert page.status_code == 200
                    assert "<script>alert" not in page.text
                    assert "onerror=" not in re.sub(r"&lt;.*?&gt;", "", page.text)
