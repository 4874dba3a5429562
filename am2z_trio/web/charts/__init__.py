"""Charts as SVG from the server: geometry by attributes, colour by classes, nothing inline that a strict
policy would refuse, and each with its figures as words or as a table.

* `sparkline` - a line in a row or below a figure
* `lines`, `layers` - several lines over time, each by itself or each upon those before
* `bar` - parts of a whole
* `life` - what became of a job, lane by lane
* `scale` - round numbers for axes; `svg` - elements, escaped
"""

from __future__ import annotations

from .bars import bar
from .sparks import sparkline
from .timelines import Line, layers, lines

__all__ = ["Line", "bar", "layers", "lines", "sparkline"]
