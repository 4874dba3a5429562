"""A contender's programs end, whatever they and their owner do, and say what was wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import Program, ProgramError
from tests.support.waiting import wait_until

HANGS = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
print("and now for something else", file=sys.stderr, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Whether it runs: one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_it_writes_is_returned() -> None:
    with Program([sys.executable, "-c", "import os; print(os.environ['GIVEN'])"], {"GIVEN": "x"}) as program:
        assert program.wait(30) == "x\n"


def test_one_that_fails_says_why() -> None:
    with (
        Program([sys.executable, "-c", "raise ValueError('hm')"], {}) as program,
        pytest.raises(ProgramError, match=r"(?s)ended with status 1:.*ValueError: hm"),
    ):
        program.wait(30)


def test_one_that_ends_without_a_word_is_reported_too() -> None:
    with Program(["/bin/sh", "-c", "exit 3"], {}) as program:
        with pytest.raises(ProgramError, match="status 3, without a word"):
            program.wait(30)
        with pytest.raises(ProgramError, match="ended by itself"):
            program.require_running()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_one_that_hangs_is_given_up_and_ended_with_all_that_it_started() -> None:
    with Program([sys.executable, "-c", HANGS], {}) as program:
        wait_until(lambda: "something else" in program.says(), "its words")
        with pytest.raises(ProgramError, match=r"(?s)not done after 0.01 s:.*something else"):
            program.wait(0.01)
        pids = [int(pid) for pid in program.written().split()]
        assert all(map(is_alive, pids))
        program.require_running()
        usage = program.usage()
        assert usage.peak >= usage.memory > 0
    wait_until(lambda: not any(map(is_alive, pids)), "their ends")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_one_whose_owner_was_killed_ends() -> None:
    owner = (
        "import sys, time\nfrom benchmarks.processes import Program\n"
        f"program = Program([sys.executable, '-c', {HANGS!r}], {{}})\n"
        "while not program.written(): time.sleep(0.01)\n"
        "print(program.written(), flush=True)\ntime.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", owner],
        cwd=root,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert all(map(is_alive, pids))
        process.kill()
    wait_until(lambda: not any(map(is_alive, pids)), "their ends")
