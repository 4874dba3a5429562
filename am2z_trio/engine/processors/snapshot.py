"""The forms of processors' states, as they are written down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from am2z_trio.model.arguments import exact_arguments
from am2z_trio.model.callables import require_items
from am2z_trio.model.codec import StateCodec
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.evolution import Evolution, known_of
from am2z_trio.model.form_of import form_of, name_of_type
from am2z_trio.model.forms import StateForm, StatesSnapshot

from .dependencies import with_dependencies
from .processor import Processor, unfit


@exact_arguments
def snapshot_states(processors: Iterable[Processor[Any]]) -> StatesSnapshot:
    """The forms of the states of these processors, and of those they depend on: keep its `text` beside the
    program, and `compare_states` what was kept with what the program says now. Of a whole program:
    `snapshot_states(runtime.processors)`."""
    found = with_dependencies(require_items("processors", processors, "processors"))
    return StatesSnapshot(
        am2z_states=1, processors={name: _state_form(found[name]) for name in sorted(found)}
    )


def _state_form(processor: Processor[Any]) -> StateForm:
    kind, evolution = processor.state_type, evolution_of(processor)
    try:
        # What a runtime would refuse to register has no form.
        StateCodec(kind)
        form, records = form_of(kind)
    except ValidationError as error:
        raise unfit(processor.name, error) from error
    return StateForm(
        type=name_of_type(kind),
        version=evolution.version,
        migrates=tuple(sorted(evolution.steps)),
        form=form,
        records=records,
    )


def evolution_of(processor: Processor[Any]) -> Evolution:
    """What holds for its states: what it says itself, or what was said of their type."""
    return processor.evolution or known_of(processor.state_type)
