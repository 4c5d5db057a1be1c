"""The course's own solution, out of reach of the function that is to replace it."""

import functools
import inspect
from collections.abc import Callable


class SolutionWithheld(Exception):
    """An answer called the solution of its own exercise."""


def refuse(*args: object, **kwargs: object) -> None:
    # This code stands in for another module's, whose names it sees.
    from course.withheld import SolutionWithheld

    raise SolutionWithheld("this calls the course's own solution: write the body yourself")


def on_its_own(answer: Callable, solution: Callable) -> Callable:
    """The function `answer`; while it runs, `solution` refuses to, under whatever name it is
    called."""
    solution = inspect.unwrap(solution)
    if inspect.unwrap(answer) is solution:
        return answer

    @functools.wraps(answer)
    def alone(*args, **kwargs):
        code, solution.__code__ = solution.__code__, refuse.__code__
        try:
            return answer(*args, **kwargs)
        finally:
            solution.__code__ = code

    return alone
