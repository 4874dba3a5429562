"""The command line leaves logging to the module it runs, and is heard where that configures none."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from am2z_trio import QueueRuntime

from .test_commands import am2z

MODULE = """\
import logging
from am2z_trio import Context, QueueRuntime, processor

{at_import}

@processor
async def sell(n: int, ctx: Context) -> int:
    {in_job}
    ctx.log.info("selling")
    raise ValueError("five is not for sale")
"""

THEIRS = 'logging.basicConfig(level=logging.INFO, format="THEIRS %(levelname)s %(message)s")'
THEIR_OWN_LOGGER = """\
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("THEIRS %(levelname)s %(message)s"))
logging.getLogger("am2z_trio.jobs").addHandler(handler)
logging.getLogger("am2z_trio").setLevel(logging.INFO)
"""


def logged(folder: Path, *, at_import: str = "", in_job: str = "pass") -> list[str]:
    """The lines of the log of a run in which one job fails."""
    (folder / "app.py").write_text(MODULE.format(at_import=at_import, in_job=in_job))
    (folder / "in.jsonl").write_text("5\n")
    done = am2z("run", "app:sell", "--input", "in.jsonl", "--output", "out.jsonl", "--local", cwd=folder)
    assert done.returncode == 1, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith(("WARNING", "INFO", "THEIRS"))]


@pytest.mark.parametrize("configured", [THEIRS, THEIR_OWN_LOGGER], ids=["root", "a logger of the engine"])
def test_what_the_module_has_configured_counts(tmp_path: Path, configured: str):
    started, info, warning = logged(tmp_path, at_import=configured)
    assert started.startswith("THEIRS INFO job ")
    assert info == "THEIRS INFO selling"
    assert warning.startswith("THEIRS WARNING job ")


def test_what_the_module_configures_later_counts_from_then_on(tmp_path: Path):
    info, warning = logged(tmp_path, in_job=THEIRS)
    assert info == "THEIRS INFO selling"
    assert warning.startswith("THEIRS WARNING job ")


def test_where_nobody_logs_the_engine_is_heard_all_the_same(tmp_path: Path):
    (line,) = logged(tmp_path)
    assert line.startswith("WARNING am2z_trio.jobs: job ")
    assert line.endswith("failed at attempt 1: 'sell' raised ValueError: five is not for sale")


async def said_by_worker(tmp_path: Path, redis_url: str, *options: str, at_import: str = "") -> list[str]:
    """What a worker writes while one job fails on it."""
    served = f"runtime = QueueRuntime({redis_url!r})\nruntime.register(sell)\n"
    (tmp_path / "app.py").write_text(MODULE.format(at_import=at_import, in_job="pass") + served)
    worker = subprocess.Popen(
        [sys.executable, "-m", "am2z_trio.cli", "worker", "app:runtime", *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stderr is not None
        with anyio.fail_after(60):
            # Before that it may warn of the server's age.
            while " serves " not in await anyio.to_thread.run_sync(worker.stderr.readline):
                assert worker.poll() is None
            async with QueueRuntime(redis_url, workers=False) as client:
                assert not (await client.execute("sell", 5)).success
            worker.send_signal(signal.SIGTERM)
            said = await anyio.to_thread.run_sync(worker.stderr.read)
    finally:
        worker.kill()
        worker.wait()
        if worker.stderr is not None:
            worker.stderr.close()
    return said.splitlines()


@pytest.mark.anyio
async def test_a_worker_writes_its_log_as_its_module_wants_it(tmp_path: Path, redis_url: str):
    said = await said_by_worker(tmp_path, redis_url, at_import=THEIRS)
    lines = [line for line in said if line.startswith(("WARNING", "THEIRS"))]
    assert [line.partition(" job ")[0] for line in lines] == [
        "THEIRS INFO",
        "THEIRS INFO selling",
        "THEIRS WARNING",
    ]


@pytest.mark.anyio
async def test_a_worker_writes_json_where_its_module_wants_nothing(tmp_path: Path, redis_url: str):
    said = await said_by_worker(tmp_path, redis_url, "--log-format", "json", "--log-level", "info")
    started, selling, failed = [json.loads(line) for line in said if line.startswith("{")]
    assert [one["level"] for one in (started, selling, failed)] == ["INFO", "INFO", "WARNING"]
    assert selling["message"] == "selling"
    assert {one["job"] for one in (started, selling, failed)} == {failed["job"]}
    assert {one["processor"] for one in (started, selling, failed)} == {"sell"}
    assert failed["message"].endswith("'sell' raised ValueError: five is not for sale")
    assert failed["traceback"].startswith("Traceback (most recent call last):\n  File ")
    assert failed["traceback"].endswith("\nValueError: five is not for sale")


@pytest.mark.anyio
async def test_a_workers_format_is_nobodys_where_its_module_has_one(tmp_path: Path, redis_url: str):
    said = await said_by_worker(tmp_path, redis_url, "--log-format", "json", at_import=THEIRS)
    assert not [line for line in said if line.startswith("{")]
    assert len([line for line in said if line.startswith("THEIRS")]) == 3
