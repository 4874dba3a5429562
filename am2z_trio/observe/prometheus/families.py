"""Series as they are named: each family once, with its labels and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString  # pyright: ignore[reportUnknownVariableType]

from am2z_trio.policy.buckets import BOUNDS, Histogram, cumulated

_spelt: Final = cast("Callable[[float], str]", floatToGoString)
_BOUNDS: Final = (*map(_spelt, BOUNDS), "+Inf")


class Family(NamedTuple):
    """One family of series."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str

    def empty(self) -> Metric:
        """It, without a series."""
        if self.kind == "counter":
            return CounterMetricFamily(self.name, self.text, labels=self.labels)
        kind = GaugeMetricFamily if self.kind == "gauge" else HistogramMetricFamily
        return kind(self.name, self.text, labels=self.labels)


def value(metric: Metric, number: float, *labels: str) -> None:
    """One more series of a counter or a gauge."""
    assert isinstance(metric, CounterMetricFamily | GaugeMetricFamily)
    metric.add_metric([*map(_label, labels)], number)


def _label(text: str) -> str:
    """As it can be encoded: a name that others have stored need be no text, and hides no other series."""
    return text.encode("utf-8", "backslashreplace").decode()


def durations(metric: Metric, histogram: Histogram, *labels: str) -> None:
    """One more series of a histogram. It may be added to meanwhile: what is shown is in itself consistent."""
    assert isinstance(metric, HistogramMetricFamily)
    total, counts = histogram.total, cumulated(histogram.counts.copy())
    metric.add_metric([*map(_label, labels)], list(zip(_BOUNDS, map(float, counts), strict=True)), total)


_OF: Final = ("processor",)

STARTED: Final = Family("am2z_jobs_started_total", "counter", _OF, "Runs of jobs that have begun.")
FINISHED: Final = Family(
    "am2z_jobs_finished_total",
    "counter",
    ("processor", "outcome"),
    "Jobs that have ended here: completed, failed, timeout, cancelled, deadline; runs whose claim was lost.",
)
WAIT: Final = Family(
    "am2z_job_wait_seconds",
    "histogram",
    _OF,
    "From when a job was made to when its code began; first attempts only.",
)
DURATION: Final = Family("am2z_job_duration_seconds", "histogram", _OF, "How long the code of jobs ran.")
RETRIES: Final = Family("am2z_job_retries_total", "counter", _OF, "Runs that failed and are tried again.")
FENCED: Final = Family(
    "am2z_jobs_fenced_total", "counter", _OF, "Outcomes refused, as somebody else had the job by then."
)
CONFLICTS: Final = Family(
    "am2z_state_conflicts_total", "counter", _OF, "Outcomes refused, as the session's state had moved."
)
INTEGRITY: Final = Family(
    "am2z_state_integrity_failures_total", "counter", _OF, "Jobs that found their session's state corrupted."
)
CANCEL_LATENCY: Final = Family(
    "am2z_cancel_latency_seconds",
    "histogram",
    (),
    "From when the node heard of a cancel to when the code had ended.",
)
SLOTS: Final = Family("am2z_slots", "gauge", _OF, "Jobs that may run here at a time.")
SLOTS_BUSY: Final = Family("am2z_slots_busy", "gauge", _OF, "Jobs that run here.")
LOOP_LAG: Final = Family(
    "am2z_loop_lag_seconds", "histogram", (), "By how much the event loop was late when it was looked at."
)
ROUND_TRIP: Final = Family(
    "am2z_redis_round_trip_seconds", "gauge", (), "How long the store took to answer the last beat."
)
RECONNECTS: Final = Family(
    "am2z_redis_reconnects_total", "counter", (), "Connections to Redis that were lost and are back."
)
LEASE: Final = Family("am2z_lease_remaining_seconds", "gauge", (), "For how long the node's lease is held.")
READY: Final = Family("am2z_node_ready", "gauge", (), "1 if the node could claim a job now.")
BUILD: Final = Family(
    "am2z_build_info", "gauge", ("version", "python", "host_library"), "What this node is made of."
)

NODE: Final = (
    *(
        STARTED,
        FINISHED,
        WAIT,
        DURATION,
        RETRIES,
        FENCED,
        CONFLICTS,
        INTEGRITY,
        CANCEL_LATENCY,
        SLOTS,
        SLOTS_BUSY,
    ),
    *(LOOP_LAG, ROUND_TRIP, RECONNECTS, LEASE, READY, BUILD),
)
"""What one node shows."""

QUEUE_JOBS: Final = Family(
    "am2z_queue_jobs", "gauge", ("processor", "status"), "Jobs that have not ended: waiting, delayed, active."
)
OLDEST: Final = Family(
    "am2z_queue_oldest_seconds", "gauge", _OF, "How long the job has waited that came first; 0 if none waits."
)
PAUSED: Final = Family("am2z_queue_paused", "gauge", _OF, "1 if the queue is paused.")
HELD: Final = Family("am2z_queue_held", "gauge", _OF, "1 if jobs wait since as many are active as may be.")
SERVING: Final = Family("am2z_queue_serving_nodes", "gauge", _OF, "Live nodes that serve the queue.")
DEAD: Final = Family("am2z_dead_letters", "gauge", _OF, "Jobs that failed for good and are kept.")
BREAKER: Final = Family("am2z_breaker_open", "gauge", _OF, "1 if the processor's circuit is open.")
SESSIONS: Final = Family("am2z_sessions", "gauge", (), "Sessions with jobs that have not ended.")
NODES: Final = Family("am2z_nodes", "gauge", (), "Nodes with workers and a lease.")
_OF_SCHEDULE: Final = ("schedule",)
LATE: Final = Family(
    "am2z_schedule_late_seconds",
    "gauge",
    _OF_SCHEDULE,
    "For how long the next run has been due without having come; 0 if it is not due.",
)
MISSED: Final = Family(
    "am2z_schedule_missed_total",
    "counter",
    _OF_SCHEDULE,
    "Times that were passed by, as it was too late for them.",
)
FINDINGS: Final = Family(
    "am2z_findings", "gauge", ("code", "severity"), "What needs a person and is not silenced."
)
UNREAD: Final = Family(
    "am2z_findings_unread",
    "gauge",
    (),
    "1 if what needs a person could not be read at the last look: it is as it was before.",
)

CLUSTER: Final = (
    *(QUEUE_JOBS, OLDEST, PAUSED, HELD, SERVING, DEAD, BREAKER, SESSIONS, NODES),
    *(LATE, MISSED, FINDINGS, UNREAD),
)
"""What all nodes share."""
