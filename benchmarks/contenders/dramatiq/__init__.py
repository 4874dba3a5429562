"""dramatiq: threads, lists and a hash of messages."""

from benchmarks.contenders.contender import CONCURRENCY, Contender

CONTENDER = Contender(
    name="dramatiq",
    kind="python",
    folder="dramatiq",
    package="dramatiq",
    worker=(
        *("{bin}/dramatiq", "benchmarks.contenders.dramatiq.worker", "--path", "{root}"),
        *("--processes", "1", "--threads", str(CONCURRENCY)),
    ),
    client=("{python}", "-m", "benchmarks.contenders.dramatiq.client"),
    settings={
        "concurrency": f"{CONCURRENCY} threads a process",
        "prefetch": "twice as many (default)",
        "acknowledged": "when the job has ended; a lost worker's jobs run again (default)",
        "results": "kept for 10 min (default)",
        "encoding": "JSON (default)",
        "middleware": "AgeLimit, TimeLimit, ShutdownNotifications, Callbacks, Pipelines, Retries (default), "
        "Results",
    },
    share=0.25,
)
