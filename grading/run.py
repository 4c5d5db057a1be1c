"""One run over a folder: what is to be done, where it goes, and what comes of it.

The run belongs to pytest: `test_submissions.py` is one test for each submission, pytest-xdist deals
them out, and `conftest.py` makes the judge. What is here needs no pytest.
"""

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from course import find

from . import records, sandbox
from .errors import GradingError
from .files import write_whole
from .intake import Submission, choose, find_submissions, read_submission
from .judge import Judge, Settings, digest, digest_of_checks
from .notebook import labs
from .text import clean
from .views import as_csv, write_views

CHANGES = ["student", "record", "exercise", "points before", "points now"]


@dataclass(frozen=True)
class Run:
    """folder: of the submissions · results: where everything goes · settings: of the judge"""

    folder: Path
    results: Path
    settings: Settings


def make_run(
    folder: Path, results: Path | None, require_tier: str | None, secret_file: Path | None
) -> Run:
    """Raises GradingError, and sandbox.TierUnmet where this machine is no match for
    `require_tier`."""
    results = results or folder.with_name(f"{folder.name}.graded")
    if results.resolve() == folder.resolve() or results.resolve() in folder.resolve().parents:
        raise GradingError(
            f"The results cannot go to {results}, which holds the submissions: name another folder."
        )
    tier = sandbox.tier_for(require_tier)
    return Run(folder, results, Settings(secret_of(results, secret_file), tier))


def secret_of(results: Path, file: Path | None) -> bytes:
    """What the seeds are made from: the file's content, or a secret of this run's own that is kept
    with the results."""
    own = results / "seed-secret"
    if file is None and not own.exists():
        results.mkdir(parents=True, exist_ok=True)
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(32))
    try:
        secret = (file or own).read_bytes().strip()
    except OSError as error:
        raise GradingError(
            f"{file or own} cannot be read ({error.strerror}): name a file that holds the secret."
        ) from None
    if len(secret) < 16:
        raise GradingError(
            f"The secret in {file or own} has fewer than 16 characters: take a longer one, as from "
            "python -c 'import secrets; print(secrets.token_hex())'."
        )
    return secret


@contextlib.contextmanager
def locked(results: Path):
    """Keep a second grader away from the same results. Raises GradingError if one is at work."""
    import fcntl  # not on Windows, where nothing of this runs

    results.mkdir(parents=True, exist_ok=True)
    with open(results / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GradingError(
                f"Another run is writing to {results}: wait for it, or name another folder with "
                "--results."
            ) from None
        yield


# Before, during, after ----------------------------------------------------------------------------


def checks_now() -> dict[str, str]:
    return {id: digest_of_checks(id) for lab in labs().values() for id in lab.functions}


def provenance_of(settings: Settings) -> dict:
    """What a record says of the run, the published notebook left out."""
    told = Judge(settings).provenance(None)
    del told["notebook"]
    return told


def plan(run: Run) -> tuple[list[Submission], list[Submission]]:
    """All submissions, and those of them that are to be graded now."""
    found = find_submissions(run.folder)
    return found, records.pending(run.results, found, provenance_of(run.settings), checks_now())


def grade(run: Run, judge: Judge, submission: Submission) -> dict:
    """Grade one submission and put its record in its place."""
    about = {"submission": submission.id, **whose(submission), "sha256": submission.sha256}
    if submission.problem:
        record = about | judge.refuse(submission.problem)
    else:
        old = records.read(records.path_of(run.results, submission.id))
        kept = records.kept_exercises(old, submission, provenance_of(run.settings), checks_now())
        record = about | judge.grade(read_submission(run.folder, submission), submission.file, kept)
    records.write(run.results, record)
    return record


def whose(submission: Submission) -> dict:
    """What this run knows of where a submission comes from.

    A run over a part of the folder does not see a student's namesakes, and a copy of a file may
    bear another time: so records of other runs are brought up to date before the views are made.
    """
    return {
        "student": clean(submission.student, 200),
        "file": clean(submission.file, 500),
        "attempt": submission.attempt,
        "modified": submission.modified,
    }


def finish(run: Run, submissions: list[Submission], policy: str) -> list[str]:
    """Write the views; what is wrong with the run itself, a sentence each."""
    found = {record["submission"]: record for record in records.read_all(run.results)}
    mine = [
        records.update(run.results, found[submission.id], whose(submission))
        for submission in submissions
        if submission.id in found
    ]
    problems = [
        f"{submission.file} has no record: run the same command again"
        for submission in submissions
        if submission.id not in found
    ]
    problems += [
        f"{record['submission']}: {fault}" for record in mine if (fault := incomplete(record))
    ]
    write_views(run.results, mine, choose(mine, policy))
    if lines := records.changes(run.results):
        write_whole(run.results / "changes.csv", as_csv([CHANGES, *lines]))
    return problems


def incomplete(record: dict) -> str:
    """What a graded record lacks of what its lab has, or no text: no exercise and no check may get
    lost."""
    if record["lab"] is None or record["status"] != "graded":
        return ""
    wanted = [
        (id, check.name, check.points)
        for id in labs()[record["lab"]].functions
        for check in find(id).checks
    ]
    there = [
        (exercise["id"], check["name"], check["points"])
        for exercise in record["exercises"]
        for check in exercise["checks"]
    ]
    if there != wanted or record["points"] != sum(points for *_, points in wanted):
        return (
            "its checks are not those of the lab: delete the record and run the same command again"
        )
    return ""


def trusted_files() -> str:
    """sha256 over what decides the marks; no run may change it."""
    return digest.__wrapped__(
        "grading",
        "labs/checks",
        "labs/methods",
        "labs/course",
        "labs/planning",
        "constraints.txt",
        *(f"labs/{name}.ipynb" for name in labs()),
    )


def save_plan(path: Path, run: Run, submissions: list[Submission]) -> None:
    """Write down a run for processes that take part in it."""
    path.write_text(
        json.dumps(
            {
                "folder": str(run.folder),
                "results": str(run.results),
                "tier": run.settings.tier,
                "submissions": [asdict(submission) for submission in submissions],
            }
        )
    )


def load_plan(path: Path, secret: bytes) -> tuple[Run, list[Submission]]:
    told = json.loads(path.read_text())
    run = Run(Path(told["folder"]), Path(told["results"]), Settings(secret, told["tier"]))
    return run, [Submission(**submission) for submission in told["submissions"]]
