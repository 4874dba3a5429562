"""Metrics as Prometheus reads them: the series of the docs and no others, however many jobs there are."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

prometheus_client = pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry  # noqa: E402
from prometheus_client.core import Metric  # noqa: E402
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families as plain  # noqa: E402

from am2z_trio import ConfigurationError, Every, LocalRuntime, NetworkError, Schedule, processor  # noqa: E402
from am2z_trio.engine.figures.counting import OUTCOMES  # noqa: E402
from am2z_trio.engine.figures.figures import MOST, OTHERS  # noqa: E402
from am2z_trio.model.records import plain_name  # noqa: E402
from am2z_trio.model.views.findings import Finding, Severity  # noqa: E402
from am2z_trio.model.views.samples import Census, QueueNow, ScheduleNow  # noqa: E402
from am2z_trio.observe.prometheus import (  # noqa: E402
    ClusterCollector,
    PrometheusCollector,
    exposition,
    families,
)

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@processor
async def double(n: int) -> int:
    return 2 * n


def series(metrics: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def shown(runtime: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return series(PrometheusCollector(runtime).collect())


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def settled(runtime: Any, count: int) -> None:
    with anyio.fail_after(30):
        while runtime.figures.of("double").ended < count:
            await anyio.sleep(0.001)


async def test_a_nodes_series_have_the_labels_that_are_said_and_no_others(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        (await runtime.execute(double, 1, session="alice", job_id="chosen")).unwrap()
        await settled(runtime, 1)
        await read(runtime)
        found = {metric.name: metric for metric in PrometheusCollector(runtime).collect()}
    for family in families.NODE:
        metric = found.pop(family.name.removesuffix("_total"))
        assert metric.type == family.kind
        assert metric.samples, family.name
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels), sample
            assert not {"alice", "chosen", runtime_name(sample.labels)} & {*sample.labels.values()}
    assert not found


def runtime_name(labels: dict[str, str]) -> str:
    return labels.get("node", "?")


async def read(runtime: Any) -> None:
    """Wait for a reading that knows the worker."""
    with anyio.fail_after(10):
        while not (runtime.figures.reading and runtime.figures.reading.slots):
            runtime.node.heartbeat.hurry()
            await anyio.sleep(0.001)


async def test_what_is_shown_is_what_was_counted(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        for n in range(7):
            (await runtime.execute(double, n)).unwrap()
        await settled(runtime, 7)
        await read(runtime)
        found = shown(runtime)
        assert of(found, "am2z_jobs_started_total", processor="double") == 7
        assert of(found, "am2z_jobs_finished_total", processor="double", outcome="completed") == 7
        assert of(found, "am2z_jobs_finished_total", processor="double", outcome="failed") == 0
        assert of(found, "am2z_job_duration_seconds_count", processor="double") == 7
        assert of(found, "am2z_job_duration_seconds_bucket", processor="double", le="+Inf") == 7
        assert of(found, "am2z_slots", processor="double") == double.queue.concurrency
        assert of(found, "am2z_node_ready") == 1
        assert of(found, "am2z_lease_remaining_seconds") > 0
    after = shown(runtime)
    assert of(after, "am2z_node_ready") == 0
    assert ("am2z_lease_remaining_seconds", frozenset()) not in after
    assert of(after, "am2z_jobs_started_total", processor="double") == 7


async def test_ten_thousand_sessions_and_ids_leave_the_number_of_series_as_it_was():
    async with LocalRuntime(session_idle=0.01) as runtime:
        runtime.register(double)
        (await runtime.execute(double, 0)).unwrap()
        await settled(runtime, 1)
        await read(runtime)
        before = shown(runtime).keys()
        for first in range(0, 10_000, 500):
            jobs = [
                await runtime.submit(double, n, session=f"session-{n}", job_id=f"id-{n}")
                for n in range(first, first + 500)
            ]
            for job in jobs:
                (await job.result()).unwrap()
        await settled(runtime, 10_001)
        after = shown(runtime)
        assert after.keys() == before
        assert of(after, "am2z_jobs_finished_total", processor="double", outcome="completed") == 10_001


async def test_the_text_is_read_back_as_it_was_meant(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(double)
        (await runtime.execute(double, 1)).unwrap()
        await settled(runtime, 1)
        cluster = ClusterCollector(runtime)
        await cluster.look()
        collectors = (PrometheusCollector(runtime), cluster)
        content_type, body = exposition(*collectors)
        assert content_type.startswith("text/plain")
        assert body.decode().isascii()
        as_plain = series(plain(body.decode()))
        content_type, body = exposition(*collectors, accept=OPEN_METRICS)
        assert content_type.startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")
        as_open = series(openmetrics(body.decode()))
        assert as_plain.keys() == as_open.keys()
        assert of(as_plain, "am2z_jobs_started_total", processor="double") == 1
        assert of(as_open, "am2z_queue_serving_nodes", processor="double") == 1
        assert of(as_open, "am2z_nodes") == 1
        # A header that nobody would send is no error.
        assert exposition(*collectors, accept="\x00;=,;;" * 5000)[1]


async def test_counters_never_go_down_and_histograms_are_sound_while_another_thread_reads():
    runtime = LocalRuntime()
    runtime.register(double)
    seen = list[dict[tuple[str, frozenset[tuple[str, str]]], float]]()
    errors, over = list[BaseException](), threading.Event()

    def scrape() -> None:
        try:
            while not over.is_set():
                seen.append(series(plain(exposition(PrometheusCollector(runtime))[1].decode())))
                time.sleep(0.001)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        for _ in range(3):
            async with runtime:
                assert all(result.success for result in await runtime.execute_many(double, range(300)))
    finally:
        over.set()
        thread.join()
    seen.append(shown(runtime))
    assert not errors
    for before, after in itertools.pairwise(seen):
        for (name, labels), value in before.items():
            if name.endswith(("_total", "_bucket", "_count", "_sum")) and (name, labels) in after:
                assert after[name, labels] >= value, (name, labels)
    for found in seen:
        for (name, labels), value in found.items():
            if name == "am2z_job_duration_seconds_count":
                of_all = of(found, "am2z_job_duration_seconds_bucket", processor="double", le="+Inf")
                assert of_all == value, labels


async def test_a_collector_is_registered_once():
    runtime = LocalRuntime()
    registry = CollectorRegistry(auto_describe=True)
    registry.register(PrometheusCollector(runtime))
    with pytest.raises(ValueError, match="am2z_jobs_started"):
        registry.register(PrometheusCollector(runtime))
    registry.register(ClusterCollector(runtime))


async def test_of_very_many_queues_those_that_come_last_are_one():
    class Many:
        async def census(self) -> Census:
            queues = {f"p{n:05}": QueueNow(waiting=1, oldest=float(n)) for n in range(MOST + 30)}
            return Census(nodes=1, sessions=0, queues=queues)

    many: Any = Many()
    collector = ClusterCollector(many)
    assert series(collector.collect()) == {}
    await collector.look()
    found = series(collector.collect())
    assert of(found, "am2z_queue_jobs", processor=OTHERS, status="waiting") == 30
    assert of(found, "am2z_queue_oldest_seconds", processor=OTHERS) == MOST + 29
    assert len({dict(labels).get("processor") for _, labels in found}) == MOST + 2


async def test_a_name_that_is_no_text_hides_no_other_series():
    class Odd:
        async def census(self) -> Census:
            return Census(nodes=1, sessions=0, queues={"a": QueueNow()}, schedules={"\udcff": ScheduleNow()})

    odd: Any = Odd()
    told = await ClusterCollector(odd).exposition()
    names = {name for name, _ in series(plain(told.body.decode()))}
    assert {"am2z_schedule_late_seconds", "am2z_queue_jobs"} <= names


@pytest.mark.parametrize("accept", ["application/openmetrics-text;version=x", "a;b;c=;=,,;", "\xff" * 2_000])
def test_whoever_asks_for_what_nobody_understands_is_told_in_plain_text(accept: str):
    told = exposition(PrometheusCollector(LocalRuntime()), accept=accept)
    assert told.content_type.startswith("text/plain")
    assert b"am2z_node_ready" in told.body


async def test_every_schedule_has_its_series(make_runtime):
    odd = "odd {}\n\u202e"
    async with make_runtime() as runtime:
        runtime.register(double)
        for id in ("hourly", odd, "paused"):
            await runtime.schedules.upsert(Schedule(id, double, Every(3600), state=1))
        await runtime.schedules.pause("paused")
        collector = ClusterCollector(runtime)
        await collector.look()
        found = series(collector.collect())
    told = {plain_name(id) for id in ("hourly", odd, "paused")}
    for name in ("am2z_schedule_late_seconds", "am2z_schedule_missed_total"):
        assert {dict(labels)["schedule"]: value for (one, labels), value in found.items() if one == name} == (
            dict.fromkeys(told, 0)
        )


async def test_the_series_of_schedules_say_how_each_stands_and_findings_are_counted():
    class Some:
        async def census(self) -> Census:
            late, odd = ScheduleNow(late=90.5, missed=3), ScheduleNow(missed=2, paused=True)
            return Census(nodes=1, sessions=0, queues={}, schedules={"nightly": late, "~5d41": odd})

    def finding(code: str, severity: Severity, target: str) -> Finding:
        return Finding(code=code, severity=severity, text="it is so", target=target)

    async def findings() -> list[Finding]:
        held = [finding("held", "warning", f"p{n}") for n in range(3)]
        return [*held, finding("unserved", "critical", "p1")]

    some: Any = Some()
    collector = ClusterCollector(some, findings=findings)
    await collector.look()
    for read_back, accept in ((plain, ""), (openmetrics, OPEN_METRICS)):
        found = series(read_back(exposition(collector, accept=accept)[1].decode()))
        assert of(found, "am2z_schedule_late_seconds", schedule="nightly") == 90.5
        assert of(found, "am2z_schedule_missed_total", schedule="nightly") == 3
        assert of(found, "am2z_schedule_missed_total", schedule="~5d41") == 2
        assert of(found, "am2z_findings", code="held", severity="warning") == 3
        assert of(found, "am2z_findings", code="unserved", severity="critical") == 1
    with pytest.raises(ConfigurationError, match="findings="):
        ClusterCollector(some, findings=cast("Any", 5))


async def test_where_findings_cannot_be_read_all_else_is_told_and_that():
    class Some:
        async def census(self) -> Census:
            return Census(nodes=nodes, sessions=0, queues={})

    nodes, wrong = 1, False

    async def findings() -> list[Finding]:
        if wrong:
            raise NetworkError("Redis is away")
        return [Finding(code="held", severity="warning", text="it is so")]

    collector = ClusterCollector(Some(), findings=findings)
    for nodes, wrong in ((1, False), (2, True), (3, False)):
        await collector.look()
        found = series(collector.collect())
        assert of(found, "am2z_nodes") == nodes
        assert of(found, "am2z_findings_unread") == wrong
        # As it was before: an alert does not end because nobody can look.
        assert of(found, "am2z_findings", code="held", severity="warning") == 1


# --- the pages ------------------------------------------------------------------------------


def test_the_page_names_every_series_with_its_labels():
    page = (DOCS / "metrics.md").read_text()
    rows = dict(re.findall(r"^\| `(am2z_\w+)` \| \w+ \| ([^|]*) \|", page, re.MULTILINE))
    told = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()}
    assert told == {family.name: family.labels for family in (*families.NODE, *families.CLUSTER)}
    assert all(f"`{outcome}`" in page for outcome in OUTCOMES)


def test_every_series_that_a_rule_names_exists():
    rules = (DOCS / "prometheus-rules.yml").read_text()
    assert "\t" not in rules
    names = set(re.findall(r"\bam2z_\w+", rules))
    known = {family.name for family in (*families.NODE, *families.CLUSTER)}
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")}
    assert names
    assert names <= known
    alerts = re.findall(r"^ +- alert: (\w+)$", rules, re.MULTILINE)
    assert len(alerts) == len(set(alerts)) == len(re.findall(r"^ +expr: ", rules, re.MULTILINE))
    assert len(alerts) == len(re.findall(r"^ +severity: (?:page|ticket)$", rules, re.MULTILINE))
    for expression in re.findall(r"^ +expr: (.+)$", rules, re.MULTILINE):
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")
        for labels in re.findall(r"\b(am2z_\w+)\{([^}]*)\}", expression):
            family = next(
                one for one in (*families.NODE, *families.CLUSTER) if labels[0].startswith(one.name)
            )
            assert set(re.findall(r"(\w+)=", labels[1])) <= {*family.labels, "le"}, expression
