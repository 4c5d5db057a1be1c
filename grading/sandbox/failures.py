"""What can go wrong with an answer that runs in a worker.

`Raised` is an ordinary exception of the function. The others are no `Exception`: a check that
expects the function to raise one must not mistake them for it.
"""

import builtins
import re

NAME = re.compile(r"[A-Za-z_]{1,40}")  # what an exception may be called
MAX_TEXT = 300  # characters of an exception's text
MAX_LINE = 10**6


class Raised(Exception):
    """The function raised an exception.

    kind: the exception's own name. line: where in its cell, if that is known. An instance also is
    of the built-in class of the original if that is one of EXPECTED.
    """

    kind, line = "", None


class Stopped(BaseException):
    """The function tried to end the program, as by SystemExit. kind, line: as of Raised."""

    kind, line = "", None


class Lost(BaseException):
    """The worker had to be ended, or has ended itself.

    result: "timeout" or "crashed". doubtful: whether this machine may be the cause.
    """

    def __init__(self, result: str, reason: str, doubtful: bool = False):
        super().__init__(reason)
        self.result, self.doubtful = result, doubtful


class Unusable(BaseException):
    """What the worker sent is no answer."""


class Unsendable(BaseException):
    """A check gave the function a value that cannot be sent: a fault of the course."""


class ForkServerGone(BaseException):
    """A submission has ended the process that forks the workers, which only tier T0 lets it do."""


class NotShutIn(Exception):
    """A worker did not get into its sandbox: a fault of this machine, not of the submission."""


# What checks may expect a function to raise, so what has to arrive as such.
EXPECTED = {
    kind.__name__: kind
    for kind in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        FloatingPointError,
        ImportError,
        IndexError,
        KeyError,
        LookupError,
        MemoryError,
        NameError,
        NotImplementedError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    )
}


def exception_in(reply: dict) -> BaseException | None:
    """The exception that a worker's reply reports, if it reports one."""
    if reply.get("raised") is None:
        return None
    known = reply["raised"] if isinstance(reply["raised"], str) else ""
    base = getattr(builtins, known, None)
    text = (reply["text"][:MAX_TEXT],) if isinstance(reply.get("text"), str) else ()
    if ends_programs(base):
        error = Stopped()
    elif known in EXPECTED:
        error = type("Raised", (Raised, EXPECTED[known]), {})(*text)
    else:
        error = Raised(*text)
    error.kind = kind_in(reply) or (known if base else "Exception")
    line = reply.get("line")
    error.line = line if type(line) is int and 0 < line < MAX_LINE else None
    return error


def ends_programs(base) -> bool:
    is_exception = isinstance(base, type) and issubclass(base, BaseException)
    return is_exception and not issubclass(base, Exception)


def kind_in(reply: dict) -> str:
    """The exception's own name, or "" if it could carry a check's inputs out of the worker."""
    name = reply.get("name")
    return name if isinstance(name, str) and NAME.fullmatch(name) else ""
