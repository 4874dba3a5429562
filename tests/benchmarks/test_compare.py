"""A run from the command line to its files, and what becomes of a contender that cannot be measured."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import compare, environments
from benchmarks.arguments import parse
from benchmarks.contenders.field import FIELD, OURS
from benchmarks.environments import NotInstalledError, prepare
from benchmarks.measures import MEASURES
from benchmarks.processes import ProgramError
from benchmarks.results import Results
from benchmarks.server import private_server
from benchmarks.stage import Figures, Stage


def test_ours_is_measured_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--rounds", "1", "--scale", "0.01", "--contender", OURS.name, "--output", str(tmp_path)]
    assert compare.main([*given, "--only", "noop"]) == 0
    shown = capsys.readouterr()
    assert "[1/1] noop, am2z_trio: jobs/s" in shown.err
    results = Results.read(tmp_path / "results.json")
    assert not results.failures
    assert [one.contender for one in results.readings] == [OURS.name]
    for one in results.readings:
        assert all(value >= 0 for value in one.figures.values())
    first = results.readings[0].figures
    assert {"jobs/s", "worker µs/job", "server µs/job", "commands/job", "MB loaded"} <= set(first)
    assert {"date", "host", "tree", "python", "server", "mode", "rounds"} <= set(results.about)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "## Jobs that do nothing" in text
    assert text.replace("\n![](plot.svg)\n", "") in shown.out
    ElementTree.parse(tmp_path / "plot.svg")


def test_a_contender_that_fails_is_noted_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def run(stage: Stage, jobs: int) -> Figures:
        asked.append(("noop", stage.contender.name))
        if stage.contender is OURS:
            raise ProgramError("not done after 1 s:\nTraceback\nValueError: no")
        return {"jobs/s": 1.0}

    monkeypatch.setitem(MEASURES, "noop", dataclasses.replace(MEASURES["noop"], run=run))
    options = parse(["--only", "noop", "--contender", OURS.name, "floor", "--rounds", "3"])
    results = Results(about={})
    found = compare.install(options, results)
    cells = list(compare.plan(options, [FIELD[name] for name in found]))
    with private_server() as server:
        compare.run(options, cells, found, server.url, results)
    assert [one.contender for one in results.failures] == [OURS.name]
    assert [one.contender for one in results.readings] == ["floor"] * 3
    assert asked.count(("noop", OURS.name)) == 1


def test_rounds_are_interleaved_and_each_begins_with_another_one() -> None:
    options = parse(["--only", "noop", "calls", "--rounds", "2"])
    two = [FIELD["bullmq"], FIELD["saq"]]
    cells = [(cell.round, cell.measure, cell.contender.name) for cell in compare.plan(options, two)]
    assert cells == [
        (1, "noop", "bullmq"),
        (1, "noop", "saq"),
        (1, "calls", "bullmq"),
        (1, "calls", "saq"),
        (2, "noop", "saq"),
        (2, "noop", "bullmq"),
        (2, "calls", "saq"),
        (2, "calls", "bullmq"),
    ]


def create(home: Path, **_: object) -> None:
    """`venv.create`, in no time."""
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(sys.executable)


def test_one_that_cannot_be_installed_is_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_command: str) -> str:
        raise NotInstalledError("pip install: ERROR: No matching distribution found for saq==0")

    monkeypatch.setattr("venv.create", create)
    monkeypatch.setattr(environments, "_run", refused)
    options = parse(["--contender", "saq", OURS.name, "--environments", str(tmp_path)])
    results = Results(about={})
    assert list(compare.install(options, results)) == [OURS.name]
    assert "No matching distribution found for saq==0" in results.left_out["saq"]
    assert "saq is left out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "half an environment would be taken for a whole one"
    assert compare.main(["--contender", "saq", "--environments", str(tmp_path)]) == 1


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []

    def ran(*command: str) -> str:
        commands.append(command)
        return '[{"name": "saq", "version": "0.0"}]'

    monkeypatch.setattr("venv.create", create)
    monkeypatch.setattr(environments, "_run", ran)
    first = prepare(FIELD["saq"], tmp_path)
    assert first.versions == {"saq": "0.0"}
    number = len(commands)
    assert prepare(FIELD["saq"], tmp_path) == first
    assert len(commands) == number
    Path(first.python).unlink()
    assert prepare(FIELD["saq"], tmp_path) == first
    assert len(commands) == 2 * number, "its interpreter had gone"


def test_what_cannot_work_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("here already")
    for given, said in (
        (["--output", str(file)], "File exists"),
        (["--redis-binary", "no-such-server"], "must be an executable file"),
    ):
        assert compare.main(["--contender", OURS.name, "--only", "noop", *given]) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("error: ")
        assert said in shown
