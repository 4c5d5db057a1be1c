"""All files that are made from the records.

The records decide and the views only repeat, so views can be deleted and written again at any time.
"""

import re
from pathlib import Path

from ..files import write_durably
from ..lms.gradescope import gradescope
from .feedback import feedback_page
from .gradebook import gradebook, totals
from .junit import junit
from .record import Record

OURS = re.compile(r".+-[0-9a-f]{10}\.(html|json)")  # the pages, named after a submission's id


def write_views(results: Path, records: list[Record], counted: dict[str, bool]) -> None:
    """Write every view of the records to the folder `results`, each file whole.

    counted: whether a submission counts for its student and lab, by id. Pages of submissions that
    no longer have a record are deleted. Raises GradingError.
    """
    records = sorted(records, key=order)
    write_durably(results / "gradebook.csv", gradebook(records, counted))
    write_durably(results / "totals.csv", totals(records, counted))
    write_durably(results / "junit.xml", junit(records))
    for record in records:
        name, counts = record.submission, counted.get(record.submission, False)
        write_durably(results / "feedback" / f"{name}.html", feedback_page(record, counts))
        write_durably(results / "gradescope" / f"{name}.json", gradescope(record))
    delete_stale_pages(results, {record.submission for record in records})


def delete_stale_pages(results: Path, known: set[str]) -> None:
    """Delete the pages of submissions without a record; other files stay."""
    for path in [*results.glob("feedback/*.html"), *results.glob("gradescope/*.json")]:
        if OURS.fullmatch(path.name) and path.stem not in known:
            path.unlink(missing_ok=True)


def order(record: Record) -> tuple[str, ...]:
    student = record.student
    return student.casefold(), student, record.lab or "", record.file, record.submission
