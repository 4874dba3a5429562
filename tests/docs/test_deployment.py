"""The files that docs/guides/deployment.md shows are such files, and the commands in them are ours."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from am2z_trio.cli.main import parser

TEXT = (Path(__file__).parents[2] / "docs/guides/deployment.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```(ini|yaml|dockerfile)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
(UNIT,) = [text for kind, text in SHOWN if kind == "ini" and "[Service]" in text]
(DOCKERFILE,) = [text for kind, text in SHOWN if kind == "dockerfile"]


class Unit(configparser.RawConfigParser):
    """A unit of systemd, as far as it is a file of sections and settings."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def asked(command: list[str]) -> Any:
    """What the command line makes of it; an argument that it does not know ends the test."""
    assert Path(command[0]).name == "am2z"
    return parser().parse_args(command[1:])


def test_the_unit_waits_longer_than_a_drain_takes():
    unit = Unit()
    unit.read_string(UNIT)
    worker = asked(shlex.split(unit["Service"]["ExecStart"].replace("%i", "01")))
    assert int(unit["Service"]["TimeoutStopSec"]) > worker.grace
    assert worker.listen == "127.0.0.1:9401"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path):
    path = tmp_path / "shop-worker@.service"
    # What is checked, too: that programs and users are there.
    path.write_text(UNIT.replace("/srv/shop/.venv/bin/am2z", "/bin/true").replace("User=shop", "User=root"))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert not [line for line in done.stderr.splitlines() if path.name in line]


def test_the_container_runs_a_worker_itself():
    lines = DOCKERFILE.splitlines()
    assert lines[0].startswith("FROM ")
    assert all(re.match(r"(FROM|WORKDIR|COPY|RUN|USER|ENV|EXPOSE|CMD) ", line) for line in lines)
    worker = asked(json.loads(lines[-1].removeprefix("CMD ")))
    (port,) = re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)
    assert worker.listen == f"0.0.0.0:{port}"
    # Both who runs containers and who runs units is as patient as a drain takes.
    waits = re.findall(r"(?:stop_grace_period: |terminationGracePeriodSeconds: )(\d+)", TEXT)
    assert len(waits) == 2
    assert all(int(seconds) > worker.grace for seconds in waits)


def test_the_yaml_is_yaml():
    yaml = pytest.importorskip("yaml")
    texts = [text for kind, text in SHOWN if kind == "yaml"]
    assert [[*yaml.safe_load(text)] for text in texts] == [["services", "volumes"], ["spec"]]
