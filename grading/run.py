"""One run over a folder: what is to be done, where it goes, and what comes of it.

pytest drives the run, by the modules in session/. Nothing here needs pytest.
"""

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from . import course
from .errors import GradingError
from .files import write_durably
from .lms.intake import find_submissions, read_submission
from .lms.submission import Submission
from .marking import Marker, MarkingSettings, provenance
from .notebook import labs
from .options import Part, default_results
from .records import store
from .records.counting import attention, which_count, with_ties_doubted
from .records.gradebook import as_csv
from .records.record import Record
from .records.views import write_views
from .sandbox.tiers import tier_for

CHANGES = ["student", "record", "exercise", "points before", "points now"]


@dataclass(frozen=True)
class Run:
    """folder: of the submissions. results: the folder to which everything is written. part: which
    part of the submissions is this run's, None for all of them."""

    folder: Path
    results: Path
    settings: MarkingSettings
    part: Part | None = None


def make_run(
    folder: Path,
    results: Path | None,
    require_tier: str | None,
    secret_file: Path | None,
    part: Part | None = None,
) -> Run:
    """Raises GradingError, and its subclass TierUnmet if this machine cannot `require_tier`."""
    results = results or default_results(folder, part)
    if part and part[1] > 1 and secret_file is None:
        raise GradingError(
            "Several machines need one secret: name a file that holds it with --seed-secret."
        )
    check_place(folder, results)
    tier = tier_for(require_tier)
    return Run(folder, results, MarkingSettings(secret_of(results, secret_file), tier), part)


def check_place(folder: Path, results: Path) -> None:
    """Raises GradingError for results that would lie around the submissions, or among them."""
    there, here = folder.resolve(), results.resolve()
    if here == there or here in there.parents or (there.is_dir() and there in here.parents):
        raise GradingError(
            f"The results cannot go to {results}, which holds the submissions or lies among them: "
            "name another folder."
        )


def secret_of(results: Path, file: Path | None) -> bytes:
    """What seeds are made from: the file's content, or a secret that is kept with the results."""
    own = results / "seed-secret"
    if file is None and not own.exists():
        results.mkdir(parents=True, exist_ok=True)
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_hex(32))
    return read_secret(file or own)


def read_secret(file: Path) -> bytes:
    """Raises GradingError for a file that cannot be read or holds too few characters."""
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise GradingError(
            f"{file} cannot be read ({error.strerror}): name a file that holds the secret."
        ) from None
    if len(secret) < 16:
        raise GradingError(
            f"The secret in {file} has fewer than 16 characters: take a longer one, as from "
            "python -c 'import secrets; print(secrets.token_hex())'."
        )
    return secret


@contextlib.contextmanager
def locked(results: Path):
    """Keep other runs away from the same results. Raises GradingError if there is one."""
    import fcntl  # Windows has none, and must still be told in a sentence to use WSL

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
    """The digest of each exercise's checks."""
    return {id: course.digest_of_checks(id) for lab in labs().values() for id in lab.functions}


def plan(run: Run) -> tuple[list[Submission], list[Submission]]:
    """All submissions, and those of them that are to be marked now."""
    found = of_part(find_submissions(run.folder), run.part)
    return found, store.pending(run.results, found, provenance(run.settings, None), checks_now())


def of_part(submissions: list[Submission], part: Part | None) -> list[Submission]:
    """Every N-th of them: all see the same folder in the same order, so the parts share none."""
    return submissions if part is None else submissions[part[0] - 1 :: part[1]]


def mark(run: Run, marker: Marker, submission: Submission) -> Record:
    """Mark one submission and store its record."""
    if submission.problem:
        marks = marker.refuse(submission.problem)
    else:
        old = store.read(store.path_of(run.results, submission.id))
        now = provenance(run.settings, None)
        kept = store.exercises_to_keep(old, submission, now, checks_now())
        marks = marker.mark(read_submission(run.folder, submission), submission.file, kept)
    record = store.record_of(submission, marks)
    store.write(run.results, record)
    return record


def finish(run: Run, submissions: list[Submission], policy: str) -> list[str]:
    """Write the views. Returns a sentence for each thing that is wrong with the run itself."""
    found = {record.submission: record for record in store.read_all(run.results)}
    records = [
        store.with_origin(found[submission.id], submission)
        for submission in submissions
        if submission.id in found
    ]
    records = with_ties_doubted(records, policy)
    store.keep(run.results, records)
    problems = [
        f"{submission.file} has no record: run the same command again"
        for submission in submissions
        if submission.id not in found
    ]
    problems += [
        f"{record.submission}: its checks are not those of the lab: delete the record and run the "
        "same command again"
        for record in records
        if not is_complete(record)
    ]
    write_views(run.results, records, which_count(records, policy))
    if changes := store.changes(run.results):
        write_durably(run.results / "changes.csv", as_csv([CHANGES, *changes]))
    return problems


def is_final(run: Run, submissions: list[Submission], policy: str) -> bool:
    """Whether no mark waits for a person."""
    known = {submission.id for submission in submissions}
    records = [record for record in store.read_all(run.results) if record.submission in known]
    return not attention(records, which_count(records, policy))


def is_complete(record: Record) -> bool:
    """Whether a graded record has every exercise and every check of its lab: none may get lost."""
    if record.lab is None or not record.is_graded:
        return True
    wanted = [
        (id, check.name, check.points)
        for id in labs()[record.lab].functions
        for check in course.find(id).checks
    ]
    found = [(exercise.id, check.name, check.points) for exercise, check in record.checks()]
    return found == wanted and record.points == sum(points for *_, points in wanted)


# For processes that take part in a run ------------------------------------------------------------


def save_plan(path: Path, run: Run, submissions: list[Submission]) -> None:
    """Write the run to a file, except its secret."""
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
    data = json.loads(path.read_text())
    settings = MarkingSettings(secret, data["tier"])
    run = Run(Path(data["folder"]), Path(data["results"]), settings)
    return run, [Submission(**submission) for submission in data["submissions"]]
