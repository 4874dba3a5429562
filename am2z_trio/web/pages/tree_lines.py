"""The live tree as lines: what nodes have answered, by node, session or caller, flat and with levels.

A line's key says what it is and where: it is what is folded, chosen and asked about, while that is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from am2z_trio.model.views.nodes import NodeView
from am2z_trio.model.views.tree import NodeTree, TreeRow

from .tree_filter import Filter

By = Literal["node", "session", "caller"]
Kind = Literal["node", "session", "worker", "job", "call", "task", "more", "rest"]

NEAR: Final = 0.7
"""Share of the time until a deadline from which on a bar warns, and"""
CLOSE: Final = 0.85
"""from which on it is red."""
MOST_DEEP: Final = 32
"""Calls within calls that are told."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line."""

    key: str
    kind: Kind
    level: int
    """1 the outermost."""
    name: str
    node: str = ""
    row: TreeRow | None = None
    """What the node has said of it; `None` for one that is silent, and for what stands for others."""
    open: bool | None = None
    """`None`: there is nothing within it."""
    elsewhere: str = ""
    """Of a call: the node that has the job; empty where that is not known."""
    next: int | None = None
    """Of what stands for more: where these begin."""
    standing: NodeView | None = None
    """Of a node."""
    why: str = ""
    """Why a node has not answered."""
    jobs: int = 0
    """Jobs within it that are told; of what stands for scopes without any, how many these are."""

    @property
    def mark(self) -> str:
        """The key, short: as it stands in addresses for what is folded."""
        return mark_of(self.key)

    @property
    def part(self) -> float | None:
        """Which share of the time until its deadline has gone."""
        row = self.row
        if row is None or row.left is None or row.age is None:
            return None
        gone = row.age if row.ran is None else row.ran
        return 1.0 if row.left <= 0 else gone / (gone + row.left)

    @property
    def urgency(self) -> str:
        """The colour of that."""
        part = self.part or 0.0
        return "bad" if part >= CLOSE else "warn" if part >= NEAR else ""


def mark_of(key: str) -> str:
    """A key, short."""
    return hashlib.blake2s(key.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def lines_of(
    trees: Iterable[NodeTree],
    standings: Mapping[str, NodeView],
    *,
    by: By = "node",
    asked: Filter | None = None,
    folded: Collection[str] = (),
    at_rest: bool = True,
) -> list[Line]:
    """All lines that are to be seen. What a filter does not ask for is left out, but for what is around what
    it does. Without those `at_rest`, sessions and workers that have no job are one line."""
    trees = [_asked_for(tree, asked or Filter()) for tree in trees]
    if asked is not None and asked.terms:
        trees = [tree for tree in trees if tree.silent or tree.refusal or len(tree.rows) > 1]
    make: Callable[[list[NodeTree], Mapping[str, NodeView]], Iterator[Line]]
    make = {"node": _by_node, "session": _by_session, "caller": _by_caller}[by]
    if at_rest:
        return _folded(list(make(trees, standings)), folded)
    busy = [msgspec.structs.replace(tree, rows=[*filter(_is_busy, tree.rows)]) for tree in trees]
    rests = {tree.node: len(tree.rows) - len(one.rows) for tree, one in zip(trees, busy, strict=True)}
    return _folded(list(_with_rests(make(busy, standings), rests, by)), folded)


def _is_busy(row: TreeRow) -> bool:
    return row.scope not in ("session", "worker") or row.jobs > 0 or row.cancel_called


def _with_rests(lines: Iterable[Line], rests: Mapping[str, int], by: By) -> Iterator[Line]:
    """With a line for what has no job: at the end of each node, or of all sessions."""
    node = ""
    for line in lines:
        if line.level == 1 and by == "node":
            yield from _rest(node, rests.get(node, 0), 2)
            node = line.node
        yield line
    if by == "node":
        yield from _rest(node, rests.get(node, 0), 2)
    elif by == "session":
        yield from _rest("", sum(rests.values()), 1)


def _rest(node: str, count: int, level: int) -> Iterator[Line]:
    if count:
        yield Line(key=f"rest:{node}", kind="rest", level=level, name=node, node=node, jobs=count)


def _asked_for(tree: NodeTree, asked: Filter) -> NodeTree:
    if not asked.terms:
        return tree
    kept = list[TreeRow]()
    around: dict[int, TreeRow] = {}
    inside = False
    for row in tree.rows:
        if row.scope == "task":
            if inside:
                kept.append(row)
            continue
        if row.scope == "job":
            inside = asked.matches(row, tree.node)
            if inside:
                kept += [around.pop(level) for level in sorted(around)]
                kept.append(row)
            continue
        inside = False
        around = {level: one for level, one in around.items() if level < row.level}
        around[row.level] = row
        if row.scope == "node":
            kept.append(around.pop(row.level))
    return msgspec.structs.replace(tree, rows=kept)


# --- by node --------------------------------------------------------------------------------


def _by_node(trees: list[NodeTree], standings: Mapping[str, NodeView]) -> Iterator[Line]:
    where = _where(trees)
    for tree in trees:
        if tree.silent or tree.refusal or not tree.rows:
            yield _silent(tree, standings)
            continue
        keys: dict[int, str] = {}
        for row in tree.rows:
            keys[row.level] = _key(row, tree.node)
            yield Line(
                key=keys[row.level],
                kind=row.scope,
                level=row.level + 1,
                name=row.name,
                node=tree.node,
                row=row,
                standing=standings.get(tree.node) if row.scope == "node" else None,
                jobs=row.jobs,
            )
            if row.scope == "job":
                yield from _calls(row, tree.node, row.level + 2, where)
        yield from _more(tree)


def _silent(tree: NodeTree, standings: Mapping[str, NodeView]) -> Line:
    return Line(
        key=f"node:{tree.node}",
        kind="node",
        level=1,
        name=tree.node,
        node=tree.node,
        standing=standings.get(tree.node),
        why=tree.refusal or "silent: it has not answered within a second",
    )


def _calls(row: TreeRow, node: str, level: int, where: Mapping[str, tuple[str, TreeRow]]) -> Iterator[Line]:
    """The jobs that one waits for."""
    for id in row.waits_for:
        at, called = where.get(id, ("", None))
        yield Line(
            key=f"call:{row.job}:{id}",
            kind="call",
            level=level,
            name=id if called is None else called.processor,
            node=at,
            row=called,
            elsewhere=at if at != node else "",
        )


def _more(tree: NodeTree) -> Iterator[Line]:
    if tree.next is not None:
        yield Line(
            key=f"more:{tree.node}", kind="more", level=2, name=tree.node, node=tree.node, next=tree.next
        )


def _where(trees: Iterable[NodeTree]) -> dict[str, tuple[str, TreeRow]]:
    """Which node has each job."""
    return {row.job: (tree.node, row) for tree in trees for row in tree.rows if row.scope == "job"}


def _key(row: TreeRow, node: str) -> str:
    of = {
        "node": node,
        "session": f"{node}:{row.session}",
        "worker": f"{node}:{row.processor}:{row.session}",
        "job": row.job,
        "task": f"{row.job}:{row.path}",
    }
    return f"{row.scope}:{of[row.scope]}"


# --- by session -----------------------------------------------------------------------------


def _by_session(trees: list[NodeTree], standings: Mapping[str, NodeView]) -> Iterator[Line]:
    sessions: dict[str, dict[str, list[tuple[str, list[TreeRow]]]]] = {}
    first: dict[str, TreeRow] = {}
    for tree in trees:
        for row in tree.rows:
            if row.scope == "session":
                first.setdefault(row.session, row)
                sessions.setdefault(row.session, {})
            elif row.scope == "job":
                sessions.setdefault(row.session, {}).setdefault(row.processor, []).append((tree.node, [row]))
            elif row.scope == "task":
                sessions[row.session][row.processor][-1][1].append(row)
    for id, processors in sorted(sessions.items(), key=lambda one: (one[0] == "", one[0])):
        jobs = sum(map(len, processors.values()))
        yield Line(key=f"session:{id}", kind="session", level=1, name=id, row=first.get(id), jobs=jobs)
        for processor, found in sorted(processors.items()):
            yield Line(
                key=f"worker:{processor}:{id}", kind="worker", level=2, name=processor, jobs=len(found)
            )
            for node, rows in found:
                for row in rows:
                    yield _inner(row, node, row.level)
    for tree in trees:
        if tree.silent or tree.refusal:
            yield _silent(tree, standings)
        yield from (msgspec.structs.replace(one, level=1) for one in _more(tree))


def _inner(row: TreeRow, node: str, level: int) -> Line:
    return Line(
        key=_key(row, node), kind=row.scope, level=level, name=row.name, node=node, row=row, elsewhere=node
    )


# --- by caller ------------------------------------------------------------------------------


def _by_caller(trees: list[NodeTree], standings: Mapping[str, NodeView]) -> Iterator[Line]:
    where = _where(trees)
    called = {id for _, row in where.values() for id in row.waits_for}
    tasks: dict[str, list[TreeRow]] = {}
    for tree in trees:
        for row in tree.rows:
            if row.scope == "task":
                tasks.setdefault(row.job, []).append(row)
    for id in where:
        if id not in called:
            yield from _led_to(id, where, tasks, 1, set())
    for tree in trees:
        if tree.silent or tree.refusal:
            yield _silent(tree, standings)
        yield from (msgspec.structs.replace(one, level=1) for one in _more(tree))


def _led_to(
    id: str,
    where: Mapping[str, tuple[str, TreeRow]],
    tasks: Mapping[str, list[TreeRow]],
    level: int,
    above: set[str],
) -> Iterator[Line]:
    """A job, its tasks, and what it has called."""
    if id not in where or id in above or level > MOST_DEEP:
        yield Line(key=f"call::{id}", kind="call", level=level, name=id)
        return
    node, row = where[id]
    yield _inner(row, node, level)
    for task in tasks.get(id, []):
        yield _inner(task, node, level + 1)
    for one in row.waits_for:
        yield from _led_to(one, where, tasks, level + 1, above | {id})


# --- folded ---------------------------------------------------------------------------------


def _folded(lines: list[Line], folded: Collection[str]) -> list[Line]:
    """Without what is within lines that are folded, and with what is open said."""
    shown, hidden = list[Line](), 0
    for place, line in enumerate(lines):
        if hidden and line.level > hidden:
            continue
        hidden = 0
        has_more = place + 1 < len(lines) and lines[place + 1].level > line.level
        is_folded = has_more and line.mark in folded
        if is_folded:
            hidden = line.level
        shown.append(msgspec.structs.replace(line, open=not is_folded if has_more else None))
    return shown
