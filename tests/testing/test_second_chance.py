"""A test that fails once is run again and named; one that fails twice, or had better not be, has failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.second_chance import AT_MOST

ROOT = Path(__file__).parents[2]
ONCE = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("name", {names})
def test_once(name):
    ran = Path(name)
    if not ran.exists():
        ran.touch()
        raise AssertionError("for the first time")
"""
ALWAYS = """
def test_always():
    raise AssertionError("as it always does")
"""
CANNOT_BE_IMPORTED = "raise AssertionError('not yet')\n"


def run(directory: Path, **files: str) -> tuple[int, str]:
    for name, text in {"test_well": "def test_well(): pass\n", **files}.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text, encoding="utf-8")
    # Of the plugins that are installed only the one it needs: the others take a second to load.
    (directory / "pytest.ini").write_text("[pytest]\naddopts = -p xdist\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tests.second_chance", "-n", "1"],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_fails_once_is_named_below_what_it_said(tmp_path):
    status, output = run(tmp_path, test_once=ONCE.format(names=["a", "b c"]))
    assert status == 0, output
    before, first, second = output.partition("unsteady: test_once.py::test_once[a]\n")
    assert "for the first time" in before
    assert second == "unsteady: test_once.py::test_once[b c]\n"
    assert first


def test_what_fails_twice_has_failed(tmp_path):
    status, output = run(tmp_path, test_once=ONCE.format(names=["a"]), test_always=ALWAYS)
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "unsteady" not in output


@pytest.mark.parametrize(
    "files",
    [
        {"test_once": ONCE.format(names=[str(n) for n in range(AT_MOST + 1)])},
        {"tests__model__test_once": ONCE.format(names=["a"])},
        {"test_import": CANNOT_BE_IMPORTED},
    ],
    ids=["too many", "deterministic", "not imported"],
)
def test_none_is_run_again_where_that_would_hide_something(tmp_path, files):
    status, output = run(tmp_path, **files)
    assert status != 0
    assert "Once more" not in output
