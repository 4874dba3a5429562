"""All routes of the API: one line for each question and each action."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from am2z_trio.admin import Admin
from am2z_trio.model.views.audit import AuditEntry, AuditPage

from .plans import PlanRequest, TermsRequest, WhenRequest, plan_of, terms_of, when_of
from .routes import Route


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the audit."""

    id: str
    at: int
    """Milliseconds since the epoch, by the store's clock."""
    of: str
    """The entry before, whose outcome this is; empty for one that was written before anything was done."""
    who: str
    role: str
    face: str
    action: str
    target: str
    query: str
    told: Any
    """What it was said to do; in the second entry what came of it."""
    reason: str
    outcome: str


class AuditLines(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries, the newest first."""

    entries: list[AuditLine]
    next: str
    """`before` of the older ones; empty: there are none."""
    unreadable: int
    """Entries in between that cannot be read."""


def audit_line(entry: AuditEntry) -> AuditLine:
    """An entry as it is told."""
    said = {name: getattr(entry, name) for name in AuditLine.__struct_fields__ if name != "told"}
    return AuditLine(told=told(entry.preview), **said)


def audit_lines(page: AuditPage) -> AuditLines:
    """A page as it is told."""
    lines = [audit_line(entry) for entry in page.entries]
    return AuditLines(entries=lines, next=page.next, unreadable=page.unreadable)


def told(packed: msgspec.Raw) -> object:
    """What an entry says beside its texts: what somebody else has written need not be what it should."""
    try:
        return msgspec.msgpack.decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return "unreadable"


_NAME: Final = {"processor": str}
_NAME_OR_NONE: Final = {"processor": str | None}
_FOR_GOOD: Final = {"dry_run": False}
_HIDDEN: Final = {"reveal": False, "reason": ""}
_REVEALED: Final = {"reveal": True}

ROUTES: Final = (
    # --- jobs
    Route("GET", "/jobs", Admin.search, "view"),
    Route("GET", "/job-count", Admin.count, "view"),
    Route("GET", "/job-counts", Admin.status_counts, "view"),
    Route("GET", "/job-hints", Admin.loosened, "view"),
    Route("GET", "/job-whys", Admin.explain_some, "view"),
    Route("POST", "/jobs", Admin.enqueue, "enqueue", types=_NAME),
    Route("GET", "/jobs/{job_id}", Admin.show, "view", given=_HIDDEN),
    Route("POST", "/jobs/{job_id}/reveal", Admin.show, "reveal", name="reveal", given=_REVEALED),
    Route("GET", "/jobs/{job_id}/end", Admin.wait, "view"),
    Route("GET", "/jobs/{job_id}/cancel", Admin.preview_cancel, "view"),
    Route("POST", "/jobs/{job_id}/cancel", Admin.cancel, "cancel"),
    Route("POST", "/jobs/{job_id}/retry", Admin.retry, "retry"),
    Route("POST", "/jobs/{job_id}/promote", Admin.promote, "retry"),
    Route("POST", "/jobs/{job_id}/signal", Admin.signal, "enqueue"),
    Route("POST", "/jobs/{job_id}/edit", Admin.edit, "edit"),
    Route("GET", "/dead-groups", Admin.dead_groups, "view"),
    Route("GET", "/jobs/{job_id}/why", Admin.explain, "view"),
    Route("GET", "/jobs/{job_id}/stack", Admin.stack, "view"),
    Route("GET", "/jobs/{job_id}/logs", Admin.job_logs, "view", given=_HIDDEN),
    Route(
        "POST", "/jobs/{job_id}/logs/reveal", Admin.job_logs, "reveal", name="reveal_logs", given=_REVEALED
    ),
    Route("GET", "/jobs/{job_id}/calls", Admin.calls, "view"),
    Route("GET", "/jobs/{job_id}/changes", Admin.changes, "view", given=_HIDDEN),
    Route(
        "POST",
        "/jobs/{job_id}/changes/reveal",
        Admin.changes,
        "reveal",
        name="reveal_changes",
        given=_REVEALED,
    ),
    Route("POST", "/jobs/{job_id}/test", Admin.as_test, "reveal"),
    Route("POST", "/jobs/{job_id}/drop", Admin.drop, "purge"),
    # --- many jobs
    Route("GET", "/bulks", Admin.bulks, "view"),
    Route("GET", "/bulk-preview", Admin.preview_bulk, "view"),
    Route("POST", "/bulks", Admin.begin_bulk, "cancel", "retry", "purge", "stop_session"),
    Route("GET", "/bulks/{bulk_id}", Admin.bulk, "view"),
    Route(
        *("POST", "/bulks/{bulk_id}/carry-on", Admin.carry_on, "cancel", "retry", "purge", "stop_session"),
        at_most=10.0,
        then=Admin.bulk,
    ),
    Route("POST", "/bulks/{bulk_id}/stop", Admin.stop_bulk, "cancel", "retry", "purge", "stop_session"),
    # --- queues and sessions
    Route("GET", "/census", Admin.census, "view"),
    Route("GET", "/processors", Admin.processors, "view"),
    Route("GET", "/queues", Admin.queues, "view"),
    Route("GET", "/queue-stats", Admin.queue_stats, "view"),
    Route("GET", "/series", Admin.series, "view"),
    Route("GET", "/queues/{queue}", Admin.queue, "view"),
    Route("GET", "/queues/{queue}/samples", Admin.samples, "view"),
    Route("GET", "/queues/{queue}/throughput", Admin.throughput, "view"),
    Route("GET", "/queue-pauses", Admin.preview_pause_all, "view"),
    Route("POST", "/queue-pauses", Admin.pause_all, "pause"),
    Route("POST", "/queue-resumptions", Admin.resume_all, "pause"),
    Route("POST", "/queues/{queue}/pause", Admin.pause, "pause"),
    Route("POST", "/queues/{queue}/resume", Admin.resume, "pause"),
    Route("POST", "/queues/{queue}/drain", Admin.drain_queue, "pause"),
    Route("POST", "/queues/{queue}/purge", Admin.purge, "purge"),
    Route("GET", "/sessions", Admin.sessions, "view"),
    Route("GET", "/session-rows", Admin.session_rows, "view"),
    Route("POST", "/session-stops", Admin.stop_sessions, "stop_session"),
    Route("GET", "/sessions/{session}", Admin.session, "view"),
    Route("GET", "/sessions/{session}/state", Admin.state, "view", given=_HIDDEN),
    Route(
        "POST",
        "/sessions/{session}/state/reveal",
        Admin.state,
        "reveal",
        name="reveal_state",
        given=_REVEALED,
    ),
    Route("POST", "/sessions/{session}/state/bytes", Admin.stored_bytes, "reveal"),
    Route("GET", "/sessions/{session}/state/check", Admin.verify_state, "view"),
    Route("GET", "/sessions/{session}/stop", Admin.preview_stop_session, "view"),
    Route("POST", "/sessions/{session}/stop", Admin.stop_session, "stop_session"),
    Route("POST", "/sessions/{session}/signal", Admin.signal_session, "enqueue"),
    Route("POST", "/sessions/{session}/restore", Admin.restore_state, "restore_state"),
    # --- schedules
    Route("GET", "/schedules", Admin.schedules, "view"),
    Route("GET", "/schedules/{schedule_id}", Admin.schedule, "view"),
    Route("GET", "/schedules/{schedule_id}/times", Admin.schedule_times, "view"),
    Route("GET", "/schedules/{schedule_id}/runs", Admin.schedule_runs, "view"),
    Route("PUT", "/schedules/{schedule_id}", Admin.add_schedule, "schedule", body=PlanRequest, reads=plan_of),
    Route(
        *("POST", "/schedules/{schedule_id}/amend", Admin.amend_schedule, "schedule"),
        body=TermsRequest,
        reads=terms_of,
    ),
    Route("GET", "/schedule-runs", Admin.last_runs, "view"),
    Route("GET", "/week-ahead", Admin.week_ahead, "view"),
    Route("GET", "/what-if", Admin.what_if, "view", body=WhenRequest, reads=when_of),
    Route("POST", "/schedules/{schedule_id}/pause", Admin.pause_schedule, "schedule"),
    Route("POST", "/schedules/{schedule_id}/resume", Admin.resume_schedule, "schedule"),
    Route("POST", "/schedules/{schedule_id}/run", Admin.run_schedule, "schedule"),
    Route("DELETE", "/schedules/{schedule_id}", Admin.remove_schedule, "schedule"),
    Route("POST", "/schedules/{schedule_id}/backfill", Admin.backfill_schedule, "schedule", given=_FOR_GOOD),
    Route(
        *("GET", "/schedules/{schedule_id}/backfill", Admin.backfill_schedule, "view"),
        name="preview_backfill",
        given={"dry_run": True, "reason": ""},
    ),
    # --- nodes
    Route("GET", "/nodes", Admin.nodes, "view"),
    Route("GET", "/lost-nodes", Admin.lost_nodes, "view"),
    Route("GET", "/node-healths", Admin.node_healths, "view"),
    Route("GET", "/tree", Admin.tree, "view", types=_NAME_OR_NONE),
    Route("GET", "/nodes/{node}/health", Admin.node_health, "view"),
    Route("GET", "/nodes/{node}/drain", Admin.preview_drain, "view"),
    Route("POST", "/nodes/{node}/drain", Admin.drain_node, "drain"),
    Route("POST", "/nodes/{node}/undrain", Admin.undrain_node, "drain"),
    Route("GET", "/nodes/{node}/workers/{processor}/stop", Admin.preview_stop_worker, "view"),
    Route("POST", "/nodes/{node}/workers/{processor}/stop", Admin.stop_worker, "drain", "stop_session"),
    Route("POST", "/nodes/{node}/jobs/{job_id}/cancel-task", Admin.cancel_task, "cancel"),
    # --- what needs a person
    Route("GET", "/findings", Admin.findings, "view", given={"watch": None}),
    Route("POST", "/silences", Admin.silence, "silence"),
    Route("GET", "/server", Admin.server, "view"),
    Route("GET", "/doctor", Admin.examine, "view"),
    # --- what has happened
    Route("GET", "/events", Admin.events, "view"),
    Route("GET", "/audit", Admin.audit, "audit", answer=AuditLines, shows=audit_lines),
)

ELSEWHERE: Final = {
    "may": "`/me` says all that the principal may",
    "now": "answers say when what they tell was so",
    "listen": "a stream is no answer: `/events/live`",
    "follow_logs": "a stream is no answer: `/jobs/{job_id}/logs` is asked again",
}
"""What `Admin` has beside what the table asks, and where that is."""
