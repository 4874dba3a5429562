"""The console's overview, queues, sessions and Redis, over a real Redis: looked at and acted upon by each
role."""

from __future__ import annotations

import html
from dataclasses import dataclass

import anyio
import pytest

from am2z_trio import JobOptions, QueueRuntime, processor
from am2z_trio.admin import ROLES, Admin, Principal
from am2z_trio.model.records import LockPlace, plain_name
from am2z_trio.model.segments import segment
from am2z_trio.model.views.findings import Finding
from am2z_trio.model.views.queues import Earlier, Series
from am2z_trio.model.views.samples import Sample
from am2z_trio.policy.buckets import BUCKETS
from am2z_trio.store.redis.keys import spell
from am2z_trio.testing.conformance import HOSTILE
from am2z_trio.web.pages.overview import changed, figures
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

SESSION = "tenant-7/cart-98f1"
PATH = f"/sessions/{segment(SESSION)}"
PAGES = [
    "/",
    "/?range=7d",
    "/queues",
    "/queues/charge",
    "/queues/price?range=24h",
    "/all/queues",
    "/all/queues?do=resume",
    "/sessions",
    PATH,
    "/redis",
]
TABS = [f"{PATH}?tab=tree", f"{PATH}?tab=jobs"]


@dataclass(frozen=True)
class Act:
    """A form that is sent, and which permission that takes."""

    path: str
    permission: str
    fields: dict[str, str]


ACTS = [
    Act("/queues/charge/pause", "pause", {"reason": "upgrade"}),
    Act("/queues/charge/resume", "pause", {}),
    Act("/queues/charge/drain", "pause", {}),
    Act("/all/queues/pause", "pause", {"reason": "upgrade"}),
    Act("/all/queues/resume", "pause", {}),
    Act("/queues/charge/purge", "purge", {"shown": "1", "agreed": "1"}),
    Act(f"{PATH}/reveal", "reveal", {}),
    Act(f"{PATH}/bytes", "reveal", {"reason": "look"}),
    Act(f"{PATH}/restore", "restore_state", {"v": "1"}),
    Act(f"{PATH}/verify", "view", {}),
    Act(f"{PATH}/stop", "stop_session", {"grace": "0"}),
    Act("/silence", "silence", {"code": "paused", "target": "charge", "for": "1d", "reason": "known"}),
]


async def test_every_page_is_shown_to_every_role_with_no_style_or_script_inline(open_site):
    async with open_site(work=True) as site:
        await site.runtime.state.set(SESSION, {"total": 1})
        for role in ROLES:
            browser = site.as_(role)
            for path in (
                *PAGES,
                *TABS,
                f"{PATH}/stop",
                "/queues/charge/purge",
                "/queues/charge/pause",
                "/silence",
            ):
                page = await browser.get(path)
                assert page.status_code == 200, (role, path, page.text)
                assert " style=" not in page.text
                assert "cannot be shown now" not in page.text, (role, path)


async def test_the_console_of_nothing_says_how_to_begin(open_site):
    async with open_site() as site:
        for path in ("/", "/queues", "/sessions", "/redis"):
            page = await site.as_("viewer").get(path)
            assert page.status_code == 200, page.text
        assert "No job has been submitted" in (await site.as_("viewer").get("/")).text


@pytest.mark.parametrize("role", ROLES)
async def test_every_action_is_done_by_who_may_and_refused_to_others(open_site, role):
    async with open_site(work=True) as site:
        await site.runtime.state.set(SESSION, {"total": 1})
        for act in ACTS:
            answer = await site.as_(role).post(act.path, data=act.fields)
            if act.permission in ROLES[role]:
                assert answer.status_code in (200, 303), (act, answer.text)
            else:
                assert answer.status_code == 403, (act, answer.status_code)
        stopped = await site.as_(role).post("/sessions/stop", data={"session": SESSION})
        assert stopped.status_code == 303
        refused = {
            (entry.action, entry.outcome)
            for entry in (await site.runtime.node.store.chronicle.audit_page()).entries
        }
        assert (("pause", "done") in refused) == ("pause" in ROLES[role])
        assert (("purge", "refused") in refused) == ("purge" not in ROLES[role])


async def test_what_one_may_not_do_is_not_offered(open_site):
    async with open_site(work=True) as site:
        offered = ("/queues/charge/pause", "/queues/charge/purge", f"{PATH}/stop")
        viewer = [(await site.as_("viewer").get(path)).text for path in ("/queues/charge", PATH)]
        admin = [(await site.as_("admin").get(path)).text for path in ("/queues/charge", PATH)]
        for path in offered:
            assert path not in "".join(viewer)
            assert path in "".join(admin)


async def test_all_queues_are_paused_and_resumed_by_who_is_asked_first(open_site):
    async with open_site(work=True) as site:
        browser = site.as_("operator")
        assert "/all/queues" not in (await site.as_("viewer").get("/queues")).text
        offered = (await browser.get("/queues")).text
        assert "do=pause" in offered
        assert "do=resume" not in offered
        asked = (await browser.get("/all/queues?do=pause")).text
        assert "Pause 2 queues?" in asked
        assert "1 running, 1 waiting" in asked
        refused = (await site.as_("viewer").get("/all/queues?do=pause")).text
        assert "Pause 2 queues</button>" in asked
        assert "Pause 2 queues</button>" not in refused
        await browser.post("/all/queues/pause", data={"reason": "upgrade"})
        page = (await browser.get("/queues")).text
        assert "2 queues paused" in page
        assert "do=pause" not in page
        assert "do=resume" in page
        assert all(now.paused for now in (await site.runtime.census()).queues.values())
        assert "None of your queues runs." in (await browser.get("/all/queues?do=pause")).text
        await browser.post("/all/queues/resume")
        assert not any(now.paused for now in (await site.runtime.census()).queues.values())
        assert (await browser.get("/all/queues?do=purge")).status_code == 400


async def test_a_purge_is_of_the_number_that_was_typed(open_site):
    async with open_site(work=True) as site:
        browser = site.as_("admin")
        page = await browser.post("/queues/charge/purge", data={"shown": "1", "agreed": "2"})
        assert page.status_code == 200
        assert "Nothing was done" in page.text
        await browser.post("/queues/charge/purge", data={"shown": "1", "agreed": "1"})
        job = await site.runtime.job(site.jobs["waiting"])
        with anyio.fail_after(PATIENCE):
            while await job.status() != "cancelled":
                await anyio.sleep(0.01)
        assert await (await site.runtime.job(site.jobs["active"])).status() == "active"


async def test_ticked_sessions_are_asked_for_and_stopped(open_site):
    async with open_site(work=True) as site:
        browser = site.as_("operator")
        assert (await browser.post("/sessions/ask", data={})).status_code == 400
        asked = await browser.post("/sessions/ask", data={"session": SESSION})
        assert "Stop 1 session?" in asked.text
        await browser.post("/sessions/stop", data={"session": SESSION, "grace": "0", "reason": "night"})
        assert "1 session stopped" in (await browser.get("/sessions")).text
        assert await (await site.runtime.job(site.jobs["active"])).status() == "cancelled"


async def test_who_holds_a_sessions_lock_is_shown_with_its_fencing_token(open_site):
    async with open_site() as site:
        browser, path = site.as_("viewer"), PATH
        async with site.runtime.state.lock(SESSION) as lock:
            page = (await browser.get(path)).text
            assert site.runtime.node_id in page
            assert str(lock.fencing) in page
        page = (await browser.get(path)).text
        assert "by nobody" in page
        assert "Fencing token" not in page


async def test_the_job_that_holds_a_lock_is_named_to_who_may_see_it(open_site):
    async with open_site() as site:

        @processor(name="locks")
        async def locks(n: int) -> int:
            async with site.runtime.state.lock(SESSION):
                await anyio.sleep_forever()
            return n

        site.runtime.register(locks)
        job = await site.runtime.submit(locks, 1, session="elsewhere")
        mine = Admin(site.runtime, principal=Principal(name="ada", role="viewer"), face="test")
        theirs = Principal(name="bo", role="viewer", sessions=(SESSION,))
        other = Admin(site.runtime, principal=theirs, face="test")
        with anyio.fail_after(PATIENCE):
            while (found := (await mine.session(SESSION)).lock).left <= 0:
                await anyio.sleep(0.01)
        assert found.job == job.id
        assert f'href="/jobs/{job.id}"' in (await site.as_("viewer").get(PATH)).text
        hidden = (await other.session(SESSION)).lock
        assert (hidden.job, hidden.node, hidden.fence) == ("", found.node, found.fence)
        # So is who waits for it.
        next_one = await site.runtime.submit(locks, 2, session="further")
        with anyio.fail_after(PATIENCE):
            while not (found := (await mine.session(SESSION)).lock).line:
                await anyio.sleep(0.01)
        assert (found.waiting, found.line) == (1, (LockPlace(next_one.id, found.node),))
        assert f'href="/jobs/{next_one.id}"' in (await site.as_("viewer").get(PATH)).text
        hidden = (await other.session(SESSION)).lock
        assert (hidden.waiting, hidden.line) == (1, (LockPlace("", found.node),))


async def test_sessions_are_filtered_by_what_runs_in_them_and_by_their_locks(open_site):
    async with open_site(work=True) as site:
        runtime, browser = site.runtime, site.as_("operator")
        await runtime.submit("price", 1, session="team/later", options=JobOptions(delay=600))
        await runtime.state.set("team/rest", {"total": 1})

        async def listed(query: str) -> list[str]:
            page = (await browser.get("/sessions", params={"q": query})).text
            assert "looked at" in page or not query
            return [
                one for one in (SESSION, "team/later", "team/rest") if f'name="session" value="{one}"' in page
            ]

        assert await listed("") == [SESSION, "team/later"]
        assert await listed("running>0") == [SESSION]
        assert await listed("running:0 waiting>0") == ["team/later"]
        assert await listed("team/*") == ["team/later"]
        assert await listed("team/rest") == ["team/rest"]
        assert await listed("locked") == await listed("idle>1d") == []
        async with runtime.state.lock(SESSION):
            assert await listed("locked") == [SESSION]
            assert await listed("-locked") == ["team/later"]
            assert '<span class="chip">locked</span>' in (await browser.get("/sessions")).text
        # What is added to a filter is one term of it, and may be taken away; what is none says why.
        page = (await browser.get("/sessions", params={"q": "running>0", "add": "team/*"})).text
        assert 'name="q" value="running&gt;0 session:team/*"' in page
        wrong = await browser.get("/sessions", params={"q": "running>0", "add": "age>5m"})
        assert wrong.status_code == 200
        assert "there is no field &#39;age&#39;" in wrong.text
        # Who asks for one that is not there is led to those that begin so.
        assert "session%3Ateam%2A" in (await browser.get("/sessions", params={"q": "team"})).text


async def test_all_sessions_that_begin_so_are_counted_and_stopped(open_site):
    async with open_site(work=True) as site:
        viewer, operator = site.as_("viewer"), site.as_("operator")
        every, offered = f'session:"{SESSION}"*', "action=stop"
        assert offered not in (await viewer.get("/sessions", params={"q": every})).text
        assert offered in (await operator.get("/sessions", params={"q": every})).text
        # Only ids say which ones are meant for as long as that takes.
        for query in ("", "running>0", f"{every} running>0", "-session:x"):
            assert offered not in (await operator.get("/sessions", params={"q": query})).text
        asked = {"action": "stop", "q": f'session:"{SESSION}"*'}
        assert "Stop 1 session?" in (await operator.get("/bulks/new", params=asked)).text
        refused = await viewer.post("/bulks/begin", data={**asked, "shown": "1"})
        assert refused.status_code == 403
        begun = await operator.post("/bulks/begin", data={**asked, "shown": "1", "reason": "night"})
        told = (await operator.get(begun.headers["location"])).text
        assert "Stop many sessions" in told
        assert "1 of 1 stopped" in told
        assert await (await site.runtime.job(site.jobs["active"])).status() == "cancelled"


async def test_bytes_that_were_changed_are_shown_as_bytes_to_who_reveals_them_and_as_no_state(
    open_site, redis_server
):
    async with open_site(work=True) as site:
        runtime = site.runtime
        await runtime.state.set(SESSION, {"total": 1})
        session = spell(runtime.options.prefix, "session", "")[:-1]
        (key,) = [
            one
            for one in redis_server.call("KEYS", f"{session}:~*")
            if not one.endswith((b":jobs", b":receipts"))
        ]
        redis_server.call("HSET", key, "blob", "SPOILT")
        for path in (PATH, f"{PATH}?as=whole", f"{PATH}?as=raw"):
            page = await site.as_("admin").get(path)
            assert "is not what was written" in page.text
            assert "SPOILT" not in page.text
        shown = await site.as_("admin").post(f"{PATH}/bytes", data={"reason": "look"})
        assert "53 50 4f 49 4c 54" in shown.text
        refused = await site.as_("viewer").post(f"{PATH}/bytes", data={})
        assert refused.status_code == 403
        verified = await site.as_("viewer").post(f"{PATH}/verify", follow_redirects=True)
        assert "does not match its checksum" in verified.text


async def test_names_of_any_text_are_shown_as_text(open_site):
    async with open_site(work=True) as site:
        names = [text for text in HOSTILE if text] + ["</script><img src=x onerror=alert(1)>", "{{ 7*7 }}"]
        for name in names:
            await site.runtime.submit("price", 1, session=name, options=JobOptions(delay=600))
            await site.runtime.state.set(name, {name: name})
        browser = site.as_("admin")
        listed = await browser.get("/sessions?limit=200")
        for name in names:
            path = f"/sessions/{segment(name)}"
            assert path in listed.text
            for page in (
                await browser.get(path),
                await browser.get(f"{path}?tab=jobs"),
                await browser.post(f"{path}/reveal?as=whole"),
                await browser.get(f"{path}/stop"),
            ):
                assert page.status_code == 200, (name, page.text)
                assert "<img" not in page.text
                assert "49" not in html.unescape(page.text).partition("<h1")[2].partition("</h1>")[0]


async def test_a_state_with_keys_that_json_has_no_word_for_is_shown(open_site):
    async with open_site() as site:
        await site.runtime.state.set("odd", {(1, 2): 3, b"x": 4, 5: float("inf")})
        for as_ in ("changes", "whole", "raw"):
            page = await site.as_("admin").post(f"/sessions/odd/reveal?as={as_}")
            assert page.status_code == 200, page.text
            assert as_ != "whole" or "(1, 2)" in page.text


async def test_a_page_that_is_not_there_says_so(open_site):
    async with open_site() as site:
        page = await site.as_("viewer").get("/queues/nobody")
        assert page.status_code == 404
        for path in ("/?range=2h", "/sessions?cursor=x", "/sessions/a?tab=x", "/sessions/a?v=x"):
            assert (await site.as_("viewer").get(path)).status_code == 400, path
        assert "no state was ever written" in (await site.as_("viewer").get("/sessions/a")).text


async def test_each_version_says_whether_it_is_what_was_written(open_site, redis_server):
    async with open_site() as site:
        # Three of a session's versions, of which the one in the middle is spoilt.
        async with QueueRuntime(**site.place, state_history=5) as runtime:
            for total in (1, 2, 3):
                await runtime.state.set(SESSION, {"total": total})
        browser = site.as_("viewer")
        page = (await browser.get(PATH)).text
        assert "3 versions, each as it was written" in page
        assert page.count('<span class="sr">whole</span>') == 3
        key = spell(site.place["prefix"], "history", plain_name(SESSION))
        spoilt = redis_server.call("LRANGE", key, 1, 1)[0]
        redis_server.call("LSET", key, 1, spoilt[:-1] + b"?")
        page = (await browser.get(PATH)).text
        assert page.count('<span class="sr">whole</span>') == 2
        assert "1 of 3" in page
        assert "v3 was written" in page
        assert "What is stored is not what was written" not in page
        page = (await browser.get(f"{PATH}?v=2")).text
        assert "v2 cannot be shown as a state" in page
        assert "v2 was written" not in page
        assert "v1 was written" in (await browser.get(f"{PATH}?v=1")).text


async def test_what_changes_is_sent_to_who_looks(open_site):
    async with open_site(work=True) as site, site.listen("/queues/charge") as stream:
        look, _ = await stream.next()
        assert {"now", "limits", "charts", "next", "runs", "nav"} >= {*look.parts}
        await site.runtime.pause("charge")
        with anyio.fail_after(PATIENCE):
            while "It is paused" not in look.parts.get("now", ""):
                look, _ = await stream.next()


async def test_what_nothing_is_known_of_is_compared_with_nothing(open_site):
    async with open_site(work=True) as site:
        for span, words in (("1h", ("hour before", "hour ago")), ("7d", ("week before", "week ago"))):
            page = (await site.as_("viewer").get(f"/?range={span}")).text
            assert "Completed" in page
            assert not [word for word in words if word in page]


def test_figures_are_compared_with_the_span_before():
    waits = tuple(8 if bucket == 10 else 0 for bucket in range(BUCKETS))
    nothing = (0,) * BUCKETS
    now = Sample(at=0, seconds=60, completed=106, failed=4, waits=nothing, runs=nothing)
    before = Earlier(seconds=3_600, completed=100, failed=1, waits=waits, waiting=12, active=3)
    series = Series(span="1h", at=0, seconds=60, samples=[now], earlier=before)
    was = {one.label: one.was for one in figures([], series, 0, 1, "the last hour")}
    assert was["Completed"] == "+6 % against the hour before"
    assert was["Failed"] == "1 % in the hour before"
    assert (was["Waiting"], was["Running"]) == ("12 an hour ago", "3 an hour ago")
    assert was["Wait p95"].endswith("s in the hour before")
    # Sessions are not counted in slots.
    assert was["Live sessions"] == ""


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (5, 0, "none in the hour before"),
        (100, 100, "±0 % against the hour before"),
        (50, 100, "−50 % against the hour before"),
        (5_100, 100, "+5,000 % against the hour before"),
    ],
)
def test_a_change_is_said_in_percent_where_there_is_something_to_compare_with(now, before, said):
    assert changed(now, before, "the hour before") == said


def test_each_finding_leads_somewhere():
    from am2z_trio.web.pages.overview import steps_for

    class Urls:
        def url(self, name: str, **ids: object) -> str:
            return name

    def pages(code: str, target: str = "") -> list[str]:
        finding = Finding(code=code, severity="warning", text="x", target=target)
        return [step.to for step in steps_for(Urls(), finding, {"charge"})]  # type: ignore[arg-type]

    assert pages("unserved", "charge") == ["queue", "nodes"]
    assert pages("held", "charge") == ["queue", "jobs"]
    assert pages("dead_rising", "charge") == ["dead"]
    assert pages("node_silent", "a") == ["nodes"]
    assert pages("maxmemory") == ["redis"]
