"""The command line as a person uses it: real processes, real files, real signals."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from am2z_trio.cli.display import progress, say, table
from am2z_trio.store.redis import keys
from tests.support.servers import RedisProcess
from tests.support.waiting import wait_until

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
async def stuck(order: Order) -> Order:
    await anyio.sleep_forever()
    return order

@processor
async def same(state: dict) -> dict:
    return state

@processor
async def slow(order: Order) -> Order:
    await anyio.sleep(0.01)
    return order

@processor
async def over(state: dict) -> dict:
    n = state["n"]
    share = 1 / n if n else float("inf")
    return {"n": n, "shares": [share], "keyed": {} if n < 3 else {"inf": None}}
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


def test_demo_on_a_part_of_the_standard_library_and_its_table():
    root = Path(sysconfig.get_paths()["stdlib"]) / "asyncio"
    done = am2z("demo", root, "--local")
    assert done.returncode == 0, done.stderr
    expected = plain_loop(root)
    total = next(line for line in done.stdout.splitlines() if line.startswith("total"))
    figures = ("files", "lines", "words", "bytes")
    assert total.split() == ["total", *(f"{sum(s[name] for s in expected.values()):,}" for name in figures)]
    assert "jobs/s, 0 failed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "/no/such/place"), "/no/such/place"),
        (("demo", __file__, "--local"), "not a directory"),
        (("demo", "--redis", "http://localhost"), "redis://"),
        (("run", "nowhere:price", "--input", "a", "--output", "b"), "nowhere"),
        (("run", "json:loads", "--input", "a", "--output", "b"), "not a processor"),
        (("run", "json:nothing", "--input", "a", "--output", "b"), "no 'nothing' in json"),
        (("run", "json", "--input", "a", "--output", "b"), "MODULE:PROCESSOR"),
        (("worker", "json:loads"), "not a runtime"),
        (("worker", "json"), "MODULE:RUNTIME"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], words: str):
    one_line(am2z(*arguments), words)


def test_a_redis_that_is_away_is_one_line():
    one_line(am2z("demo", "--redis", "redis://localhost:1"), "localhost:1", status=5)


def one_line(done: subprocess.CompletedProcess[str], *words: str, status: int = 2) -> None:
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("am2z: ")
    for word in words:
        assert word in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_demo_of_an_empty_directory_is_one_line(tmp_path: Path):
    one_line(am2z("demo", tmp_path, "--local"), "no *.py files", str(tmp_path))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("QueueRuntime('redis://localhost:1')", ("no processors",)),
        ("serving('redis://localhost:1')", ("localhost:1", "embedded=True")),
        ("serving('unix:///no/such.sock')", ("/no/such.sock",)),
        ("serving('http://localhost')", ("http://localhost", "redis://")),
        ("serving('redis://:secret@localhost:1')", ("localhost:1",)),
        ("1 / 0", ("ZeroDivisionError", "app.py:10")),
        ("__import__('no_such_module')", ("no_such_module", "app.py:10")),
        ("= 1", ("SyntaxError", "app.py:10")),
    ],
)
def test_a_worker_that_cannot_serve_says_why_in_one_line(tmp_path: Path, code: str, words: Sequence[str]):
    (tmp_path / "app.py").write_text(f"""\
from am2z_trio import QueueRuntime, processor
@processor
async def same(n: int) -> int:
    return n
def serving(url):
    runtime = QueueRuntime(url)
    runtime.register(same)
    return runtime

runtime = {code}
""")
    done = am2z("worker", "app:runtime", cwd=tmp_path)
    one_line(done, *words, status=5 if "not reachable" in done.stderr else 2)
    assert "secret" not in done.stderr


@pytest.mark.parametrize("grace", ["-1", "nan", "inf"])
def test_a_bad_grace_is_one_line(tmp_path: Path, grace: str):
    (tmp_path / "app.py").write_text("from am2z_trio import QueueRuntime\nruntime = QueueRuntime()\n")
    one_line(am2z("worker", "app:runtime", f"--grace={grace}", cwd=tmp_path), "--grace")


def test_help_teaches_by_example():
    done = am2z("--help")
    assert "am2z run app.jobs:price --input orders.jsonl" in done.stdout
    assert "errors file" in am2z("run", "--help").stdout


@pytest.mark.parametrize("command", ["demo", "run", "worker"])
def test_the_help_of_each_command_has_its_examples(command: str):
    _, found, examples = am2z(command, "--help").stdout.partition("examples:\n")
    assert found
    assert all(line.startswith(f"  am2z {command} ") for line in examples.splitlines())


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


@pytest.mark.parametrize("where", ["local", "redis"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_lines(
    jobs: Path, number: signal.Signals, where: str, request: pytest.FixtureRequest
):
    with (jobs / "in.jsonl").open("w") as lines:
        for n in range(20_000):
            lines.write("not json\n" if n % 10 == 9 else json.dumps({"customer": "a", "n": n}) + "\n")
    command = [sys.executable, "-m", "am2z_trio.cli", "run", "jobs:slow"]
    command += ["--input", "in.jsonl", "--output", "out.jsonl"]
    command += ["--local"] if where == "local" else ["--redis", request.getfixturevalue("redis_url")]
    out = jobs / "out.jsonl"
    with subprocess.Popen(command, cwd=jobs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: out.exists() and out.stat().st_size > 1000, "some results")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr.decode()
    assert b"Traceback" not in stderr
    text = out.read_text()
    assert text.endswith("\n")
    written = [json.loads(line)["n"] for line in text.splitlines()]
    assert written == [n for n in range(20_000) if n % 10 != 9][: len(written)]
    assert 0 < len(written) < 18_000
    text = (jobs / "out.errors.jsonl").read_text()
    assert text.endswith("\n")
    refused = [json.loads(line)["line"] for line in text.splitlines()]
    assert refused == list(range(10, 10 * len(refused) + 1, 10))
    # Both files end at about the same line: errors are written in their turn.
    assert abs(10 * len(refused) - written[-1]) <= 11


def test_an_interrupted_run_leaves_no_job_behind(jobs: Path, redis_url: str, redis_server: RedisProcess):
    (jobs / "in.jsonl").write_text('{"customer": "a", "n": 1}\n' * 200)
    command = [sys.executable, "-m", "am2z_trio.cli", "run", "jobs:stuck", "--redis", redis_url]
    command += ["--input", "in.jsonl", "--output", "out.jsonl"]

    def queue() -> dict[str, int]:
        with redis_server.client() as admin:
            meta: Any = admin.hgetall(keys.spell("am2z", "meta", "stuck"))
        return {name.decode(): int(value) for name, value in meta.items() if value.isdigit()}

    with subprocess.Popen(command, cwd=jobs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: queue().get("active", 0) > 0, "jobs to run")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130, stderr.decode()
    left = queue()
    assert (left.get("active", 0), left.get("waiting", 0)) == (0, 0), left


def test_demo_does_not_wait_for_a_pipe_in_the_tree(tree: Path):
    os.mkfifo(tree / "alpha" / "gate.py")
    done = am2z("demo", tree, "--local", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["files"] == 23


def test_run_does_not_overwrite_its_input(jobs: Path):
    (jobs / "in.jsonl").write_text('{"customer": "a", "n": 1}\n')
    done = am2z("run", "jobs:price", "--local", "--input", "in.jsonl", "--output", "in.jsonl", cwd=jobs)
    assert done.returncode == 2
    assert "overwritten" in done.stderr
    assert (jobs / "in.jsonl").read_text() == '{"customer": "a", "n": 1}\n'


ODD_LINES = [
    (b'\xef\xbb\xbf{"a": "first"}', None),  # a byte order mark, as Windows editors write
    (b'{"a": NaN}', "not JSON"),
    (b'{"a": 36893488147419103232}', "64 bits"),
    (b'{"a": "\xff"}', "not JSON"),
    (b'{"a": "\\ud800"}', "not JSON"),
    (b"[" * 100_000, "recursion"),
    (b'{"a": "crlf"}\r', None),
    (b"null", "null is no state"),
    (b'{"a": "' + b"x" * 2_000_000 + b'"}', "16,384 bytes"),  # too long for a session's id
    (b'{"a": "big", "b": "' + b"x" * 2_000_000 + b'"}', "max_state_bytes"),
    (b'{"a": true}', "field 'a'"),
    (b'{"a": null}', "field 'a'"),
    (b'{"a": ""}', "field 'a'"),
    (b'{"b": 1}', "field 'a'"),
    (b"17", "field 'a'"),
    (b'{"a": 3}', None),  # and no newline at the end
]


def test_run_survives_hostile_lines(jobs: Path):
    (jobs / "in.jsonl").write_bytes(b"\n".join(line for line, _ in ODD_LINES))
    done = am2z(
        "run", "jobs:same", "--local", "--input", "in.jsonl", "--output", "out.jsonl", "--session-key", "a",
        cwd=jobs,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    results = [json.loads(line)["a"] for line in (jobs / "out.jsonl").read_text().splitlines()]
    assert results == ["first", "crlf", 3]
    errors = [json.loads(line) for line in (jobs / "out.errors.jsonl").read_text().splitlines()]
    wrong = {number: reason for number, (_, reason) in enumerate(ODD_LINES, start=1) if reason is not None}
    assert [error["line"] for error in errors] == list(wrong)
    for error in errors:
        assert wrong[error["line"]] in error["reason"]
        assert len(error["input"]) <= 500
        assert f"line {error['line']}: {error['reason']}" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_without_bad_lines_exits_0(jobs: Path, redis_url: str):
    (jobs / "in.jsonl").write_text('{"customer": "a", "n": 1}\n' * 3)
    done = am2z(
        "run", "jobs.py:price", "--redis", redis_url, "--input", "in.jsonl", "--output", "out.jsonl",
        cwd=jobs,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (jobs / "out.jsonl").read_text() == '{"customer":"a","n":2}\n' * 3
    assert (jobs / "out.errors.jsonl").read_text() == ""
    assert "none failed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--input", "missing", "--output", "out"), "no file 'missing'"),
        (("--input", ".", "--output", "out"), "no file '.'"),
        (("--input", "in", "--output", "no/dir/out"), "--output"),
        (("--input", "in", "--output", "."), "--output"),
        (("--input", "in", "--output", "out", "--errors", "no/dir/bad"), "--errors"),
        (("--input", "in", "--output", "out", "--errors", "in"), "overwritten"),
        (("--input", "in", "--output", "link"), "overwritten"),
        (("--input", "in", "--output", "out", "--errors", "./out"), "at once"),
        (("--input", "in", "--output", "/dev/full", "--errors", "bad"), "No space left"),
    ],
)
def test_files_that_cannot_be_used_are_one_line(jobs: Path, arguments: Sequence[str], words: str):
    (jobs / "in").write_text('{"customer": "a", "n": 1}\n')
    (jobs / "link").symlink_to("in")
    one_line(am2z("run", "jobs:price", "--local", *arguments, cwd=jobs), words)
    assert (jobs / "in").read_text() == '{"customer": "a", "n": 1}\n'


def test_a_full_disk_leaves_whole_lines(jobs: Path):
    (jobs / "in.jsonl").write_text('{"customer": "a", "n": 1}\n' * 200)
    command = [sys.executable, "-m", "am2z_trio.cli", "run", "jobs:price", "--local"]
    command += ["--input", "in.jsonl", "--output", "out.jsonl"]
    # The limit cuts a line in two, as a disk that fills up does.
    done = subprocess.run(
        command,
        cwd=jobs, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )  # fmt: skip
    one_line(done, "out.jsonl", "cannot be written")
    assert (jobs / "out.jsonl").read_text() == '{"customer":"a","n":2}\n' * (1000 // 23)


FORGED = "gone\n\x1b[2Jam2z: all 7 lines: 7 results\x9b1m\u202e"


def test_what_a_job_says_forges_no_line_and_moves_no_cursor(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(
        f"from am2z_trio import processor\n\n@processor(name={FORGED!r})\n"
        f"async def fails(n: int) -> int:\n    raise ValueError({FORGED!r})\n"
    )
    (tmp_path / "in.jsonl").write_text("1\n2\n")
    target = ("jobs:fails", "--input", "in.jsonl", "--output", "out.jsonl")
    ran = am2z("run", *target, "--local", cwd=tmp_path)
    assert ran.returncode == 1
    told = [line for line in ran.stderr.split("\n") if line and not line.startswith("  ")]
    assert sorted(line.split(":")[0] for line in told) == [
        *["WARNING am2z_trio.jobs"] * 2,
        "line 1",
        "line 2",
    ]
    assert "gone\\n\\x1b[2Jam2z" in ran.stderr
    for said in (ran.stdout, ran.stderr):
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(said)


def test_names_of_folders_and_processors_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(table(("session", "files"), [(FORGED, 1), ("b\udcff", 2)]).split("\n")) == 4
    say(f"serves {FORGED}", error=True)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "\x1b" not in told


@pytest.mark.parametrize("rich", [True, False])
def test_a_processors_name_is_no_markup_and_moves_no_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rich: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress("[bold]a[/bold]\x07\x1b]0;title\x07", 2) as advance:
        advance(2)
    told = capsys.readouterr().err
    assert "[bold]a[/bold]\\x07\\x1b]0;title" in told
    assert "\x07" not in told
    assert "\x1b]" not in told


def test_an_infinity_is_refused_with_its_line(jobs: Path) -> None:
    (jobs / "in.jsonl").write_text('{"n": 1}\n{"n": 0}\n{"n": 4}\n')
    done = am2z("run", "jobs:over", "--local", "--input", "in.jsonl", "--output", "out.jsonl", cwd=jobs)
    assert done.returncode == 1, done.stderr
    results = [json.loads(line) for line in (jobs / "out.jsonl").read_text().splitlines()]
    assert results == [
        {"n": 1, "shares": [1.0], "keyed": {}},
        {"n": 4, "shares": [0.25], "keyed": {"inf": None}},
    ]
    (refused,) = [json.loads(line) for line in (jobs / "out.errors.jsonl").read_text().splitlines()]
    assert refused["line"] == 2
    assert "infinity at $['shares'][0]" in refused["reason"]


RUN = [sys.executable, "-m", "am2z_trio.cli", "run", "jobs:price", "--local"]
LINES = b'\xef\xbb\xbf{"customer": "a", "n": 1}\n\nbad\n{"customer": "a", "n": 2}'


@pytest.mark.parametrize("where", ["-", "/dev/stdin"])
@pytest.mark.parametrize("how", ["a pipe", "a file"])
def test_run_reads_standard_input(jobs: Path, where: str, how: str) -> None:
    command = [*RUN, "--input", where, "--output", "out.jsonl"]
    if how == "a pipe":
        done = subprocess.run(command, cwd=jobs, input=LINES, capture_output=True, timeout=60, check=False)
    else:
        (jobs / "in.jsonl").write_bytes(LINES)
        with (jobs / "in.jsonl").open("rb") as file:
            done = subprocess.run(command, cwd=jobs, stdin=file, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert (jobs / "out.jsonl").read_text() == '{"customer":"a","n":2}\n{"customer":"a","n":4}\n'
    assert json.loads((jobs / "out.errors.jsonl").read_text())["line"] == 3
    assert b"3 lines: 2 results in out.jsonl, 1 failed, see out.errors.jsonl" in done.stdout


@pytest.mark.parametrize("where", ["-", "/dev/stdout", "/dev/fd/1"])
def test_standard_output_has_results_alone(jobs: Path, where: str) -> None:
    (jobs / "in.jsonl").write_bytes(LINES)
    expected = b'{"customer":"a","n":2}\n{"customer":"a","n":4}\n'
    command = [*RUN, "--input", "in.jsonl", "--output", where]
    done = subprocess.run(command, cwd=jobs, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, expected), done.stderr
    assert b"line 3: not JSON" in done.stderr
    assert done.stderr.endswith(b"3 lines: 2 results, 1 failed\n")
    # What a shell has opened to append to is appended to.
    (jobs / "all.jsonl").write_bytes(b"before\n")
    with (jobs / "all.jsonl").open("ab") as file:
        subprocess.run(command, cwd=jobs, stdout=file, stderr=subprocess.DEVNULL, timeout=60, check=False)
    assert (jobs / "all.jsonl").read_bytes() == b"before\n" + expected
    assert sorted(path.name for path in jobs.iterdir() if path.suffix == ".jsonl") == [
        "all.jsonl",
        "in.jsonl",
    ]


def test_what_comes_through_a_pipe_line_by_line_leaves_line_by_line(jobs: Path) -> None:
    command = [*RUN, "--input", "-", "--output", "-"]
    with subprocess.Popen(
        command, cwd=jobs, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for n in (1, 2, 3):
            process.stdin.write(b'{"customer": "a", "n": %d}\n' % n)
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["n"] == 2 * n
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said


def test_run_takes_named_pipes(jobs: Path) -> None:
    os.mkfifo(jobs / "in")
    os.mkfifo(jobs / "out")
    command = [*RUN, "--input", "in", "--output", "out"]
    with subprocess.Popen(command, cwd=jobs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with (jobs / "in").open("wb") as source:
            source.write(LINES)
        results = (jobs / "out").read_bytes()
        said, wrong = process.communicate(timeout=30)
    assert process.returncode == 1, wrong
    assert results.count(b"\n") == 2
    assert b"3 lines: 2 results in out, 1 failed" in said
    assert not (jobs / "out.errors.jsonl").exists()


def test_a_pipe_that_nobody_fills_can_be_left(jobs: Path) -> None:
    os.mkfifo(jobs / "in")
    command = [*RUN, "--input", "in", "--output", "out.jsonl"]
    with subprocess.Popen(command, cwd=jobs, stderr=subprocess.PIPE) as process:
        # It has been opened to be read as soon as it can be opened to be written without waiting.
        writer: list[int] = []

        def opened() -> bool:
            try:
                writer.append(os.open(jobs / "in", os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return False
            return True

        wait_until(opened, "the run to open its input")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        os.close(writer[0])
    assert process.returncode == 130
    assert b"Traceback" not in said


def test_the_version_is_told() -> None:
    done = am2z("--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("am2z ")
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in done.stdout


def test_a_tree_with_odd_names_is_counted_and_moves_no_cursor(tree: Path) -> None:
    odd = [b"esc\x1b[2J", b"line\nline", b"not text \xff", "right to left \u202e".encode()]
    for name in odd:
        folder = tree / os.fsdecode(name)
        folder.mkdir()
        (folder / "m.py").write_text("x = 1\n")
    ran = am2z("demo", tree, "--local")
    # A name that is no text cannot be sent: its file and its session fail, the others do not.
    assert ran.returncode == 1
    assert ran.stderr.count("failed: ") == 2
    assert "Traceback" not in ran.stderr
    assert "esc\\x1b[2J" in ran.stdout
    for said in (ran.stdout, ran.stderr):
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(said)
    rows = ran.stdout.split("\n")
    assert len([row for row in rows if row.startswith("line")]) == 1


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@[h",
        "redis://:hunter2",
        "redis+unix://:hunter2@/s?password=hunter2",
        "redis://hunter2@127.0.0.1:1",
    ],
)
def test_no_password_is_said(url: str, tree: Path) -> None:
    (tree / "app.py").write_text(f"from am2z_trio import QueueRuntime\n\nruntime = QueueRuntime({url!r})\n")
    for ran in (am2z("demo", tree, "--redis", url), am2z("worker", "app:runtime", cwd=tree)):
        assert ran.returncode == (5 if "not reachable" in ran.stderr else 2)
        assert ran.stderr.startswith("am2z: ")
        assert "hunter2" not in ran.stdout + ran.stderr
