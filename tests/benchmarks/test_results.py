"""What a run has found, and the page and the picture that are made of it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.__main__ import main
from benchmarks.contenders.field import BASE, FIELD, OURS
from benchmarks.page import page
from benchmarks.plot import plot
from benchmarks.results import Entrant, Failure, Reading, Results, summary_of
from benchmarks.targets import TARGETS


@pytest.fixture
def results() -> Results:
    rates = {OURS.name: [2_000, 6_000, 4_000], BASE.name: [1_000, 1_000, 1_000], "saq": [100, 90, 110]}
    readings = [
        Reading(round=number, measure="noop", contender=name, jobs=10, figures={"jobs/s": rate})
        for name, rows in rates.items()
        for number, rate in enumerate(rows, 1)
    ]
    readings.append(
        Reading(round=1, measure="noop", contender="arq", jobs=10, figures={"jobs/s": 50.0, "MB loaded": 40})
    )
    return Results(
        about={"date": "2026-01-02", "host": "2 <small> & slow cores", "server": "redis 7", "rounds": "3"},
        entrants={
            name: Entrant(
                kind="python", version="1.2.3", settings={"concurrency": "100"}, versions={"a": "1"}
            )
            for name in rates
        },
        left_out={"celery": "It could not be installed: no such version"},
        readings=readings,
        failures=[
            Failure(round=1, measure="noop", contender="rq", reason="not done after 9 s:\nhm\nTypeError: x")
        ],
    )


def told(line: str) -> list[str]:
    """The cells of a table's line."""
    return [cell.strip() for cell in line.split("|")]


def test_it_is_read_as_it_was_written(results: Results, tmp_path: Path) -> None:
    results.write(tmp_path / "results.json")
    again = Results.read(tmp_path / "results.json")
    assert msgspec.to_builtins(again) == msgspec.to_builtins(results)


def test_medians_extremes_and_ratios(results: Results) -> None:
    assert results.spread("noop", OURS.name, "jobs/s") == (4_000, 2_000, 6_000, 3)
    assert results.ratio("noop", "jobs/s", BASE.name) == 4
    assert results.best_of_python("noop", "jobs/s", more_is_better=True) == "saq"
    assert results.spread("sleep", OURS.name, "jobs/s") is None
    assert results.ratio("sleep", "jobs/s", BASE.name) is None


def test_the_page_shows_everybody_and_what_it_is_compared_with(results: Results) -> None:
    shown = page(results, plot="plot.svg")
    rows = {cells[1]: cells[2] for line in shown.splitlines() if len(cells := told(line)) > 3}
    assert rows["**am2z_trio**"] == "4,000 (2,000–6,000)"
    assert rows["bullmq"] == "1,000 (1,000–1,000) ×4.00"
    assert rows["saq"] == "100 (90–110) ×40"
    assert "Ours in jobs/s: to bullmq 4.00, to saq, best of Python 40.00." in shown
    assert "![](plot.svg)" in shown
    assert "saq 1.2.3" in shown
    assert "installed: a 1" in shown


def test_the_page_names_who_failed_and_who_is_left_out_with_the_reason(results: Results) -> None:
    shown = page(results)
    assert "rq: not done after 9 s: … TypeError: x" in shown
    assert "**Left out: celery.** It could not be installed: no such version" in shown


def test_the_page_says_which_targets_are_reached(results: Results) -> None:
    lines = page(results).splitlines()
    (to_base,) = [line for line in lines if line.startswith("| noop drain, to BullMQ")]
    assert told(to_base)[2:5] == ["≥ 2.2", "4.00", "yes"]
    assert not any("in bulk" in line for line in lines), "what was not measured is not judged"


def test_every_target_can_be_found() -> None:
    full = Results(
        about={},
        readings=[
            Reading(round=1, measure=measure, contender=name, jobs=1, figures=dict.fromkeys(figures, 1.0))
            for name in FIELD
            for measure, figures in {
                **dict.fromkeys(("noop", "sleep", "bulk"), ("jobs/s",)),
                **dict.fromkeys(("sessions-1", "sessions-100", "sessions-10000"), ("jobs/s",)),
                "calls": ("p50 ms", "p99 ms", "100 callers/s"),
                "compositions": ("chain of 3 / round trip", "parallel of 3 / round trip"),
                "enqueue": ("one caller/s", "100 callers/s"),
                "idle": ("commands/s",),
            }.items()
        ],
    )
    assert [target.found(full) for target in TARGETS] == [1.0] * len(TARGETS)


def test_the_picture_is_well_formed_and_names_everybody(results: Results) -> None:
    root = ElementTree.fromstring(plot(results))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"am2z_trio", "bullmq", "saq", "arq", "4,000", "50.00"} <= set(texts)
    assert any("2 <small> & slow cores" in str(text) for text in texts)


def test_a_run_without_readings_has_a_page_and_a_picture_all_the_same() -> None:
    empty = Results(about={})
    assert page(empty).startswith("# Benchmarks")
    ElementTree.fromstring(plot(empty))


def test_page_and_picture_are_made_anew_from_the_file(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results.write(tmp_path / "results.json")
    assert main(["page", str(tmp_path)]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == page(results, plot="plot.svg")
    assert (tmp_path / "plot.svg").read_text(encoding="utf-8") == plot(results)
    (tmp_path / "results.json").write_text("[]")
    assert main(["page", str(tmp_path)]) == 1
    assert "results.json" in capsys.readouterr().err
    assert main(["page"]) == 2


def test_a_long_reason_is_told_by_its_first_and_last_line() -> None:
    assert summary_of("it ended") == "it ended"
    assert summary_of("it ended:\nTraceback\nValueError: no\n") == "it ended: … ValueError: no"
