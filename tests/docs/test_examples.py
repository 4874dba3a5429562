"""The examples of the README, the pages and docstrings run.

Of a page each program (it calls `trio.run` or `anyio.run`) is run alone, from a file, and all else
together, by `tests.docs.pieces`. What `print(...) # …` says is what must be printed. A `py` block is of
another library, and need only be Python.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import am2z_trio
from tests.docs.pieces import LOCALHOST, Block, blocks, compiled

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
}
SAID = re.compile(r"^\s*print\(.*\) +# (?!such as)(.+)$", re.MULTILINE)
FOREIGN = re.compile(r"^( *)```py\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def docstrings() -> dict[str, str]:
    found = {"am2z_trio": am2z_trio.__doc__ or ""}
    for module in pkgutil.walk_packages(am2z_trio.__path__, "am2z_trio."):
        if not module.name.endswith("__main__"):
            found[module.name] = importlib.import_module(module.name).__doc__ or ""
    return found


EXAMPLES = {
    f"{name}-{n}": block
    for name, text in (PAGES | docstrings()).items()
    for n, block in enumerate(blocks(text))
}
PROGRAMS = [name for name, block in EXAMPLES.items() if block.is_program]
WITH_PIECES = [name for name, text in PAGES.items() if any(not block.is_program for block in blocks(text))]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def ran(*arguments: str) -> list[str]:
    """The lines that Python prints, given these arguments."""
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def said(*examples: Block) -> list[str]:
    """The lines that examples say they print."""
    return [line for one in examples for found in SAID.findall(one.code) for line in found.split("; then: ")]


def test_there_are_examples():
    assert len(PROGRAMS) >= 4
    assert "am2z_trio-0" in PROGRAMS


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_python(name: str):
    compiled(EXAMPLES[name], name)


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if FOREIGN.search(text)])
def test_what_is_shown_of_other_libraries_is_python(name: str):
    for _, code in FOREIGN.findall(PAGES[name]):
        compile(textwrap.dedent(code), name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@contextmanager
def served(target: str | None, folder: Path) -> Iterator[None]:
    """`am2z worker` of what stands in this folder, while the block runs."""
    if target is None:
        yield
        return
    command = [sys.executable, "-W", "error", "-m", "am2z_trio.cli", "worker", target]
    worker = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert worker.stderr is not None
    try:
        assert any("serves" in line for line in worker.stderr), target
        yield
    finally:
        worker.terminate()
        worker.communicate()
    assert worker.returncode == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_and_prints_what_it_says(name: str, tmp_path: Path, request: pytest.FixtureRequest):
    # From a file, as a user would: some look at their own source.
    example, page = EXAMPLES[name], name.rpartition("-")[0]
    files = {one.file: one.code for one in blocks(PAGES.get(page, "")) if one.file} | {
        "example.py": example.code
    }
    needs_redis = (
        LOCALHOST in example.code.replace('# or QueueRuntime("redis://localhost")', "") or example.worker
    )
    url = request.getfixturevalue("redis_url") if needs_redis else LOCALHOST
    for file, code in files.items():
        (tmp_path / file).write_text(code.replace(LOCALHOST, url), encoding="utf-8")
    with served(example.worker, tmp_path):
        printed, expected = ran(str(tmp_path / "example.py")), said(example)
    assert printed == expected or not expected


@pytest.mark.parametrize("name", WITH_PIECES)
def test_the_pieces_of_a_page_run_and_print_what_they_say(name: str, request: pytest.FixtureRequest):
    url = request.getfixturevalue("redis_url") if LOCALHOST in PAGES[name] else ""
    printed = ran("-m", "tests.docs.pieces", str(ROOT / name), url)
    expected = said(*(block for block in blocks(PAGES[name]) if not block.is_program))
    assert [line for line in printed if line in expected] == expected
