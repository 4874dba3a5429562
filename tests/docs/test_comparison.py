"""The comparison with peers: what is said of ours is tested, of others cited where they say it themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "comparison.md").read_text(encoding="utf-8")
UNSAID = "–"
SOURCES = dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", TEXT, re.MULTILINE))
EVIDENCE = dict(re.findall(r"^(\d+)\. (.+(?:\n {4}.+)*)", TEXT, re.MULTILINE))
PEERS, *ROWS = [
    [cell.strip() for cell in row.split("|")[1:-1]]
    for row in re.findall(r"^\|.*\|$", TEXT, re.MULTILINE)
    if not row.startswith("|---")
]
CLAIMS = [(row[0], peer, cell) for row in ROWS for peer, cell in zip(PEERS[2:], row[2:], strict=True)]


def test_the_table_is_read():
    assert PEERS[1] == "am2z_trio"
    assert len(PEERS) == 7
    assert len(ROWS) > 12


@pytest.mark.parametrize(("what", "ours"), [(row[0], row[1]) for row in ROWS])
def test_a_cell_of_ours_names_its_test(what, ours):
    number = re.search(r" \[(\d+)\]$", ours)
    assert number is not None
    assert re.search(r"`(tests/|nox -s )", EVIDENCE[number[1]])


@pytest.mark.parametrize(("what", "peer", "cell"), CLAIMS)
def test_a_cell_of_a_peer_leads_to_its_own_words(what, peer, cell):
    """All of its text, but what joins two links: that a peer says nothing is said by a dash."""
    cited = re.findall(r"\[([^\]]+)\]\[([\w-]+)\]", cell)
    assert cell == UNSAID or cited
    assert all(name.split("-")[0] == peer.lower() for _, name in cited)
    assert all(SOURCES[name].startswith("https://") for _, name in cited)
    rest = re.sub(r"\[[^\]]+\]\[[\w-]+\]", "", cell)
    assert rest.strip(" ,") in ("", UNSAID)


def test_what_is_listed_is_used():
    named = {name for _, _, cell in CLAIMS for name in re.findall(r"\]\[([\w-]+)\]", cell)}
    assert set(SOURCES) == named
    assert {number for row in ROWS for number in re.findall(r"\[(\d+)\]$", row[1])} == set(EVIDENCE)
