"""Arithmetic that is read and computed from the same text: the ledger's sums.

A line names its result, a formula, the formula's inputs with where they stand, and a unit:

    result: hours
    formula: pairs * minutes / 60
    inputs: {pairs: 50000, minutes: 2}
    unit: hours
    origin: the document, section 2

A formula holds +, -, *, /, parentheses, numbers, inputs, and the results of the lines before it.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")  # not the e of 1e6
SIGNS = str.maketrans({"*": "×", "-": "−"})


class Line(NamedTuple):
    """A line with its value. values: all that its formula names."""

    result: str
    formula: str
    values: dict[str, float]
    value: float
    unit: str
    origin: str


def compute(lines: Iterable[Mapping]) -> list[Line]:
    """The lines with their values, in order.

    Raises ValueError for a formula that uses anything else than what the module's docstring lists,
    for an input that is no number, that the formula does not use, or that has the name of an earlier
    result, for a second result of one name, and for a division by zero.
    """
    done, results = [], {}
    for line in lines:
        formula, inputs = str(line["formula"]), line.get("inputs") or {}
        check_inputs(formula, inputs)
        named = set(NAME.findall(formula))
        if taken := sorted({line["result"], *inputs} & results.keys()):
            raise ValueError(f"{taken[0]} is the result of an earlier line: give it another name")
        if unused := sorted(inputs.keys() - named):
            raise ValueError(f"{formula!r} does not use {', '.join(unused)}: leave it out")
        values = {name: value for name, value in (results | inputs).items() if name in named}
        value = results[line["result"]] = evaluate(formula, values)
        done.append(Line(line["result"], formula, values, value, line["unit"], line["origin"]))
    return done


def check_inputs(formula: str, inputs: Mapping) -> None:
    """Raises ValueError for an input that is no finite number; YAML reads 1e6 as text."""
    for name, value in inputs.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ValueError(f"{name} in {formula!r} is {value!r}: write a number, such as 1000000")


def evaluate(formula: str, values: Mapping[str, float]) -> float:
    """The value of a formula. Raises ValueError as compute does."""
    try:
        return _value(ast.parse(formula, mode="eval").body, values)
    except (SyntaxError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{formula!r} has no value: {error}") from None


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            return OPERATORS[type(sign)](_value(left, values), _value(right, values))
    raise ValueError(
        f"{ast.unparse(node)!r} cannot stand in a formula: use numbers, + - * / ( ) and "
        f"{', '.join(values) or 'inputs'}"
    )


def in_words(formula: str) -> str:
    """The formula for readers: `50 * cost_per_hour` as `50 × cost per hour`."""
    return formula.translate(SIGNS).replace("_", " ")


def in_numbers(formula: str, values: Mapping[str, float], show: Callable[[float], str]) -> str:
    """The formula with each name replaced by its value, as `show` prints it."""
    return NAME.sub(lambda name: show(values[name[0]]), formula.translate(SIGNS))
