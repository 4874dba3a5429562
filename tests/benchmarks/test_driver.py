"""The client's side: what it does for every contender, whether its library blocks or not."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks.contenders import driver


class Echo(driver.Client):
    """Keeps what it is given, and gives it back."""

    def __init__(self) -> None:
        super().__init__("redis://nowhere")
        self.queued: list[Any] = []
        self.bulks: list[int] = []
        self.is_open = False

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self.is_open = True
        yield
        self.is_open = False

    async def submit(self, job: str, payload: Any) -> None:
        assert self.is_open
        self.queued.append((job, payload))

    async def submit_many(self, job: str, payloads: list[Any]) -> None:
        self.bulks.append(len(payloads))

    async def call(self, job: str, payload: Any) -> Any:
        self.queued.append((job, payload))
        return dict(payload)


class BlockingEcho(Echo, driver.BlockingClient):
    """And notes in which threads it was asked."""

    threads: set[int]

    async def submit(self, job: str, payload: Any) -> None:
        await super().submit(job, payload)
        self.threads.add(threading.get_ident())


class Liar(Echo):
    async def call(self, job: str, payload: Any) -> Any:
        return None


def run(
    client: Echo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *told: str
) -> driver.Figures:
    monkeypatch.setattr("sys.argv", ["client", *told])
    driver.run(client)
    figures: driver.Figures = json.loads(capsys.readouterr().out)
    assert not client.is_open
    return figures


def test_callers_share_the_jobs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    client = Echo()
    figures = run(client, monkeypatch, capsys, "enqueue", "--jobs=107", "--callers=10", "--job=nap")
    assert figures["jobs"] == len(client.queued) == 107
    assert {job for job, _ in client.queued} == {"nap"}


def test_callers_of_a_library_that_blocks_are_threads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = BlockingEcho()
    client.threads = set()
    figures = run(client, monkeypatch, capsys, "enqueue", "--jobs=50", "--callers=4")
    assert figures["jobs"] == len(client.queued) == 50
    assert threading.get_ident() not in client.threads


def test_in_bulk_a_thousand_go_with_one_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Echo()
    assert run(client, monkeypatch, capsys, "bulk", "--jobs=2500")["jobs"] == 2500
    assert client.bulks == [1000, 1000, 500]


@pytest.mark.parametrize("client", [Echo(), BlockingEcho()], ids=["async", "blocking"])
def test_calls_are_timed_one_by_one_and_all_together(
    client: Echo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run(client, monkeypatch, capsys, "calls", "--jobs=200", "--callers=5")
    assert (figures["round trips"], figures["calls"]) == (20, 200)
    assert 0 < figures["p50"] <= figures["p99"]
    assert len(client.queued) == driver.WARM + 220
    assert set(driver.rates_of_calls(figures)) == {"p50 ms", "p99 ms", "100 callers/s"}


def test_a_wrong_result_is_no_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AssertionError, match="the job gave back None"):
        run(Liar(), monkeypatch, capsys, "calls", "--jobs=10")


def test_nothing_is_begun_after_the_longest_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "LONGEST", -1.0)
    assert run(Echo(), monkeypatch, capsys, "enqueue", "--jobs=100")["jobs"] == 0


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_a_payload_is_as_large_as_asked_for(size: int) -> None:
    encoded = json.dumps(Echo().payload(size))
    assert abs(len(encoded) - size) <= 30
