"""The judge: a submission's bytes become a record, and no line of its code runs in this process.

Each check of each exercise gets a worker of its own, so no verdict depends on what was asked
before. Its inputs come from a seed that a secret and the submission's own bytes determine: nobody
can know them, and a second run has the same.
"""

import hashlib
import hmac
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import torch
from course import Mistake, find
from course.learner import NOTEBOOK_SEED
from course.registry import explain, one_line, seeded

from . import notebook
from .student import (
    Connection,
    Limits,
    Lost,
    Raised,
    Stopped,
    Student,
    Template,
    TemplateGone,
    Unsendable,
    Unusable,
    exception_of,
)
from .text import clean

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = (
    2  # checks of one exercise that may time out or crash before the rest is taken for lost as well
)
MOST_LOST_CELLS, BUDGET = (
    20,
    20,
)  # of one submission, in cells and in limits.wall, before a person has to look at it
REASONS = {
    "timeout": "your function takes too long",
    "crashed": "your function ended the program that ran it",
}


class Fault(Exception):
    """Something of the course's own is wrong: the submission needs a review, and no point is given
    or taken."""


@dataclass(frozen=True)
class Settings:
    """secret: whoever knows it knows the inputs; None for the inputs of the notebook's own check ·
    tier: a name in sandbox.TIERS · limits: of a worker
    """

    secret: bytes | None
    tier: str
    limits: Limits = Limits()


class Judge:
    """Grades submissions one after the other. Use as a context manager: it keeps a template of the
    workers."""

    def __init__(self, settings: Settings):
        self.settings, self.template = settings, None

    def __enter__(self):
        self.template = Template(self.settings.tier, self.settings.limits).__enter__()
        return self

    def __exit__(self, *error):
        self.template.__exit__(*error)

    def grade(self, data: bytes, file: str = "", kept: dict[str, dict] | None = None) -> dict:
        """The part of a record that says what the submission is worth.

        kept: results by exercise that stay as they are. Never raises for anything in the
        submission.
        """

        def marks(record: dict) -> dict:
            answers = notebook.find_answers(data, file)
            record |= {"lab": answers.lab.name, "points": answers.lab.points}
            return Marking(self.template, self.settings, answers, data).marks(kept or {})

        return self.grade_with(marks)

    def grade_with(self, marks: Callable[[dict], dict]) -> dict:
        began = time.monotonic()
        record = {
            "lab": None,
            "status": "graded",
            "reason": "",
            "earned": 0,
            "points": 0,
            "exercises": [],
            "notes": [],
        }
        try:
            record |= marks(record)
        except notebook.Ungradable as reason:
            record |= {"status": "ungradable", "reason": str(reason)}
        except TemplateGone:
            self.restart()
            record |= {
                "status": "needs review",
                "reason": "the submission ended the grader's own processes",
            }
        except Fault as reason:
            record |= {"status": "needs review", "reason": str(reason)}
        except Exception as error:  # whatever it is, it is not the learner's
            record |= {
                "status": "needs review",
                "reason": f"the grader failed: {clean(repr(error), 150)}",
            }
        return record | {
            "grader": self.provenance(record["lab"]),
            "run": {
                "seconds": round(time.monotonic() - began, 3),
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        }

    def refuse(self, reason: str) -> dict:
        """The same for a submission that cannot even be read."""
        return self.grade_with(lambda record: {"status": "ungradable", "reason": reason})

    def restart(self) -> None:
        self.__exit__()
        self.__enter__()

    def provenance(self, lab: str | None) -> dict:
        """What a record's marks depend on, beside the submission."""
        return {
            "tier": self.settings.tier,
            "limits": asdict(self.settings.limits),
            "seed": hashlib.sha256(b"secret" + (self.settings.secret or b"")).hexdigest(),
            "notebook": notebook.labs()[lab].code_sha256 if lab else "",
            "engine": digest("grading"),
            "lock": digest("constraints.txt"),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }


class Marking:
    """One submission's way to its marks."""

    def __init__(
        self, template: Template, settings: Settings, answers: notebook.Answers, data: bytes
    ):
        self.template, self.settings, self.answers = template, settings, answers
        self.key = hashlib.sha256(data).digest()
        self.cells, self.notes, self.told = list(answers.cells), list(answers.notes), set()
        self.lost_cells, self.tried, self.began = 0, set(), time.monotonic()

    def marks(self, kept: dict[str, dict]) -> dict:
        exercises = [
            kept.get(answer.id) or self.exercise(answer) for answer in self.answers.answers
        ]
        review = [
            check["name"]
            for each in exercises
            for check in each["checks"]
            if check["result"] == "needs review"
        ]
        return {
            "exercises": exercises,
            "earned": sum(each["earned"] for each in exercises),
            "notes": self.notes,
            "status": "needs review" if review else "graded",
            "reason": f"checks failed by themselves: {', '.join(review)}" if review else "",
        }

    def exercise(self, answer: notebook.Answer) -> dict:
        registered, checks, lost = find(answer.id), [], 0
        for check in registered.checks:
            if answer.state != "attempted":
                result, mistake, next = answer.state, "", ""
            elif answer.fault:
                result, mistake, next = (
                    "error",
                    answer.fault,
                    "put the cell back into a form that runs in the notebook",
                )
            elif lost >= PATIENCE:
                result, mistake, next = (
                    checks[-1]["result"],
                    checks[-1]["mistake"],
                    checks[-1]["next"],
                )
            else:
                result, mistake, next, lost = self.patient_verdict(answer, registered, check, lost)
            checks.append(
                {
                    "name": check.name,
                    "points": check.points,
                    "earned": check.points if result == "passed" else 0,
                    "result": result,
                    "mistake": clean(mistake, 200),
                    "next": clean(next, 200),
                }
            )
        return {
            "id": answer.id,
            "points": registered.points,
            "earned": sum(check["earned"] for check in checks),
            "state": answer.state,
            "flags": list(answer.flags),
            "checks_sha256": digest_of_checks(answer.id),
            "checks": checks,
        }

    def patient_verdict(self, answer, registered, check, lost: int) -> tuple[str, str, str, int]:
        """A verdict, and how often a worker of this exercise was lost.

        One that waited for too long, or was ended by the system, gets a second chance: the machine
        may have been busy or short of memory.
        """
        for again in (True, False):
            try:
                return *self.verdict(answer, registered, check), lost
            except Lost as loss:
                if not (loss.doubtful and again):
                    waited = (
                        loss.doubtful and loss.result == "timeout"
                    )  # twice, and that is long enough
                    return (
                        loss.result,
                        f"{REASONS[loss.result]}: {loss}",
                        "try it in the notebook, on small inputs",
                        PATIENCE if waited else lost + 1,
                    )
        raise AssertionError("the second chance returns")

    def verdict(self, answer, registered, check) -> tuple[str, str, str]:
        """result, mistake and what to try next. Raises Lost."""
        seed = self.seed(answer.id, check.name)
        with self.worker(answer.id) as connection:
            try:
                there, _ = connection.ask(
                    {"order": "answer", "function": answer.function, "seed": seed}
                )
                if there.get("there") is not True:
                    return (
                        "error",
                        f"there is no function {answer.function} when all cells have run",
                        "",
                    )
                seeded(check, Student(connection), seed)
            except Mistake as mistake:
                return "failed", one_line(str(mistake)), mistake.next
            except (Raised, Stopped) as error:
                line = f" (line {error.line} of its cell)" if error.line else ""
                return (
                    "error",
                    f"your function raised {error.kind}{line}",
                    "call it in the notebook, on small inputs",
                )
            except Unusable as reason:
                return "failed", str(reason), "return what the docstring says"
            except Unsendable as fault:
                return "needs review", str(fault), ""
            except Exception as error:
                return blame(error, registered, check, seed)
        return "passed", "", ""

    def seed(self, exercise: str, check: str) -> int:
        """The check's seed, in [0, 2**31)."""
        if self.settings.secret is None:
            return NOTEBOOK_SEED
        text = b"\0".join([self.key, exercise.encode(), check.encode()])
        return int.from_bytes(hmac.digest(self.settings.secret, text, "sha256")[:4], "big") >> 1

    # The cells ------------------------------------------------------------------------------------

    @contextmanager
    def worker(self, exercise: str) -> Iterator[Connection]:
        """A worker in which the cells have run; those that cannot be run to an end are left out."""
        while True:
            if time.monotonic() - self.began > BUDGET * self.settings.limits.wall:
                raise Fault("it took the grader too long")
            with self.template.worker() as connection:
                if (stuck := self.load(connection, exercise)) is None:
                    yield connection
                    return
            self.leave_out(*stuck)

    def load(self, connection: Connection, exercise: str) -> tuple[int, Lost | Unusable] | None:
        """Run the cells; the number of the one that did not come to an end, and how, if there is
        one."""
        order = {
            "order": "load",
            "exercise": exercise,
            "cells": self.cells,
            "untouched": self.untouched(),
            "solutions": {
                answer.id: place_of(find(answer.id).reference) for answer in self.answers.answers
            },
        }
        number = self.cells[0][0] if self.cells else 0
        try:
            id = connection.send(order)
            for number, _ in self.cells:
                told, _ = connection.receive(id)
                self.note_what_was_raised(number, told)
        except (Lost, Unusable) as loss:
            return number, loss
        return None

    def untouched(self) -> list[str]:
        return [answer.id for answer in self.answers.answers if answer.state == "not attempted"]

    def note_what_was_raised(self, number: int, told: dict) -> None:
        if told.get("raised") is not None and number not in self.told:
            self.told.add(number)
            error = exception_of(told)
            self.notes.append(
                f"cell {number} raised {clean(error.kind, 60)}; the cells after it were run all the same"
            )

    def leave_out(self, number: int, loss: Lost | Unusable) -> None:
        if getattr(loss, "doubtful", False) and number not in self.tried:
            self.tried.add(number)  # one more chance
            return
        self.lost_cells += 1
        if self.lost_cells > MOST_LOST_CELLS:
            raise Fault(f"more than {MOST_LOST_CELLS} cells had to be ended")
        self.notes.append(f"cell {number} was left out: {loss}")
        self.cells = [cell for cell in self.cells if cell[0] != number]


def blame(error: Exception, registered, check, seed: int) -> tuple[str, str, str]:
    """Whose fault an unforeseen exception in a check is: if the reference brings it about as well,
    the check's."""
    try:
        seeded(check, registered.reference, seed)
    except Exception as own:
        return (
            "needs review",
            f"the check fails on the course's own solution: {type(own).__name__}",
            "",
        )
    return "failed", one_line(explain(error, None, check)), "return what the docstring says"


def place_of(function) -> list[str]:
    """Where a worker finds the function: its module and name."""
    return [function.__module__, function.__qualname__]


# What a record names ------------------------------------------------------------------------------


@cache
def digest(*names: str) -> str:
    """sha256 over files, and over the Python files of folders, of the repository."""
    paths = [
        path for name in names for path in (sorted((ROOT / name).glob("*.py")) or [ROOT / name])
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


@cache
def digest_of_checks(id: str) -> str:
    """sha256 over the exercise's checks, all modules of checks that they use, and the reference's
    module."""
    names, found = [f"labs/checks/{id.partition('.')[0]}.py"], []
    while names:
        if (name := names.pop()) not in found:
            found.append(name)
            uses = re.findall(
                r"^from checks\.(\w+) import", (ROOT / name).read_text("utf-8"), re.MULTILINE
            )
            names += [f"labs/checks/{module}.py" for module in uses]
    return digest(*sorted(found), f"labs/{find(id).reference.__module__.replace('.', '/')}.py")
