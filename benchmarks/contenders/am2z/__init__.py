"""This tree's own: on Trio and on asyncio, in memory, and the bare loop that it is held against."""

from benchmarks.contenders.contender import CONCURRENCY, Contender

SETTINGS = {
    "concurrency": f"{CONCURRENCY} a process",
    "prefetch": "as the worker sees fit (default)",
    "acknowledged": "when the job has ended, in one step with its result; a lost worker's jobs run again",
    "results": "kept for 1 h (default)",
    "encoding": "msgpack, checked against the job's type",
    "in bulk": f"submit_many; for jobs of sessions a call for each, {CONCURRENCY} at once",
}


def _over_redis(name: str, host: str, *, own: bool = False) -> Contender:
    return Contender(
        name=name,
        kind="ours",
        worker=("{python}", "-m", "benchmarks.jobs", "{url}", host),
        client=("{python}", "-m", "benchmarks.contenders.am2z.client", host),
        settings={**SETTINGS, "event loop": host},
        bulk=True,
        own=own,
    )


TRIO = _over_redis("am2z_trio", "trio", own=True)
ASYNCIO = _over_redis("am2z_trio-asyncio", "asyncio")
MEMORY = Contender(
    name="am2z_trio-memory",
    kind="memory",
    alone=("{python}", "-m", "benchmarks.contenders.am2z.memory"),
    settings={**SETTINGS, "event loop": "trio", "store": "this process's memory, no Redis; one process"},
)
FLOOR = Contender(
    name="floor",
    kind="floor",
    alone=("{python}", "-m", "benchmarks.floor"),
    settings={
        "what it is": "the engine's claim and settle, 100 jobs a call, from one loop on the same connection",
        "what it leaves out": "a task, scope and context for each job, waiting callers, leases, the end of a "
        "claim that is lost: everything for which there is an engine",
    },
)
