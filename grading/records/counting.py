"""Which of several submissions by one student for one lab counts."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from ..errors import GradingError
from ..text import clean
from .record import Record

POLICIES = ("latest", "best")
SAME_TIME = 1.0  # seconds: nearer ones are not those of uploads, but of a copy of the whole folder


def which_count(records: Sequence[Record], policy: str) -> dict[str, bool]:
    """Whether each submission counts, by id: for each student and lab one does.

    policy: "latest", or "best", the one with the most points among those that are graded; if none
    is, the latest counts.
    """
    if policy not in POLICIES:
        raise GradingError(f"There is no policy {clean(str(policy), 40)!r}: take latest or best.")
    counting = {chosen(group, policy).submission for group in groups_of(records)}
    return {record.submission: record.submission in counting for record in records}


def groups_of(records: Sequence[Record]) -> list[list[Record]]:
    """The records of each student for each lab."""
    groups = defaultdict(list)
    for record in records:
        groups[record.student, record.lab].append(record)
    return list(groups.values())


def chosen(group: list[Record], policy: str) -> Record:
    return max(first_choice(group, policy), key=name_order)


def first_choice(group: list[Record], policy: str) -> list[Record]:
    """Those among which only the names of the files decide."""
    graded = [record for record in group if record.is_graded]
    if policy == "best" and graded:
        most = max(record.earned for record in graded)
        group = [record for record in graded if record.earned == most]
    attempt = max(map(attempt_of, group))
    group = [record for record in group if attempt_of(record) == attempt]
    newest = max(record.modified for record in group)
    return [record for record in group if newest - record.modified < SAME_TIME]


def attempt_of(record: Record) -> int:
    """An LMS numbers only what was uploaded again."""
    return -1 if record.attempt is None else record.attempt


def name_order(record: Record) -> tuple:
    """Sorts files by name as people do: part 10 after part 9, and x (1).ipynb after x.ipynb."""
    stem = re.sub(r"\.ipynb\Z", "", record.file, flags=re.IGNORECASE)
    pieces = re.split("([0-9]+)", stem.casefold())
    numbers = [piece.lstrip("0") for piece in pieces[1::2]]
    pieces[1::2] = [(len(number), number) for number in numbers]
    return pieces, record.file


# What needs a person ------------------------------------------------------------------------------


def with_ties_doubted(records: Sequence[Record], policy: str) -> list[Record]:
    """The records; one that counts only by its name, though others have other marks, says so."""
    doubts = {}
    for group in groups_of(records):
        tied, one = first_choice(group, policy), chosen(group, policy)
        if len({(record.earned, record.status) for record in tied}) > 1:
            doubts[one.submission] = (
                f"{len(tied)} submissions have the same time, and this one counts because its "
                "name is the last: check which is the latest"
            )
    return [
        replace(record, doubt=record.doubt or doubts.get(record.submission, ""))
        for record in records
    ]


def attention(records: Sequence[Record], counted: dict[str, bool]) -> set[str]:
    """The students whose marks are not final."""
    by_student = defaultdict(list)
    for record in records:
        by_student[record.student].append(record)
    return {student for student, own in by_student.items() if needs_attention(own, counted)}


def needs_attention(records: list[Record], counted: dict[str, bool]) -> bool:
    """Whether one student's marks are not final.

    That is so if a submission is in doubt, if one that counts is not graded or belongs to no lab,
    or if none counts for a lab.
    """
    counting = [record for record in records if counted.get(record.submission)]
    without = {record.lab for record in records} - {record.lab for record in counting}
    return (
        bool(without)
        or any(record.doubt for record in records)
        or any(not record.is_graded or not record.lab for record in counting)
    )
