"""`run_in="interpreter"`: jobs in other interpreters of the process, from Python 3.14 on."""

from __future__ import annotations

import os
import sys

import pytest

from am2z_trio import (
    ConfigurationError,
    LocalRuntime,
    Processor,
    ProcessorExecutionError,
    ProcessorTimeoutError,
    processor,
)
from tests.engine import geometry

pytestmark = pytest.mark.anyio

since_3_14 = pytest.mark.skipif(sys.version_info < (3, 14), reason="needs the interpreters of Python 3.14")


async def test_it_is_refused_at_decoration_where_python_has_none(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 13, 1, "final", 0))
    with pytest.raises(
        ConfigurationError,
        match=r"run_in='interpreter': needs Python 3\.14 or later, and this is 3\.13",
    ):

        @processor(run_in="interpreter")
        def never(n: int) -> int:
            return n


@since_3_14
async def test_a_job_runs_in_another_interpreter_of_this_process():
    area = Processor(geometry.area, run_in="interpreter")
    refuse = Processor(geometry.refuse, run_in="interpreter")
    async with LocalRuntime() as runtime:
        runtime.register(area, refuse)
        results = await runtime.execute_many(area, [{"a": n, "b": 2} for n in range(5)])
        assert [result.unwrap() for result in results] == [
            {"area": 2 * n, "pid": os.getpid()} for n in range(5)
        ]
        error = (await runtime.execute(refuse, 7)).error
        assert isinstance(error, ProcessorExecutionError)
        assert "ValueError: no 7" in error.message
        # The interpreter of a job that has failed serves the next one.
        assert (await runtime.execute(area, {"a": 3, "b": 3})).unwrap()["area"] == 9


@since_3_14
async def test_a_job_that_does_not_end_in_time_is_left_behind():
    async with LocalRuntime() as runtime:
        linger = Processor(geometry.linger, run_in="interpreter", timeout=0.1)
        runtime.register(linger)
        assert isinstance((await runtime.execute(linger, 1)).error, ProcessorTimeoutError)


def triple(n: int) -> int:
    """This module imports am2z_trio, and so msgspec, which loads in no other interpreter."""
    return 3 * n


@since_3_14
async def test_a_module_that_no_other_interpreter_can_load_is_refused_at_registration():
    async with LocalRuntime() as runtime:
        there = Processor(triple, run_in="interpreter")
        with pytest.raises(ConfigurationError, match="cannot be imported in another interpreter"):
            runtime.register(there)
        assert runtime.list_processors() == []
