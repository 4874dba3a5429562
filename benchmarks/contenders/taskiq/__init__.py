"""taskiq: asyncio, Redis streams."""

from benchmarks.contenders.contender import CONCURRENCY, POLL, Contender

CONTENDER = Contender(
    name="taskiq",
    kind="python",
    folder="taskiq",
    package="taskiq",
    worker=(
        *("{bin}/taskiq", "worker", "benchmarks.contenders.taskiq.worker:broker"),
        *("--workers", "1", "--max-async-tasks", str(CONCURRENCY), "--log-level", "WARNING"),
    ),
    client=("{python}", "-m", "benchmarks.contenders.taskiq.client"),
    settings={
        "concurrency": f"{CONCURRENCY} a process",
        "prefetch": "none beyond concurrency; 100 messages a read (default)",
        "broker": "RedisStreamBroker: its list brokers acknowledge nothing",
        "acknowledged": "when the result is saved (default); a lost worker's jobs run again",
        "results": f"kept for 1 h; a caller looks every {POLL:g} s",
        "encoding": "JSON, results pickle (default)",
        "event loop": "uvloop (where installed, default)",
    },
    share=0.2,
)
