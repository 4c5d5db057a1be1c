"""Which of several submissions by one student for one lab counts."""

from collections import defaultdict
from collections.abc import Sequence

from ..errors import GradingError
from ..text import clean
from .record import Record

POLICIES = ("latest", "best")


def which_count(records: Sequence[Record], policy: str) -> dict[str, bool]:
    """Whether each submission counts, by id: for each student and lab one does.

    policy: "latest", or "best", the one with the most points among those that are graded; if none
    is, the latest counts.
    """
    if policy not in POLICIES:
        raise GradingError(f"There is no policy {clean(str(policy), 40)!r}: take latest or best.")
    groups = defaultdict(list)
    for record in records:
        groups[record.student, record.lab].append(record)
    counting = {chosen(group, policy).submission for group in groups.values()}
    return {record.submission: record.submission in counting for record in records}


def chosen(group: list[Record], policy: str) -> Record:
    graded = [record for record in group if record.is_graded]
    if policy == "best" and graded:
        return max(graded, key=lambda record: (record.earned, newness(record)))
    return max(group, key=newness)


def newness(record: Record) -> tuple[int, float, str]:
    """Sorts by attempt, then time, then name. An LMS numbers only what was uploaded again."""
    return -1 if record.attempt is None else record.attempt, record.modified, record.file
