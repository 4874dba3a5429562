"""The guide's notebook, run by a real kernel."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "notebooks.md"


def test_the_guides_notebook_runs_cell_by_cell(tmp_path):
    text = GUIDE.read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    cells = [
        nbformat.v4.new_code_cell("from am2z_trio import Context"),
        *map(nbformat.v4.new_code_cell, code),
    ]
    # A loop runs where the cells do.
    cells.insert(
        1, nbformat.v4.new_code_cell("import asyncio; print(asyncio.get_running_loop().is_running())")
    )
    notebook = nbformat.v4.new_notebook(cells=cells)
    path = tmp_path / "guide.ipynb"
    nbformat.write(notebook, path)
    ran = NotebookClient(nbformat.read(path, as_version=4), timeout=120, kernel_name="python3").execute()
    said = ["".join(one.get("text", "") for one in cell.outputs) for cell in ran.cells]
    assert said[1:4] == ["True\n", "42\n", "1.0\n"], said
