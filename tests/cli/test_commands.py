"""The command line as a person uses it: real processes, real files, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until

JOBS = """
import anyio, msgspec
from am2z_trio import processor

class Order(msgspec.Struct):
    customer: str
    n: int

@processor
async def price(order: Order) -> Order:
    if order.n == 5:
        raise ValueError("five is not for sale")
    return Order(order.customer, order.n * 2)

@processor
async def slow(order: Order) -> Order:
    await anyio.sleep(0.01)
    return order
"""


def am2z(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "am2z_trio.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for package in ("alpha", "beta", "gamma"):
        (root / package / "sub").mkdir(parents=True)
        for index in range(7):
            text = f"# {package} ünïcode {index}\n" * (index + 1) + "no newline at the end"
            (root / package / "sub" / f"m{index}.py").write_text(text, encoding="utf-8")
    (root / "single.py").write_text("x = 1\n")
    (root / "notes.txt").write_text("not counted")
    (root / "empty.py").write_text("")
    return root


def plain_loop(root: Path) -> dict[str, dict[str, int]]:
    """The same figures without the engine."""
    sessions: dict[str, dict[str, int]] = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        figures = sessions.setdefault(
            parts[0] if len(parts) > 1 else "(modules)", {"files": 0, "lines": 0, "words": 0, "bytes": 0}
        )
        data = path.read_bytes()
        figures["files"] += 1
        figures["lines"] += data.count(b"\n")
        figures["words"] += len(data.split())
        figures["bytes"] += len(data)
    return sessions


@pytest.mark.parametrize("where", ["embedded", "redis", "local"])
def test_demo_counts_what_a_plain_loop_counts(tree: Path, where: str, request: pytest.FixtureRequest):
    options = {"embedded": [], "local": ["--local"]}.get(where)
    if options is None:
        options = ["--redis", request.getfixturevalue("redis_url")]
    done = am2z("demo", tree, "--json", *options)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    expected = plain_loop(tree)
    assert figures["sessions"] == expected
    assert figures["total"] == {name: sum(s[name] for s in expected.values()) for name in figures["total"]}
    assert (figures["jobs"], figures["failed"]) == (23 + 4, 0)


def test_demo_on_a_real_package_and_its_table():
    root = Path(json.__file__).parent.parent / "asyncio"
    done = am2z("demo", root, "--local")
    assert done.returncode == 0, done.stderr
    expected = plain_loop(root)
    total = next(line for line in done.stdout.splitlines() if line.startswith("total"))
    assert f"{sum(s['words'] for s in expected.values()):,}" in total
    assert "jobs/s" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "/no/such/place"), "/no/such/place"),
        (("demo", "--redis", "redis://localhost:1"), "localhost:1"),
        (("demo", "--redis", "http://localhost"), "redis://"),
        (("run", "nowhere:price", "--input", "a", "--output", "b"), "nowhere"),
        (("run", "json:loads", "--input", "a", "--output", "b"), "not a processor"),
        (("run", "json", "--input", "a", "--output", "b"), "MODULE:PROCESSOR"),
        (("worker", "json:loads"), "not a runtime"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], words: str):
    done = am2z(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("am2z: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_teaches_by_example():
    done = am2z("--help")
    assert "am2z run app.jobs:price --input orders.jsonl" in done.stdout
    assert "errors file" in am2z("run", "--help").stdout


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def test_run_keeps_order_and_reports_bad_lines(jobs: Path):
    lines = [json.dumps({"customer": f"c{n % 3}", "n": n}) for n in range(500)]
    lines[100:100] = ["not json", "", '{"customer": 7, "n": 1}', '{"n": 1}', "[1]"]
    (jobs / "in.jsonl").write_text("\n".join(lines))
    done = am2z(
        "run", "jobs:price", "--input", "in.jsonl", "--output", "out.jsonl", "--session-key", "customer",
        cwd=jobs,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    results = [json.loads(line) for line in (jobs / "out.jsonl").read_text().splitlines()]
    assert [result["n"] for result in results] == [2 * n for n in range(500) if n != 5]
    errors = [json.loads(line) for line in (jobs / "out.errors.jsonl").read_text().splitlines()]
    assert [error["line"] for error in errors] == [6, 101, 103, 104, 105]
    assert "five is not for sale" in errors[0]["reason"]
    assert "not JSON" in errors[1]["reason"]
    assert "$.customer" in errors[2]["reason"]
    assert "customer" in errors[3]["reason"]
    assert "line 101: not JSON" in done.stderr
    assert "504 lines: 499 results" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_lines(jobs: Path, number: signal.Signals):
    with (jobs / "in.jsonl").open("w") as lines:
        for n in range(20_000):
            lines.write(json.dumps({"customer": "a", "n": n}) + "\n")
    command = [sys.executable, "-m", "am2z_trio.cli", "run", "jobs:slow", "--local"]
    command += ["--input", "in.jsonl", "--output", "out.jsonl"]
    out = jobs / "out.jsonl"
    with subprocess.Popen(command, cwd=jobs, stderr=subprocess.PIPE, env={**os.environ}) as process:
        wait_until(lambda: out.exists() and out.stat().st_size > 1000, "some results")
        process.send_signal(number)
        assert process.stderr is not None
        stderr = process.stderr.read()
        assert process.wait(30) == 130
    assert b"Traceback" not in stderr
    text = out.read_text()
    assert text.endswith("\n")
    written = [json.loads(line)["n"] for line in text.splitlines()]
    assert written == list(range(len(written)))
    assert 0 < len(written) < 20_000
    assert (jobs / "out.errors.jsonl").read_text() == ""


def test_run_does_not_overwrite_its_input(jobs: Path):
    (jobs / "in.jsonl").write_text('{"customer": "a", "n": 1}\n')
    done = am2z("run", "jobs:price", "--local", "--input", "in.jsonl", "--output", "in.jsonl", cwd=jobs)
    assert done.returncode == 2
    assert "overwritten" in done.stderr
    assert (jobs / "in.jsonl").read_text() == '{"customer": "a", "n": 1}\n'
