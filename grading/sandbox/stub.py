"""What replaces the package course in a worker: it draws, measures and checks nothing."""

import types
from collections.abc import Callable
from typing import NamedTuple

from ..course import START, Mistake

EXCEPTIONS = ("Error", Mistake.__name__)  # how the names of exceptions end


class Nothing:
    """Whatever is done with it, the result is the same object."""

    def __call__(self, *args, **kwargs):
        return self

    __getattr__ = __getitem__ = __enter__ = __call__

    def __exit__(self, *error):
        return False

    def __iter__(self):
        return iter(())


NOTHING = Nothing()


class StubLab(NamedTuple):
    """What start() gives in a notebook, as far as an answer may use it."""

    name: str
    device: str = "cpu"
    scale: str = "small"
    full: bool = False


class StubModule(types.ModuleType):
    """Whatever is imported from it is NOTHING, except start() and exceptions, which must be
    classes."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        if name == START:
            return StubLab
        return type(name, (Exception,), {}) if name.endswith(EXCEPTIONS) else NOTHING


def exercise_decorator(
    solutions: dict[str, Callable], unattempted: set[str], decorated: dict[str, Callable]
) -> Callable:
    """@exercise for cells: as in the notebook, the solution replaces a body that is a stub.

    The function that takes the place goes into `decorated`, by exercise.
    """

    def exercise(id=None, *args, **kwargs):
        def take(function):
            decorated[id] = solutions[id] if id in unattempted else function
            return decorated[id]

        return take

    return exercise
