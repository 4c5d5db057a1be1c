"""The figures that a notebook stores, for the site and for the README's picture."""

import json
from pathlib import Path

SVG = "image/svg+xml"


def figures_of(notebook: Path) -> list[tuple[str, str, str]]:
    """(description, SVG, id of its cell) of each figure. Raises OSError if there is no notebook."""
    return [
        ("".join(output["data"].get("text/plain", "")), "".join(output["data"][SVG]), cell["id"])
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]
        for output in cell.get("outputs", ())
        if SVG in output.get("data", {})
    ]
