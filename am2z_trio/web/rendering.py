"""Templates, rendered whole, with those of their blocks taken out that pages show live."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.runtime import Context

from am2z_trio.model.logs import Log
from am2z_trio.model.telling import trace_of

from .words import FILTERS

logger: Final = Log("am2z_trio.web")

FOLDER: Final = Path(__file__).parent / "templates"
MACROS: Final = "parts/ui.html"
FRAME: Final = "base.html"
"""What surrounds every page; its blocks can be shown live, too."""
NOT_SHOWN: Final = '<p class="note">This part cannot be shown now; the console has logged why.</p>'

_Block = Callable[[Context], Iterator[str]]


class Rendered(msgspec.Struct, frozen=True):
    """A page, and its live blocks alone."""

    html: str
    blocks: dict[str, str]


class Templates:
    """All of the console's templates. Everything that is shown is escaped, and a name that is not there is an
    error. `ui` is there in each of them: the macros of `parts/ui.html`."""

    def __init__(self) -> None:
        self._jinja: Final = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            # All of them are compiled once and kept.
            cache_size=-1,
        )
        # Jinja's types know its own names only.
        filters: dict[str, Any] = self._jinja.filters
        filters.update(FILTERS)
        names: dict[str, Any] = self._jinja.globals
        names["ui"] = self._jinja.get_template(MACROS).module

    def render(self, name: str, facts: Mapping[str, Any], live: Collection[str] = ()) -> Rendered:
        """One page of these facts. A live block that fails is its own affair: the others are shown, and it is
        logged."""
        template = self._jinja.get_template(name)
        context = template.new_context(dict(facts))
        taken = dict[str, str]()
        for block in live:
            if block not in context.blocks:
                # One of the frame, which is looked for only while the page is rendered.
                context.blocks[block] = [self._jinja.get_template(FRAME).blocks[block]]
            first = context.blocks[block]
            first[0] = _kept(block, first[0], taken)
        try:
            html = "".join(template.root_render_func(context))
        except Exception:
            # With the template's own lines in the traceback.
            self._jinja.handle_exception()
        return Rendered(html, taken)


def _kept(name: str, block: _Block, taken: dict[str, str]) -> _Block:
    """The same block; what it has shown is kept."""

    def shown(context: Context) -> Iterator[str]:
        try:
            text = "".join(block(context))
        except Exception as error:
            logger.error("the part %r of a page cannot be shown", name, trace=trace_of(error))
            text = NOT_SHOWN
        taken[name] = text
        yield text

    return shown
