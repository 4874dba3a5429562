"""The pytest plugin: its fixtures under each plugin that runs async tests, and what it costs others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pieces import blocks
from tests.support.pytests import has, pytest_of

PROCESSOR = """
import pytest
from am2z_trio import LocalRuntime, QueueRuntime, processor

@processor
async def double(n: int) -> int:
    return 2 * n

@pytest.fixture
def am2z_processors():
    return [double]
"""

TESTS = """
async def test_both(am2z_local, am2z_redis):
    assert isinstance(am2z_local, LocalRuntime) and isinstance(am2z_redis, QueueRuntime)
    for runtime in (am2z_local, am2z_redis):
        assert (await runtime.execute(double, 21)).unwrap() == 42
        async with runtime.session("alice") as session:
            assert (await session.execute(double, 1)).unwrap() == 2
        await runtime.submit(double, 1)
        await runtime.drain()

async def test_nothing_is_left_of_the_test_before(am2z_redis, tmp_path_factory, am2z_redis_url):
    assert (await am2z_redis.get_queue_stats())["double"].completed == 0
    seen = tmp_path_factory.getbasetemp() / "url"
    seen.write_text(am2z_redis_url)

@fixture
async def shop(am2z_local):
    async with am2z_local.session("shop") as session:
        yield session

async def test_a_fixture_of_ones_own_goes_on_with_it(shop):
    assert (await shop.execute(double, 3)).unwrap() == 6

async def test_the_server_is_one_for_the_session(am2z_redis_url, tmp_path_factory):
    assert (tmp_path_factory.getbasetemp() / "url").read_text() == am2z_redis_url

class TestWithOptions:
    @pytest.fixture
    def am2z_options(self):
        return {"event_history": 10}

    async def test_they_are_given(self, am2z_local, am2z_redis):
        assert am2z_local.options.event_history == am2z_redis.options.event_history == 10
"""


def with_plugin(program: str, directory: Path, *options: str) -> str:
    """What pytest says of it where the plugin is there, be it installed or not."""
    return pytest_of(program, directory, "-p", "am2z_pytest", *options)


ONLY = {
    "anyio": ("-p", "no:trio", "-p", "no:asyncio"),
    "pytest_trio": ("-p", "no:asyncio"),
    "pytest_asyncio": ("-p", "no:trio", "-o", "asyncio_default_fixture_loop_scope=function"),
}


IMPORTS = {
    "anyio": "fixture = pytest.fixture",
    "trio": "fixture = pytest.fixture",
    "asyncio": "import pytest_asyncio\nfixture = pytest_asyncio.fixture",
}
SESSION = """    async with am2z_local.session("shop") as session:
        yield session
"""


@pytest.mark.parametrize(
    ("plugin", "mark", "passed"),
    [("anyio", "anyio", 10), ("pytest_trio", "trio", 5), ("pytest_asyncio", "asyncio", 5)],
)
def test_its_fixtures_work_under_each_plugin(plugin: str, mark: str, passed: int, tmp_path: Path) -> None:
    if not has(plugin):
        pytest.skip(f"needs {plugin}")
    # A session is a nursery, and pytest-asyncio tears down in another task: there a runtime alone is for all.
    tests = TESTS.replace(SESSION, "    yield am2z_local\n") if mark == "asyncio" else TESTS
    program = f"{PROCESSOR}\npytestmark = pytest.mark.{mark}\n{IMPORTS[mark]}\n{tests}"
    said = with_plugin(program, tmp_path, *ONLY[plugin])
    assert f"{passed} passed" in said, said


def test_they_live_side_by_side_in_one_run(tmp_path: Path) -> None:
    for plugin in ("pytest_trio", "pytest_asyncio"):
        if not has(plugin):
            pytest.skip(f"needs {plugin}")
    program = PROCESSOR + "".join(
        f"""
@pytest.mark.{mark}
async def test_{mark}(am2z_local, am2z_redis):
    assert (await am2z_local.execute(double, 1)).unwrap() == 2
    assert (await am2z_redis.execute(double, 1)).unwrap() == 2
"""
        for mark in ("anyio", "trio", "asyncio")
    )
    said = with_plugin(program, tmp_path, "-o", "asyncio_default_fixture_loop_scope=function")
    assert "4 passed" in said, said


def test_plugins_that_run_every_async_test_are_known_too(tmp_path: Path) -> None:
    test = "async def test_it(am2z_local):\n    assert (await am2z_local.execute(double, 1)).unwrap() == 2\n"
    for plugin, options in (
        ("pytest_trio", (*ONLY["pytest_trio"], "-o", "trio_mode=true")),
        ("pytest_asyncio", (*ONLY["pytest_asyncio"], "-o", "asyncio_mode=auto")),
    ):
        if has(plugin):
            said = with_plugin(PROCESSOR + test, tmp_path, *options)
            assert "1 passed" in said, said


def test_a_test_that_is_not_async_is_told(tmp_path: Path) -> None:
    said = with_plugin("def test_it(am2z_local): ...", tmp_path, *ONLY["anyio"])
    assert "am2z_local is for async tests: mark test_it anyio" in said, said


def test_who_does_not_use_it_imports_nothing_of_the_package(tmp_path: Path) -> None:
    found = "any(name.startswith('am2z_trio') for name in sys.modules)"
    said = with_plugin(f"import sys\ndef test_it():\n    assert not {found}\n", tmp_path, *ONLY["anyio"])
    assert "1 passed" in said, said


def test_virtual_time_under_either_plugin_for_trio(tmp_path: Path) -> None:
    program = """
import pytest, trio
from am2z_trio import JobOptions
from am2z_trio.testing.clock import virtual_time

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": virtual_time()})])
async def test_with_anyio(am2z_local):
    await a_day(am2z_local)
"""
    if has("pytest_trio"):
        program += """
@pytest.fixture
def clock():
    return virtual_time()

@pytest.mark.trio
async def test_with_pytest_trio(clock, am2z_local):
    await a_day(am2z_local)
"""
    program += """
async def a_day(runtime):
    began = trio.current_time()
    await runtime.submit(double, 1, options=JobOptions(delay=24 * 3600))
    await runtime.drain(delayed=True, timeout=None)
    assert 24 * 3600 <= trio.current_time() - began < 24 * 3600 + 2
"""
    said = with_plugin(PROCESSOR + program, tmp_path, "-p", "no:asyncio")
    assert f"{1 + has('pytest_trio')} passed" in said, said


@pytest.mark.parametrize(("file", "passed"), [("test_shop.py", 6), ("test_a_day.py", 1)])
def test_the_examples_of_the_guide_pass(file: str, passed: int, tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "guides" / "testing.md"
    (code,) = [one.code for one in blocks(page.read_text(encoding="utf-8")) if one.file == file]
    said = with_plugin(code, tmp_path, *ONLY["anyio"])
    assert f"{passed} passed" in said, said
