"""Exercises and their checks. The modules in labs/checks fill this registry; notebook and grader
read it."""

import contextlib
import difflib
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable
from typing import NamedTuple

import torch

from .errors import CourseError

EXERCISES: dict[str, "Exercise"] = {}
SWITCHED_OFF = (
    "your function leaves gradients switched off for all that follows",
    "use `with torch.no_grad():`, which ends with its block",
)


class Mistake(Exception):
    """What a check found wrong, in words for the learner, and the next thing to try."""

    def __init__(self, message: str, next: str = "") -> None:
        super().__init__(message)
        self.next = next


class Check(NamedTuple):
    name: str
    points: int
    test: Callable[[Callable, int], None]


class WrongSolution(NamedTuple):
    """A function with a mistake, what a learner who made it is told, and the next thing to try."""

    function: Callable
    message: str
    next: str


class Result(NamedTuple):
    """One check of one function. `mistake` and `next` are empty where it was passed."""

    name: str
    points: int
    earned: int
    mistake: str
    next: str


class Exercise:
    """A function to write, with the reference that stands in for it and the checks that judge it.

    id: "sft.loss", registered by the module checks.sft · minutes: how long it takes
    difficulty: 1 easy, 2 medium, 3 hard · next: what to try after full marks
    """

    def __init__(
        self, id: str, reference: Callable, minutes: int, difficulty: int, next: str = ""
    ) -> None:
        if id in EXERCISES:
            raise ValueError(f"the exercise {id} is registered twice: give one of them another id")
        if difficulty not in (1, 2, 3):
            raise ValueError(f"{id}: difficulty is {difficulty!r}, it must be 1, 2 or 3")
        self.id, self.reference, self.next = id, reference, next
        self.minutes, self.difficulty = minutes, difficulty
        self.checks: list[Check] = []
        self.wrong_solutions: list[WrongSolution] = []
        EXERCISES[id] = self

    @property
    def points(self) -> int:
        return sum(check.points for check in self.checks)

    def check(self, points: int) -> Callable[[Callable], Callable]:
        """Register a check: a function of (student, seed) that makes its own inputs and raises
        Mistake."""

        def register(test: Callable) -> Callable:
            self.checks.append(Check(test.__name__, points, test))
            return test

        return register

    def wrong(self, message: str, next: str = "") -> Callable[[Callable], Callable]:
        """Register a wrong solution, by which checks name the mistake of a function that does the
        same (see checks/shared.py)."""

        def register(function: Callable) -> Callable:
            self.wrong_solutions.append(WrongSolution(function, message, next))
            return function

        return register


def find(id: str) -> Exercise:
    """The exercise `id`, from the module checks.<first part of id>; raises CourseError if there is
    none."""
    module = f"checks.{id.partition('.')[0]}"
    if id not in EXERCISES:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in ("checks", module):  # a checks module that lacks something itself
                raise
    if id not in EXERCISES:
        close = difflib.get_close_matches(id, all_ids(), n=3, cutoff=0.4)
        hint = f"the closest are {', '.join(close)}" if close else "none is like it"
        raise CourseError(
            f"There is no exercise {id!r} ({hint}): restore the id above the function. "
            f"A new exercise is registered in labs/{module.replace('.', '/')}.py."
        )
    return EXERCISES[id]


def all_ids() -> list[str]:
    """The ids of all exercises, with every module of checks loaded."""
    with contextlib.suppress(ModuleNotFoundError):
        for module in pkgutil.iter_modules(importlib.import_module("checks").__path__):
            importlib.import_module(f"checks.{module.name}")
    return sorted(EXERCISES)


def run_checks(exercise: Exercise, student: Callable, seed: int) -> list[Result]:
    """Judge the function `student` by every check of the exercise, each with fresh inputs made from
    `seed`.

    Returns a list of Result, in the order of the checks. The caller's random state is left as it
    was.
    """
    return [run_check(check, student, seed) for check in exercise.checks]


def run_check(check: Check, student: Callable, seed: int) -> Result:
    try:
        seeded(check, student, seed)
    except (Exception, SystemExit) as error:
        return Result(
            check.name,
            check.points,
            0,
            one_line(explain(error, student, check)),
            advice(error, student),
        )
    return Result(check.name, check.points, check.points, "", "")


def seeded(check: Check, student: Callable, seed: int) -> None:
    """Run one check; it raises what it finds wrong. The caller's random state, and whether torch
    computes gradients, are left as they were."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        check.test(student, seed)
        if not torch.is_grad_enabled():
            raise Mistake(*SWITCHED_OFF)


def explain(error: BaseException, student: Callable | None, check: Check) -> str:
    """What went wrong in a check, told to the learner."""
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    line = line_in(student, error)
    if line is not None:
        return f"your function raised {one_line(message)} (line {line})"
    if isinstance(error, (Mistake, AssertionError)):
        return str(error) or f"it failed {check.name.replace('_', ' ')}"
    return f"what your function returned cannot be used ({one_line(message)})"


IN_PLACE_OF_A_LEAF = "change parameters inside `with torch.no_grad():`"
NEW_TENSOR = (
    "`p = p - …` makes a new tensor, which has no gradient and is not the parameter: change the "
    "parameter in place, p -= …"
)
# What a crash usually comes from: words in the error's text, and what to try.
CRASHES = (
    (
        ("index -100 is out of bounds", "Index tensor has negative", "index out of range in self"),
        "-100 is the id of no token: put another in its place before you look it up, and set those "
        "places to 0 afterwards",
    ),
    (("leaf Variable that requires grad", "view of a leaf Variable"), IN_PLACE_OF_A_LEAF),
    (
        (
            "must match the size",
            "cannot be multiplied",
            "must match the existing size",
            "broadcast",
        ),
        "print the shapes just above that line, and compare them with those in the docstring",
    ),
    (
        ("only one element tensors can be converted", "Boolean value of Tensor", "ambiguous"),
        "a tensor of several numbers stands where one number or one truth value is needed: use an "
        "operation that works on all of them, such as torch.where",
    ),
    (
        ("does not require grad",),
        "compute from the arguments themselves: no .item(), no .detach(), no torch.no_grad()",
    ),
    (("'NoneType' object has no attribute 'zero_'",), NEW_TENSOR),
    (("is not defined",), "define it in the function, or import it there"),
    (("'NoneType'",), "something is None there: does a function that you call end without return?"),
)
ANY_CRASH = "call your function in a cell of its own, with small inputs, to see the whole traceback"


def advice(error: BaseException, student: Callable) -> str:
    """The next thing to try after an error in a check; none after a check's own bare assert."""
    if isinstance(error, Mistake):
        return error.next
    if isinstance(error, AssertionError) and line_in(student, error) is None:
        return ""
    if isinstance(error, NameError) and (meant := similar_name(error, student)):
        return f"did you mean {meant}?"
    for words, next in CRASHES:
        if any(word in str(error) for word in words):
            return next
    return ANY_CRASH


def similar_name(error: NameError, student: Callable) -> str:
    """The function's own name that is most like the one that is not defined, or ""."""
    code = getattr(inspect.unwrap(student), "__code__", None)
    known = (*code.co_varnames, *code.co_names) if code and error.name else ()
    names = [name for name in known if name != error.name]
    return next(iter(difflib.get_close_matches(error.name or "", names, n=1)), "")


def line_in(student: Callable | None, error: BaseException) -> int | None:
    """The line of `student` on which the error arose, counted from the top of its cell or file,
    else None."""
    code = getattr(inspect.unwrap(student), "__code__", None)
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code is code]
    return lines[-1] if lines else None


def one_line(text: str, width: int = 150) -> str:
    """The text on one line, cut to `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
