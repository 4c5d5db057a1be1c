"""A learner's own copies of the labs and of the capstone's start, in the folder mine/, which git
ignores.

A copy holds the cells of the published notebook without its outputs, so that nothing is spoilt and
what has run can be told from what has not. Its first cell changes to the folder labs/, where a lab
runs. A copy that is there is never touched again: work goes on where it stopped.
"""

import hashlib
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / "mine"
PROGRAM = "capstone_start.py"  # copied as it is: it finds the labs from either folder
HOME = {
    "cell_type": "code",
    "execution_count": None,
    "id": "home",
    "metadata": {},
    "outputs": [],
    "source": "# This is your own copy: write into it. It runs in the folder of the labs.\n"
    "%cd -q ../labs",
}


def complete(labs: Path = ROOT / "labs", own: Path = OWN) -> list[str]:
    """Make the copies that are missing; returns what to tell, a sentence each.

    Raises OSError where nothing can be written.
    """
    own.mkdir(exist_ok=True)
    made, told = [], []
    for path in sorted(labs.glob("[0-9][0-9]_*.ipynb")):
        published = json.loads(path.read_text(encoding="utf-8"))
        copy = own / path.name
        if not copy.exists():
            write(copy, json.dumps(copy_of(published), indent=1, ensure_ascii=False) + "\n")
            made.append(path.name)
        elif version_of(copy) not in (None, version(published)):
            told.append(
                f"{own.name}/{path.name} is of an earlier version of the lab: to get the present "
                "one, rename yours and run make lab again."
            )
    if (labs / PROGRAM).exists() and not (own / PROGRAM).exists():
        write(own / PROGRAM, (labs / PROGRAM).read_text("utf-8"))
        made.append(PROGRAM)
    if made:
        told.insert(0, f"New copies for you in {own.name}/: {', '.join(made)}.")
    return told


def copy_of(published: dict) -> dict:
    cells = [
        cell | {"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell
        for cell in published["cells"]
    ]
    metadata = published["metadata"] | {"course_version": version(published)}
    return published | {"cells": [HOME, *cells], "metadata": metadata}


def version(published: dict) -> str:
    """A digest of the cells; what they print does not count."""
    sources = [cell["source"] for cell in published["cells"]]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:12]


def version_of(copy: Path) -> str | None:
    """The version that a copy was made from, None if it does not say."""
    try:
        return json.loads(copy.read_text(encoding="utf-8"))["metadata"]["course_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, "utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    print("\n".join(complete()))
