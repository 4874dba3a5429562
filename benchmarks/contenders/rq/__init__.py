"""RQ: one job at a time, lists and a hash for each job."""

from benchmarks.contenders.contender import Contender

CONTENDER = Contender(
    name="rq",
    kind="python",
    folder="rq",
    package="rq",
    worker=(
        *("{bin}/rq", "worker", "--worker-class", "rq.worker.SimpleWorker", "--url", "{url}"),
        *("--quiet", "--path", "{root}"),
    ),
    client=("{python}", "-m", "benchmarks.contenders.rq.client"),
    settings={
        "concurrency": "1: a worker runs one job at a time",
        "worker": "SimpleWorker: the default one forks for each job, which takes longer",
        "prefetch": "none",
        "acknowledged": "when the job has ended; a lost worker's jobs go to a registry (default)",
        "results": "kept for 500 s (default)",
        "encoding": "pickle (default)",
    },
    bulk=True,
    share=0.1,
    concurrency=1,
)
