"""What kills the mutants kills them for their bugs: it finds nothing in the scripts as they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutants import test_lasting_mutants, test_schedule_mutants, test_script_mutants
from tests.mutants.killers import ALL_CASES, LEFT_UNSOUND, found_after

MUTANTS = {
    **test_script_mutants.MUTANTS,
    **test_schedule_mutants.MUTANTS,
    **{name: mutant for name, (_, mutant) in test_lasting_mutants.MUTANTS.items()},
}


@pytest.mark.parametrize("case", ALL_CASES)
def test_no_case_fails_and_the_auditor_finds_nothing(case: str, redis_server: Any, redis_url: str) -> None:
    assert found_after(case, redis_url, redis_server) == []


def test_what_is_left_unsound_is_known() -> None:
    assert {*ALL_CASES} >= LEFT_UNSOUND


@pytest.mark.parametrize("name", MUTANTS)
def test_the_bug_can_be_put_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    test_script_mutants.mutate(monkeypatch, MUTANTS[name])
