"""What an answer to `/metrics` holds: text that Prometheus reads, or OpenMetrics where that is asked for."""

from __future__ import annotations

from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


class Exposition(NamedTuple):
    """One answer."""

    content_type: str
    body: bytes


def exposition(*collectors: Collector, accept: str = "") -> Exposition:
    """All series of these collectors. `accept` is what the request's header says. Safe from any thread."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    try:
        encode, content_type = choose_encoder(accept[:MOST_ACCEPTED])
    except (TypeError, ValueError):
        # A version that is no number, say: whoever asks so is answered as one who says nothing.
        encode, content_type = choose_encoder("")
    return Exposition(content_type, encode(registry))


MOST_ACCEPTED: Final = 1_000
"""Characters of the header that are looked at."""
