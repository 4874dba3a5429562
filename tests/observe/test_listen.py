"""`/livez`, `/readyz` and `/metrics`, asked by probes, and by those who mean harm."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am2z_trio import ConfigurationError, LocalRuntime, QueueRuntime, processor
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.views.health import NodeHealth, Reason
from am2z_trio.observe import listen
from am2z_trio.observe.listen import Answer, Listener, address, bind, listening
from tests.support.waiting import wait_until

on_both_hosts = pytest.mark.anyio

WELL = NodeHealth(node="n", live=True, ready=True)


@pytest.fixture(params=["local", "queue"])
def make_runtime(request: pytest.FixtureRequest) -> Callable[..., Runtime]:
    if request.param == "local":
        return LocalRuntime
    url = request.getfixturevalue("redis_url")
    return lambda **options: QueueRuntime(url, **options)


def get(where: tuple[str, int], path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(*where, timeout=20)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def send(where: tuple[str, int], data: bytes, *, ends: bool = True) -> bytes:
    """What comes back until the other side closes."""
    with socket.create_connection(where, timeout=20) as peer:
        try:
            peer.sendall(data)
            if ends:
                peer.shutdown(socket.SHUT_WR)
            answer = b""
            while more := peer.recv(65536):
                answer += more
        except ConnectionError:
            return b""
        return answer


class Serving:
    """A listener in a thread, without any node."""

    def __init__(self, **options: Any) -> None:
        self.silent = 0.0
        self.health: Callable[[], Future[NodeHealth]] = lambda: done(WELL)
        server = bind(("127.0.0.1", 0))
        self.where: tuple[str, int] = server.getsockname()
        self.listener = Listener(server, silent=lambda: self.silent, ask=self._ask, **options)
        self._thread = threading.Thread(target=self.listener.run, daemon=True)

    def _ask(self) -> Future[NodeHealth]:
        return self.health()

    def __enter__(self) -> Serving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


def done(health: NodeHealth) -> Future[NodeHealth]:
    future: Future[NodeHealth] = Future()
    future.set_result(health)
    return future


# --- a node's -------------------------------------------------------------------------------------


@on_both_hosts
async def test_a_node_tells_a_probe_that_it_is_live_and_ready(make_runtime):
    async with make_runtime() as runtime, listening(runtime, "127.0.0.1:0") as where:
        status, body, headers = await anyio.to_thread.run_sync(get, where, "/livez")
        assert (status, body) == (200, "ok\n")
        assert headers["Connection"] == "close"
        status, body, headers = await anyio.to_thread.run_sync(get, where, "/readyz?verbose=1")
        told = json.loads(body)
        assert (status, told["node"], told["ready"], told["reasons"]) == (200, runtime.node_id, True, [])
        assert headers["Content-Type"] == "application/json"
        status, body, _ = await anyio.to_thread.run_sync(get, where, "/readyz", "HEAD")
        assert (status, body) == (200, "")
        assert (await anyio.to_thread.run_sync(get, where, "/metrics"))[0] == 404
        assert (await anyio.to_thread.run_sync(get, where, "/"))[0] == 404
        assert (await anyio.to_thread.run_sync(get, where, "/livez", "POST"))[0] == 405
        await runtime.control.drain_node(runtime.node_id)
        status, body, _ = await anyio.to_thread.run_sync(get, where, "/readyz")
        assert (status, [one["code"] for one in json.loads(body)["reasons"]]) == (503, ["draining"])
        assert (await anyio.to_thread.run_sync(get, where, "/livez"))[0] == 200
    with pytest.raises(OSError, match=r"."):
        get(where, "/livez")


@on_both_hosts
async def test_while_the_loop_is_stuck_it_is_told_that_it_does_not_live(make_runtime, monkeypatch):
    monkeypatch.setattr(listen, "STUCK", 0.05)
    monkeypatch.setattr(listen, "READY_WITHIN", 0.05)
    told: list[tuple[int, str, dict[str, str]]] = []

    @processor
    async def crunch(n: int) -> int:
        # Each answer comes while nothing else runs in this loop.
        wait_until(lambda: get(where, "/livez")[0] == 503, "the loop to be told to be stuck")
        told.append(get(where, "/livez"))
        told.append(get(where, "/readyz"))
        return n

    async with make_runtime() as runtime, listening(runtime, "127.0.0.1:0") as where:
        runtime.register(crunch)
        await runtime.execute(crunch, 1)
        (status, body, _), (ready, reasons, _) = told
        assert (status, ready) == (503, 503)
        assert "no sign of life for 0." in body
        assert [one["code"] for one in json.loads(reasons)["reasons"]] == ["loop_stuck"]
        assert json.loads(reasons)["live"] is False

        def lives() -> bool:
            return get(where, "/livez")[0] == 200

        assert await anyio.to_thread.run_sync(lives)


@on_both_hosts
async def test_figures_are_what_somebody_else_makes_of_them(make_runtime):
    figures, asked = ("text/plain; version=0.0.4", b"am2z_up 1\n"), list[str]()

    def tell(accept: str) -> tuple[str, bytes]:
        asked.append(accept)
        return figures

    async with make_runtime() as runtime, listening(runtime, "127.0.0.1:0", metrics=tell) as where:
        status, body, headers = await anyio.to_thread.run_sync(get, where, "/metrics")
        assert (status, body, headers["Content-Type"]) == (200, "am2z_up 1\n", figures[0])
        head = b"GET /metrics HTTP/1.1\r\nHost: x\r\naccept: application/openmetrics-text; version=1\r\n\r\n"
        answer = await anyio.to_thread.run_sync(send, where, head)
        assert answer.endswith(b"am2z_up 1\n")
        assert asked == ["", "application/openmetrics-text; version=1"]


# --- the listener alone -----------------------------------------------------------------------------


def test_figures_that_cannot_be_told_are_a_server_error(caplog):
    def fails(accept: str) -> Any:
        raise ZeroDivisionError("no figure")

    with Serving(metrics=fails) as serving:
        assert get(serving.where, "/metrics")[0] == 500
        assert "no figure" in caplog.text
        assert get(serving.where, "/livez")[0] == 200


def test_who_cannot_be_asked_is_not_ready():
    def over() -> Future[NodeHealth]:
        raise RuntimeError("the loop has ended")

    def failed() -> Future[NodeHealth]:
        future: Future[NodeHealth] = Future()
        future.set_exception(ValueError("no"))
        return future

    with Serving() as serving:
        for health in (over, failed):
            serving.health = health
            status, body, _ = get(serving.where, "/readyz")
            assert status == 503
            assert json.loads(body)["ready"] is False
        serving.health = lambda: done(
            NodeHealth(node="n", live=True, ready=False, reasons=[Reason(code="x", text="</script>\r\n")])
        )
        status, body, _ = get(serving.where, "/readyz")
        assert (status, json.loads(body)["reasons"][0]["text"]) == (503, "</script>\r\n")


def test_a_probe_that_waits_for_the_loop_keeps_no_other_one_waiting():
    asked: list[Future[NodeHealth]] = []

    def later() -> Future[NodeHealth]:
        asked.append(Future())
        return asked[-1]

    with Serving() as serving:
        serving.health = later
        answers: list[int] = []
        waiting = threading.Thread(target=lambda: answers.append(get(serving.where, "/readyz")[0]))
        waiting.start()
        wait_until(lambda: asked, "the question")
        assert get(serving.where, "/livez")[0] == 200
        asked[0].set_result(WELL)
        waiting.join(20)
        assert answers == [200]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 200),
        (b"GET /livez HTTP/1.0\n\n", 200),
        (b"GET /livez?x=%00 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /livez/../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET //livez HTTP/1.1\r\n\r\n", 404),
        (b"GET http://other/livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/2.0\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"get /livez HTTP/1.1\r\n\r\n", 400),
        (b"POST /livez HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /li\xffvez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"G" * 9000, 431),
    ],
)
def test_a_request_is_answered_by_its_first_line_alone(data, status):
    with Serving() as serving:
        answer = send(serving.where, data, ends=False)
        # Who has said more than is read may see its connection reset before the answer.
        if answer or status != 431:
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"Connection: close" in answer
        assert get(serving.where, "/livez")[0] == 200


def test_who_says_nothing_or_very_slowly_is_closed_and_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(listen, "PATIENCE", 0.2)
    with Serving() as serving:
        silent = [socket.create_connection(serving.where, timeout=20) for _ in range(10)]
        silent[0].sendall(b"GET /livez HT")
        assert get(serving.where, "/livez")[0] == 200
        for peer in silent:
            assert peer.recv(10) == b""
            peer.close()
        assert not serving.listener._open


def test_of_very_many_the_oldest_go(monkeypatch):
    monkeypatch.setattr(listen, "MOST_OPEN", 5)
    with Serving() as serving:
        many = [socket.create_connection(serving.where, timeout=20) for _ in range(30)]
        assert get(serving.where, "/livez")[0] == 200
        assert len(serving.listener._open) <= 5
        assert many[0].recv(10) == b""
        for peer in many:
            peer.close()
        assert get(serving.where, "/livez")[0] == 200


def test_who_does_not_read_is_closed(monkeypatch):
    monkeypatch.setattr(listen, "PATIENCE", 0.2)
    with Serving(metrics=lambda accept: ("text/plain", b"x" * 20_000_000)) as serving:
        with socket.create_connection(serving.where, timeout=20) as peer:
            peer.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            wait_until(lambda: serving.listener._open, "the connection")
            assert get(serving.where, "/livez")[0] == 200
            wait_until(lambda: not serving.listener._open, "the connection to be closed")
        assert get(serving.where, "/livez")[0] == 200


def test_stopped_it_ends_with_connections_open():
    serving = Serving()
    with serving:
        peer = socket.create_connection(serving.where, timeout=20)
        wait_until(lambda: serving.listener._open, "the connection")
    assert peer.recv(10) == b""
    peer.close()


@pytest.fixture(scope="module")
def serving():
    with Serving() as one:
        yield one


@given(st.lists(st.binary(max_size=200), max_size=5))
@settings(max_examples=60)
def test_anything_at_all_is_refused_or_closed(serving, parts):
    answer = send(serving.where, b"".join(parts) + b"\r\n\r\n")
    assert answer == b"" or answer.split(b" ")[1] in (b"200", b"400", b"404", b"405", b"431", b"503")
    assert get(serving.where, "/livez")[0] == 200


# --- where ------------------------------------------------------------------------------------------


def test_an_address_is_a_host_and_a_port():
    assert address("127.0.0.1:9400") == ("127.0.0.1", 9400)
    assert address("[::1]:0") == ("::1", 0)
    assert address("localhost:80") == ("localhost", 80)


@pytest.mark.parametrize(
    "wrong", ["", "9400", ":9400", "x:", "x:y", "x:70000", "x:-1", "x:١", 5, None, b"x:1"]
)
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="listen"):
        address(wrong)


def test_a_place_that_is_taken_is_an_error_that_says_so():
    taken = bind(("127.0.0.1", 0))
    try:
        with pytest.raises(ConfigurationError, match=r"nothing can listen at 127\.0\.0\.1"):
            bind(taken.getsockname())
    finally:
        taken.close()
    with pytest.raises(ConfigurationError, match="nothing can listen at no such host"):
        bind(("no such host", 1))


def test_an_answer_says_how_long_it_is():
    text = Answer(200, b"ok\n").written(head=True)
    assert b"Content-Length: 3\r\n" in text
    assert text.endswith(b"\r\n\r\n")
    assert Answer(200, b"ok\n").written(head=False) == text + b"ok\n"


@on_both_hosts
async def test_a_runtime_that_is_left_is_not_asked_any_more():
    async with LocalRuntime() as runtime:
        health = await runtime.health()
        assert (health.live, health.ready) == (True, True)
    health = await runtime.health()
    assert (health.live, health.ready) == (False, False)
