"""SAQ: asyncio, lists and a hash for each job."""

from benchmarks.contenders.contender import CONCURRENCY, Contender

CONTENDER = Contender(
    name="saq",
    kind="python",
    folder="saq",
    package="saq",
    worker=("{bin}/saq", "benchmarks.contenders.saq.worker.settings"),
    client=("{python}", "-m", "benchmarks.contenders.saq.client"),
    settings={
        "concurrency": f"{CONCURRENCY} a process",
        "prefetch": "none",
        "acknowledged": "when the job has ended; a lost worker's jobs are swept, and run again (retries=3)",
        "results": "kept for 10 min (default); a caller listens, and looks every 0.1 s",
        "encoding": "JSON (default)",
        "event loop": "asyncio",
    },
    share=0.25,
)
