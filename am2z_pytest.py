"""The pytest plugin of am2z_trio: runtimes as fixtures of whichever plugin runs the async tests.

It is installed with the package, does nothing until a test asks for one of its fixtures, and until then
imports nothing of the package: so it is a module of its own.

* `am2z_local` - a `LocalRuntime`, entered
* `am2z_redis` - a `QueueRuntime`, entered, in a namespace of its own on `am2z_redis_url`
* `am2z_redis_url` - a private server, one for the session (with pytest-xdist, one for each worker)
* `am2z_options`, `am2z_processors` - options of both runtimes, and what is registered with them: to be
  overridden
* `am2z_context` - makes contexts, to run a processor's code alone

A test that asks for a runtime is async, and run by AnyIO's plugin (mark `anyio`), pytest-trio (`trio`) or
pytest-asyncio (`asyncio`), whichever it is: on which host, and in which task, follows from that.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from am2z_trio import LocalRuntime, Processor, QueueRuntime
    from am2z_trio.testing.contexts import FakeContext


def pytest_configure(config: pytest.Config) -> None:
    """pytest-asyncio runs set-up, test and tear-down in tasks of their own: there a runtime has one, too."""
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.register(_on_asyncio(), "am2z_pytest_asyncio")


@pytest.fixture
def am2z_options() -> Mapping[str, Any]:
    """Options of the runtimes of `am2z_local` and `am2z_redis`: override it to give some."""
    return {}


@pytest.fixture
def am2z_processors() -> Iterable[Processor[Any]]:
    """What is registered with the runtimes of `am2z_local` and `am2z_redis`: override it to give some. In a
    test or an async fixture, `am2z_local.register` does it as well."""
    return ()


@pytest.fixture(scope="session")
def am2z_redis_url() -> Iterator[str]:
    """URL of a private Redis, which ends with the session: that of the extra `embedded`, or `redis-server` or
    `valkey-server` on PATH. Override it to use another server."""
    from am2z_trio.testing.servers import private_server

    with private_server() as url:
        yield url


@pytest.fixture
def am2z_local(request: pytest.FixtureRequest) -> LocalRuntime:
    """A `LocalRuntime`, entered for this test."""
    runtime: LocalRuntime = request.getfixturevalue(f"_am2z_local_{_host(request)}")
    return runtime


@pytest.fixture
def am2z_redis(request: pytest.FixtureRequest) -> QueueRuntime:
    """A `QueueRuntime`, entered for this test, on the session's private server: its namespace is its own."""
    runtime: QueueRuntime = request.getfixturevalue(f"_am2z_redis_{_host(request)}")
    return runtime


@pytest.fixture
def am2z_context() -> Callable[..., FakeContext]:
    """Makes contexts for a processor's code alone: see `am2z_trio.testing.contexts.lone_context`."""
    from am2z_trio.testing.contexts import lone_context

    return lone_context


# --- for AnyIO's plugin and pytest-trio: test and fixtures are one task, or in one nursery ------------------


@pytest.fixture
async def _am2z_local_plain(_am2z_make_local: Callable[[], LocalRuntime]) -> AsyncGenerator[LocalRuntime]:
    async with _am2z_make_local() as runtime:
        yield runtime


@pytest.fixture
async def _am2z_redis_plain(_am2z_make_redis: Callable[[], QueueRuntime]) -> AsyncGenerator[QueueRuntime]:
    async with _am2z_make_redis() as runtime:
        yield runtime


def _on_asyncio() -> object:
    """The same as fixtures of pytest-asyncio, which wants to be told of each that it is its own."""
    import pytest_asyncio

    class OnAsyncio:
        @pytest_asyncio.fixture
        async def _am2z_local_asyncio(
            self, _am2z_make_local: Callable[[], LocalRuntime]
        ) -> AsyncGenerator[LocalRuntime]:
            from am2z_trio.testing.fixtures import in_own_task

            async with in_own_task(_am2z_make_local()) as runtime:
                yield runtime

        @pytest_asyncio.fixture
        async def _am2z_redis_asyncio(
            self, _am2z_make_redis: Callable[[], QueueRuntime]
        ) -> AsyncGenerator[QueueRuntime]:
            from am2z_trio.testing.fixtures import in_own_task

            async with in_own_task(_am2z_make_redis()) as runtime:
                yield runtime

    return OnAsyncio()


@pytest.fixture
def _am2z_make_local(
    am2z_options: Mapping[str, Any], am2z_processors: Iterable[Processor[Any]]
) -> Callable[[], LocalRuntime]:
    from am2z_trio import LocalRuntime

    def make() -> LocalRuntime:
        runtime = LocalRuntime(**am2z_options)
        runtime.register(*am2z_processors)
        return runtime

    return make


@pytest.fixture
def _am2z_make_redis(
    am2z_redis_url: str, am2z_options: Mapping[str, Any], am2z_processors: Iterable[Processor[Any]]
) -> Callable[[], QueueRuntime]:
    from am2z_trio import QueueRuntime

    def make() -> QueueRuntime:
        options: dict[str, Any] = {"prefix": f"test-{secrets.token_hex(6)}", **am2z_options}
        runtime = QueueRuntime(am2z_redis_url, **options)
        runtime.register(*am2z_processors)
        return runtime

    return make


def _host(request: pytest.FixtureRequest) -> str:
    """Whose fixtures the test's are."""
    if "anyio_backend" in request.fixturenames or request.node.get_closest_marker("trio"):
        return "plain"
    if request.node.get_closest_marker("asyncio"):
        return "asyncio"
    pytest.fail(
        f"{request.fixturename} is for async tests: mark {request.node.name} anyio (AnyIO's plugin), trio "
        "(pytest-trio) or asyncio (pytest-asyncio)",
        pytrace=False,
    )
