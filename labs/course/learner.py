"""What a learner writes against: `@exercise(...)` above a function, `check(function)` below it."""

import contextlib
import dis
import functools
import inspect
import io
from collections.abc import Callable, Sequence

from .errors import CourseError
from .registry import Exercise, Result, find, run_checks
from .withheld import on_its_own

DIFFICULTY = {1: "easy", 2: "medium", 3: "hard"}
NOTEBOOK_SEED = 0

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
    # the verdict comes first, so what the learner's function prints waits until it is told
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        results = run_checks(registered, on_its_own(function, registered.reference), NOTEBOOK_SEED)
    print(verdict(registered, results))
    if printed.getvalue():
        print(f"your function printed:\n{printed.getvalue()[:2000].rstrip()}")


def verdict(registered: Exercise, results: Sequence[Result]) -> str:
    """The text of a check: points, the first mistake and what to try next."""
    earned, points = sum(result.earned for result in results), registered.points
    failed = [result for result in results if result.mistake]
    if failed:
        line, next = f"{registered.id}: {earned}/{points} — {failed[0].mistake}", failed[0].next
    else:
        line, next = f"{registered.id}: {earned}/{points} points", registered.next
    return f"{line}\nnext: {next}" if next else line
