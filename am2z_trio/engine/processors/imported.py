"""How another process finds a processor: by the module that it is in, and its name there.

The program's own file, which Python calls `__main__`, is found by its path, and is run in the other process
under another name, so that what stands below `if __name__ == "__main__":` is not: as with the standard
library's `multiprocessing`.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, cast

from am2z_trio.model.callables import as_written
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.form_of import name_of_type
from am2z_trio.model.telling import attempt

from .processor import Processor

MAIN: Final = "__am2z_main__"
"""What the program's own file is called in other processes."""


class Place(NamedTuple):
    """Where a processor is found."""

    module: str
    file: str
    """Of the program's own module, if it was started by its file; else empty."""
    attribute: str


def place_of(processor: Processor[Any]) -> Place:
    """Where another process finds it; `ConfigurationError` if none can."""
    if os.name != "posix":
        raise _refused(processor, f"run_in={processor.run_in!r} needs a POSIX system")
    fn, where = as_written(processor.fn), f"run_in={processor.run_in!r}"
    there = "in another interpreter" if processor.run_in == "interpreter" else "in another process"
    name: str = getattr(fn, "__module__", None) or type(fn).__module__
    module = sys.modules.get(name)
    if module is None:
        raise _refused(processor, f"{where}: its module {name!r} cannot be imported")
    attribute = _attribute_of(processor, module)
    if attribute is None:
        written = getattr(fn, "__qualname__", type(fn).__qualname__)
        raise _refused(
            processor,
            f"{where} imports it {there}, and {name}.{written} cannot be found by that name: it "
            "must be a function or a Processor at the top of its module, no lambda and nothing in a function",
        )
    if processor.run_in == "interpreter":
        _require_loadable(processor, name)
    if name != "__main__":
        return Place(name, "", attribute)
    spec = getattr(module, "__spec__", None)
    if spec is not None:
        # Started by `python -m`.
        return Place(spec.name, "", attribute)
    file = getattr(module, "__file__", None)
    if not file or not Path(file).is_file():
        raise _refused(
            processor,
            f"{where} imports it in another process, and this program has no file: put it into a module",
        )
    return Place(MAIN, str(Path(file).resolve()), attribute)


def found_at(place: Place, name: str) -> Processor[Any]:
    """The processor of this name that is there. Imports its module, which may raise anything."""
    module = _main(place.file) if place.file else importlib.import_module(place.module)
    found: Any = module
    for part in place.attribute.split("."):
        found = getattr(found, part)
    if not isinstance(found, Processor):
        found = Processor(found, name=name)
    return cast("Processor[Any]", found)


def _main(file: str) -> ModuleType:
    module = sys.modules.get(MAIN)
    if module is None:
        import runpy

        module = ModuleType(MAIN)
        module.__file__ = file
        # Before it is run: what it defines looks itself up there.
        sys.modules[MAIN] = sys.modules["__main__"] = module
        try:
            vars(module).update(runpy.run_path(file, run_name=MAIN))
        except BaseException:
            del sys.modules[MAIN]
            raise
    return module


def _attribute_of(processor: Processor[Any], module: ModuleType) -> str | None:
    """By which name of the module the processor, or else its function, is found."""
    written: str = getattr(as_written(processor.fn), "__qualname__", "")
    for name, value in [*vars(module).items()]:
        if value is processor:
            return name
    if not written or "<" in written:
        return None
    found: Any = module
    for part in written.split("."):
        found = attempt(partial(getattr, found, part), None)
    if found is processor:
        return written
    if found is not processor.fn:
        return None
    # It is made of its function there, and has to be of the same type of states.
    again = attempt(lambda: Processor(processor.fn, name=processor.name).state_type, None)
    if again != processor.state_type:
        raise _refused(
            processor,
            f"run_in={processor.run_in!r} makes it of its function anew there, which knows nothing of "
            f"state_type={name_of_type(processor.state_type)}: annotate its first parameter so",
        )
    return written


def made_interpreter() -> Any:
    """Another interpreter of this process, which finds the modules that this one does."""
    interpreter = importlib.import_module("concurrent.interpreters").create()
    interpreter.exec(f"import sys; sys.path[:] = {[*map(str, sys.path)]!r}")
    return interpreter


def _require_loadable(processor: Processor[Any], module: str) -> None:
    if module == "__main__":
        raise _refused(
            processor,
            "run_in='interpreter' imports it in another interpreter, and this program's own file cannot be: "
            "put it into a module that does not import am2z_trio",
        )
    interpreter = made_interpreter()
    try:
        interpreter.exec(f"import importlib; importlib.import_module({module!r})")
    except Exception as failed:
        why = getattr(getattr(failed, "excinfo", None), "formatted", None) or str(failed)
        raise _refused(
            processor,
            f"run_in='interpreter': its module {module!r} cannot be imported in another interpreter ({why}). "
            "One that imports am2z_trio or msgspec cannot; put the function into a module that does not, or "
            "take run_in='process'",
        ) from failed
    finally:
        interpreter.close()


def _refused(processor: Processor[Any], why: str) -> ConfigurationError:
    return ConfigurationError(
        f"processor {processor.name!r}: {why}",
        context={"processor": processor.name, "run_in": processor.run_in},
    )
