"""What `am2z top` draws, and how it heeds keys: without a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.cli.top.columns import Column, cell_width, cropped, fitted, padded
from am2z_trio.cli.top.drawing import frame
from am2z_trio.cli.top.keys import MOST_PENDING, Decoder
from am2z_trio.cli.top.looking import Look
from am2z_trio.cli.top.nodes import LongestRun, NodeRow, bar, run_text
from am2z_trio.cli.top.rows import QueueRow
from am2z_trio.cli.top.scopes import ScopeLine
from am2z_trio.cli.top.screen import Screen
from am2z_trio.cli.top.wishes import Cancelling, Explaining, Looking, Pausing, Redriving
from am2z_trio.model.logs import UNFIT
from am2z_trio.model.views.findings import Finding


def queue(
    name: str, waiting: int = 0, *, state: str = "flowing", paused: bool = False, dead: int = 0
) -> QueueRow:
    return QueueRow(
        queue=name,
        state=state,
        waiting=waiting,
        active=0,
        delayed=0,
        oldest=0.0,
        rate=0.0,
        failed=0.0,
        wait_p95=None,
        run_p50=None,
        run_p95=None,
        dead=dead,
        nodes=1,
        last=[],
        paused=paused,
    )


def node(name: str, *, job: str = "job-123456789") -> NodeRow:
    return NodeRow(
        node=name,
        state="serving",
        claims=3,
        slots=6,
        loop_p99=0.002,
        memory_mb=55.0,
        lease=9.0,
        longest=LongestRun(job=job, processor="p", ran=61.0, timeout=None, of_some=False),
    )


def look_at(
    queues: list[QueueRow], nodes: list[NodeRow] | None = None, findings: list[Finding] | None = None
) -> Look:
    return Look(
        at=1_700_000_000_000,
        rate=0.0,
        failed=0.0,
        waiting=0,
        active=0,
        live_nodes=1,
        sessions=0,
        findings=findings or [],
        queues=queues,
        nodes=nodes or [],
    )


def drawn(look: Look, screen: Screen, *, width: int = 100, height: int = 24, trouble: str = "") -> list[str]:
    return [text.rstrip() for text, _ in frame(look, screen, "here", width, height, trouble)]


# --- keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        (b"p", ["p"]),
        (b"\x1b[A", ["up"]),
        (b"\x1bOB", ["down"]),
        (b"\x1b[5~\x1b[6~", ["page up", "page down"]),
        (b"\x1b[1;5H", ["home"]),
        (b"\x1b[200~", []),
        ("ü\r\x7f\x15".encode(), ["ü", "enter", "backspace", "clear"]),
        (b"\xff\x00q", ["\N{REPLACEMENT CHARACTER}", "q"]),
    ],
)
def test_bytes_of_a_terminal_are_keys(read: bytes, keys: list[str]):
    whole, by_byte = Decoder(), Decoder()
    assert whole.feed(read) == keys
    assert [key for byte in read for key in by_byte.feed(bytes([byte]))] == keys
    assert not whole.is_amid
    assert not by_byte.is_amid


def test_an_escape_that_nothing_follows_is_the_key():
    decoder = Decoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.is_amid
    assert decoder.flush() == ["escape"]
    assert not decoder.is_amid


@given(st.binary(max_size=200))
def test_no_bytes_are_held_back_for_long(read: bytes):
    decoder = Decoder()
    keys = decoder.feed(read)
    assert all(key.isprintable() for key in keys)
    decoder.feed(b"[" * MOST_PENDING)
    decoder.flush()
    assert not decoder.is_amid


# --- columns --------------------------------------------------------------------------------


def test_columns_that_matter_least_give_way():
    columns = [Column("NAME", 0, is_text=True), Column("A", 2), Column("B", 1)]
    rows = [["price", 1_000, 22]]
    assert fitted(columns, rows, 40) == ["NAME       A   B", "price  1,000  22"]
    assert fitted(columns, rows, 12) == ["NAME    B", "price  22"]
    assert fitted(columns, rows, 3) == ["NA…", "pr…"]


@given(st.text(max_size=20), st.integers(0, 12))
def test_a_text_takes_the_cells_it_is_given(text: str, width: int):
    assert cell_width(cropped(text, width)) <= width
    assert cell_width(padded(text, width)) == width


def test_wide_characters_count_for_two():
    assert cropped("日本語", 5) == "日本…"
    assert padded("日本語", 8) == "日本語  "


# --- the screen -----------------------------------------------------------------------------

QUEUES = [queue("alpha", 1), queue("beta", 3), queue("gamma", 2, state="paused", paused=True)]


def pressed(screen: Screen, *keys: str) -> list[object]:
    return [wish for key in keys if (wish := screen.press(key, QUEUES)) is not None]


def test_a_queue_is_paused_only_when_it_was_said_yes():
    screen = Screen("name")
    assert pressed(screen, "p") == []
    assert screen.notice.startswith("select a queue")
    assert pressed(screen, "down", "p", "x", "n") == []
    assert screen.notice == "nothing was changed"
    assert pressed(screen, "p", "y") == [Pausing("alpha", True)]
    assert pressed(screen, "end", "p", "y") == [Pausing("gamma", False)]


def test_what_was_asked_about_is_done_whatever_has_moved_meanwhile():
    screen = Screen("wait")
    pressed(screen, "down", "p")
    assert screen.press("y", [queue("alpha", 9), queue("beta", 3)]) == Pausing("beta", True)


def test_the_selection_goes_no_further_than_the_rows():
    screen = Screen("name")
    for keys, selected in (
        (["up"], "alpha"),
        (["down", "down", "down"], "gamma"),
        (["home"], "alpha"),
        (["page down"], "gamma"),
    ):
        pressed(screen, *keys)
        assert screen.selected == selected
    screen.press("down", [])
    assert screen.selected == "gamma"


def test_queues_are_filtered_by_name_or_state():
    screen = Screen("name")
    pressed(screen, "/", *"ALPhz", "backspace")
    assert [row.queue for row in screen.shown(QUEUES)] == ["alpha"]
    # What is written is no command.
    assert pressed(screen, "clear", *"paq", "backspace", "enter") == []
    assert [row.queue for row in screen.shown(QUEUES)] == ["gamma"]
    pressed(screen, "escape")
    assert len(screen.shown(QUEUES)) == 3


def test_keys_sort_show_the_keys_and_quit():
    screen = Screen("wait")
    assert [row.queue for row in screen.shown(QUEUES)] == ["beta", "gamma", "alpha"]
    pressed(screen, "s", "s", "s")
    assert [row.queue for row in screen.shown(QUEUES)] == ["alpha", "beta", "gamma"]
    pressed(screen, "s", "?")
    assert screen.sort == "wait"
    assert any("pause the selected queue" in line for line in drawn(look_at(QUEUES), screen))
    assert pressed(screen, "q") == []
    assert pressed(screen, "q") == ["quit"]


SCOPES = [
    ScopeLine(text="node a  2 jobs"),
    ScopeLine(text="   job j1  runs 3 s", job="j1", calls=2),
    ScopeLine(text="   job j2  runs 1 s", job="j2"),
]


def test_a_job_that_runs_is_selected_explained_and_cancelled_when_it_was_said_yes():
    screen = Screen("name")
    assert pressed(screen, "c") == []
    assert screen.notice.startswith("select a job first")
    assert pressed(screen, "down", "t") == [Looking("alpha")]
    assert pressed(screen, "e", "c") == []
    assert screen.notice.startswith("select a job first")
    screen.scopes = SCOPES
    assert pressed(screen, "down", "e") == [Explaining(job="j1")]
    screen.explain(["j1  p", "runs on a"])
    assert "runs on a" in drawn(look_at(QUEUES), screen)
    # What runs is shown again, not the queues.
    pressed(screen, "x")
    assert screen.mode == "tree"
    assert pressed(screen, "c", "n") == []
    assert screen.notice == "nothing was changed"
    pressed(screen, "c")
    assert drawn(look_at(QUEUES), screen)[-1] == "cancel j1 and 2 that it waits for? y/n"
    screen.scopes = []
    assert pressed(screen, "y") == [Cancelling("j1", 2)]
    assert pressed(screen, "escape", "e") == [Explaining(queue="alpha")]
    assert pressed(screen, "escape", "t") == [Looking("")]
    assert pressed(screen, "q") == ["quit"]


def test_dead_letters_are_run_again_as_many_as_were_asked_for():
    rows = [queue("alpha", dead=3), queue("beta")]
    screen = Screen("name")
    for key in ("down", "r"):
        assert screen.press(key, rows) is None
    assert drawn(look_at(rows), screen)[-1] == "run again 3 dead letters of alpha? y/n"
    assert screen.press("y", [queue("alpha", dead=9)]) == Redriving("alpha", 3)
    for key in ("down", "r"):
        assert screen.press(key, rows) is None
    assert screen.notice == "beta has no dead letters"


def test_an_explanation_that_comes_late_disturbs_nobody():
    screen = Screen("name")
    pressed(screen, "/")
    screen.explain(["late"])
    assert screen.mode == "filter"


def test_the_selected_job_is_always_to_be_seen():
    screen = Screen("name")
    pressed(screen, "t")
    screen.scopes = [ScopeLine(text=f"job-{n:02}", job=f"job-{n:02}") for n in range(60)]
    pressed(screen, "end")
    lines = drawn(look_at(QUEUES), screen, height=12)
    assert "job-59" in lines
    assert len(lines) == 12


# --- drawing --------------------------------------------------------------------------------

NAMES = st.text(max_size=30)


@given(
    st.lists(NAMES, max_size=40),
    st.lists(NAMES, max_size=40),
    st.lists(NAMES, max_size=3),
    st.integers(1, 140),
    st.integers(1, 40),
    st.lists(st.sampled_from(["down", "p", "/", "?", "x", "page down", "t", "e", "c", "r"]), max_size=5),
)
def test_a_frame_is_as_large_as_the_terminal_whatever_is_in_it(
    queues: list[str], nodes: list[str], found: list[str], width: int, height: int, keys: list[str]
):
    rows = [queue(name) for name in dict.fromkeys(queues)]
    findings = [Finding(code="c", severity="warning", text=text) for text in found]
    look = look_at(rows, [node(name, job=name) for name in nodes], findings)
    screen = Screen("name")
    for key in keys:
        screen.press(key, rows)
        screen.scopes = [ScopeLine(text=name, job=name) for name in nodes]
    screen.explain(queues if "e" in keys else [])
    lines = frame(look, screen, "here", width, height, trouble="Redis is away\n")
    assert len(lines) == height
    assert all(cell_width(text) <= width for text, _ in lines)
    assert not any(UNFIT.search(text) for text, _ in lines)


def test_the_selected_queue_is_always_to_be_seen():
    rows = [queue(f"queue-{n:02}") for n in range(60)]
    screen = Screen("name")
    screen.press("end", rows)
    lines = drawn(look_at(rows, [node("n")]), screen, height=16)
    assert any(line.startswith("queue-59") for line in lines)
    # Nodes have their third, be there ever so many queues.
    assert any(line.startswith("NODE") for line in lines)


def test_an_old_look_says_so():
    lines = drawn(look_at(QUEUES), Screen("name"), trouble="connection refused")
    assert "connection refused" in lines[1]
    assert "as of" in lines[1]


def test_how_full_a_node_is():
    assert bar(0, 6) == "·" * 12
    assert bar(3, 6) == "█" * 6 + "·" * 6
    assert bar(6, 6) == bar(9, 6) == "█" * 12
    assert bar(1, 20) == "▌" + "·" * 11
    assert bar(1, None) == "·" * 12


def test_a_run_says_its_limit_and_whether_another_may_be_longer():
    run = LongestRun(job="job-123456789", processor="p", ran=61.0, timeout=90.0, of_some=True)
    assert run_text(run, whole=False) == "at least 1 m 01 s, of 1 m 30 s  p …456789"
    assert run_text(run, whole=True).endswith("p job-123456789")
