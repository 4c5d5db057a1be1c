"""A submission's bytes become marks, and no line of its code runs in this process.

Each check of each exercise gets a worker of its own, so no verdict depends on what was asked
before. A check's inputs come from a seed that a secret and the submission's own bytes determine:
nobody can know them, and a second run has the same ones.
"""

import hashlib
import hmac
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

import torch

from . import course, notebook
from .course import Check, Exercise, Mistake
from .notebook import Answer, Answers, Lab
from .records.record import (
    CheckResult,
    ExerciseResult,
    Marks,
    Provenance,
    Result,
    State,
    Status,
    Timing,
)
from .sandbox.failures import (
    ForkServerGone,
    Lost,
    Raised,
    Stopped,
    Unsendable,
    Unusable,
    exception_in,
)
from .sandbox.fork_server import Connection, ForkServer
from .sandbox.limits import Limits
from .sandbox.remote import RemoteFunction
from .text import clean

MAX_LOST_WORKERS = 2  # after so many timeouts or crashes, an exercise's remaining checks fail unrun
# For one submission, before it is left to a person:
MAX_LOST_CELLS = 20  # cells left out because they do not end
MAX_WALL_TIMES = 20  # time, in units of limits.wall
REASONS = {
    Result.TIMEOUT: "your function takes too long",
    Result.CRASHED: "your function ended the program that ran it",
}
TRY_IN_NOTEBOOK = "try it in the notebook, on small inputs"
CALL_IN_NOTEBOOK = "call it in the notebook, on small inputs"
CALLS_THE_SOLUTION = "your function calls the course's own solution"
WRITE_IT = "write the body yourself"
SEE_DOCSTRING = "return what the docstring says"
MEND_CELL = "put the cell back into a form that runs in the notebook"


class NeedsReview(Exception):
    """The submission cannot be marked here: a person has to look at it."""


@dataclass(frozen=True)
class MarkingSettings:
    """How to mark.

    secret: what the checks' inputs are drawn from; None for the inputs of the notebook's own
    checks. tier: the sandbox's, of tiers.TIERS. limits: of a worker.
    """

    secret: bytes | None
    tier: str
    limits: Limits = Limits()


class Verdict(NamedTuple):
    """What one check found. lost: what it adds to the exercise's count of lost workers."""

    result: Result
    mistake: str = ""
    next: str = ""
    lost: int = 0


class Outcome(NamedTuple):
    """What the marking of one submission comes to."""

    status: Status
    reason: str = ""
    exercises: tuple[ExerciseResult, ...] = ()
    notes: tuple[str, ...] = ()


class Marker:
    """Marks submissions, one after the other. Use as a context manager: it keeps a fork server."""

    def __init__(self, settings: MarkingSettings):
        self.settings, self.stack = settings, ExitStack()

    def __enter__(self) -> "Marker":
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.stack.close()

    def start(self) -> None:
        self.fork_server = self.stack.enter_context(
            ForkServer(self.settings.tier, self.settings.limits)
        )

    def restart(self) -> None:
        self.stack.close()
        self.start()

    def mark(
        self, data: bytes, file: str = "", kept: dict[str, ExerciseResult] | None = None
    ) -> Marks:
        """The marks of a notebook. Raises nothing, whatever is in it.

        file: its name. kept: results of exercises that stay as they are, by id.
        """
        began, lab = time.monotonic(), None
        try:
            answers = notebook.find_answers(data, file)
            lab = answers.lab
            outcome = Marking(self.fork_server, self.settings, answers, data).outcome(kept or {})
        except notebook.Ungradable as reason:
            outcome = Outcome(Status.UNGRADABLE, str(reason))
        except ForkServerGone:
            self.restart()
            reason = "the submission ended the grader's own processes"
            outcome = Outcome(Status.NEEDS_REVIEW, reason)
        except NeedsReview as reason:
            outcome = Outcome(Status.NEEDS_REVIEW, str(reason))
        except Exception as error:  # whatever it is, it is not the learner's fault
            reason = f"the grader failed: {clean(repr(error), 150)}"
            outcome = Outcome(Status.NEEDS_REVIEW, reason)
        return self.marks(outcome, lab, began)

    def refuse(self, reason: str) -> Marks:
        """The marks of a submission that cannot even be read."""
        return self.marks(Outcome(Status.UNGRADABLE, reason), None, time.monotonic())

    def marks(self, outcome: Outcome, lab: Lab | None, began: float) -> Marks:
        return Marks(
            lab=lab.name if lab else None,
            points=lab.points if lab else 0,
            earned=sum(exercise.earned for exercise in outcome.exercises),
            grader=provenance(self.settings, lab),
            run=Timing(
                seconds=round(time.monotonic() - began, 3),
                date=datetime.now(UTC).isoformat(timespec="seconds"),
            ),
            **outcome._asdict(),
        )


class Marking:
    """The marking of one submission."""

    def __init__(
        self, fork_server: ForkServer, settings: MarkingSettings, answers: Answers, data: bytes
    ):
        self.fork_server, self.settings, self.answers = fork_server, settings, answers
        self.key, self.began = hashlib.sha256(data).digest(), time.monotonic()
        self.cells, self.notes = list(answers.cells), list(answers.notes)
        self.noted, self.tried, self.lost_cells = set(), set(), 0

    def outcome(self, kept: dict[str, ExerciseResult]) -> Outcome:
        exercises = tuple(
            kept.get(answer.id) or self.exercise(answer) for answer in self.answers.answers
        )
        broken = [
            check.name
            for exercise in exercises
            for check in exercise.checks
            if check.result is Result.NEEDS_REVIEW
        ]
        status = Status.NEEDS_REVIEW if broken else Status.GRADED
        reason = f"checks failed by themselves: {', '.join(broken)}" if broken else ""
        return Outcome(status, reason, exercises, tuple(self.notes))

    def exercise(self, answer: Answer) -> ExerciseResult:
        exercise = course.find(answer.id)
        verdicts = self.verdicts(answer, exercise)
        checks = tuple(map(check_result, exercise.checks, verdicts))
        return ExerciseResult(
            id=answer.id,
            points=exercise.points,
            earned=sum(check.earned for check in checks),
            state=answer.state,
            flags=answer.flags,
            checks_sha256=course.digest_of_checks(answer.id),
            checks=checks,
            function=self.answers.lab.functions[answer.id],
        )

    def verdicts(self, answer: Answer, exercise: Exercise) -> list[Verdict]:
        """A verdict for each check of the exercise; workers are used only if they are needed."""
        if answer.state is not State.ATTEMPTED:
            return [Verdict(Result(answer.state))] * len(exercise.checks)
        if answer.fault:
            return [Verdict(Result.ERROR, answer.fault, MEND_CELL)] * len(exercise.checks)
        verdicts, lost = [], 0
        for check in exercise.checks:
            if lost >= MAX_LOST_WORKERS:
                verdicts.append(verdicts[-1])
                continue
            verdicts.append(self.verdict_with_retry(answer, exercise, check))
            lost += verdicts[-1].lost
        return verdicts

    def verdict_with_retry(self, answer: Answer, exercise: Exercise, check: Check) -> Verdict:
        """A verdict, after a second try if a loss may be due to this machine.

        The machine may have been busy, or short of memory.
        """
        try:
            return self.verdict(answer, exercise, check)
        except Lost as loss:
            if not loss.doubtful:
                return verdict_on_loss(loss)
        try:
            return self.verdict(answer, exercise, check)
        except Lost as loss:
            # To wait in vain twice is enough: the exercise's other checks are not tried.
            in_vain = loss.doubtful and loss.result == "timeout"
            return verdict_on_loss(loss, lost=MAX_LOST_WORKERS if in_vain else 1)

    def verdict(self, answer: Answer, exercise: Exercise, check: Check) -> Verdict:
        """What the check finds in a worker of its own. Raises Lost."""
        seed = self.seed(answer.id, check.name)
        with self.worker(answer.id) as connection:
            try:
                reply, _ = connection.ask(
                    {
                        "order": "answer",
                        "exercise": answer.id,
                        "function": answer.function,
                        "seed": seed,
                    }
                )
                if reply.get("there") is not True:
                    absent = f"there is no function {answer.function} when all cells have run"
                    return Verdict(Result.ERROR, absent)
                course.run_check(check, RemoteFunction(connection), seed)
            except Mistake as mistake:
                return Verdict(Result.FAILED, course.one_line(str(mistake)), mistake.next)
            except (Raised, Stopped) as error:
                line = f" (line {error.line} of its cell)" if error.line else ""
                if error.kind == course.SolutionWithheld.__name__:
                    return Verdict(Result.ERROR, f"{CALLS_THE_SOLUTION}{line}", WRITE_IT)
                raised = f"your function raised {error.kind}{line}"
                return Verdict(Result.ERROR, raised, CALL_IN_NOTEBOOK)
            except Unusable as reason:
                return Verdict(Result.FAILED, str(reason), SEE_DOCSTRING)
            except Unsendable as fault:
                return Verdict(Result.NEEDS_REVIEW, str(fault))
            except Exception as error:
                return blame(error, exercise, check, seed)
        return Verdict(Result.PASSED)

    def seed(self, exercise: str, check: str) -> int:
        """The check's seed, in [0, 2**31)."""
        if self.settings.secret is None:
            return course.NOTEBOOK_SEED
        text = b"\0".join([self.key, exercise.encode(), check.encode()])
        return int.from_bytes(hmac.digest(self.settings.secret, text, "sha256")[:4], "big") >> 1

    # Cells ----------------------------------------------------------------------------------------

    @contextmanager
    def worker(self, exercise: str) -> Iterator[Connection]:
        """A worker in which the cells have run, without those that cannot be run to their end."""
        while True:
            if time.monotonic() - self.began > MAX_WALL_TIMES * self.settings.limits.wall:
                raise NeedsReview("it took the grader too long")
            with self.fork_server.worker() as connection:
                if (stuck := self.load(connection, exercise)) is None:
                    yield connection
                    return
            self.leave_out(*stuck)

    def load(self, connection: Connection, exercise: str) -> tuple[int, Lost | Unusable] | None:
        """Run the cells. If one does not come to its end: its number, and what happened."""
        order = {
            "order": "load",
            "exercise": exercise,
            "cells": self.cells,
            "unattempted": self.unattempted(),
            "solutions": {
                answer.id: course.place_of_solution(answer.id) for answer in self.answers.answers
            },
        }
        number = self.cells[0][0] if self.cells else 0
        try:
            id = connection.send(order)
            for number, _ in self.cells:
                reply, _ = connection.receive(id)
                self.note_what_was_raised(number, reply)
        except (Lost, Unusable) as loss:
            return number, loss
        return None

    def unattempted(self) -> list[str]:
        return [answer.id for answer in self.answers.answers if answer.state is State.NOT_ATTEMPTED]

    def note_what_was_raised(self, number: int, reply: dict) -> None:
        error = exception_in(reply)
        if error is not None and number not in self.noted:
            self.noted.add(number)
            kind = clean(error.kind, 60)
            self.notes.append(
                f"cell {number} raised {kind}; the cells after it were run all the same"
            )

    def leave_out(self, number: int, loss: Lost | Unusable) -> None:
        """Do not run this cell again, unless it deserves a second try. Raises NeedsReview."""
        if getattr(loss, "doubtful", False) and number not in self.tried:
            self.tried.add(number)
            return
        self.lost_cells += 1
        if self.lost_cells > MAX_LOST_CELLS:
            raise NeedsReview(f"more than {MAX_LOST_CELLS} cells had to be ended")
        self.notes.append(f"cell {number} was left out: {loss}")
        self.cells = [cell for cell in self.cells if cell[0] != number]


def check_result(check: Check, verdict: Verdict) -> CheckResult:
    return CheckResult(
        name=check.name,
        points=check.points,
        earned=check.points if verdict.result is Result.PASSED else 0,
        result=verdict.result,
        mistake=clean(verdict.mistake, 200),
        next=clean(verdict.next, 200),
    )


def verdict_on_loss(loss: Lost, lost: int = 1) -> Verdict:
    result = Result(loss.result)
    return Verdict(result, f"{REASONS[result]}: {loss}", TRY_IN_NOTEBOOK, lost)


def blame(error: Exception, exercise: Exercise, check: Check, seed: int) -> Verdict:
    """Decide who is at fault for an unexpected exception: if the reference raises too, the check.

    Then a person has to look at it; otherwise the answer has failed.
    """
    try:
        course.run_check(check, exercise.reference, seed)
    except Exception as own:
        fault = f"the check fails on the course's own solution: {type(own).__name__}"
        return Verdict(Result.NEEDS_REVIEW, fault)
    return Verdict(Result.FAILED, course.complaint(error, check), SEE_DOCSTRING)


# Provenance ---------------------------------------------------------------------------------------


def provenance(settings: MarkingSettings, lab: Lab | None) -> Provenance:
    """What marks depend on besides the submission. lab: None if it is not known."""
    return Provenance(
        tier=settings.tier,
        limits=asdict(settings.limits),
        seed=hashlib.sha256(b"secret" + (settings.secret or b"")).hexdigest(),
        notebook=lab.code_sha256 if lab else "",
        **digests_at_start(),
        versions={"python": platform.python_version(), "torch": torch.__version__},
    )


@cache
def digests_at_start() -> dict[str, str]:
    """The digests of the grader and of the locked packages, as they were when first asked for."""
    return {
        "engine": course.digest_of_files(course.ENGINE),
        "lock": course.digest_of_files(course.LOCK),
    }
