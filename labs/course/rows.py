"""Rows of a sweep, picked and put in order. What is picked counts in the provenance of results."""

from collections.abc import Callable, Sequence

from .errors import CourseError

Row = dict[str, object]
What = str | Callable[[Row], object]  # the name of a result, or a function of a row


def value_of(row: Row, what: What) -> object:
    return what(row) if callable(what) else row[what]


def matching(rows: Sequence[Row], **wanted: object) -> list[Row]:
    """The rows with these settings; raises CourseError if there is none."""
    found = [
        row
        for row in rows
        if all(name in row and row[name] == value for name, value in wanted.items())
    ]
    if not found:
        settings = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
        raise CourseError(f"No row has {settings or 'any settings'}: look at the sweep's grid.")
    return found


def select(rows: Sequence[Row], what: What, **wanted: object) -> list:
    """One result of every row with these settings, in the order of the rows.

    what: the name of a result, or a function of a row, such as a mean over its last steps
    Raises CourseError if no row has these settings.
    """
    return [value_of(row, what) for row in matching(rows, **wanted)]


def grouped(rows: Sequence[Row], by: str, what: What, **wanted: object) -> dict[object, list]:
    """As select(), in one list for each value of the setting `by`: a curve over that setting."""
    found = {}
    for row in matching(rows, **wanted):
        found.setdefault(row[by], []).append(value_of(row, what))
    return found


def lowest(rows: Sequence[Row], what: What, *by: str) -> dict[object, Row]:
    """For each value of the setting `by`, or each tuple of values of several, the row with the
    lowest result; the later one of two equals."""
    best = {}
    for row in rows:
        key = tuple(row[name] for name in by) if len(by) > 1 else row[by[0]]
        if key not in best or value_of(row, what) <= value_of(best[key], what):
            best[key] = row
    return best
