"""Store the README's picture: the figure of lab 04 that shows gold against the divergence.

    python tools/readme_picture.py

Its ink is a grey that is readable on light and on dark. Run it again when the lab was run again.
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "labs/04_ppo.ipynb"
BEGINS = "Gold score against the square root"
PICTURE = ROOT / "chapters/assets/gold.svg"


def figure(notebook: Path = NOTEBOOK, begins: str = BEGINS) -> str:
    """The SVG of the notebook's figure whose description begins so.

    Raises ValueError unless there is exactly one.
    """
    outputs = (
        output.get("data", {})
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]
        for output in cell.get("outputs", ())
    )
    found = [
        "".join(data["image/svg+xml"])
        for data in outputs
        if "image/svg+xml" in data and "".join(data["text/plain"]).startswith(begins)
    ]
    if len(found) != 1:
        raise ValueError(f"{len(found)} figures in {notebook.name} begin with {begins!r}: name one")
    return found[0] + "\n"


if __name__ == "__main__":
    PICTURE.write_text(figure(), "utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: written")
