"""What the navigation says of what it leads to, and the foot of where that is."""

from __future__ import annotations

import re

import anyio
import pytest

from am2z_trio.admin import Admin, Principal
from am2z_trio.model.version import VERSION
from am2z_trio.web import counts as counting
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

_WAY = re.compile(
    r'<a class="nav"[^>]*data-go="(\w)"[^>]*>.*?</svg>[\w ]+'
    r'(?:<span class="(n[ bad]*)">([\d,]+)</span>)?</a>'
)


def told(html: str) -> dict[str, tuple[str, str]]:
    """By key: the number, and how it is shown."""
    return {key: (number, shown) for key, shown, number in _WAY.findall(html) if number}


async def test_each_page_says_how_many_there_are_of_what_can_be_gone_to(open_site):
    async with open_site(work=True) as site:
        page = await site.as_("viewer").get("/audit")
        # A page that is refused says it, too: it is the same navigation.
        assert page.status_code == 403
        expected = {"s": ("1", "n"), "q": ("2", "n"), "d": ("1", "n bad"), "c": ("0", "n"), "n": ("1", "n")}
        assert told((await site.as_("viewer").get("/jobs")).text) == expected
        assert told((await site.as_("viewer").get("/audit")).text) == expected


async def test_they_are_asked_for_seldom_however_many_look_and_not_for_programs(open_site, monkeypatch):
    asked = list[str]()
    census = Admin.census

    async def counted(desk: Admin):
        asked.append(desk.principal.role)
        return await census(desk)

    monkeypatch.setattr(counting, "EVERY", 1e9)
    async with open_site(work=True) as site:
        monkeypatch.setattr(Admin, "census", counted)
        for _ in range(3):
            await site.as_("viewer").get("/jobs")
            await site.as_("admin").get("/sessions")
        # Both may see the same.
        assert len(asked) == 1
        await site.as_("viewer").get("/api/v1/queues")
        assert len(asked) == 1
        async with site.listen("/schedules") as one, site.listen("/bulks") as two:
            await one.next()
            await two.next()
        assert len(asked) == 1


async def test_they_change_on_a_page_that_is_looked_at(open_site, monkeypatch):
    monkeypatch.setattr(counting, "EVERY", 0.0)
    async with open_site(work=True) as site, site.listen("/schedules") as stream:
        first, _ = await stream.next()
        assert told(first.parts["nav"])["q"] == ("2", "n")
        await Admin(site.runtime, principal=Principal(name="ada", role="admin")).retry(site.jobs["dead"])
        job = await site.runtime.submit("price", -2)
        await job.result()
        with anyio.fail_after(PATIENCE):
            while True:
                look, _ = await stream.next()
                if "nav" in look.parts and told(look.parts["nav"])["d"] == ("2", "n bad"):
                    break


async def test_nobody_is_told_anything_who_may_not_come_in(open_site):
    async with open_site(work=True) as site:
        known = await site.as_("admin").get("/jobs")
        assert told(known.text)
        where = f"{site.runtime.options.prefix} on unix://"
        assert where in known.text
        assert f"am2z_trio {VERSION}" in known.text
        refused = await site.as_("nobody").get("/jobs")
        assert refused.status_code == 401
        assert not told(refused.text)
        assert where not in refused.text
        assert VERSION not in refused.text


async def test_each_sees_those_of_their_own_queues_and_old_rights_are_forgotten(open_site, monkeypatch):
    monkeypatch.setattr(counting, "MOST_KEPT", 1)
    counts = counting.Counts()

    def desk(queue: str) -> Admin:
        return Admin(site.runtime, principal=Principal(name="ada", role="viewer", queues=(queue,)))

    async with open_site(work=True) as site:
        one, two = desk("charge"), desk("price")
        await counts.look(one)
        assert (counts.of(one.principal)["queues"].number, counts.of(one.principal)["dead"].number) == (1, 0)
        await counts.look(two)
        assert counts.of(two.principal)["dead"].is_bad
        assert counts.of(one.principal) == {}
        # And they are asked for anew, though it is not long ago.
        await counts.look(one)
        assert counts.of(one.principal)["queues"].number == 1
