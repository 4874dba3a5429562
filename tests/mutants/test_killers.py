"""What kills the mutants kills them for their bugs: it finds nothing in the scripts as they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mutants.killers import ALL_CASES, LEFT_UNSOUND, found_after


@pytest.mark.parametrize("case", ALL_CASES)
def test_no_case_fails_and_the_auditor_finds_nothing(case: str, redis_server: Any, redis_url: str) -> None:
    assert found_after(case, redis_url, redis_server) == []


def test_what_is_left_unsound_is_known() -> None:
    assert {*ALL_CASES} >= LEFT_UNSOUND
