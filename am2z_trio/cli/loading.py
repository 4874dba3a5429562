"""`MODULE:NAME` to an object, with errors a person can act on."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from am2z_trio.model.errors import AM2ZError, ConfigurationError

T = TypeVar("T")


def load(target: str, kind: type[T], what: str) -> T:
    """Import `module.path:name` (or `file.py:name`) and return the object, which must be a `kind`.

    The current directory comes first, as with `python -m`. This runs the module's code: it is for
    what the person at the terminal names, never for what arrives in a job.
    """
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise ConfigurationError(f"{target!r}: write it as MODULE:{what.upper()}, such as app.jobs:price")
    module = _imported(target, module_name)
    found = getattr(module, name, None)
    if found is None:
        names = ", ".join(sorted(n for n, value in vars(module).items() if isinstance(value, kind)))
        raise ConfigurationError(f"{target!r}: no {name!r} in {module_name}; it has: {names or 'none'}")
    if not isinstance(found, kind):
        raise ConfigurationError(f"{target!r} is a {type(found).__name__}, not a {what}")
    return found


def load_all(target: str, kind: type[T]) -> list[T]:
    """All objects of a kind that a module has by a name, each once: `module.path`, or `file.py`."""
    found = [value for value in vars(_imported(target, target)).values() if isinstance(value, kind)]
    return [*{id(value): value for value in found}.values()]


def _imported(target: str, module_name: str) -> ModuleType:
    path = Path(module_name)
    if module_name.endswith(".py"):
        sys.path.insert(0, str(path.parent.resolve()))
        module_name = path.stem
    else:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ConfigurationError(f"{target!r}: there is no module {error.name!r}", cause=error) from None
        raise _failed(target, module_name, error) from None
    except Exception as error:
        raise _failed(target, module_name, error) from None


def _failed(target: str, module: str, error: Exception) -> AM2ZError:
    """One line about an error in the module's own code, with the place that a person has to look at."""
    if isinstance(error, AM2ZError):
        return error
    if isinstance(error, SyntaxError):
        text, place = error.msg, f"{error.filename}:{error.lineno}"
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text, place = str(error), f"{last.filename}:{last.lineno}"
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return ConfigurationError(f"{target!r}: importing {module} failed: {what} ({place})", cause=error)
