"""The stored rows of the book's sweeps, for tests of what declares and reads them."""

import json

from course import session


def rows_in_file(name):
    """All rows of a sweep."""
    return _read(name)["rows"]


def settings_in_file(name):
    """The settings of each row."""
    stored = _read(name)
    return [{k: row[k] for k in stored["settings"] if k in row} for row in stored["rows"]]


def _read(name):
    path = session.LABS / "results" / "sweeps" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))
