"""Jobs that wait through the deaths of their workers, and of the server."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from am2z_trio import QueueRuntime
from am2z_trio.store.redis import keys
from tests.support.servers import RedisProcess
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio


def kinds(server: RedisProcess) -> set[str]:
    """Which kinds of keys about waits there are."""
    with server.client() as admin:
        found = (key.decode() for key in admin.scan_iter(keys.spell("am2z", "waits", "*")))
        return {key.split(":")[2] for key in found}


async def test_a_job_that_waits_outlives_its_workers_and_the_server(spawn_redis, processes, tmp_path: Path):
    server = spawn_redis({"appendfsync": "always"}, data_dir=tmp_path / "data")
    processes.url = server.url
    first = processes.worker(target="waiting_long:runtime")
    async with QueueRuntime(server.url, workers=False) as client:
        job: Any = await client.submit("publishes", [], job_id="letter")

        async def parked(runs: int) -> None:
            """Return when it has been run so often, and is parked."""
            view = None
            with anyio.fail_after(PATIENCE):
                while view is None or view.status != "later" or view.deliveries < runs:
                    view = await client._view(job.id)
                    await anyio.sleep(0.02)

        await parked(1)
        first.signal(signal.SIGKILL)
        # Nobody is there, and a signal is kept all the same.
        await job.signal("review", "by ada")
        assert await job.status() == "waiting"
        await anyio.to_thread.run_sync(server.restart)
        second = processes.worker(target="waiting_long:runtime")
        await parked(3)
        second.signal(signal.SIGKILL)
        await until(second.ended, "the second worker to be gone")
        await anyio.to_thread.run_sync(server.restart)
        processes.worker(target="waiting_long:runtime")
        await client.signal("letter", "review", "by ben")
        with anyio.fail_after(PATIENCE):
            result = await job.result()
        assert result.unwrap() == ["draft of letter", "by ada", "by ben", "attempt 1"]
        # What was called before the waits has run once.
        assert (tmp_path / "drafts-letter").read_text(encoding="utf-8") == "1 "
        assert kinds(server) == set()
