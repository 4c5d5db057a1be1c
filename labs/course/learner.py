"""What a learner writes against: `@exercise(...)` above a function, `check(function)` below it."""

import contextlib
import dis
import functools
import inspect
import io
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType

from . import portable
from .errors import CourseError
from .registry import Exercise, Result, find, run_checks
from .withheld import on_its_own

DIFFICULTY = {1: "easy", 2: "medium", 3: "hard"}
NOTEBOOK_SEED = 0
PATIENCE_SECONDS = 60  # for all checks of an exercise; they take a second

_attempted: dict[str, bool] = {}


def exercise(id: str, points: int, minutes: int, difficulty: int) -> Callable[[Callable], Callable]:
    """Decorate the function of an exercise: an untouched body is replaced by the reference.

    The function that comes back has .exercise and .attempted. Raises CourseError for an unknown id,
    other numbers than the registered ones, or other parameters.
    """
    registered = find(id)
    asked = {"points": points, "minutes": minutes, "difficulty": difficulty}
    right = {name: getattr(registered, name) for name in asked}
    if asked != right:
        numbers = ", ".join(f"{name}={value}" for name, value in right.items())
        raise CourseError(
            f"{id}: the numbers in the first line are not those of its checks: restore it to "
            f'@exercise("{id}", {numbers}).'
        )
    return functools.partial(take, registered)


def take(registered: Exercise, function: Callable) -> Callable:
    """Choose between the learner's function and the reference, and say which it is."""
    if not inspect.isfunction(function):
        raise CourseError(
            f"{registered.id}: @exercise stands above a function: put it back above the def."
        )
    same_parameters(registered, function)
    attempted = not untouched(function)
    chosen = function if attempted else stand_in(registered.reference, function)
    chosen.exercise, chosen.attempted = registered, attempted
    chosen.cell = len(portable.inputs()) - 1
    _attempted[registered.id] = attempted
    whose = "your function is in use" if attempted else "the solution is in use until you write it"
    print(
        f"{registered.id}: {registered.points} points, {registered.minutes} minutes, "
        f"{DIFFICULTY[registered.difficulty]}; {whose}"
    )
    return chosen


def same_parameters(registered: Exercise, function: Callable) -> None:
    """Raise CourseError unless the function has the reference's parameters."""
    wanted, given = (inspect.signature(f).parameters for f in (registered.reference, function))
    if list(wanted) != list(given):
        raise CourseError(
            f"{registered.id}: the parameters are ({', '.join(given)}) and must be "
            f"({', '.join(wanted)}): restore the def line."
        )


def stand_in(reference: Callable, stub: Callable) -> Callable:
    """The reference under the stub's name and docstring, as a new function that can carry its own
    marks."""

    @functools.wraps(stub)
    def function(*args, **kwargs):
        return reference(*args, **kwargs)

    return function


def untouched(function: Callable) -> bool:
    """Whether the body is only `...`, `pass` or a docstring: they all compile to the same
    instructions."""
    return steps(inspect.unwrap(function)) == steps(
        lambda: None
    )  # a decorator such as @torch.no_grad() is no answer


def steps(function: Callable) -> list[tuple[str, object]]:
    """What a function does, instruction by instruction."""
    return [(step.opname, step.argval) for step in dis.get_instructions(function)]


def own_functions() -> list[str]:
    """The ids of the exercises for which this kernel uses the learner's own function."""
    return [id for id, attempted in _attempted.items() if attempted]


def check(function: Callable) -> None:
    """Judge a function made by @exercise: a line with the points, then one with the next thing to
    try."""
    registered = getattr(function, "exercise", None)
    if registered is None:
        name = getattr(function, "__name__", type(function).__name__)
        raise CourseError(
            f"check() was given {name}, which has no @exercise line: "
            "run the cell of the exercise and pass its function."
        )
    if not function.attempted:
        print(f"{registered.id}: not attempted\nnext: replace the ... in {function.__name__}")
        return
    if complaint := unfit(function):
        print(lines(registered, 0, *complaint))
        return
    # the verdict comes first, so what the learner's function prints waits until it is told
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            with no_longer_than(PATIENCE_SECONDS):
                answer = on_its_own(function, registered.reference)
                results = run_checks(registered, answer, NOTEBOOK_SEED)
                told = verdict(registered, results)
                if any(result.mistake for result in results):
                    told += on_helpers(function)
        except TooLong:
            told = lines(registered, 0, *NEVER_ENDS)
    print(told)
    if printed.getvalue():
        print(f"your function printed:\n{printed.getvalue()[:2000].rstrip()}")


def on_helpers(function: Callable) -> str:
    """A line for each of the learner's other functions that this one uses and that fails its own
    check: the fault may be there."""
    failing = [
        helper.__name__
        for helper in own_helpers(function)
        if any(result.mistake for result in run_checks(helper.exercise, helper, NOTEBOOK_SEED))
    ]
    return "".join(
        f"\nfirst: your {name} is in use here and fails its own check; run check({name})"
        for name in failing
    )


def own_helpers(function: Callable) -> list[Callable]:
    """The learner's functions for other exercises that a function names, in the order of use."""
    found = (function.__globals__.get(name) for name in names_in(function.__code__))
    return [
        helper
        for helper in dict.fromkeys(one for one in found if inspect.isfunction(one))
        if getattr(helper, "attempted", False) and helper is not function
    ]


def names_in(code: CodeType) -> Iterator[str]:
    """The names that a piece of code looks up, with those of the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


NEVER_ENDS = (
    f"your function was still running after {PATIENCE_SECONDS} seconds",
    "look for a loop that never ends, such as a while whose condition stays true",
)
ERROR_IN_CELL = (
    "the cell with your function stopped with an error when you last ran it, and what is in use is "
    "an earlier version",
    "correct the cell, run it, and then run this one again",
)


def unfit(function: Callable) -> tuple[str, str] | None:
    """Why there is no point in judging the function, and what to do; None if there is none."""
    id, cells = function.exercise.id, portable.inputs()
    if any(f'@exercise("{id}"' in cell for cell in cells[function.cell + 1 :]):
        return ERROR_IN_CELL
    if missing := portable.missing_from_the_grader(function):
        return (
            f"your function uses {', '.join(missing)} of this notebook, which the grader does not "
            "have",
            "work with the arguments alone, or make what you need inside the function",
        )
    return None


class TooLong(BaseException):
    """The learner's function ran out of time; no `except Exception` of its own catches it."""


@contextlib.contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Raise TooLong in the block when the time is up, where the system can (not on Windows, and not
    in a thread)."""
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def verdict(registered: Exercise, results: Sequence[Result]) -> str:
    """The text of a check: points, the first mistake and what to try next."""
    earned = sum(result.earned for result in results)
    for result in results:
        if result.mistake:
            return lines(registered, earned, result.mistake, result.next)
    told = f"{registered.id}: {earned}/{registered.points} points"
    return f"{told}\nnext: {registered.next}" if registered.next else told


def lines(registered: Exercise, earned: int, mistake: str, next: str) -> str:
    told = f"{registered.id}: {earned}/{registered.points} — {mistake}"
    return f"{told}\nnext: {next}" if next else told
