"""A program that knows a processor by its name says of which version of its form a state is."""

from __future__ import annotations

import pytest

from am2z_trio import QueueRuntime
from tests.support.orders import Order, priced

pytestmark = pytest.mark.anyio


shop = priced()


@pytest.mark.parametrize("is_known_here", [True, False], ids=["registered", "by name"])
async def test_a_state_is_of_the_version_that_is_said(open_site, is_known_here):
    async with open_site() as site:
        program, place = site.as_("admin"), {"prefix": site.place["prefix"]}
        async with QueueRuntime(site.place["redis"], **place) as worker:
            worker.register(shop)
            if is_known_here:
                site.runtime.register(shop)
            (await worker.execute(shop, Order(1))).unwrap()

            async def outcome(id: str) -> int:
                return (await (await worker.job(id, Order)).result()).unwrap().total

            for version, state in ((1, {"amount": 3}), (2, {"total": 3})):
                asked = {"processor": "shop.price", "state": state, "state_version": version}
                made = await program.post("/api/v1/jobs", json=asked)
                assert made.status_code == 200, made.text
                assert await outcome(made.json()["job"]) == 6
                plan = {**asked, "every": 3600}
                put = await program.put(f"/api/v1/schedules/by-{version}", json=plan)
                assert put.json()["done"] is True, put.text
                ran = (await program.post(f"/api/v1/schedules/by-{version}/run", json={})).json()
                assert await outcome(ran["job"]) == 6
            form = {"processor": "shop.price", "state": '{"total": 4}', "state_version": "2"}
            sent = await program.post("/enqueue", data=form)
            assert await outcome(sent.headers["location"].rpartition("/")[2].partition("?")[0]) == 8


@pytest.mark.parametrize("version", [0, -1, 65_536])
async def test_a_version_that_is_none_is_refused(open_site, version):
    async with open_site() as site:
        program = site.as_("admin")
        site.runtime.register(shop)
        asked = {"processor": "shop.price", "state": {"total": 3}, "state_version": version}
        for refused in (
            await program.post("/api/v1/jobs", json=asked),
            await program.put("/api/v1/schedules/nightly", json={**asked, "every": 60}),
        ):
            assert (refused.status_code, refused.json()["field"]) == (400, "state_version")
        form = await program.post(
            "/enqueue", data={"processor": "shop.price", "state": "{}", "state_version": str(version)}
        )
        assert (form.status_code, "state_version" in form.text) == (400, True)


async def test_a_version_of_no_state_is_refused(open_site):
    async with open_site() as site:
        program = site.as_("admin")
        site.runtime.register(shop)
        asked = {"processor": "shop.price", "session": "alice", "state_version": 2}
        refused = await program.post("/api/v1/jobs", json=asked)
        assert (refused.status_code, refused.json()["rule"]) == (
            400,
            "goes with a state: a stored one says its own",
        )
