"""gradebook.csv, one line per record, and totals.csv, one line per student."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from ..text import text_cell
from .counting import needs_attention
from .feedback import remarks
from .record import Record

COLUMNS = [
    "student",
    "lab",
    "earned",
    "points",
    "percent",
    "status",
    "reason",
    "flags",
    "counts",
    "submission",
    "file",
]
# Excel reads a CSV file as UTF-8 only if it begins with a byte-order mark. Python reads it as
# utf-8-sig; pandas and LibreOffice need no setting.
BOM = "\ufeff"


def as_csv(lines: Iterable[Sequence]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return BOM + text.getvalue()


def gradebook(records: list[Record], counted: dict[str, bool]) -> str:
    """One line per record. Without a final mark, earned and percent are empty: no sum sees a 0."""
    return as_csv([COLUMNS, *(gradebook_line(record, counted) for record in records)])


def gradebook_line(record: Record, counted: dict[str, bool]) -> list:
    has_share = record.is_graded and record.points
    return [
        text_cell(record.student, 120),
        text_cell(record.lab or "", 60),
        record.earned if record.is_graded else "",
        record.points,
        percent(record.earned, record.points) if has_share else "",
        record.status,
        text_cell(record.reason, 300),
        text_cell(" · ".join(filter(None, [record.doubt, *remarks(record)])), 1000),
        yes_or_no(counted.get(record.submission, False)),
        record.submission,
        text_cell(record.file, 300),
    ]


def percent(earned: int, points: int) -> Decimal:
    """100 · earned / points, rounded half up to two places."""
    return (Decimal(100 * earned) / points).quantize(Decimal("0.01"), ROUND_HALF_UP)


def yes_or_no(truth: bool) -> str:
    return "yes" if truth else "no"


def totals(records: list[Record], counted: dict[str, bool]) -> str:
    """One line per student: points by lab, their sum, the points to be had, needs attention."""
    labs = sorted({record.lab for record in records if record.lab})
    by_student: dict[str, list[Record]] = {}
    for record in records:
        by_student.setdefault(record.student, []).append(record)
    head = ["student", *(text_cell(lab, 60) for lab in labs), "earned", "points", "needs attention"]
    lines = [totals_line(student, own, labs, counted) for student, own in by_student.items()]
    return as_csv([head, *lines])


def totals_line(
    student: str, records: list[Record], labs: list[str], counted: dict[str, bool]
) -> list:
    counting = {
        record.lab: record for record in records if record.lab and counted.get(record.submission)
    }
    earned = {lab: record.earned for lab, record in counting.items() if record.is_graded}
    return [
        text_cell(student, 120),
        *(earned.get(lab, "") for lab in labs),
        sum(earned.values()) if earned else "",  # nothing graded is not a 0
        sum(record.points for record in counting.values()),
        yes_or_no(needs_attention(records, counted)),
    ]
