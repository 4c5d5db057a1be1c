"""A record: what one submission is worth, and why. Typed here, JSON on disk."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum


class Status(StrEnum):
    """What has become of a submission. Only the marks of a graded one are final."""

    GRADED = "graded"
    UNGRADABLE = "ungradable"  # there is nothing to grade
    NEEDS_REVIEW = "needs review"  # something failed that is not the learner's fault


class State(StrEnum):
    """What a submission has for one exercise."""

    ATTEMPTED = "attempted"
    NOT_ATTEMPTED = "not attempted"
    MISSING = "missing"


class Result(StrEnum):
    """What one check found."""

    PASSED = "passed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    ERROR = "error"
    MISSING = "missing"
    NOT_ATTEMPTED = "not attempted"
    NEEDS_REVIEW = "needs review"


@dataclass(frozen=True)
class CheckResult:
    """One check. mistake: what is wrong; next: what to try. Both are for the learner."""

    name: str
    points: int
    earned: int
    result: Result
    mistake: str
    next: str


@dataclass(frozen=True)
class ExerciseResult:
    """One exercise.

    flags: what an instructor may want to know about the answer. function: its published name.
    """

    id: str
    points: int
    earned: int
    state: State
    flags: tuple[str, ...]
    checks_sha256: str
    checks: tuple[CheckResult, ...]
    function: str = ""


@dataclass(frozen=True)
class Provenance:
    """What marks depend on besides the submission.

    seed, notebook, engine and lock are SHA-256 digests: of the secret, of the published notebook's
    code, of the grader, and of the locked versions of all packages.
    """

    tier: str
    limits: dict[str, float]
    seed: str
    notebook: str
    engine: str
    lock: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Timing:
    """When a submission was graded (ISO 8601, UTC), and how many seconds it took."""

    seconds: float
    date: str


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What a submission is worth. lab: None if it is not known."""

    lab: str | None
    status: Status
    reason: str
    earned: int
    points: int
    exercises: tuple[ExerciseResult, ...]
    notes: tuple[str, ...]
    grader: Provenance
    run: Timing

    @property
    def is_graded(self) -> bool:
        return self.status is Status.GRADED

    def checks(self) -> Iterator[tuple[ExerciseResult, CheckResult]]:
        for exercise in self.exercises:
            for check in exercise.checks:
                yield exercise, check


@dataclass(frozen=True, kw_only=True)
class Record(Marks):
    """Marks, and the submission they belong to: the fields of lms.submission.Submission.

    doubt: why a person has to look whether it is this student's and whether it is the one that
    counts, or "".
    """

    submission: str
    student: str
    file: str
    attempt: int | None
    modified: float
    sha256: str
    doubt: str = ""


def without_timing(record: Record) -> Record:
    """The record without what differs from run to run, for comparisons."""
    return replace(record, run=Timing(0, ""))


# JSON ---------------------------------------------------------------------------------------------

FIRST = ("submission", "student", "file", "attempt", "modified", "sha256", "doubt")  # in the file


def to_json(record: Record) -> str:
    fields = asdict(record)
    ordered = {name: fields[name] for name in FIRST} | fields
    return json.dumps(ordered, indent=1, ensure_ascii=True) + "\n"


def from_json(text: str) -> Record:
    """The record in a text. Raises ValueError, TypeError or KeyError if it holds none."""
    data = json.loads(text)
    return Record(
        **data
        | {
            "status": Status(data["status"]),
            "exercises": tuple(map(exercise_from, data["exercises"])),
            "notes": tuple(data["notes"]),
            "grader": Provenance(**data["grader"]),
            "run": Timing(**data["run"]),
        }
    )


def exercise_from(data: dict) -> ExerciseResult:
    return ExerciseResult(
        **data
        | {
            "state": State(data["state"]),
            "flags": tuple(data["flags"]),
            "checks": tuple(map(check_from, data["checks"])),
        }
    )


def check_from(data: dict) -> CheckResult:
    return CheckResult(**data | {"result": Result(data["result"])})
