"""The architecture page's table of a job's changes is whole, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from am2z_trio.model import events, transitions

ROOT = Path(__file__).parents[2]
LUA = ROOT / "am2z_trio" / "store" / "redis" / "lua"
MEMORY = ROOT / "am2z_trio" / "store" / "memory"
CASES = ROOT / "am2z_trio" / "testing" / "conformance"

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in row.split("|")[1:-1]]
    for row in re.findall(r"^\| `\w+` \| [^|]+ → .*$", PAGE, re.MULTILINE)
]
NAMED = [row[0].strip("`") for row in ROWS]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_each_change_has_its_row_in_the_tables_order():
    assert list(transitions._TABLE) == NAMED


@pytest.mark.parametrize("row", ROWS, ids=NAMED)
def test_it_goes_where_the_table_says(row):
    before, after = row[1].split(" → ")
    sources = {None if source == "–" else source for source in before.split(", ")}
    assert (frozenset(sources), after) == transitions._TABLE[row[0].strip("`")]


@pytest.mark.parametrize("row", ROWS, ids=NAMED)
def test_what_makes_it_is_there(row):
    scripts, modules = code(row[2]), code(row[3])
    assert scripts
    assert modules
    assert not [name for name in scripts if not (LUA / name).is_file()]
    assert not [name for name in modules if not (MEMORY / name).is_file()]


def test_each_module_in_memory_that_changes_a_status_is_named():
    """Where `count`, `follow` or one of the methods that are given a change is called with its name."""
    for path in sorted(MEMORY.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for change in re.findall(r"(?:count|follow|end_job|return_job)\((?:job|None|self), \"(\w+)\"", text):
            assert path.name in code(ROWS[NAMED.index(change)][3]), (path.name, change)


@pytest.mark.parametrize("row", ROWS, ids=NAMED)
def test_its_events_are_events_of_ours(row):
    known = re.findall(r"`(job:\w+)`", events.__doc__ or "")
    assert set(code(row[5])) <= set(known)


@pytest.mark.parametrize("row", ROWS, ids=NAMED)
def test_its_case_is_there(row):
    (case,) = code(row[7])
    file, name = case.split("::")
    assert f"async def {name}(" in (CASES / file).read_text(encoding="utf-8")
