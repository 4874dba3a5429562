"""streaQ: asyncio, Redis streams."""

from benchmarks.contenders.contender import CONCURRENCY, Contender

CONTENDER = Contender(
    name="streaq",
    kind="python",
    folder="streaq",
    package="streaq",
    worker=("{bin}/streaq", "run", "benchmarks.contenders.streaq.worker:worker"),
    client=("{python}", "-m", "benchmarks.contenders.streaq.client"),
    settings={
        "concurrency": f"{CONCURRENCY} a process",
        "prefetch": "as many as concurrency (default)",
        "acknowledged": "when the job has ended; a lost worker's jobs run again (default)",
        "results": "kept for 5 min (default)",
        "encoding": "pickle (default)",
        "event loop": "asyncio",
        "connections": "400 at most, as each caller that waits takes one (64 by default)",
    },
    bulk=True,
    share=0.25,
)
