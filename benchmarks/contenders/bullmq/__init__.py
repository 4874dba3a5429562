"""BullMQ, on Node.js: what the engine is held against."""

from benchmarks.contenders.contender import CONCURRENCY, Contender

CONTENDER = Contender(
    name="bullmq",
    kind="node",
    folder="bullmq",
    package="bullmq",
    worker=("{node}", "{here}/worker.cjs"),
    client=("{node}", "{here}/client.cjs"),
    settings={
        "concurrency": f"{CONCURRENCY} a process",
        "prefetch": "none: what ends a job gives the next one",
        "acknowledged": "when the job has ended; a lost worker's jobs run again (default)",
        "results": "kept for ever (default)",
        "encoding": "JSON",
    },
    bulk=True,
)
