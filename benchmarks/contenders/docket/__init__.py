"""docket: asyncio, Redis streams."""

from benchmarks.contenders.contender import CONCURRENCY, Contender

CONTENDER = Contender(
    name="docket",
    kind="python",
    folder="docket",
    package="pydocket",
    worker=(
        *("{bin}/docket", "worker", "--tasks", "benchmarks.contenders.docket.worker:tasks"),
        *("--url", "{url}", "--concurrency", str(CONCURRENCY), "--logging-level", "WARNING"),
    ),
    client=("{python}", "-m", "benchmarks.contenders.docket.client"),
    settings={
        "concurrency": f"{CONCURRENCY} a process",
        "prefetch": "none beyond concurrency",
        "acknowledged": "when the job has ended; a lost worker's jobs run again (default)",
        "results": "kept for 15 min (default)",
        "encoding": "cloudpickle (default)",
        "event loop": "asyncio",
    },
    bulk=True,
    share=0.1,
)
