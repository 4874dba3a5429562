"""The live tree as lines: by node, session and caller, filtered and folded, without any node."""

from __future__ import annotations

from typing import Any

import pytest

from am2z_trio import ValidationError
from am2z_trio.model.views.nodes import NodeView
from am2z_trio.model.views.tree import NodeTree, TreeRow
from am2z_trio.web.pages.tree_filter import parse
from am2z_trio.web.pages.tree_lines import lines_of


def row(scope: Any, level: int, name: str, session: str = "", processor: str = "", **more: Any) -> TreeRow:
    job = name if scope == "job" else more.pop("job", "")
    return TreeRow(scope=scope, level=level, name=name, session=session, processor=processor, job=job, **more)


def job(id: str, processor: str, session: str = "s", **more: Any) -> TreeRow:
    return row("job", 3, id, session, processor, token=f"1:{id}", age=10.0, state="running", **more)


def tree_of(node: str, *rows: TreeRow, **more: Any) -> NodeTree:
    return NodeTree(node=node, rows=[row("node", 0, node), *rows], **more)


TREES = [
    tree_of(
        "a",
        row("session", 1, "s", "s"),
        row("worker", 2, "checkout", "s", "checkout"),
        job("j1", "checkout", ran=11.0, left=4.0, waits_for=("j2", "j9")),
        row("task", 4, "watch", "s", "checkout", job="j1", path="0"),
        row("session", 1, "", ""),
        row("worker", 2, "price", "", "price"),
        job("j3", "price", "", ran=1.0, cancel_called=True),
    ),
    tree_of(
        "b",
        row("session", 1, "s", "s"),
        row("worker", 2, "charge", "s", "charge"),
        job("j2", "charge", ran=9.0, left=0.0, shielded=True),
        next=200,
    ),
    NodeTree(node="c", silent=True),
]
STANDINGS = {
    id: NodeView(id=id, status="serving", lease=7.0, claims=1, max_running=40) for id in ("a", "b", "c")
}


def told(**asked: Any) -> list[tuple[int, str, str]]:
    return [(one.level, one.kind, one.name) for one in lines_of(TREES, STANDINGS, **asked)]


def test_by_node_a_job_has_its_calls_and_tasks_below_it_wherever_these_are():
    assert told() == [
        (1, "node", "a"),
        (2, "session", "s"),
        (3, "worker", "checkout"),
        (4, "job", "j1"),
        (5, "call", "charge"),
        (5, "call", "j9"),
        (5, "task", "watch"),
        (2, "session", ""),
        (3, "worker", "price"),
        (4, "job", "j3"),
        (1, "node", "b"),
        (2, "session", "s"),
        (3, "worker", "charge"),
        (4, "job", "j2"),
        (2, "more", "b"),
        (1, "node", "c"),
    ]
    by_key = {one.key: one for one in lines_of(TREES, STANDINGS)}
    assert by_key["call:j1:j2"].elsewhere == "b"
    assert "silent" in by_key["node:c"].why
    assert (by_key["job:j1"].part, by_key["job:j1"].urgency) == (11 / 15, "warn")
    assert (by_key["job:j2"].part, by_key["job:j2"].urgency) == (1.0, "bad")
    assert by_key["job:j3"].part is None
    assert len(by_key) == len(lines_of(TREES, STANDINGS))


def test_by_session_a_session_stands_once_and_by_caller_a_job_below_what_has_called_it():
    assert told(by="session")[:6] == [
        (1, "session", "s"),
        (2, "worker", "charge"),
        (3, "job", "j2"),
        (2, "worker", "checkout"),
        (3, "job", "j1"),
        (4, "task", "watch"),
    ]
    assert told(by="caller") == [
        (1, "job", "j1"),
        (2, "task", "watch"),
        (2, "job", "j2"),
        (2, "call", "j9"),
        (1, "job", "j3"),
        (1, "more", "b"),
        (1, "node", "c"),
    ]


def test_jobs_that_wait_for_each_other_are_told_all_the_same():
    trees = [
        tree_of(
            "a",
            job("r", "x", waits_for=("p",)),
            job("p", "x", waits_for=("q",)),
            job("q", "x", waits_for=("p",)),
        )
    ]
    assert [one.name for one in lines_of(trees, {}, by="caller")] == ["r", "p", "q", "p"]


def test_scopes_without_a_job_are_one_line_unless_they_are_asked_for():
    rows = [
        row("node", 0, "a", jobs=1),
        row("session", 1, "busy", "busy", jobs=1),
        row("worker", 2, "price", "busy", "price", jobs=1),
        job("j1", "price", "busy"),
        row("worker", 2, "charge", "busy", "charge"),
        row("session", 1, "idle", "idle"),
        row("worker", 2, "price", "idle", "price"),
        row("session", 1, "leaves", "leaves", cancel_called=True),
    ]
    trees = [NodeTree(node="a", rows=rows), NodeTree(node="b", rows=[row("node", 0, "b")])]
    told = [(one.level, one.kind, one.name, one.jobs) for one in lines_of(trees, {}, at_rest=False)]
    assert told == [
        (1, "node", "a", 1),
        (2, "session", "busy", 1),
        (3, "worker", "price", 1),
        (4, "job", "j1", 0),
        (2, "session", "leaves", 0),
        (2, "rest", "a", 3),
        (1, "node", "b", 0),
    ]
    by_session = lines_of(trees, {}, by="session", at_rest=False)
    assert [(one.level, one.kind, one.name) for one in by_session] == [
        (1, "session", "busy"),
        (2, "worker", "price"),
        (3, "job", "j1"),
        (1, "session", "leaves"),
        (1, "rest", ""),
    ]
    assert not [one for one in lines_of(trees, {}, by="caller", at_rest=False) if one.kind == "rest"]
    assert len(lines_of(trees, {})) == len(rows) + 1


def test_what_is_folded_is_left_out_with_all_within_it():
    lines = lines_of(TREES, STANDINGS)
    mark = next(one.mark for one in lines if one.key == "node:a")
    folded = lines_of(TREES, STANDINGS, folded={mark})
    assert [(one.name, one.open) for one in folded[:2]] == [("a", False), ("b", True)]
    assert next(one.open for one in lines if one.kind == "task") is None


@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ("", ["j1", "j3", "j2"]),
        ("running>10s", ["j1"]),
        ("running<10s", ["j3", "j2"]),
        ("deadline<30s", ["j1", "j2"]),
        ("cancelled", ["j3"]),
        ("-cancelled shielded", ["j2"]),
        ("session:s", ["j1", "j2"]),
        ("-session:s", ["j3"]),
        ('session:""', ["j3"]),
        ("node:b", ["j2"]),
        ("processor:ch*", ["j1", "j2"]),
        ("job:j3", ["j3"]),
        ("CHARGE", ["j2"]),
    ],
)
def test_a_filter_leaves_what_it_asks_for_and_what_is_around_it(text, jobs):
    lines = lines_of(TREES, STANDINGS, asked=parse(text))
    assert [one.name for one in lines if one.kind == "job"] == jobs
    assert any(one.why for one in lines)
    if text == "running>10s":
        assert [one.kind for one in lines] == [
            *("node", "session", "worker", "job", "call", "call", "task", "node")
        ]


def test_what_nodes_need_not_tell_is_not_asked_for():
    asked = parse('session:"a b" -node:x processor:pri*')
    assert (asked.exact("session"), asked.exact("node"), asked.exact("processor")) == ("a b", None, None)


@pytest.mark.parametrize("text", ["running>x", "deadline<", '"', 'session:"a', "a " * 21, "running>>3s"])
def test_what_is_no_filter_says_what_one_is(text):
    with pytest.raises(ValidationError, match="deadline<30s"):
        parse(text)
