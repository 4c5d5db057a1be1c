"""Store the README's picture: the comparison of all methods on one task, as lab 09 draws it.

    python tools/readme_picture.py

Its ink is a grey that is readable on light and on dark. Run it again when the lab was run again.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "chapters/_ext"))

from stored_figures import figures_of  # noqa: E402 (chapters/_ext must be on the path first)

BEGINS = "The comparison. Gold, left"
PICTURE = ROOT / "chapters/assets/comparison.svg"


def figure() -> str:
    """The SVG that the lab stores now. Raises ValueError unless there is exactly one of these words."""
    found = figures_of(ROOT / "labs/09_pipelines.ipynb")
    svgs = [svg for description, svg, _ in found if description.startswith(BEGINS)]
    if len(svgs) != 1:
        raise ValueError(f"{len(svgs)} figures of lab 09 begin with {BEGINS!r}: name one")
    return svgs[0] + "\n"


if __name__ == "__main__":
    PICTURE.write_text(figure(), "utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: written")
