"""The stage: a private server, made empty each time, and what is heard on it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from benchmarks.contenders.field import OURS
from benchmarks.environments import prepare
from benchmarks.server import private_server
from benchmarks.stage import Stage, sent


@pytest.fixture
def url() -> Iterator[str]:
    with private_server() as server:
        yield server.url


@pytest.fixture
def admin(url: str) -> Iterator[Any]:
    with redis.Redis.from_url(url) as admin:
        yield admin


def test_the_server_is_this_machines_alone_and_keeps_nothing(url: str, admin: Any) -> None:
    assert url.startswith("redis://127.0.0.1:")
    assert admin.config_get("bind")["bind"] == "127.0.0.1"
    assert admin.config_get("save")["save"] == ""
    assert admin.config_get("appendonly")["appendonly"] == "no"


def test_each_measurement_finds_it_empty(tmp_path: Any, url: str, admin: Any) -> None:
    stage = Stage(OURS, prepare(OURS, tmp_path), url, admin, patience=1.0)
    empty = stage.redis().memory
    admin.hset("left", mapping={f"field {number}": "behind" * 100 for number in range(10_000)})
    script = admin.script_load("return 1")
    for _ in range(100):
        admin.get("nothing")
    before = stage.redis().commands
    stage.clear()
    assert admin.keys() == []
    assert stage.redis().memory < empty + 2**20, "what was there has been freed"
    assert admin.script_exists(script) == [False]
    assert stage.redis().commands < before


def test_commands_are_counted_but_not_those_that_scripts_run() -> None:
    told = (
        b'+OK\r\n+1700000000.000001 [0 127.0.0.1:6000] "evalsha" "a" "0"\r\n'
        b'+1700000000.000002 [0 lua] "get" "x"\r\n+1700000000.000003 [0 unix:/s] "blpop" "y" "1"\r\n+17000'
    )
    assert sent(told.removesuffix(b"+17000")) == 2
    assert sent(b"+OK\r\n") == sent(b"") == 0


def test_nobody_listens_there_any_more_when_the_run_is_over() -> None:
    with private_server() as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
