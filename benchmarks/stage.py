"""One contender on one empty server: fills its queue, starts its workers, looks at what they do."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis

from .contenders import tally
from .contenders.contender import CONCURRENCY, HERE, NAP, ROOT, TALLY, URL, WORKERS, Contender
from .environments import Environment
from .processes import Program, ProgramError, Usage

Figures = dict[str, float]
Admin = Any
"""A blocking `redis.Redis`, whose commands redis-py types in part only."""
LONGEST: Final = 30.0
"""Seconds that a drain is watched at most: a slow one's rate is known by then."""
MOST: Final = 200_000
"""Jobs that one client enqueues: each is to be done within the run's patience."""
LOOK: Final = 0.005
"""Seconds between two looks at the tally."""
SETTLED: Final = 3.0
"""Seconds that a worker is left alone before it counts as one at rest."""


class Redis(NamedTuple):
    """What the server has done so far."""

    cpu: float
    """Seconds."""
    commands: int
    """Those inside scripts included."""
    memory: int
    """Bytes in use."""


class Moment(NamedTuple):
    """How far a drain is, and what it has cost so far."""

    done: tally.Count
    workers: Usage
    redis: Redis


class Stage:
    """What a measure is made of."""

    def __init__(
        self, contender: Contender, environment: Environment, url: str, admin: Admin, *, patience: float
    ) -> None:
        self.contender = contender
        self.admin = admin
        self._environment = environment
        self._url = url
        self._patience = patience

    def clear(self) -> None:
        """Make the server as it was when it began."""
        until = time.monotonic() + 10
        # Whoever was ended just now may not be gone from the server's point of view.
        while len(self.admin.client_list()) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        # Valkey's default frees memory meanwhile: the next one's jobs would seem to need less than none.
        self.admin.execute_command("FLUSHALL", "SYNC")
        self.admin.script_flush()
        with suppress(redis.ResponseError):
            # Redis before 7.0 has none.
            self.admin.function_flush()
        self.admin.config_resetstat()

    def redis(self) -> Redis:
        """Look at the server. Of what it says here, the looks themselves are a part: a few commands."""
        cpu = self.admin.info("cpu")
        commands = sum(row["calls"] for row in self.admin.info("commandstats").values())
        memory = self.admin.info("memory")["used_memory"]
        return Redis(cpu["used_cpu_user"] + cpu["used_cpu_sys"], commands, memory)

    def client(self, what: str, **options: object) -> Figures:
        """Run a client to its end; returns the figures it prints."""
        arguments = [what]
        for name, value in options.items():
            if value is True:
                arguments.append(f"--{name}")
            elif value:
                arguments.append(f"--{name}={value}")
        return self._figures(self._command(self.contender.client), arguments)

    def alone(self, measure: str, jobs: int) -> Figures:
        """Run what is client and worker in one."""
        return self._figures(self._command(self.contender.alone), [measure, str(jobs)])

    def _figures(self, command: Sequence[str], arguments: Sequence[str]) -> Figures:
        with (
            tempfile.TemporaryDirectory(prefix="am2z-benchmark-") as directory,
            Program([*command, *arguments], self._variables(directory, 1)) as program,
        ):
            lines = program.wait(self._patience).splitlines()
            try:
                figures: Figures = json.loads(lines[-1])
            except (IndexError, ValueError):
                raise ProgramError(f"it printed no figures{program.says()}") from None
        return figures

    def fill(self, job: str, jobs: int, *, size: int, sessions: int = 0, states: str = "") -> int:
        """Enqueue jobs as fast as it can, nobody being there to run them; returns how many there are."""
        what = "bulk" if self.contender.bulk else "enqueue"
        options = {"job": job, "size": size, "sessions": sessions, "states": states}
        parts = [min(MOST, jobs - first) for first in range(0, jobs, MOST)]
        return sum(int(self.client(what, jobs=part, **options)["jobs"]) for part in parts)

    @contextmanager
    def workers(self, count: int = 1) -> Iterator[Workers]:
        """Start so many worker processes; they end with the block."""
        with tempfile.TemporaryDirectory(prefix="am2z-benchmark-") as directory, ExitStack() as stack:
            env = self._variables(directory, count)
            programs = [
                stack.enter_context(Program(self._command(self.contender.worker, name=f"w{number}"), env))
                for number in range(count)
            ]
            yield Workers(self, programs, Path(directory), self._patience)

    def _variables(self, tally: str, workers: int) -> dict[str, str]:
        return {
            URL: self._url,
            TALLY: tally,
            WORKERS: str(workers),
            "BENCHMARK_CONCURRENCY": str(CONCURRENCY),
            "BENCHMARK_NAP": str(NAP),
            "PYTHONPATH": str(ROOT),
            "NODE_PATH": self._environment.modules,
        }

    def _command(self, command: Sequence[str], name: str = "w") -> list[str]:
        environment = self._environment
        known = {
            "python": environment.python,
            "bin": environment.bin,
            "node": environment.node,
            "here": HERE / self.contender.folder,
            "root": ROOT,
            "url": self._url,
            "name": name,
        }
        return [part.format(**known) for part in command]


class Workers:
    """Those that run."""

    def __init__(self, stage: Stage, programs: Sequence[Program], directory: Path, patience: float) -> None:
        self._stage = stage
        self._programs = programs
        self._directory = directory
        self._patience = patience

    def moment(self) -> Moment:
        """Look at all of it now."""
        return Moment(self._count(), self.usage(), self._stage.redis())

    def usage(self) -> Usage:
        """What they use, all together."""
        each = [program.usage() for program in self._programs]
        return Usage(*(sum(column) for column in zip(*each, strict=True)))

    def drain(self, jobs: int) -> tuple[Moment, Moment]:
        """Watch until so many jobs have ended, or for `LONGEST`; returns how it began and ended."""
        self._wait(lambda count: count.jobs > 0, self._patience, "begun no job")
        first = self.moment()
        with suppress(TimeoutError):
            self._wait(lambda count: count.jobs >= jobs, LONGEST)
        return first, self.moment()

    def _wait(self, met: Callable[[tally.Count], bool], seconds: float, what: str = "") -> None:
        until = time.monotonic() + seconds
        while not met(self._count()):
            for program in self._programs:
                program.require_running()
            if time.monotonic() > until:
                if not what:
                    raise TimeoutError
                says = "".join(program.says() for program in self._programs)
                raise ProgramError(f"has {what} in {seconds:g} s{says}")
            time.sleep(LOOK)

    def _count(self) -> tally.Count:
        return tally.read(self._directory)

    def idle(self, seconds: float) -> Figures:
        """What they cost while there is nothing to do."""
        time.sleep(SETTLED)
        workers, server, began = self.usage(), self._stage.redis(), time.monotonic()
        sent = heard(self._stage.admin, seconds)
        took = time.monotonic() - began
        after = self.usage()
        return {
            "commands/s": sent / took,
            "worker CPU %": (after.cpu - workers.cpu) / took * 100,
            "server CPU %": (self._stage.redis().cpu - server.cpu) / took * 100,
            "MB at rest": after.memory,
        }


def heard(admin: Admin, seconds: float) -> int:
    """How many commands clients send to the server in so many seconds."""
    where = admin.connection_pool.connection_kwargs
    told = bytearray()
    with socket.create_connection((where["host"], where["port"])) as connection:
        connection.sendall(b"MONITOR\r\n")
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            connection.settimeout(rest)
            with suppress(TimeoutError):
                told += connection.recv(65536)
    return sent(bytes(told))


def sent(told: bytes) -> int:
    """How many commands of clients are in what MONITOR has told; those that scripts run are none."""
    lines = told.split(b"\r\n")
    return sum(line.startswith(b"+") and line != b"+OK" and b" lua] " not in line for line in lines)
