"""The live tree: every nursery, worker, job and task on every node, and an end for any of them."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
from starlette.responses import Response

from am2z_trio.admin import Permission
from am2z_trio.model.errors import JobNotFoundError, RuntimeStateError, UnknownOutcomeError, ValidationError
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.lives import CallRow
from am2z_trio.model.views.preview import Preview
from am2z_trio.model.views.stack import JobStack

from ..routes import Action, Page, Route
from ..view import View
from .tree_filter import parse
from .tree_lines import Line, lines_of

BYS: Final = ("node", "session", "caller")
MOST_KEY: Final = 2_000
"""Characters of what is chosen: ids of a job, a node and a task."""
NEARLY: Final = 0.5
"""Seconds by which two figures of a node that tell the same may differ."""

MOVED_ON: Final = (JobNotFoundError, RuntimeStateError, UnknownOutcomeError)
"""What an order meets where its job or node has gone since, or does not answer."""

SHARED: Final = ""
"""The session of all jobs that name none."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What can be cancelled, as an address or a form names it."""

    kind: str
    node: str = ""
    session: str = ""
    processor: str = ""
    job: str = ""
    token: str = ""
    path: str = ""

    @property
    def permission(self) -> Permission | None:
        """What it takes to end it; `None`: nobody can."""
        if self.kind == "node":
            return "drain"
        if self.kind in ("job", "task"):
            return "cancel"
        if self.kind == "session":
            return None if self.session == SHARED else "stop_session"
        return ("drain" if self.session == SHARED else "stop_session") if self.kind == "worker" else None

    @property
    def query(self) -> dict[str, str]:
        """As it stands in an address."""
        return {field: str(getattr(self, field)) for field in self.__struct_fields__}


SCOPES: Final = ("node", "session", "worker", "job", "task")


def scope_of(line: Line) -> Scope | None:
    """What is ended with a line; `None` for what is not here to be ended."""
    row = line.row
    if line.kind == "node":
        return Scope(kind="node", node=line.node) if row is not None else None
    if row is None or (line.kind == "worker" and not line.node):
        return None
    kind = "job" if line.kind == "call" else line.kind
    of = {
        "session": {"session": row.session},
        "worker": {"node": line.node, "session": row.session, "processor": row.processor},
        "job": {"job": row.job},
        "task": {"node": line.node, "job": row.job, "token": row.token, "path": row.path},
    }
    return Scope(kind=kind, **of[kind])


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of the line that is chosen, beside the tree."""

    line: Line | None
    """`None`: it is no longer there."""
    job: str = ""
    """The job that it is, or was."""
    preview: Preview | None = None
    calls: list[CallRow] = []
    stack: JobStack | None = None
    tasks: int = 0
    """Below it."""

    @property
    def asked(self) -> CallRow | None:
        """The job's own record."""
        return next((one for one in self.calls if one.asked), None)

    @property
    def chain(self) -> list[CallRow]:
        """What has led to the job, and the job."""
        return self.calls[: self.calls.index(self.asked) + 1] if self.asked else []

    @property
    def whose(self) -> str:
        """Whose its deadline is."""
        row = None if self.line is None else self.line.row
        if row is None or row.left is None:
            return ""
        own = None if row.timeout is None or row.ran is None else row.timeout - row.ran
        if own is not None and abs(own - row.left) < NEARLY:
            return "its own timeout"
        record = None if self.asked is None else self.asked.row
        return "its caller's" if record is not None and record.parent else "whoever asked for it"


async def show(view: View) -> Response:
    """The tree, and what is chosen of it."""
    asked = parse(view.query("q"))
    by, chosen = view.choice("by", BYS, "node"), view.query("at", most=MOST_KEY)
    folded, at_rest = set(view.query("fold").split(",")), view.query("rest") != ""
    node = view.query("node", most=96) or asked.exact("node")
    offset = view.number("offset", 0, most=10_000_000)
    standings = {one.id: one for one in await view.admin.nodes()}
    found = await view.admin.tree(
        node=node,
        session=asked.exact("session"),
        processor=asked.exact("processor"),
        job=asked.exact("job"),
        offset=offset,
    )
    trees = [one for one in found.nodes if node is None or one.node in standings]
    every = lines_of(trees, standings, by=by, asked=asked)  # type: ignore[arg-type]
    lines = lines_of(trees, standings, by=by, asked=asked, folded=folded, at_rest=at_rest)  # type: ignore[arg-type]
    rows = [row for tree in trees for row in tree.rows]
    return view.render(
        "tree/show.html",
        q=view.query("q"),
        by=by,
        lines=lines,
        folded=folded,
        at_rest=at_rest,
        chosen=chosen,
        panel=await _panel(view, chosen, every) if chosen else None,
        jobs=sum(row.scope == "job" for row in rows),
        sessions=len({row.session for row in rows if row.scope == "session" and row.session}),
        nodes=len(trees),
        silent=sum(one.silent or one.refusal != "" for one in trees),
        offset=offset,
        scope_of=scope_of,
        back=str(view.request.query_params),
        toggled=partial(_toggled, folded),
        may_end=partial(_may_end, view),
    )


def _may_end(view: View, scope: Scope | None) -> bool:
    return scope is not None and scope.permission is not None and view.may(scope.permission)


def _toggled(folded: set[str], line: Line) -> str | None:
    """What is folded once this line is, or no longer is."""
    return ",".join(sorted((folded ^ {line.mark}) - {""})) or None


async def _panel(view: View, chosen: str, lines: list[Line]) -> Panel:
    place = next((place for place, one in enumerate(lines) if one.key == chosen), None)
    line = None if place is None else lines[place]
    kind, _, rest = chosen.partition(":")
    job = line.row.job if line is not None and line.row is not None else rest if kind == "job" else ""
    if line is None or line.row is None:
        return Panel(line=line, job=job)
    scope = scope_of(line)
    preview = None
    if scope is not None and scope.permission is not None:
        preview = await _foreseen(view, scope)
    below = list[Line]()
    for one in lines[(place or 0) + 1 :]:
        if one.level <= line.level:
            break
        below.append(one)
    calls, stack = list[CallRow](), None
    if line.kind in ("job", "call"):
        try:
            calls = (await view.admin.calls(job)).rows
        except JobNotFoundError:
            return Panel(line=None, job=job)
        stack = await view.admin.stack(job)
    return Panel(
        line=line,
        job=job,
        preview=preview,
        calls=calls,
        stack=stack,
        tasks=sum(one.kind == "task" for one in below),
    )


async def _foreseen(view: View, scope: Scope) -> Preview | None:
    """What ending it would do; `None` where nothing more than the scope itself is ended, or it has gone."""
    admin = view.admin
    try:
        match scope.kind:
            case "node":
                return await admin.preview_drain(scope.node) if view.principal.sees_all else None
            case "session":
                return await admin.preview_stop_session(scope.session)
            case "worker":
                session = scope.session or None
                if session is None and "*" not in view.principal.sessions:
                    return None
                return await admin.preview_stop_worker(scope.node, scope.processor, session)
            case "job":
                return await admin.preview_cancel(scope.job)
            case _:
                return None
    except JobNotFoundError:
        return None


# --- ending it ------------------------------------------------------------------------------


def _named(ask: Any) -> Scope:
    """The scope that an address or a form names."""
    given = {field: ask(field, most=MOST_KEY) for field in Scope.__struct_fields__}
    if given["kind"] not in SCOPES:
        rule = f"must be one of {', '.join(SCOPES)}"
        raise ValidationError(f"kind {rule}", context={"field": "kind", "rule": rule})
    return Scope(**given)


async def ask_cancel(view: View) -> Response:
    """What is going to happen, before it does."""
    scope = _named(view.query)
    return view.render(
        "tree/cancel.html",
        scope=scope,
        told=await _foreseen(view, scope),
        back=view.query("back", most=MOST_KEY),
        allowed=scope.permission is not None and view.may(scope.permission),
    )


async def cancel(view: View) -> Response:
    """End a scope, and all below it."""
    scope = _named(view.field)
    try:
        answer = await _ended(view, scope)
    except MOVED_ON as error:
        answer = Answer(done=False, text=error.message)
    return view.done(answer, _back(view, view.field("back", most=MOST_KEY)))


async def _ended(view: View, scope: Scope) -> Answer:
    admin, reason = view.admin, view.reason
    match scope.kind:
        case "job":
            return await admin.cancel(scope.job, reason=reason)
        case "task":
            return await admin.cancel_task(scope.node, scope.job, scope.token, scope.path, reason=reason)
        case "session":
            grace = view.field_seconds("grace", 0.0)
            return await admin.stop_session(scope.session, grace=grace, reason=reason)
        case "worker":
            return await admin.stop_worker(scope.node, scope.processor, scope.session or None, reason=reason)
        case _:
            patience = view.field_seconds("grace", 0.0) if view.field("grace").strip() else None
            return await admin.drain_node(scope.node, grace=patience, reason=reason)


def _back(view: View, query: str) -> str:
    """To the tree as one has seen it."""
    to = view.url("tree")
    return f"{to}?{query}" if query else to


ROUTES: list[Route] = [
    Page("tree", show, live=["tree", "side"]),
    Page("tree.cancel", ask_cancel),
    Action("tree.cancel", cancel),
]
