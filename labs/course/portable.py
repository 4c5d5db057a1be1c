"""What an answer may use: the grader has its imports, functions and constants, and not the objects
that the notebook has made by running."""

import ast
import dis
import inspect
import types
from collections.abc import Callable, Iterator, Sequence

from . import session
from .source import bindings


def missing_from_the_grader(function: Callable) -> list[str]:
    """The names that an answer takes from the published notebook and that the grader will not have,
    such as a model or a list of prompts. What the learner's own cells bind is there.

    Returns none outside a lab.
    """
    lab = session.running()
    if lab is None:
        return []
    published = ast.parse((session.LABS / f"{lab.name}.py").read_text(encoding="utf-8")).body
    known = set(map(ast.dump, published))
    own = {name for each in executed() if ast.dump(each) not in known for name in bound([each])}
    made = bound([each for each in published if not is_kept(each)])
    kept = bound([each for each in published if is_kept(each)])
    return sorted(set(globals_of(function)) & (made - kept - own))


def bound(statements: Sequence[ast.stmt]) -> set[str]:
    return set(bindings(list(statements), ""))


def is_kept(statement: ast.stmt) -> bool:
    """Whether the grader runs a statement of the published notebook if an answer needs it: an
    import, a definition, a literal, and the lab itself."""
    if isinstance(statement, ast.Assign):
        return is_literal(statement.value) or is_start(statement.value)
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    return isinstance(statement, kinds)


def is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def is_start(value: ast.expr) -> bool:
    """Whether it is start("01_sft")."""
    match value:
        case ast.Call(func=ast.Name(id="start"), args=[ast.Constant()], keywords=[]):
            return True
    return False


def executed() -> Iterator[ast.stmt]:
    """The statements at the top of the cells that this kernel has run, those with errors left
    out."""
    for source in inputs():
        try:
            yield from ast.parse(source).body
        except SyntaxError:
            continue


def inputs() -> list[str]:
    """The cells that this kernel has run, as Python, in their order; none outside a notebook."""
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    shell = get_ipython()
    return list(shell.history_manager.input_hist_parsed) if shell else []


def globals_of(function: Callable) -> Iterator[str]:
    """The global names that a function uses, and those that the notebook's functions it calls use."""
    todo, seen = [inspect.unwrap(function)], set()
    while todo:
        found = todo.pop()
        if found not in seen:
            seen.add(found)
            for name in names_in(found.__code__):
                yield name
                value = found.__globals__.get(name)
                if isinstance(value, types.FunctionType) and value.__module__ == "__main__":
                    todo.append(inspect.unwrap(value))


def names_in(code: types.CodeType) -> Iterator[str]:
    """The global names in a function's code and in the functions inside it."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from names_in(constant)
