"""What the comparison is told."""

from __future__ import annotations

import pytest

from benchmarks.arguments import parse
from benchmarks.contenders.field import FIELD
from benchmarks.measures import MEASURES


def test_a_full_run_measures_everything_five_times() -> None:
    options = parse([])
    assert (options.rounds, options.scale) == (5, 1.0)
    assert list(options.measures) == list(MEASURES)
    assert list(options.contenders) == list(FIELD)


def test_a_short_run_measures_the_main_things_once_with_fewer_jobs() -> None:
    options = parse(["--short"])
    assert options.rounds == 1
    assert options.scale < 1
    assert {"noop", "sleep", "calls", "enqueue", "bulk", "idle"} <= set(options.measures) < set(MEASURES)


def test_what_is_asked_for_goes_before_what_is_usual() -> None:
    options = parse(["--short", "--rounds", "3", "--scale", "2", "--only", "noop", "--contender", "floor"])
    assert (options.rounds, options.scale) == (3, 2.0)
    assert (options.measures, options.contenders) == (["noop"], ["floor"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--rounds", "0"], "1 or more"),
        (["--rounds", "1.5"], "whole number"),
        (["--scale", "nan"], "above 0"),
        (["--patience", "-1"], "above 0"),
        (["--only", "nope"], "invalid choice: 'nope'"),
        (["--contender", "nobody"], "invalid choice: 'nobody'"),
    ],
)
def test_nonsense_is_refused_in_words(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        parse(given)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


def test_help_teaches_every_measure_and_contender(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        parse(["--help"])
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    for name, measure in MEASURES.items():
        assert name in shown
        assert measure.title in shown
    for name in FIELD:
        assert name in shown
