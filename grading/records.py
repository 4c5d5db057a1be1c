"""The records: one file for each submission, written whole, and all that a run needs to know of the
runs before.

A run that was cut off goes on where it stopped, since a submission with a current record is left
alone. A record is current if it is final and was made from the same bytes, with the same checks and
the same secret. Where only some exercises' checks have changed, those alone are graded again, and
the old record is kept beside the new one.
"""

import json
from pathlib import Path

from .files import write_whole
from .intake import Submission


def folder(results: Path) -> Path:
    return results / "records"


def path_of(results: Path, submission: str) -> Path:
    return folder(results) / f"{submission}.json"


def read(path: Path) -> dict | None:
    """A record, or None if there is none or it cannot be read: it is then made again."""
    try:
        record = json.loads(path.read_text("utf-8"))
        record["submission"], record["sha256"], record["grader"]["seed"], list(record["exercises"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record


def read_all(results: Path) -> list[dict]:
    return [record for path in sorted(folder(results).glob("*.json")) if (record := read(path))]


def write(results: Path, record: dict) -> None:
    """Put the record in its place; one that it differs from moves to records/earlier."""
    path = path_of(results, record["submission"])
    if (old := read(path)) and marks_of(old) != marks_of(record):
        earlier = folder(results) / "earlier"
        number = len(list(earlier.glob(f"{record['submission']}.*.json"))) + 1
        write_whole(earlier / f"{record['submission']}.{number}.json", path.read_bytes())
    put(path, record)


def put(path: Path, record: dict) -> None:
    write_whole(path, json.dumps(record, indent=1, ensure_ascii=True) + "\n")


def update(results: Path, record: dict, about: dict) -> dict:
    """The record with what `about` says beside the marks, also on the disk."""
    if record | about != record:
        put(path_of(results, record["submission"]), record | about)
    return record | about


def marks_of(record: dict) -> dict:
    """A record without what differs from run to run."""
    return {name: value for name, value in record.items() if name != "run"}


# What is still to be done -------------------------------------------------------------------------


def pending(
    results: Path, submissions: list[Submission], provenance: dict, checks: dict[str, str]
) -> list[Submission]:
    """The submissions without a current record.

    provenance: of the run, as records name it under "grader" · checks: what judge.digest_of_checks
    says, by exercise
    """
    return [
        submission
        for submission in submissions
        if not is_current(read(path_of(results, submission.id)), submission, provenance, checks)
    ]


def is_current(
    record: dict | None, submission: Submission, provenance: dict, checks: dict[str, str]
) -> bool:
    if (
        record is None
        or record["status"] == "needs review"
        or not same_task(record, submission, provenance)
    ):
        return False
    return all(
        checks.get(exercise["id"]) == exercise["checks_sha256"] for exercise in record["exercises"]
    )


def same_task(record: dict, submission: Submission, provenance: dict) -> bool:
    """Whether it was made from the same file with the same secret, at the same tier."""
    return (
        record["sha256"] == submission.sha256
        and record["grader"]["seed"] == provenance["seed"]
        and record["grader"]["tier"] == provenance["tier"]
    )


def kept_exercises(
    record: dict | None, submission: Submission, provenance: dict, checks: dict[str, str]
) -> dict:
    """The results of an earlier record that stay as they are, by exercise: their checks have not
    changed since."""
    if record is None or not same_task(record, submission, provenance):
        return {}
    return {
        exercise["id"]: exercise
        for exercise in record["exercises"]
        if checks.get(exercise["id"]) == exercise["checks_sha256"]
        and all(check["result"] != "needs review" for check in exercise["checks"])
    }


# What has changed ---------------------------------------------------------------------------------


def changes(results: Path) -> list[list]:
    """For each exercise whose marks a later run changed: student, submission, exercise, before,
    now; one line each."""
    lines = []
    for path in sorted((folder(results) / "earlier").glob("*.json")):
        old, new = read(path), read(path_of(results, path.name.rsplit(".", 2)[0]))
        if not old or not new:
            continue
        before = {exercise["id"]: exercise["earned"] for exercise in old["exercises"]}
        now = {exercise["id"]: exercise["earned"] for exercise in new["exercises"]}
        lines += [
            [new["student"], path.stem, id, before.get(id, ""), now.get(id, "")]
            for id in {**before, **now}
            if before.get(id) != now.get(id)
        ]
    return lines


def explain(record: dict, provenance: dict, checks: dict[str, str]) -> str:
    """A record in words, and what of that which it depends on is no longer the same."""
    lines = [
        f"{record['student']}, {record['lab'] or 'no lab'}: {record['earned']} of {record['points']} points, "
        f"{record['status']}{': ' * bool(record['reason'])}{record['reason']}",
        f"file {record['file']}",
        f"graded {record['run']['date']} at tier {record['grader']['tier']} in {record['run']['seconds']} s",
    ]
    for exercise in record["exercises"]:
        lines.append(
            f"\n{exercise['id']}: {exercise['earned']}/{exercise['points']}, {exercise['state']}"
        )
        lines += [f"  note: {flag}" for flag in exercise["flags"]]
        lines += [
            f"  {check['earned']}/{check['points']} {check['name']}: {check['result']}"
            + f" — {check['mistake']}" * bool(check["mistake"])
            for check in exercise["checks"]
        ]
    lines += [f"note: {note}" for note in record["notes"]]
    same = {name: record["grader"].get(name) == provenance[name] for name in provenance}
    changed = [name for name in sorted(same) if not same[name]]
    changed += [
        f"the checks of {exercise['id']}"
        for exercise in record["exercises"]
        if checks.get(exercise["id"]) != exercise["checks_sha256"]
    ]
    return "\n".join(
        [
            *lines,
            "",
            f"changed since: {', '.join(changed)}" if changed else "nothing has changed since",
        ]
    )
