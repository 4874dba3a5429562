"""Who is measured: each installable by the versions it names, and able to run without what is ours."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.contenders import tally
from benchmarks.contenders.contender import HERE, TALLY, WORKERS, Contender
from benchmarks.contenders.field import FIELD
from benchmarks.measures import MEASURES

PEERS = [contender for contender in FIELD.values() if contender.folder]


def test_every_folder_is_a_contender() -> None:
    folders = {path.parent.name for path in HERE.glob("*/__init__.py")} - {"am2z"}
    assert {contender.folder for contender in PEERS} == folders


@pytest.mark.parametrize("contender", PEERS, ids=lambda one: one.name)
def test_what_is_installed_is_pinned(contender: Contender) -> None:
    if contender.kind == "node":
        listed = json.loads((HERE / contender.folder / "package.json").read_text())
        versions: dict[str, str] = listed["dependencies"]
    else:
        lines = (HERE / contender.folder / "requirements.txt").read_text().splitlines()
        versions = dict(line.split("==") for line in lines)
    assert contender.package in versions
    assert all(re.fullmatch(r"\d+(\.\w+)+", version) for version in versions.values())


@pytest.mark.parametrize("contender", FIELD.values(), ids=lambda one: one.name)
def test_what_was_chosen_is_said(contender: Contender) -> None:
    if contender.kind != "floor":
        assert {"concurrency", "acknowledged", "results"} <= set(contender.settings)


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, in full."""
    package = ["benchmarks", *path.relative_to(HERE.parent).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*start, *([node.module] if node.module else [])])


def test_what_runs_in_another_environment_imports_nothing_of_the_harness() -> None:
    theirs = [path for contender in PEERS for path in (HERE / contender.folder).glob("*.py")]
    common = [HERE / f"{name}.py" for name in ("__init__", "contender", "driver", "tally")]
    for path in (*theirs, *common):
        for module in imported(path):
            root, *_ = module.split(".")
            known = root in sys.stdlib_module_names or module.startswith("benchmarks.contenders")
            assert known or path in theirs, (path, module)
            assert root != "am2z_trio"


def test_the_tallies_of_all_processes_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TALLY, str(tmp_path))
    monkeypatch.setenv(WORKERS, "1")
    (tmp_path / "4711").write_bytes(tally.FORMAT.pack(3, 1, 2))
    (tmp_path / "begins").write_bytes(b"")
    assert tally.read(tmp_path).jobs == 3
    mine = tally.Tally()
    for _ in range(2):
        mine.began()
        mine.ended()
    count = tally.read(tmp_path)
    assert (count.jobs, count.processes) == (5, 2)
    assert (tmp_path / str(os.getpid())).exists()


def test_a_worker_that_is_started_by_hand_keeps_no_tally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TALLY, raising=False)
    mine = tally.Tally()
    mine.began()
    mine.ended()


def test_every_measure_has_somebody_who_takes_part() -> None:
    for name, measure in MEASURES.items():
        assert any(measure.takes(contender) for contender in FIELD.values()), name
        assert all(measure.jobs_of(contender, 0.001) >= 0 for contender in FIELD.values())
