"""Releases that somebody can take over are warned about, others are not."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from am2z_trio import QueueRuntime
from am2z_trio.wire.holes import Product, known_holes, product_of
from tests.support.servers import RedisProcess, said_of_old_servers


@pytest.mark.parametrize(
    ("product", "version", "better"),
    [("Redis", "6.2.14", "6.2.20"), ("Redis", "7.0.15", "7.2.16"), ("Valkey", "8.0.5", "8.0.8")],
)
def test_a_release_with_holes_is_told_with_the_next_without(
    product: Product, version: str, better: str
) -> None:
    told = known_holes(product, version)
    assert f"{product} {version} has known holes" in told
    assert "unless your distribution has patched it" in told
    assert f"{better} is the next version without that" in told


@pytest.mark.parametrize(
    ("product", "version"),
    [
        *(("Redis", version) for version in ("6.2.20", "8.6.3")),
        *(("Valkey", version) for version in ("8.0.8", "9.0.4", "9.1.2")),
        *(("Redis", version) for version in ("", "7.2", "unstable", "255.255.255", "7.2.x")),
    ],
)
def test_of_others_nothing_is_said(product: Product, version: str) -> None:
    assert known_holes(product, version) == ""


def test_who_speaks_the_language_alone_is_not_judged() -> None:
    assert product_of({"redis_version": "7.0.15"}) == ("Redis", "7.0.15")
    assert product_of({"redis_version": "7.2.4", "valkey_version": "9.1.2"}) == ("Valkey", "9.1.2")
    assert product_of({"redis_version": "7.2.0", "dragonfly_version": "df-v1.2"}) is None
    assert product_of({}) is None


@pytest.fixture
def told() -> Iterator[None]:
    store = logging.getLogger("am2z_trio.store")
    store.removeFilter(said_of_old_servers)
    yield
    store.addFilter(said_of_old_servers)


@pytest.mark.anyio
async def test_it_is_said_once_at_start(
    redis_server: RedisProcess, caplog: pytest.LogCaptureFixture, told: None
) -> None:
    product: Product = "Valkey" if "valkey" in redis_server.binary else "Redis"
    expected = known_holes(product, redis_server.version)
    async with QueueRuntime(redis_server.url):
        pass
    said = [
        record
        for record in caplog.records
        if record.name == "am2z_trio.store" and "known holes" in record.message
    ]
    assert len(said) == (1 if expected else 0)
    assert all(record.levelno == logging.WARNING for record in said)
    assert all(re.search(r"unix://.*: .* has known holes", record.message) for record in said)
