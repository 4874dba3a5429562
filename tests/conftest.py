"""The suite's Redis servers, hosts and settings.

* `redis_server` - the suite's own server, private, one for the session
* `redis_url` - its URL, emptied first
* `spawn_redis` - further private servers, to be killed, paused, restarted or configured
* `anyio_backend` - both hosts, for tests marked `anyio`; a test for Trio alone is marked `trio`

`AM2Z_TEST_REDIS` names the server program of the session; without it, it is the one that an
embedded server would be.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.servers import RedisProcess, SpawnRedis, said_of_old_servers

# Tests are deterministic where they can be: a red build must be red again when it is run again.
# How long the making of examples takes says nothing: the machine may have other things to do.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("soak", settings.get_profile("default"), max_examples=5_000)
settings.register_profile("fuzz", settings.get_profile("ci"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


@pytest.fixture(scope="session", autouse=True)
def _old_on_purpose() -> Iterator[None]:
    """Let every test count what is logged, whichever server it runs on."""
    store = logging.getLogger("am2z_trio.store")
    store.addFilter(said_of_old_servers)
    yield
    store.removeFilter(said_of_old_servers)


@pytest.fixture(scope="module", params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run every test marked `anyio` on both hosts."""
    host = request.param
    assert isinstance(host, str)
    return host


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    """The suite's own server. Leave its configuration alone; `spawn_redis` is for that."""
    server = RedisProcess(os.environ.get("AM2Z_TEST_REDIS") or None)
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: RedisProcess) -> str:
    """URL of the suite's server, which holds no key and no script."""
    redis_server.call("FLUSHALL")
    redis_server.call("SCRIPT", "FLUSH")
    return redis_server.url


@pytest.fixture
def spawn_redis() -> Iterator[SpawnRedis]:
    """Start private servers that end with the test."""
    servers: list[RedisProcess] = []

    def spawn(
        config: Mapping[str, str] | None = None,
        *,
        binary: str | None = None,
        data_dir: Path | None = None,
        tcp: bool = False,
    ) -> RedisProcess:
        program = binary or os.environ.get("AM2Z_TEST_REDIS") or None
        server = RedisProcess(program, config=config, data_dir=data_dir, tcp=tcp)
        servers.append(server)
        server.start()
        return server

    yield spawn
    for server in reversed(servers):
        server.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--mutant NAME`: shrink and print the counterexample that kills this mutant (with `-s`)."""
    parser.addoption("--mutant", default="", help="print the shrunk counterexample of one mutant")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses Redis, so that it can be run against another server too: `-m redis`."""
    for item in items:
        names = set[str](getattr(item, "fixturenames", ()))
        if names & {"redis_server", "spawn_redis"}:
            item.add_marker(pytest.mark.redis)


def pytest_report_header() -> str:
    """Say which Redis this run is about."""
    try:
        server = RedisProcess(os.environ.get("AM2Z_TEST_REDIS") or None)
    except Exception as error:
        return f"redis: none ({error})"
    server.close()
    return f"redis: {server.version} ({server.binary})"
