"""Who is let in, what may change something, and what browsers are told."""

from __future__ import annotations

import base64
import hashlib
import threading
from functools import partial
from urllib.parse import urljoin

import anyio
import anyio.to_thread
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from am2z_trio import ConfigurationError, LocalRuntime
from am2z_trio.admin import Principal
from am2z_trio.web import basic, bearer, console, loopback_token, proxy_header, scrypt
from am2z_trio.web.application import application
from am2z_trio.web.routes import Action, Endpoint, Page
from am2z_trio.web.security import guard
from am2z_trio.web.security.guard import MOST_BYTES, read_body
from am2z_trio.web.security.hosts import is_known, is_loopback
from am2z_trio.web.security.who import HASHED_AT_ONCE
from am2z_trio.web.view import Console
from tests.support.waiting import PATIENCE
from tests.web.conftest import BASE, OURS

pytestmark = pytest.mark.anyio

ADA = Principal(name="ada", role="admin")


async def show(view):
    thing = type("Thing", (), {"title": view.principal.name, "text": view.principal.role, "status": 1})
    return view.render("trouble.html", trouble=thing)


async def act(view):
    return view.done("done", view.url("queues"))


async def answer(view):
    return view.render("find.html")


ROUTES = [Page("queues", show), Action("queues.act", act), Endpoint("/api/v1/act", act, "POST")]


def app_of(authenticate=lambda _: ADA, hosts=("127.0.0.1", "localhost"), routes=ROUTES) -> Starlette:
    """An application over a runtime that nobody asks anything."""
    return application(Console(LocalRuntime()), routes, authenticate, hosts)


def browser(app, base=BASE, client=("127.0.0.1", 50000), **options) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=client)
    return httpx.AsyncClient(transport=transport, base_url=base, **options)


# --- headers ----------------------------------------------------------------------------------


async def test_every_answer_says_what_browsers_may_do_with_it():
    async with browser(app_of()) as one:
        refused = await one.get("/queues", headers={"Host": "evil.example"})
        for page in [
            await one.get("/queues"),
            await one.get("/nothing"),
            await one.post("/queues/act"),
            refused,
        ]:
            said = page.headers
            policy = said["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert said["cross-origin-opener-policy"] == "same-origin"
            assert said["referrer-policy"] == "same-origin"
            assert said["x-content-type-options"] == "nosniff"
            assert said["cache-control"] == "no-store"


async def test_who_cannot_be_found_out_gets_an_answer_as_bounded_as_all_others(monkeypatch):
    async def fails(request: Request) -> Principal | None:
        raise ValueError("the directory is away")

    async def hangs(request: Request) -> Principal | None:
        await anyio.sleep_forever()
        return None

    monkeypatch.setattr(guard, "WHO_WAIT", 0.01)
    for who, status in ((fails, 500), (hangs, 504)):
        async with browser(app_of(who)) as one:
            for path in ("/queues", "/api/v1/act"):
                page = await one.get(path)
                assert page.status_code == status
                assert page.headers["content-security-policy"].startswith("default-src 'none'")
                assert page.headers["cache-control"] == "no-store"
                assert "directory" not in page.text


async def test_style_and_script_are_kept_for_ever_at_an_address_that_names_their_content():
    async with browser(app_of(authenticate=lambda _: None)) as one:
        page = await one.get("/queues")
        assert page.status_code == 401
        names = [part.split('"')[0] for part in page.text.split("/static/")[1:]]
        assert len(names) > 5
        for name in names:
            found = await one.get(f"/static/{name}")
            assert found.status_code == 200
            assert found.headers["cache-control"] == "private, max-age=31536000, immutable"
        for other in ("app.0000000000000000.js", "..%2Fview.py", "%2e%2e/view.py", "app.js"):
            assert (await one.get(f"/static/{other}")).status_code in (401, 404)


def test_pages_have_nothing_inline():
    from am2z_trio.web.rendering import FOLDER

    for path in FOLDER.rglob("*.html"):
        text = path.read_text()
        for inline in (" style=", "<style", " onclick=", " onload=", "javascript:", "<script>"):
            assert inline not in text, path


# --- where a change comes from ----------------------------------------------------------------


ASKED_BY = [
    ({"Sec-Fetch-Site": "same-origin"}, 303),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"}, 303),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "none"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"}, 403),
    ({"Origin": "http://127.0.0.1"}, 303),
    ({"Origin": "http://127.0.0.1:81"}, 403),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1/x"}, 403),
    ({"Origin": "http://[bad"}, 403),
    ({}, 403),
    ({"Authorization": "Basic YTpi"}, 403),
    ({"Authorization": "Bearer x"}, 303),
    ({"Authorization": "Bearer x", "Cookie": "am2z=1"}, 403),
]
"""Headers, and the status that a change is answered with."""


async def test_only_what_a_page_of_the_console_asks_for_changes_something():
    async with browser(app_of()) as one:
        for headers, status in ASKED_BY:
            for path in ("/queues/act", "/api/v1/act"):
                one.cookies.clear()
                assert (await one.post(path, headers=headers)).status_code == status, headers


async def test_nothing_is_changed_by_looking():
    async with browser(app_of(), headers=OURS) as one:
        assert (await one.get("/queues/act")).status_code == 405
        assert (await one.head("/queues/act")).status_code == 405
        for method in ("PUT", "PATCH", "DELETE"):
            assert (await one.request(method, "/queues/act")).status_code == 405


# --- hosts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "known", "fits"),
    [
        ("localhost:8484", ["localhost"], True),
        ("LOCALHOST.", ["localhost"], True),
        ("127.0.0.1", ["localhost"], False),
        ("[::1]:80", ["[::1]"], True),
        ("[::1", ["[::1]"], False),
        ("ops.example.com", ["*.example.com"], True),
        ("example.com", ["*.example.com"], False),
        ("evilexample.com", ["*.example.com"], False),
        ("anything", ["*"], True),
        ("", ["*"], False),
        ("localhost:x", ["localhost"], False),
        ("localhost:80:81", ["localhost"], False),
        ("localhost@evil", ["localhost"], False),
    ],
)
def test_a_host_is_known_by_its_whole_name(host, known, fits):
    assert is_known(host, known) == fits


def test_what_is_reached_from_this_machine_alone_is_loopback():
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.evil.com", ""):
        assert not is_loopback(host)


async def test_who_asks_by_another_name_gets_nothing():
    async with browser(app_of()) as one:
        assert (await one.get("/queues", headers={"Host": "rebound.example:80"})).status_code == 421
        assert (await one.get("/queues", headers={"Host": "localhost:9"})).status_code == 200


# --- bounds -----------------------------------------------------------------------------------


async def test_a_body_that_is_too_large_is_refused_by_what_it_says_of_itself():
    async with browser(app_of(), headers=OURS) as one:
        for length in (b"%d" % (MOST_BYTES + 1), b"-1", b"1e3", b"9" * 400, b"\xd9\xa3"):
            refused = await one.post("/queues/act", headers={b"Content-Length": length})
            assert refused.status_code == 413


async def test_a_body_that_is_larger_than_it_says_is_not_read_to_its_end():
    part, left = b"x" * (MOST_BYTES // 16), [16]

    async def receive():
        left[0] -= 1
        return {"type": "http.request", "body": part, "more_body": left[0] > 0}

    def request() -> Request:
        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    assert await read_body(request()) == part * 16
    left[0] = 10**9
    assert await read_body(request()) is None
    assert left[0] == 10**9 - 17


async def test_a_form_is_read_as_what_it_is():
    seen = []

    async def read(view):
        seen.append((view.field("a"), view.fields("id"), view.reason))
        return view.done("read", view.url("queues"))

    async with browser(app_of(routes=[Action("queues.read", read)]), headers=OURS) as one:
        await one.post("/queues/read", data={"a": "1\r\n2", "id": ["x", "y"], "reason": "é & ="})
        assert seen == [("1\n2", ["x", "y"], "é & =")]
        many = "&".join(f"f{n}=" for n in range(1001))
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        odd: list[tuple[dict[str, str], str | bytes]] = [
            (form, many),
            (form, b"a=\xff"),
            (form, f"a={'x' * 5000}"),
            ({"Content-Type": "multipart/form-data; boundary=x"}, "--x--"),
            ({"Content-Type": "application/json"}, "{}"),
        ]
        for kind, body in odd:
            refused = await one.post("/queues/read", content=body, headers=kind)
            assert refused.status_code == 400
        assert len(seen) == 1


# --- who asks ---------------------------------------------------------------------------------


async def test_there_is_no_console_without_somebody_who_says_who_asks():
    with pytest.raises(TypeError, match="authenticate"):
        console(LocalRuntime())  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="authenticate"):
        console(LocalRuntime(), authenticate=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="hosts"):
        console(LocalRuntime(), authenticate=lambda _: ADA, hosts="localhost")


async def test_a_link_opens_the_console_once_and_the_browser_is_known_from_then_on():
    who, used = loopback_token(), []
    who.used = lambda: used.append(who.token)
    app, link = app_of(who), who.link(BASE)
    async with browser(app) as first, browser(app) as second:
        assert (await first.get("/queues")).status_code == 401
        answer = await first.get(link.replace("/?", "/queues?a=1&"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/queues?a=1")
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert (await first.get("/queues")).status_code == 200
        assert "loopback" in (await first.get("/queues")).text
        assert (await second.get(link)).status_code == 401
        assert used == [who.token]
        assert (await second.get(who.link(BASE))).status_code == 303
        assert (await second.get("/queues")).status_code == 200
        # The address of an old link goes on where it led, for who is known.
        assert (await first.get(link)).status_code == 303


async def test_a_link_leads_to_no_other_site():
    who = loopback_token()
    async with browser(app_of(who)) as one:
        for path in ("//evil.example/x", "///evil.example/x", "/%2Fevil.example/x", "/\\evil.example/x"):
            # Whether it opens the console, or it was open before.
            for token in (who.token, "x"):
                led = (await one.get(f"{BASE}{path}", params={"token": token})).headers["location"]
                assert urljoin(f"{BASE}/", led).startswith(f"{BASE}/"), led


async def test_neither_guesses_nor_posts_nor_cookies_of_ones_own_open_it():
    who = loopback_token()
    async with browser(app_of(who), headers=OURS) as one:
        for token in ("", "x", who.token[:-1], f"{who.token}x", "\ud800".encode("utf-8", "replace").decode()):
            assert (await one.get("/queues", params={"token": token})).status_code == 401
        assert (await one.post("/queues/act", params={"token": who.token})).status_code == 401
        for name in ("am2z", "am2z-80", "__Host-am2z"):
            refused = await one.get("/queues", headers={"Cookie": f"{name}={who.token}"})
            assert refused.status_code == 401


async def test_over_tls_the_cookie_is_one_that_the_host_alone_can_have_set():
    who = loopback_token(Principal(name="ada", role="viewer"))
    async with browser(app_of(who), base="https://127.0.0.1") as one:
        cookie = (await one.get(f"/?token={who.token}")).headers["set-cookie"]
        assert cookie.startswith("__Host-am2z=")
        assert "Secure" in cookie
        assert "viewer" in (await one.get("/queues")).text


async def test_by_a_link_on_another_site_the_page_asks_once_more_with_its_cookie():
    who = loopback_token()
    async with browser(app_of(who)) as one:
        come = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
        assert (await one.get("/queues", headers=come)).headers["refresh"] == "0"
        again = await one.get(
            "/queues", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
        )
        assert (again.status_code, "refresh" in again.headers) == (401, False)


async def test_a_proxys_word_is_taken_from_the_proxy_alone():
    who = proxy_header("X-User", trusted=["10.0.0.0/8", "::1"], role="operator")
    for address, headers, name in [
        ("10.1.2.3", [("X-User", "ada")], "ada"),
        ("::1", [("X-User", "ada")], "ada"),
        ("::ffff:10.1.2.3", [("X-User", "ada")], "ada"),
        ("11.1.2.3", [("X-User", "ada")], None),
        ("testclient", [("X-User", "ada")], None),
        ("10.1.2.3", [], None),
        ("10.1.2.3", [("X-User", " ")], None),
        ("10.1.2.3", [("X-User", "ada"), ("X-User", "eve")], None),
    ]:
        async with browser(app_of(who), client=(address, 1)) as one:
            page = await one.get("/queues", headers=headers)
            assert page.status_code == (401 if name is None else 200)
            assert name is None or (name in page.text and "operator" in page.text)


async def test_a_proxy_may_say_who_is_what():
    def role(name: str) -> Principal | None:
        return None if name == "eve" else Principal(name=name, role="viewer", queues=("charge",))

    who = proxy_header("X-User", trusted=["127.0.0.1"], role=role)
    async with browser(app_of(who)) as one:
        assert (await one.get("/queues", headers={"X-User": "ada"})).status_code == 200
        assert (await one.get("/queues", headers={"X-User": "eve"})).status_code == 401
    with pytest.raises(ConfigurationError, match="trusted"):
        proxy_header("X-User", trusted=[])
    with pytest.raises(ConfigurationError, match="trusted"):
        proxy_header("X-User", trusted=["no network"])
    with pytest.raises(ConfigurationError, match="role"):
        proxy_header("X-User", trusted=["::1"], role="king")


async def test_names_and_passwords():
    def header(text: str) -> dict[str, str]:
        return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}

    who = basic({"ada": scrypt("söme:word")}, role="operator")
    async with browser(app_of(who)) as one:
        refused = await one.get("/queues")
        assert refused.headers["www-authenticate"].startswith("Basic ")
        for _ in range(2):
            assert "operator" in (await one.get("/queues", headers=header("ada:söme:word"))).text
        for other in ("ada:söme:wort", "eve:söme:word", "ada"):
            assert (await one.get("/queues", headers=header(other))).status_code == 401
        for odd in ("Basic", "Basic !!!", "Basic /w==", "Bearer x"):
            assert (await one.get("/queues", headers={"Authorization": odd})).status_code == 401
    for users in ({}, {"a:b": scrypt("x")}, {"ada": "plain"}, {"ada": "scrypt$1$2$3$x$y"}):
        with pytest.raises(ConfigurationError, match="users"):
            basic(users)


async def test_wrong_passwords_take_no_more_than_a_few_threads(monkeypatch):
    at_once, go = list[str](), threading.Event()

    def hashed(password: str, *_: object) -> bytes:
        at_once.append(password)
        assert go.wait(PATIENCE)
        return b""

    who = basic({"ada": scrypt("word")})
    monkeypatch.setattr("am2z_trio.web.security.who._hashed", hashed)
    async with browser(app_of(who)) as one, anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(partial(one.get, "/queues", auth=("ada", f"wrong {n}")))
        with anyio.fail_after(PATIENCE):
            while len(at_once) < HASHED_AT_ONCE:
                await anyio.sleep(0.005)
        # Others have all threads.
        await anyio.to_thread.run_sync(str)
        assert len(at_once) == HASHED_AT_ONCE
        assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        go.set()
    assert len(at_once) == 20


async def test_programs_by_their_tokens():
    token, other = "t" * 16, "an other program's token"
    digest = f"sha256:{hashlib.sha256(other.encode()).hexdigest()}"
    who = bearer({"ci": token, "ops": digest}, role=lambda name: Principal(name=name, role="operator"))
    async with browser(app_of(who)) as one:
        refused = await one.get("/queues")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="am2z"')
        for good in (f"Bearer {token}", f"bearer {other}"):
            assert "operator" in (await one.get("/queues", headers={"Authorization": good})).text
        for bad in (
            f"Basic {token}",
            f"Bearer {token}x",
            "Bearer ",
            "Bearer",
            f"Bearer {digest}",
            "x" * 5000,
        ):
            assert (await one.get("/queues", headers={"Authorization": bad})).status_code == 401
        twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
        assert (await one.get("/queues", headers=twice)).status_code == 401
    for wrong in ({}, {"ci": ""}, {"ci": "short"}, {"ci": "sha256:xy" + "0" * 62}, {"ci": f" {token}"}):
        with pytest.raises(ConfigurationError, match="tokens") as raised:
            bearer(wrong)
        assert not any(len(text) > 4 and text in str(raised.value) for text in wrong.values())
    with pytest.raises(ConfigurationError, match="role"):
        bearer({"ci": token}, role="king")


async def test_who_asks_may_be_found_out_with_some_waiting():
    async def who(request: Request) -> Principal | None:
        return ADA if request.headers.get("X-Key") == "1" else None

    async with browser(app_of(who)) as one:
        assert (await one.get("/queues", headers={"X-Key": "1"})).status_code == 200
        assert (await one.get("/queues")).status_code == 401


async def test_mounted_under_a_prefix_everything_leads_below_it():
    outer = Starlette(routes=[Mount("/ops/am2z", app_of())])
    async with browser(outer, headers=OURS) as one:
        page = await one.get("/ops/am2z/queues")
        assert page.status_code == 200
        for part in ('href="/', 'src="/', 'action="/'):
            for found in page.text.split(part)[1:]:
                assert found.startswith("ops/am2z/")
        (style,) = [
            x.split('"')[0] for x in page.text.split('href="') if x.startswith("/ops/am2z/static/tokens")
        ]
        assert (await one.get(style)).status_code == 200
        assert (await one.post("/ops/am2z/queues/act")).headers["location"] == "/ops/am2z/queues"
