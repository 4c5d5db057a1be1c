"""The stored rows of the book's sweeps, for tests of what declares and reads them."""

import json

from course import session


def rows_in_file(name):
    """All rows of a sweep."""
    path = session.LABS / "results" / "sweeps" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"]
