"""Some days of the virtual year, in which clocks are set on both hemispheres: `nox -s schedules` for more."""

from __future__ import annotations

import pytest

from tests.chaos.year import in_memory, on_redis, run
from tests.support.calendar import utc

pytestmark = pytest.mark.trio

START, END = utc(2025, 3, 29), utc(2025, 4, 8)


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_each_time_has_one_job_whatever_happens_to_the_nodes(store, request) -> None:
    make = in_memory() if store == "memory" else on_redis(request.getfixturevalue("redis_url"))
    report = await run(make, START, END, seed=7)
    assert report.is_well, report
    assert report.expected > 800
    happened = {"requests lost", "nodes died after the step", "races lost", "absences"}
    if store == "redis":
        happened |= {"answers lost", "late duplicates"}
    assert {*report.faults} >= happened, report
