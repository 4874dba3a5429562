"""arq: asyncio, a sorted set that is polled."""

from benchmarks.contenders.contender import CONCURRENCY, POLL, Contender

CONTENDER = Contender(
    name="arq",
    kind="python",
    folder="arq",
    package="arq",
    worker=("{bin}/arq", "benchmarks.contenders.arq.worker.WorkerSettings"),
    client=("{python}", "-m", "benchmarks.contenders.arq.client"),
    settings={
        "concurrency": f"{CONCURRENCY} a process",
        "prefetch": "none; the worker looks every 0.5 s (default)",
        "acknowledged": "when the job has ended; a lost worker's jobs run again (default)",
        "results": f"kept for 1 h (default); a caller looks every {POLL:g} s",
        "encoding": "pickle (default)",
        "event loop": "asyncio",
    },
    share=0.15,
)
