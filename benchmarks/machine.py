"""When, where and on what a run was made: without it its figures say nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from am2z_trio.embedded.server import EmbeddedServer

from .contenders.contender import ROOT


def about(server: EmbeddedServer) -> dict[str, str]:
    """One line each."""
    system = f"{platform.system()} {platform.release()}"
    program = f"{Path(server.binary).name} {server.version}"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "host": f"{os.cpu_count()} cores of {_processor()}, {_memory()}, {system}",
        "tree": _tree(),
        "python": platform.python_version(),
        "server": f"{program}, no snapshot, no append-only file, TCP on loopback",
    }


def is_busy() -> bool:
    """Whether somebody else wants so much of it that figures would be theirs, too."""
    return os.getloadavg()[0] > (os.cpu_count() or 1) / 4


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def load() -> str:
    """What the machine does besides: jobs that want a core, over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _tree() -> str:
    """The commit, and whether anything has been changed since."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no repository"
    return commit.stdout.strip() + (" and changes" if changed.stdout.strip() else "")
