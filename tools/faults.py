"""Mutants: copies of a program with one fault each, and whether what judges the program notices.

    for mutant in mutants(source, calls): mutant.fault, mutant.source
    for mutant in written(text, {"the sign": ("return -loss", "return loss")}): …

`mutants` makes all faults of the kinds that people make in this field. Each kind is a function from
a node of the syntax tree to the nodes that may take its place; docstring, annotations, the refusal
of wrong arguments (check_…) and the texts of exceptions stay out of it. `written` plants faults that somebody thought of.

tools/strength.py gives mutants of the exercises' solutions to the checks, tools/mutants.py gives
mutants of the methods to the tests.
"""

import ast
import copy
import difflib
import os
import pickle
import re
import signal
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

# x.f() is no step on x for these
MODULES = {"torch", "math", "itertools", "operator", "nn", "kl"}
OTHERS = {  # what is easily taken for the other
    "mean": "sum",
    "sum": "mean",
    "all": "any",
    "any": "all",
    "min": "max",
    "max": "min",
    "minimum": "maximum",
    "maximum": "minimum",
    "argmin": "argmax",
    "argmax": "argmin",
    "amin": "amax",
    "amax": "amin",
    "log_softmax": "softmax",
    "softmax": "log_softmax",
    "exp": "expm1",
    "expm1": "exp",
    "zeros": "randn",
    "zeros_like": "randn_like",
    "randn": "zeros",
    "combinations": "permutations",
}
SYMMETRIC = {"minimum", "maximum", "min", "max"}  # the order of their arguments is free
OPPOSITES = {ast.Add: ast.Sub, ast.Sub: ast.Add}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
IN_PLACE = {ast.Add: "iadd", ast.Sub: "isub", ast.Mult: "imul", ast.Div: "itruediv"}
SMALLER = {0: 1, 1: 0, 2: 1}
Change = Callable[[ast.AST], Iterator[ast.AST]]
ENOUGH = 0.95  # share of the mutants that must be killed, the equivalent ones left out


class Mutant(NamedTuple):
    """fault: what is wrong, the same as long as the changed line is · source: of the whole
    program"""

    fault: str
    source: str


# Expressions --------------------------------------------------------------------------------------


def sign(node):
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield operand
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            yield ast.BinOp(left, OPPOSITES[type(op)](), right)
        case ast.AugAssign(op=ast.Add() | ast.Sub() as op):
            yield altered(node, op=OPPOSITES[type(op)]())
        case ast.Return(value=ast.BinOp() | ast.Call() as value):
            yield ast.Return(negative(value))
        case ast.Assign(targets=targets, value=ast.BinOp() | ast.Call() as value):
            yield assign(targets, negative(value))


def order(node):
    match node:
        case ast.BinOp(left=left, op=ast.Sub() | ast.Div() | ast.MatMult() as op, right=right):
            yield ast.BinOp(right, op, left)
        case ast.Call(func=func, args=args) if name_of(func) not in SYMMETRIC:
            for swapped in neighbours_swapped(args):
                yield ast.Call(func, swapped, node.keywords)
        case ast.Tuple(elts=elements, ctx=ast.Load()):
            for swapped in neighbours_swapped(elements):
                yield ast.Tuple(swapped, node.ctx)


def part_left_out(node):
    match node:
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            yield from (left, negative(right))
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            yield from (left, ast.BinOp(ast.Constant(1), ast.Div(), right))
        case ast.BinOp(
            left=left,
            op=ast.Add() | ast.Mult() | ast.MatMult() | ast.BitAnd() | ast.BitOr(),
            right=right,
        ):
            yield from (left, right)


def step_left_out(node):
    match node:
        case ast.Call(func=ast.Attribute(value=value)) if name_of(value) not in MODULES:
            yield value
        case ast.Call(func=ast.Name(), args=[argument], keywords=[]) if not isinstance(
            argument, ast.Starred
        ):
            yield argument


def other_function(node):
    match node:
        case ast.Call(func=ast.Name(id="logsigmoid"), args=args):
            yield ast.Call(attribute("torch", "sigmoid"), args, [])
        case ast.Call(func=ast.Name(id=name), args=args) if name in OTHERS:
            yield ast.Call(ast.Name(OTHERS[name], ast.Load()), args, node.keywords)
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=args) if name in OTHERS:
            yield ast.Call(ast.Attribute(value, OTHERS[name], ast.Load()), args, node.keywords)


def unstable(node):
    """The logarithm taken by itself, of what may have become 0."""
    match node:
        case ast.Call(func=ast.Name(id="logsigmoid"), args=args):
            yield method(ast.Call(attribute("torch", "sigmoid"), args, []), "log")
        case ast.Call(func=ast.Attribute(value=value, attr="log_softmax"), args=args):
            yield method(method(value, "softmax", *args), "log")


def off_by_one(node):
    match node:
        case ast.Subscript(value=value, slice=ast.Tuple(elts=elements) as index, ctx=context):
            for place, element in enumerate(elements):
                for moved in moved_by_one(element):
                    mutated = ast.Tuple(
                        [*elements[:place], moved, *elements[place + 1 :]], index.ctx
                    )
                    yield ast.Subscript(value, mutated, context)
        case ast.Subscript(value=value, slice=index, ctx=context) if not isinstance(
            index, ast.Name
        ):
            for moved in moved_by_one(index):
                yield ast.Subscript(value, moved, context)
        case ast.Call(func=ast.Name(id="range") as func, args=[end]):
            yield ast.Call(func, [plus(end, -1)], [])
            yield ast.Call(func, [ast.Constant(1), end], [])


def comparison(node):
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for place, op in enumerate(ops):
                if type(op) in COMPARISONS:
                    yield ast.Compare(
                        left,
                        [*ops[:place], COMPARISONS[type(op)](), *ops[place + 1 :]],
                        comparators,
                    )
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand


def one_sided(node):
    match node:
        case ast.Call(func=ast.Attribute(attr="clamp") as func, args=[low, high]):
            yield ast.Call(func, [], [ast.keyword("min", low)])
            yield ast.Call(func, [], [ast.keyword("max", high)])


def constant(node):
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(type(value)(SMALLER.get(value, 0)))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1)):
            yield ast.Constant(0)


# Statements ---------------------------------------------------------------------------------------


def loop_ends_early(node):
    if isinstance(node, ast.For):
        yield altered(node, body=[*node.body, ast.Break()])


def left_out(node):
    match node:
        case ast.Raise() | ast.Expr() | ast.AugAssign():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in names_in(value):
            yield ast.Pass()
        case ast.If(body=[ast.Raise()]):
            pass  # the same as leaving out the raise
        case ast.If(body=body):
            yield from (ast.Pass(), ast.If(ast.Constant(True), body, []))
        case ast.FunctionDef(decorator_list=[_, *_]):
            yield altered(node, decorator_list=[])


KINDS: dict[str, Change] = {
    "sign": sign,
    "order": order,
    "part left out": part_left_out,
    "step left out": step_left_out,
    "other function": other_function,
    "unstable": unstable,
    "off by one": off_by_one,
    "comparison": comparison,
    "clamp of one side": one_sided,
    "constant": constant,
    "loop ends early": loop_ends_early,
    "statement left out": left_out,
}


# What depends on the arguments --------------------------------------------------------------------


def other_argument(names: list[str]) -> Change:
    """An argument in the place of the one beside it."""
    beside = {
        name: [*names[max(place - 1, 0) : place], *names[place + 1 : place + 2]]
        for place, name in enumerate(names)
    }

    def change(node):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            for other in beside.get(node.id, []):
                yield ast.Name(other, node.ctx)

    return change


def in_place(names: set[str]) -> Change:
    """Arithmetic that changes an argument instead of making something new."""

    def change(node):
        match node:
            case ast.BinOp(left=ast.Name(id=name), op=op) if name in names and type(op) in IN_PLACE:
                yield ast.Call(
                    attribute("operator", IN_PLACE[type(op)]), [node.left, node.right], []
                )

    return change


def no_gradient(names: set[str]) -> Change:
    """A detach too many."""

    def change(node):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in names:
                yield method(node, "detach")
            case ast.Return(value=value):
                yield ast.Return(method(value, "detach"))

    return change


def exchanged(function: ast.FunctionDef, one: str, other: str) -> str:
    """The source with two of the arguments in each other's place throughout the body."""
    names = {one: other, other: one}

    class Exchange(ast.NodeTransformer):
        def visit_Name(self, node):
            return ast.Name(names.get(node.id, node.id), node.ctx)

    body = [Exchange().visit(statement) for statement in copy.deepcopy(function.body)]
    return ast.unparse(altered(function, body=body))


def fixed(function: ast.FunctionDef, name: str, value: float | str) -> str:
    """The source with an argument that is always taken to be `value`."""
    first = assign([ast.Name(name, ast.Store())], ast.Constant(value))
    return ast.unparse(altered(function, body=[first, *function.body]))


# All mutants of a function ------------------------------------------------------------------------


def mutants(source: str, calls: Sequence[dict[str, object]] = ()) -> list[Mutant]:
    """All mutants of the function in `source`, no two alike.

    calls: the arguments, by name, of some of its calls; they tell what can be changed in place,
    whose gradient is asked for, and what could be taken for a constant
    """
    function = bare(source)
    original = ast.unparse(function)
    found: dict[str, str] = {}
    for kind, text in [*single(function, kinds_for(function, calls)), *whole(function, calls)]:
        if text != original:
            found.setdefault(text, kind)
    made: dict[str, Mutant] = {}
    for text, kind in found.items():
        fault = f"{kind}: {changed_lines(original, text)}"
        if fault in made:  # the same line stands there twice
            fault += f" ({sum(other.startswith(fault) for other in made) + 1})"
        made[fault] = Mutant(fault, text)
    return list(made.values())


def kinds_for(function: ast.FunctionDef, calls: Sequence[dict[str, object]]) -> dict[str, Change]:
    given = [pair for call in calls for pair in call.items()]
    changeable = {name for name, value in given if isinstance(value, (torch.Tensor, list))}
    learned = {
        name
        for name, value in given
        if isinstance(value, torch.nn.Module)
        or isinstance(value, torch.Tensor)
        and value.requires_grad
    }
    kinds = KINDS | {
        "other argument": other_argument(parameters(function)),
        "in place": in_place(changeable),
    }
    return kinds | ({"detached": no_gradient(learned & changeable)} if learned else {})


def parameters(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args]


def single(function: ast.FunctionDef, kinds: dict[str, Change]) -> Iterator[tuple[str, str]]:
    """(kind, source) for each change of one node."""
    module = ast.Module([function], [])
    for holder, field, place in places(module):
        here = getattr(holder, field)
        node = here if place is None else here[place]
        for kind, change in kinds.items():
            for new in change(node):
                put(holder, field, place, new)
                yield kind, ast.unparse(module)
                put(holder, field, place, node)


def whole(
    function: ast.FunctionDef, calls: Sequence[dict[str, object]]
) -> Iterator[tuple[str, str]]:
    """(kind, source) for what changes the function in several places."""
    names = parameters(function)
    for one, other in zip(names, names[1:]):
        yield f"{one} and {other} exchanged", exchanged(function, one, other)
    for name, value in calls[0].items() if calls else ():
        if type(value) in (int, float, str):
            yield f"{name} taken to be {value!r}", fixed(function, name, value)


def bare(source: str) -> ast.FunctionDef:
    """The function without docstring, annotations and the calls that refuse wrong arguments."""
    function = ast.parse(textwrap.dedent(source)).body[0]
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    for node in ast.walk(function):
        if isinstance(getattr(node, "body", None), list):
            node.body = [
                statement for statement in node.body if not refuses(statement)
            ] or node.body
    function.returns = None
    for argument in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]:
        argument.annotation = None
    return function


def refuses(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name.startswith("check_")
    return False


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Where below `node` another node may be put: its holder, the field, and the place if that is a
    list."""
    for field, value in ast.iter_fields(node):
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, (ast.expr, ast.stmt)):
                yield node, field, place
            if descends(child):
                yield from places(child)


def descends(node) -> bool:
    """Whether there is something to change inside: not in the parameters, an exception's text or a
    number's sign."""
    match node:
        case ast.arguments() | ast.Raise() | ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return False
    return isinstance(node, ast.AST)


def put(holder: ast.AST, field: str, place: int | None, node: ast.AST) -> None:
    if place is None:
        setattr(holder, field, node)
    else:
        getattr(holder, field)[place] = node


def changed_lines(before: str, after: str) -> str:
    """The lines of `after` that are new, or, where none is, the lines that are gone; without the
    texts of exceptions."""
    one, other = before.splitlines(), after.splitlines()
    steps = difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    new = [
        line.strip()
        for kind, *_, start, end in steps
        if kind != "equal"
        for line in other[start:end]
    ]
    gone = [
        line.strip() for kind, start, end, *_ in steps if kind != "equal" for line in one[start:end]
    ]
    lines = gone if new in ([], ["pass"]) else new
    return "; ".join(re.sub(r"^(raise \w+)\(.+\)$", r"\1(…)", line) for line in lines)


# Nodes --------------------------------------------------------------------------------------------


def altered(node: ast.AST, **fields) -> ast.AST:
    """A copy of the node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def negative(node: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.USub(), node)


def assign(targets: list[ast.expr], value: ast.expr) -> ast.Assign:
    return ast.Assign(targets, value, lineno=0)


def attribute(module: str, name: str) -> ast.Attribute:
    return ast.Attribute(ast.Name(module, ast.Load()), name, ast.Load())


def method(value: ast.expr, name: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(value, name, ast.Load()), list(args), [])


def neighbours_swapped(elements: list[ast.expr]) -> Iterator[list[ast.expr]]:
    for place in range(len(elements) - 1):
        yield [*elements[:place], elements[place + 1], elements[place], *elements[place + 2 :]]


def moved_by_one(index: ast.expr) -> Iterator[ast.expr]:
    """An index or the ends of a slice, one further and one less far."""
    match index:
        case ast.Slice(lower=lower, upper=upper):
            for step in (1, -1):
                if lower is not None:
                    yield ast.Slice(plus(lower, step), upper)
                if upper is not None:
                    yield ast.Slice(lower, plus(upper, step))
        case (
            ast.Constant(value=int())
            | ast.UnaryOp(op=ast.USub(), operand=ast.Constant())
            | ast.Name()
        ):
            yield from (plus(index, 1), plus(index, -1))


def plus(node: ast.expr, step: int) -> ast.expr:
    """node + step, worked out where node is a number. An end of a slice that becomes 0 stays an
    end."""
    match node:
        case ast.Constant(value=int(value)):
            return number(value + step)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return number(step - value)
    return ast.BinOp(node, ast.Add() if step > 0 else ast.Sub(), ast.Constant(abs(step)))


def number(value: int) -> ast.expr:
    return ast.Constant(value) if value >= 0 else negative(ast.Constant(-value))


def name_of(node: ast.expr) -> str | None:
    """`f` of a plain f and of x.f."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name


def names_in(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


# Faults written by hand ---------------------------------------------------------------------------


def written(text: str, faults: dict[str, tuple[str, str]]) -> list[Mutant]:
    """Mutants of a file's text. faults: {fault: (old text, new text)}

    How the file is broken into lines does not matter. Raises ValueError unless the old text stands
    there once.
    """
    return [Mutant(fault, replaced(text, fault, *pair)) for fault, pair in faults.items()]


def replaced(text: str, fault: str, old: str, new: str) -> str:
    found = list(pattern_of(old).finditer(text))
    if len(found) != 1:
        raise ValueError(
            f"the text to replace for “{fault}” stands there {len(found)} times, and once is "
            "needed: bring the fault up to date"
        )
    return text[: found[0].start()] + new + text[found[0].end() :]


def pattern_of(code: str) -> re.Pattern:
    """Matches `code` however it is broken into lines, with or without a comma before a bracket."""
    tokens = re.findall(r"\w+|[^\w\s]", code)
    pattern = re.escape(tokens[0])
    for before, token in zip(tokens, tokens[1:]):
        gap = r"\s+" if re.fullmatch(r"\w+", before) and re.fullmatch(r"\w+", token) else r"\s*"
        pattern += (r"\s*,?\s*" if token in ")]}" else gap) + re.escape(token)
    return re.compile(pattern)


# Judging ------------------------------------------------------------------------------------------


def judge_all(judge: Callable[[Any], Any], cases: Sequence, timeout: int) -> Iterator:
    """judge(case) for each case, in their order; None where it took longer than `timeout` seconds
    or the process died.

    Each runs in a fork of this process: nothing is imported twice, and no fault outlives its case.
    Raises RuntimeError where `judge` raises.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        files = [Path(folder, str(place)) for place in range(len(cases))]
        yield from pool.map(lambda case, file: in_fork(judge, case, timeout, file), cases, files)


def in_fork(judge: Callable[[Any], Any], case: Any, timeout: int, file: Path) -> Any:
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(timeout)  # a mutant may loop for ever; the signal ends the process
            file.write_bytes(pickle.dumps(judge(case)))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status > 0:
        raise RuntimeError("a case could not be judged: its traceback stands above")
    return pickle.loads(file.read_bytes()) if status == 0 else None


def fates(survived: Iterable[str], equivalent: dict[str, str]) -> dict:
    """Those that survived, told apart. equivalent: mutants that nothing can tell from the program,
    by fault, and why."""
    survived = list(survived)
    return {
        "equivalent": {fault: equivalent[fault] for fault in survived if fault in equivalent},
        "survivors": [fault for fault in survived if fault not in equivalent],
    }


def killed(figures: dict) -> float:
    """Share of the mutants that are noticed, the equivalent ones left out."""
    return 1 - len(figures["survivors"]) / (figures["mutants"] - len(figures["equivalent"]))
