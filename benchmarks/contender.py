"""One measurement in a process of its own: prints its figures as one line of JSON."""

from __future__ import annotations

import json
import sys
from functools import partial

import anyio

from . import floor, workloads


def main(workload: str, store: str, host: str, url: str, jobs: str) -> None:
    table = floor.WORKLOADS if store == "floor" else workloads.WORKLOADS
    work = partial(table[workload], url if store != "local" else "", host, int(jobs))
    print(json.dumps(anyio.run(work, backend=host)))


if __name__ == "__main__":
    main(*sys.argv[1:])
