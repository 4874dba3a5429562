"""Samples of a queue summed up: how many per second, and how long they take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from am2z_trio.model.records.agreed import FIRST_GAUGE
from am2z_trio.model.records.samples import COUNTS, GAUGES, RAN, RUNS, WAITED, WAITS, StoredSample
from am2z_trio.model.views.samples import Sample, Throughput

from .buckets import BUCKETS, merged, quantile


def shown(stored: StoredSample, seconds: int) -> Sample:
    """A sample as it is shown; figures of a newer version are left out."""
    get = stored.figures.get
    counts = {name: get(number, 0) for number, name in enumerate(COUNTS)}
    gauges = {name: get(number, 0) for number, name in enumerate(GAUGES, FIRST_GAUGE)}
    return Sample(
        at=stored.at,
        seconds=seconds,
        waited=get(WAITED, 0) / 1e6,
        ran=get(RAN, 0) / 1e6,
        waits=tuple(get(WAITS + bucket, 0) for bucket in range(BUCKETS)),
        runs=tuple(get(RUNS + bucket, 0) for bucket in range(BUCKETS)),
        **counts,
        **gauges,
    )


def added_up(slots: Iterable[StoredSample], period: int) -> list[StoredSample]:
    """Slots in periods of so many ms: counts are added, of gauges the largest counts."""
    periods: dict[int, dict[int, int]] = {}
    for slot in slots:
        sums = periods.setdefault(slot.at - slot.at % period, {})
        for name, value in slot.figures.items():
            one = sums.get(name, 0)
            sums[name] = max(one, value) if name >= FIRST_GAUGE else one + value
    return [StoredSample(at, sums) for at, sums in sorted(periods.items())]


def throughput(processor: str, samples: Sequence[Sample], seconds: float) -> Throughput:
    """What samples of the last `seconds` say."""
    waits, runs = [0] * BUCKETS, [0] * BUCKETS
    completed = failed = retried = 0
    for sample in samples:
        waits, runs = merged(waits, sample.waits), merged(runs, sample.runs)
        completed += sample.completed
        failed += sample.failed + sample.timeout
        retried += sample.retried
    return Throughput(
        processor=processor,
        seconds=seconds,
        completed=completed / seconds,
        failed=failed / seconds,
        retried=retried / seconds,
        wait_p50=quantile(waits, 0.5),
        wait_p95=quantile(waits, 0.95),
        run_p50=quantile(runs, 0.5),
        run_p95=quantile(runs, 0.95),
        run_p99=quantile(runs, 0.99),
    )
