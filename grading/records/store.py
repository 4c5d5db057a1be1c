"""The records on disk: one file for each submission, and which of them a run can keep.

A run that was interrupted resumes where it stopped, because a submission with a current record is
left alone. A record is current if it is final and was made from the same bytes, with the same
checks and the same secret. If only some exercises' checks have changed, only those exercises are
graded again, and the old record is kept beside the new one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..files import write_durably
from ..lms.submission import Submission
from ..text import clean
from .record import (
    ExerciseResult,
    Marks,
    Provenance,
    Record,
    Result,
    Status,
    from_json,
    to_json,
    without_timing,
)


def folder(results: Path) -> Path:
    return results / "records"


def path_of(results: Path, submission: str) -> Path:
    return folder(results) / f"{submission}.json"


def read(path: Path) -> Record | None:
    """The record in a file; None if there is none or it is unreadable, so that it is made again."""
    try:
        return from_json(path.read_text("utf-8"))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def read_all(results: Path) -> list[Record]:
    return [record for path in sorted(folder(results).glob("*.json")) if (record := read(path))]


def record_of(submission: Submission, marks: Marks) -> Record:
    return Record(
        **vars(marks), submission=submission.id, sha256=submission.sha256, **origin_of(submission)
    )


def origin_of(submission: Submission) -> dict:
    """What this run knows of a submission's origin, as fields of a record."""
    return {
        "student": clean(submission.student, 200),
        "file": clean(submission.file, 500),
        "attempt": submission.attempt,
        "modified": submission.modified,
        "doubt": clean(submission.doubt, 300),
    }


def write(results: Path, record: Record) -> None:
    """Store the record. If its marks differ from the old one's, that moves to records/earlier."""
    path = path_of(results, record.submission)
    if (old := read(path)) and without_timing(old) != without_timing(record):
        earlier = folder(results) / "earlier"
        number = len(list(earlier.glob(f"{record.submission}.*.json"))) + 1
        write_durably(earlier / f"{record.submission}.{number}.json", path.read_bytes())
    write_durably(path, to_json(record))


def with_origin(record: Record, submission: Submission) -> Record:
    """The record with the submission's origin as this run sees it.

    A run over a part of the folder does not see a student's namesakes, and a copied file may have
    another time. So records of other runs are brought up to date before they are shown.
    """
    return replace(record, **origin_of(submission))


def keep(results: Path, records: Sequence[Record]) -> None:
    """Write those records whose origin or doubt is not the one on the disk."""
    for record in records:
        path = path_of(results, record.submission)
        if read(path) != record:
            write_durably(path, to_json(record))


# What is still to be done -------------------------------------------------------------------------


def pending(
    results: Path, submissions: Sequence[Submission], provenance: Provenance, checks: dict[str, str]
) -> list[Submission]:
    """The submissions without a current record.

    provenance: of this run. checks: course.digest_of_checks, by exercise.
    """
    return [
        submission
        for submission in submissions
        if not is_current(read(path_of(results, submission.id)), submission, provenance, checks)
    ]


def is_current(
    record: Record | None, submission: Submission, provenance: Provenance, checks: dict[str, str]
) -> bool:
    if record is None or record.status is Status.NEEDS_REVIEW:
        return False
    return is_same_task(record, submission, provenance) and all(
        checks.get(exercise.id) == exercise.checks_sha256 for exercise in record.exercises
    )


def is_same_task(record: Record, submission: Submission, provenance: Provenance) -> bool:
    """Whether the record was made from the same bytes with the same secret, at the same tier."""
    return (
        record.sha256 == submission.sha256
        and record.grader.seed == provenance.seed
        and record.grader.tier == provenance.tier
    )


def exercises_to_keep(
    record: Record | None, submission: Submission, provenance: Provenance, checks: dict[str, str]
) -> dict[str, ExerciseResult]:
    """The exercises of an earlier record whose checks have not changed since, by id."""
    if record is None or not is_same_task(record, submission, provenance):
        return {}
    return {
        exercise.id: exercise
        for exercise in record.exercises
        if checks.get(exercise.id) == exercise.checks_sha256
        and all(check.result is not Result.NEEDS_REVIEW for check in exercise.checks)
    }


# What has changed ---------------------------------------------------------------------------------


class Change(NamedTuple):
    """An exercise whose points a later run changed; "" where a record does not have it."""

    student: str
    record: str
    exercise: str
    before: int | str
    now: int | str


def changes(results: Path) -> list[Change]:
    found = []
    for path in sorted((folder(results) / "earlier").glob("*.json")):
        old, new = read(path), read(path_of(results, path.name.rsplit(".", 2)[0]))
        if not old or not new:
            continue
        before = {exercise.id: exercise.earned for exercise in old.exercises}
        now = {exercise.id: exercise.earned for exercise in new.exercises}
        found += [
            Change(new.student, path.stem, id, before.get(id, ""), now.get(id, ""))
            for id in {**before, **now}
            if before.get(id) != now.get(id)
        ]
    return found


def explain(record: Record, provenance: Provenance, checks: dict[str, str]) -> str:
    """The record in words, and which of the things that it depends on have changed since."""
    reason = f": {record.reason}" if record.reason else ""
    lines = [
        f"{record.student}, {record.lab or 'no lab'}: {record.earned} of {record.points} points, "
        f"{record.status}{reason}",
        f"file {record.file}",
        f"graded {record.run.date} at tier {record.grader.tier} in {record.run.seconds} s",
    ]
    for exercise in record.exercises:
        lines.append(f"\n{exercise.id}: {exercise.earned}/{exercise.points}, {exercise.state}")
        lines += [f"  note: {flag}" for flag in exercise.flags]
        for check in exercise.checks:
            mistake = f" — {check.mistake}" if check.mistake else ""
            lines.append(f"  {check.earned}/{check.points} {check.name}: {check.result}{mistake}")
    lines += [f"note: {note}" for note in filter(None, [record.doubt, *record.notes])]
    changed = [
        name
        for name in ("engine", "limits", "lock", "tier", "versions")
        if getattr(record.grader, name) != getattr(provenance, name)
    ]
    changed += [
        f"the checks of {exercise.id}"
        for exercise in record.exercises
        if checks.get(exercise.id) != exercise.checks_sha256
    ]
    since = f"changed since: {', '.join(changed)}" if changed else "nothing has changed since"
    return "\n".join([*lines, "", since])
