"""Jobs over real sockets, by the servers that people run: Uvicorn, and Hypercorn on either host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.applications import served
from tests.support.waiting import wait_until

SERVERS: Final = {
    "uvicorn": ["uvicorn", "--timeout-graceful-shutdown", "1", "--port", "{port}"],
    "hypercorn-trio": [
        "hypercorn",
        "--worker-class",
        "trio",
        "--graceful-timeout",
        "1",
        "--bind",
        "127.0.0.1:{port}",
    ],
    "hypercorn-asyncio": ["hypercorn", "--graceful-timeout", "1", "--bind", "127.0.0.1:{port}"],
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where one serves the application of `tests/contrib/app.py`; it says nothing bad until its end."""
    log = tmp_path_factory.mktemp("server") / "log"

    def command(port: int) -> list[str]:
        return ["-m", *(part.format(port=port) for part in SERVERS[request.param]), "tests.contrib.app:app"]

    with served(command, log) as found:
        yield found.base
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "Exception" not in said, said


def submitted(server: str, most: int) -> str:
    return str(httpx.post(f"{server}/counts/{most}", timeout=30).json()["id"])


def status(server: str, id: str) -> str:
    return str(httpx.get(f"{server}/counts/{quote(id)}", timeout=30).json()["status"])


def opened(server: str, path: str, **options: Any) -> ClientConnection:
    opening: ClientConnection = connect(
        f"{server.replace('http', 'ws', 1)}{path}", open_timeout=30, close_timeout=10, **options
    )
    return opening


def said(connection: ClientConnection) -> tuple[str, Any]:
    one = json.loads(connection.recv(30))
    return one["event"], one["data"]


def until_said(connection: ClientConnection, event: str) -> Any:
    while True:
        name, data = said(connection)
        if name == event:
            return data


def test_a_socket_tells_of_a_job_until_it_has_ended(server):
    id = submitted(server, 3)
    with opened(server, f"/counts/{id}/socket") as socket:
        assert said(socket)[0] == "status"
        assert until_said(socket, "result") == {"id": id, "status": "completed", "state": 3}
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


@pytest.mark.parametrize("leaves", ["closes", "is gone"])
def test_a_client_that_leaves_its_socket_cancels_its_job(server, leaves):
    id = submitted(server, 1_000_000)
    with opened(server, f"/counts/{id}/socket") as socket:
        until_said(socket, "job:progress")
        assert status(server, id) == "active"
        if leaves == "is gone":
            socket.socket.shutdown(2)  # No word of farewell, as where a process is killed.
            wait_until(lambda: status(server, id) == "cancelled", "the job to be cancelled")
    wait_until(lambda: status(server, id) == "cancelled", "the job to be cancelled")


def test_or_not_if_that_is_asked_for_and_it_may_come_back(server):
    id = submitted(server, 1_000_000)
    for _ in range(2):
        with opened(server, f"/counts/{id}/socket?leave=1") as socket:
            assert said(socket)[0] == "status"
            until_said(socket, "job:progress")
    assert status(server, id) == "active"
    with opened(server, f"/counts/{id}/socket?leave=1") as socket:
        socket.send("cancel")
        assert until_said(socket, "result")["status"] == "cancelled"


def test_a_client_that_says_what_is_not_understood_is_told_so_and_has_left(server):
    id = submitted(server, 1_000_000)
    with opened(server, f"/counts/{id}/socket") as socket:
        until_said(socket, "job:progress")
        socket.send("x" * 1000)
        with pytest.raises(ConnectionClosed) as closed:
            until_said(socket, "result")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1003
    wait_until(lambda: status(server, id) == "cancelled", "the job to be cancelled")


def test_a_page_of_elsewhere_gets_no_socket(server):
    id = submitted(server, 1)
    with (
        pytest.raises(InvalidStatus) as refused,
        opened(server, f"/counts/{id}/socket", origin="https://evil.example"),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_what_the_engine_raises_in_an_operation_is_a_problem_and_no_error_of_the_server(server):
    answer = httpx.get(f"{server}/counts/nothing", timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "JOB_NOT_FOUND"
    with pytest.raises(InvalidStatus) as refused, opened(server, "/counts/nothing/socket"):
        pass
    assert refused.value.response.status_code == 403


def test_the_jobs_application_has_a_socket_that_changes_nothing_when_it_is_left(server):
    location = httpx.post(f"{server}/jobs/count", json={"state": 1_000_000}, timeout=30).headers["location"]
    with opened(server, f"{location}/socket") as socket:
        until_said(socket, "job:progress")
    assert httpx.get(f"{server}{location}", timeout=30).json()["status"] == "active"
    assert httpx.delete(f"{server}{location}", timeout=30).json()["cancelled"] is True


@pytest.mark.parametrize("leaves", [True, False])
def test_a_client_that_leaves_its_stream_cancels_its_job_or_not_as_asked(server, leaves):
    id = submitted(server, 1_000_000)
    query = "" if leaves else "?leave=1"
    with httpx.stream("GET", f"{server}/counts/{id}/events{query}", timeout=30) as stream:
        next(line for line in stream.iter_lines() if line == "event: job:progress")
    if leaves:
        wait_until(lambda: status(server, id) == "cancelled", "the job to be cancelled")
    else:
        # Another one is told of by then, so that this one has been left.
        other = submitted(server, 3)
        with httpx.stream("GET", f"{server}/counts/{other}/events", timeout=30) as stream:
            assert any('"status":"completed"' in line for line in stream.iter_lines())
        assert status(server, id) == "active"
        assert httpx.delete(f"{server}/jobs/{quote(id)}", timeout=30).json()["cancelled"] is True


def test_a_client_that_comes_back_is_told_what_it_has_missed(server):
    id = submitted(server, 40)
    heard = list[float]()
    last = "0.0"
    while not heard or last != "end":
        with httpx.stream(
            "GET", f"{server}/counts/{id}/events?leave=1", headers={"Last-Event-ID": last}, timeout=30
        ) as stream:
            event = ""
            for line in stream.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    last = value
                elif name == "event":
                    event = value
                elif name == "data" and event == "job:progress":
                    heard.append(json.loads(value)["progress"])
                    if len(heard) % 7 == 0:
                        break  # The connection is lost.
    assert heard == sorted(heard)
    assert sorted(set(heard)) == [pytest.approx((n + 1) / 40) for n in range(40)]
    assert httpx.get(f"{server}/counts/{id}/events", headers={"Last-Event-ID": last}).status_code == 204
