"""Looks into what is built, and uses what is installed of it: `nox -s package`. Needs no other package.

`package.py contents SDIST WHEEL` or, where the wheel and no extra is installed, `package.py installed`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_AT_FIRST = frozenset({
    *("redis", "opentelemetry", "prometheus_client", "starlette", "jinja2", "hypercorn", "rich", "cronsim"),
    *("fastapi", "pydantic", "numpy", "multiprocessing.pool", "pytest"),
    # Of the two hosts the one that runs is loaded; what speaks with Redis, by the first `QueueRuntime`.
    *("trio", "asyncio", "ssl", "hiredis", "am2z_trio.wire", "am2z_trio.store.redis", "am2z_trio.embedded"),
    *("email", "importlib.metadata", "multiprocessing", "http", "unittest", "runpy", "zoneinfo", "zipfile"),
    *("am2z_trio.cli", "am2z_trio.web", "am2z_trio.admin", "am2z_trio.testing", "am2z_trio.contrib"),
})  # fmt: skip
"""Modules that take their time, or are an extra's: `import am2z_trio` loads none of them."""


def loaded_at_first() -> list[str]:
    """Which of these are loaded all the same; a fresh interpreter is asked."""
    program = "import sys, am2z_trio; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return sorted(NOT_AT_FIRST & set(done.stdout.split()))


OWN_AT_FIRST = 300
"""Modules of the package that `import am2z_trio` loads, at most. Each takes a third of a millisecond."""


def own_at_first() -> int:
    """How many there are."""
    program = "import sys, am2z_trio; print(sum(name.startswith('am2z_trio') for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


def contents(source: str, wheel: str) -> None:
    """The wheel has the package as git has it, and nothing else; the sdist what one builds of."""
    listed = subprocess.run(
        ["git", "ls-files", "am2z_trio", "am2z_pytest.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {name for name in listed if (ROOT / name).exists()}, packed.symmetric_difference(listed)
    for end in ("py.typed", ".lua", "watchdog.sh", ".css", ".js", ".svg", ".html"):
        assert any(name.endswith(end) for name in packed), end
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert set(listed) <= inside
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "noxfile.py", "PKG-INFO"} <= inside
    assert not [
        name for name in inside if re.search(r"__pycache__|\.py[co]$|^\.(?!gitignore)|/\.\w+_cache/", name)
    ]
    print(f"{len(packed)} files in the wheel, {len(inside)} in the sdist")


def installed() -> None:
    """It imports without an extra, says its version, and does what the README shows."""
    import am2z_trio

    own = Path(am2z_trio.__file__).parent
    assert own.parent != ROOT, f"this is the tree, not what is installed: {own}"
    assert am2z_trio.__version__ == metadata.version("am2z-trio")
    assert (own / "py.typed").exists()
    for name in am2z_trio.__all__:
        getattr(am2z_trio, name)
    assert not (found := loaded_at_first()), found
    assert own_at_first() <= OWN_AT_FIRST, own_at_first()
    code = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S
    )[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("42\n", ""), done
    told = subprocess.run(
        [Path(sys.executable).parent / "am2z", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert told.startswith(f"am2z {am2z_trio.__version__} "), told
    print(told.strip())


if __name__ == "__main__":
    if sys.argv[1] == "contents":
        contents(*sys.argv[2:])
    else:
        installed()
