"""The examples of the README and of docstrings: programs run, and pieces are Python at least."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import am2z_trio

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^(trio|anyio)\.run\(", re.MULTILINE)


def blocks(text: str) -> list[str]:
    return [textwrap.dedent(code) for _, code in BLOCK.findall(text)]


def docstrings() -> dict[str, str]:
    found = {"am2z_trio": am2z_trio.__doc__ or ""}
    for module in pkgutil.walk_packages(am2z_trio.__path__, "am2z_trio."):
        if not module.name.endswith("__main__"):
            found[module.name] = importlib.import_module(module.name).__doc__ or ""
    return found


EXAMPLES = {f"README-{n}": code for n, code in enumerate(blocks(README.read_text(encoding="utf-8")))} | {
    f"{name}-{n}": code for name, text in docstrings().items() for n, code in enumerate(blocks(text))
}
PROGRAMS = [name for name, code in EXAMPLES.items() if PROGRAM.search(code)]


def test_there_are_examples():
    assert len(PROGRAMS) >= 4
    assert "am2z_trio-0" in PROGRAMS


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_python(name: str):
    compile(EXAMPLES[name], name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_runs_and_prints_what_it_says(name: str, tmp_path: Path):
    # From a file, as a user would: some look at their own source.
    program = tmp_path / "example.py"
    program.write_text(EXAMPLES[name], encoding="utf-8")
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = re.search(r"print\(.*\) +# (.+)$", EXAMPLES[name], re.MULTILINE)
    if said is not None:
        assert done.stdout.splitlines() == said[1].split("; then: ")
