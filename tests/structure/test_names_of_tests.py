"""Tests that are named elsewhere, to be run or not to be run again, are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


NAMING = (
    "noxfile.py",
    "tests/second_chance.py",
    "docs/architecture.md",
    "docs/comparison.md",
    "docs/promises.md",
)


@pytest.mark.parametrize("path", NAMING)
def test_every_test_that_is_named_is_there(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(re.findall(r"\btests/[a-z0-9_/]+(?:\.py)?(?:::\w+)?", text))
    assert named
    assert not [name for name in sorted(named) if not is_there(*name.partition("::")[::2])]


def is_there(file: str, test: str) -> bool:
    path = ROOT / file
    return path.exists() and (
        not test or re.search(rf"def {test}\(", path.read_text(encoding="utf-8")) is not None
    )


def test_each_promise_has_its_evidence():
    """A row of the promises' tables that names no test is none."""
    rows = re.findall(
        r"^\| (?!promise|---)(.+) \| (.+) \|$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 30
    assert not [promise for promise, evidence in rows if "tests/" not in evidence]
