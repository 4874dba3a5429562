"""`am2z web`: the console, served alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from am2z_trio import ConfigurationError, LocalRuntime, processor
from am2z_trio.cli import main
from am2z_trio.cli.commands.web import check, console_of
from am2z_trio.web import console, loopback_token
from am2z_trio.web.serving import hosts_of
from tests.support.waiting import PATIENCE, wait_until

WHO = loopback_token()


@pytest.mark.trio
async def test_the_link_that_is_printed_opens_it_and_another_one_is_printed_for_another_browser(capsys):
    async with LocalRuntime() as runtime:
        async with console_of(runtime, "127.0.0.1:0", where="shop on redis-1"):
            (link,) = re.findall(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", capsys.readouterr().err)
            async with httpx.AsyncClient(follow_redirects=True) as browser:
                opened = await browser.get(link.replace("/?", "/find?"))
                assert opened.status_code == 200
                assert "shop on redis-1" in opened.text
                assert "token" not in str(opened.url)
                (other,) = re.findall(r"another browser: (http\S+)", capsys.readouterr().err)
                assert other != link
            async with httpx.AsyncClient() as browser:
                assert (await browser.get(link)).status_code == 401
                assert (await browser.get(other)).status_code == 303
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient() as browser:
                await browser.get(link)


@pytest.mark.trio
async def test_it_ends_although_a_page_is_looked_at_live(capsys):
    async with LocalRuntime() as runtime, httpx.AsyncClient() as browser:
        with anyio.fail_after(20):
            async with console_of(runtime, "127.0.0.1:0"):
                (link,) = re.findall(r"http\S+token=[\w-]+", capsys.readouterr().err)
                assert (await browser.get(link)).status_code == 303
                where = f"{link.partition('/?')[0]}/audit"
                live = {"Accept": "text/event-stream"}
                request = browser.build_request("GET", where, headers=live)
                answer = await browser.send(request, stream=True)
                assert answer.headers["content-type"].startswith("text/event-stream")
        await answer.aclose()


def test_the_demo_is_shown_while_it_runs_and_until_it_is_told_to_end(tmp_path):
    (tmp_path / "one.py").write_text("a b\n")
    command = [sys.executable, "-m", "am2z_trio.cli", "demo", "--web", "--bind", "127.0.0.1:0", "--local"]
    with subprocess.Popen([*command, str(tmp_path)], stderr=subprocess.PIPE, stdout=subprocess.PIPE) as demo:
        assert demo.stderr is not None
        (link,) = re.findall(r"http\S+token=[\w-]+", demo.stderr.readline().decode())
        while b"it goes on" not in demo.stderr.readline():
            assert demo.poll() is None
        with httpx.Client(follow_redirects=True) as browser:
            jobs = browser.get(link.replace("/?", "/jobs?"))
            assert "demo.count" in jobs.text
            assert "demo/(modules)" in jobs.text
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 130


SHOP = """
from am2z_trio import QueueRuntime, processor

@processor(name="shop.price")
async def price(n: int) -> int:
    return 2 * n

runtime = QueueRuntime({url!r}, prefix="shop")
runtime.register(price)
"""

BROWSER = """#!{python}
import pathlib, sys
pathlib.Path({to!r}).write_text(sys.argv[1])
"""


@pytest.mark.parametrize("works", [False, True])
def test_a_programs_own_runtime_is_shown_and_works_where_that_is_said(works: bool, redis_url: str, tmp_path):
    (tmp_path / "shop.py").write_text(SHOP.format(url=redis_url))
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(BROWSER.format(python=sys.executable, to=str(opened)))
    browser.chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "am2z_trio.cli",
        "web",
        "shop:runtime",
        "--bind",
        "127.0.0.1:0",
        "--open",
    ]
    with subprocess.Popen(
        [*command, "--open", *(["--work"] if works else [])],
        cwd=tmp_path,
        env={**os.environ, "BROWSER": str(browser), "PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.PIPE,
    ) as console:
        try:
            assert console.stderr is not None
            lines = (re.search(r"console at (http\S+token=[\w-]+)", line.decode()) for line in console.stderr)
            link = next(found for found in lines if found)[1]
            wait_until(lambda: opened.exists() and opened.read_text() == link, "a browser to be opened")
            with httpx.Client(follow_redirects=True) as one:
                page = one.get(link)
                assert "shop on unix://" in page.text
                base = link.partition("?")[0]
                # What is enqueued by name is checked as its type.
                asked = {"processor": "shop.price", "state": "no number"}
                same = {"Origin": base.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
                refused = one.post(f"{base}api/v1/jobs", json=asked, headers=same)
                assert (refused.status_code, refused.json()["code"]) == (400, "VALIDATION")
                nodes = one.get(f"{base}api/v1/nodes").json()
            assert [node["concurrency"] for node in nodes] == ([{"shop.price": 10}] if works else [])
            console.send_signal(signal.SIGINT)
            assert console.wait(20) == 130
        finally:
            console.kill()


def test_what_is_to_work_here_is_named(capsys):
    assert main(["web", "--work"]) == 2
    assert "--work needs MODULE:RUNTIME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bind", "0.0.0.0:0"), "--authenticate"),
        (("--bind", "192.0.2.1:80"), "--authenticate"),
        (("--bind", "8484"), "HOST:PORT"),
        (("--bind", "0.0.0.0:0", "--authenticate", "tests.web.test_serving:WHO"), "--host"),
        (("--authenticate", "tests.web.test_serving:no"), "no 'no'"),
        (("--authenticate", "tests.web.test_serving:__doc__"), "cannot be called"),
    ],
)
def test_what_would_let_anybody_in_is_refused_in_one_line(arguments, said, capsys):
    assert main(["web", "--redis", "redis://localhost:1", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_console_is_asked_for_by_the_names_of_its_address_unless_it_is_named():
    assert hosts_of("127.0.0.1", ()) == ("localhost", "127.0.0.1", "[::1]")
    assert hosts_of("10.0.0.1", ()) == ("10.0.0.1",)
    assert hosts_of("fd00::1", ()) == ("[fd00::1]",)
    assert hosts_of("0.0.0.0", ["ops.example.com"]) == ("ops.example.com",)
    with pytest.raises(ConfigurationError, match="--host"):
        hosts_of("::", ())
    check("0.0.0.0:1", authenticate=WHO, named=["x"])


# --- another server ---------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_uvicorn_serves_it_on_asyncio():
    uvicorn = pytest.importorskip("uvicorn", reason="of the extra `test`")
    who = loopback_token()

    @processor(name="x")
    async def one(n: int) -> int:
        return n

    async with LocalRuntime() as runtime, anyio.create_task_group() as tasks:
        runtime.register(one)
        served = console(runtime, authenticate=who)
        app = Starlette(routes=[Mount("/ops", served)])
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
        server.install_signal_handlers = lambda: None
        tasks.start_soon(server.serve)
        with anyio.fail_after(PATIENCE):
            while not server.started:
                await anyio.sleep(0.01)
            base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/ops"
            async with httpx.AsyncClient(follow_redirects=True, base_url=base) as browser:
                assert (await browser.get("/queues")).status_code == 401
                opened = await browser.get(who.link(base))
                assert opened.status_code == 200
                for page in ("queues", "jobs", "sessions", "schedules", "nodes", "tree", "events", "dead"):
                    assert (await browser.get(f"/{page}")).status_code == 200, page
                assert (await browser.get("/api/v1/census")).json()["nodes"] == 1
                ours = {"Sec-Fetch-Site": "same-origin"}
                assert (await browser.post("/queues/x/pause", headers=ours)).status_code == 200
                assert (await browser.post("/queues/x/pause")).status_code == 403
                live = {"Accept": "text/event-stream"}
                async with browser.stream("GET", "/queues", headers=live) as stream:
                    assert (await anext(stream.aiter_lines())).startswith("id: ")
                    assert (served.state.hub.streams, served.state.hub.pollers) == (1, 1)
                # It is told when a browser has gone.
                while served.state.hub.streams or served.state.hub.pollers:
                    await anyio.sleep(0.01)
            server.should_exit = True
