"""The small applications, each by the server that its page names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from am2z_trio.model.segments import segment
from tests.support.applications import served
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
SERVERS: Final = {
    "with_starlette": ["hypercorn", "--worker-class", "trio", "--graceful-timeout", "1", "--bind"],
    "with_quart_trio": ["hypercorn", "--worker-class", "trio", "--graceful-timeout", "1", "--bind"],
    "with_litestar": ["uvicorn", "--timeout-graceful-shutdown", "1", "--port"],
}


@pytest.fixture(params=SERVERS)
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Which, and where it is."""
    name, log = str(request.param), tmp_path / "log"
    program, *options = SERVERS[name]

    def command(port: int) -> list[str]:
        at = str(port) if program == "uvicorn" else f"127.0.0.1:{port}"
        return ["-m", program, *options, at, f"docs.examples.frameworks.{name}:app"]

    try:
        with served(command, log, status=404) as server:
            yield name, server.base
    finally:
        print(log.read_text())


def status(name: str, base: str, id: str) -> Any:
    at = f"{base}/counts/{id}" if name == "with_quart_trio" else f"{base}/jobs/{segment(id)}"
    return httpx.get(at, timeout=30).json()["status"]


def test_a_job_is_followed_to_its_end_and_cancelled_when_its_client_leaves(application):
    name, base = application
    id = httpx.post(f"{base}/counts/3", timeout=30).json()["id"]
    with httpx.stream("GET", f"{base}/counts/{id}/events", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [*stream.iter_lines()]
    assert any('"status":"completed","state":3' in line for line in lines)
    id = httpx.post(f"{base}/counts/1000000", timeout=30).json()["id"]
    with httpx.stream("GET", f"{base}/counts/{id}/events", timeout=30) as stream:
        next(line for line in stream.iter_lines() if line == "event: job:progress")
    wait_until(lambda: status(name, base, id) == "cancelled", "the job to be cancelled", patience=20)


def test_a_job_is_found_where_it_is_said_to_be_and_one_that_is_not_is_404(application):
    name, base = application
    if name != "with_quart_trio":
        answer = httpx.post(f"{base}/jobs/count", json={"state": 1}, timeout=30)
        assert httpx.get(base + answer.headers["location"], timeout=30).json()["id"] == answer.json()["id"]
        done = httpx.get(f"{base}{answer.json()['links']['result']}?wait=20", timeout=30)
        assert done.json()["state"] == 1
    assert httpx.get(f"{base}/counts/unheard-of/events", timeout=30).status_code == 404
