"""Tests of tests: a program that pytest runs in a process of its own, as its users would."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def pytest_of(program: str, directory: Path, *options: str) -> str:
    """What pytest says of it."""
    (directory / "test_example.py").write_text(textwrap.dedent(program), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-W", "error"),
            *("-p", "no:cacheprovider", "-p", "no:valkey", *options),
        ],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout + done.stderr
