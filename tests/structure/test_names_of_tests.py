"""Tests that are named elsewhere, to be run or not to be run again, are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", ["noxfile.py", "tests/second_chance.py", "README.md"])
def test_every_test_that_is_named_is_there(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(re.findall(r"\btests/[a-z0-9_/]+(?:\.py)?", text))
    assert named
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]
