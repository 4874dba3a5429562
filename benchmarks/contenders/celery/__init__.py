"""Celery: a pool of threads, lists."""

from benchmarks.contenders.contender import CONCURRENCY, Contender

CONTENDER = Contender(
    name="celery",
    kind="python",
    folder="celery",
    package="celery",
    worker=(
        *("{bin}/celery", "--app", "benchmarks.contenders.celery.worker", "worker", "--pool", "threads"),
        *("--concurrency", str(CONCURRENCY), "--loglevel", "WARNING", "--hostname", "{name}@%h"),
        *("--without-gossip", "--without-mingle"),
    ),
    client=("{python}", "-m", "benchmarks.contenders.celery.client"),
    settings={
        "concurrency": f"{CONCURRENCY} threads a process (its default, a process for each core, is no one "
        "process)",
        "prefetch": "4 times as many (default)",
        "acknowledged": "when the job has ended (acks_late; by default when it begins)",
        "results": "kept for 1 day (default)",
        "encoding": "JSON (default)",
        "gossip, mingle": "off",
    },
    share=0.1,
)
