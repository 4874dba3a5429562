"""Processors that run in processes of their own, which have to import them from somewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import msgspec

from am2z_trio import BusinessError, Context, Processor, QueueOptions, Retry, RetryPolicy, processor


class Picture(msgspec.Struct):
    """What a job is given, and says."""

    name: str = ""
    pid: int = 0
    children: tuple[int, ...] = ()
    seen: list[Any] = []
    began: float = 0.0
    ended: float = 0.0


class OutOfPaintError(BusinessError):
    code = "OUT_OF_PAINT"


FEW = QueueOptions(concurrency=4)


@processor(run_in="process", queue=FEW)
def paint(picture: Picture) -> Picture:
    """Say which process it was. What it prints, and does to its descriptors, is its own affair."""
    print("painting", picture.name)
    os.write(1, b"\xff" * 20)
    os.write(2, b"\xff" * 20)
    sys.stderr.write("painted\n")
    picture.pid = os.getpid()
    return picture


@processor(run_in="process", queue=FEW)
def look(picture: Picture) -> None:
    picture.name = picture.name.replace("touch", "touched")


@processor(run_in="process", queue=FEW)
def take_long(picture: Picture) -> Picture:
    began = time.monotonic()
    time.sleep(0.1)
    return Picture(picture.name, os.getpid(), began=began, ended=time.monotonic())


@processor(run_in="process", queue=FEW)
def take_long_too(picture: Picture) -> Picture:
    began = time.monotonic()
    time.sleep(0.1)
    return Picture(picture.name, os.getpid(), began=began, ended=time.monotonic())


def _write_down(path: str) -> None:
    """This process, and one that it has started."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    there = Path(path)
    there.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
    there.with_suffix(".new").rename(there)


@processor(run_in="process", timeout=60)
def spin(path: str) -> str:
    _write_down(path)
    while True:
        pass


@processor(run_in="process", timeout=0.3)
def spin_for_a_while(path: str) -> str:
    _write_down(path)
    while True:
        pass


@processor(run_in="process", timeout=60)
def spin_and_heed_nothing(path: str) -> str:
    # A handler of its own would need a thread that is free to call it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    _write_down(path)
    while True:
        pass


@processor(run_in="process", timeout=60)
def spin_politely(path: str, ctx: Context) -> str:
    Path(path).write_text(str(os.getpid()))
    try:
        while True:
            ctx.check_cancelled()
            time.sleep(0.001)
    finally:
        Path(path).write_text("cleaned up")


@processor(run_in="process", timeout=60)
async def wait(path: str) -> str:
    Path(path).write_text(str(os.getpid()))
    try:
        await anyio.sleep_forever()
    finally:
        Path(path).write_text("cleaned up")
    return path


@processor(run_in="process", retry=RetryPolicy(max_attempts=2, backoff=0.01))
def crash_once(how: str, ctx: Context) -> str:
    if ctx.meta.attempt > 1:
        return f"attempt {ctx.meta.attempt}"
    if how.startswith("SIG"):
        os.kill(os.getpid(), signal.Signals[how])
    os._exit(int(how))


@processor(run_in="process")
def refuse(how: str) -> str:
    if how == "business":
        raise OutOfPaintError("no blue", context={"colour": "blue", "litres": 0})
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    raise ValueError(how)


@processor(run_in="process")
def again(n: int, ctx: Context) -> int:
    if ctx.meta.attempt == 1:
        raise Retry("not yet", defer=0.02)
    return ctx.meta.attempt


@processor(run_in="process")
def return_nonsense(n: int) -> int:
    return "nonsense"  # type: ignore[return-value]


@processor(run_in="process", timeout=50)
def use_all(picture: Picture, ctx: Context) -> Picture:
    before: Picture = ctx.sync.state.read(Picture)
    ctx.sync.state.update(lambda _: Picture("updated"), Picture)
    ctx.sync.update_progress(0.25)
    ctx.log.warning("%s of %d", "one", 2)
    ctx.emit("painted", {"pid": os.getpid()})
    ctx.check_cancelled()
    called: Picture = ctx.sync.call(paint, Picture("called"))
    by_name: Any = ctx.sync.call("paint", {"name": "by name"})
    seen = [
        before.name,
        called.name,
        called.pid > 0,
        by_name["name"],
        0 < ctx.remaining < 50,
        ctx.processor,
        ctx.session_id,
        ctx.meta.attempt,
        anyio.from_thread.run(ctx.call, paint, Picture("from a thread")).name,
    ]
    return Picture(picture.name, os.getpid(), seen=seen)


@processor(run_in="process", timeout=50)
async def use_all_async(picture: Picture, ctx: Context) -> Picture:
    seen: list[Any] = []

    async def paint_one(name: str) -> None:
        seen.append((await ctx.call(paint, Picture(name), key=name)).name)

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b"):
            tasks.start_soon(paint_one, name)
    ctx.nursery.start_soon(ctx.update_progress, 0.5)
    return Picture(picture.name, os.getpid(), seen=[sorted(seen), 0 < ctx.remaining < 50])


@processor(run_in="process")
def misuse(how: str, ctx: Context) -> str:
    if how == "inline":
        anyio.from_thread.run(lambda: ctx.call(paint, Picture(), inline=True))
    elif how == "event":
        ctx.emit("job:completed")
    elif how == "unknown":
        ctx.sync.call("nobody serves this", 1)
    elif how == "depth":
        ctx.sync.call(refuse, "business")
    return how


MISFITS: list[dict[str, Any]] = [{"timeout": "5"}, {"session": 5}, {"options": {"attempts": 2}}]


@processor(run_in="process")
def call_with_a_misfit(which: int, ctx: Context) -> int:
    return ctx.sync.call(fall, 1, **MISFITS[which])


@processor
async def call_with_a_misfit_here(which: int, ctx: Context) -> int:
    return await ctx.call(fall, 1, **MISFITS[which])


@processor(run_in="process")
def log_so_much(size: int, ctx: Context) -> int:
    ctx.log.warning("\udcff" + "x" * size)
    return size


def plain(n: int) -> int:
    return n * os.getpid()


made = Processor(plain, name="made of a function", run_in="process")


@processor(run_in="process")
def fall(n: int) -> int:
    return n + 1


@processor(run_in="process", fallback=fall)
def falls_there(n: int) -> int:
    raise ValueError("no")


@processor(run_in="process", depends_on=[fall])
def call_there(n: int, ctx: Context) -> int:
    return ctx.sync.call(fall, n)


def _begun(path: str) -> Path:
    """Say so, and to which process."""
    there = Path(path)
    there.with_suffix(".new").write_text(str(os.getpid()))
    there.with_suffix(".new").rename(there)
    return there.with_suffix(".go")


def _until_told(go: Path) -> None:
    while not go.exists():
        time.sleep(0.001)  # deep down


@processor(run_in="process", timeout=60)
def work_until_told(path: str) -> str:
    _until_told(_begun(path))
    return path


@processor(run_in="process", timeout=60)
async def keep_the_loop_until_told(path: str) -> str:
    _until_told(_begun(path))
    return path


async def _look_for(go: Path) -> None:
    while not go.exists():
        await anyio.sleep(0.001)  # beside it


@processor(run_in="process", timeout=60)
async def wait_until_told(path: str, ctx: Context) -> str:
    go = _begun(path)
    ctx.nursery.start_soon(_look_for, go, name="beside")
    await _look_for(go)
    return path


@processor(run_in="process", timeout=60)
def stop_and_go_on(path: str) -> str:
    go = _begun(path)
    os.kill(os.getpid(), signal.SIGSTOP)
    _until_told(go)
    return path


@processor
async def run_within(path: str, ctx: Context) -> str:
    return await ctx.call(work_until_told, path, inline=True)


@processor
def wait_in_a_thread(path: str) -> str:
    _until_told(_begun(path))
    return path


@processor
async def run_a_thread_within(path: str, ctx: Context) -> str:
    return await ctx.call(wait_in_a_thread, path, inline=True)
