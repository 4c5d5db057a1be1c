"""The claims on trial, read from chapters/claims.yml, and the bounds that settle them."""

import operator
import re

import yaml

from . import session
from .errors import CourseError

OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}


def assigned_to(lab: str) -> dict[str, dict]:
    """The entries of claims.yml that the lab named `lab` decides, by claim id."""
    path = session.LABS.parent / "chapters" / "claims.yml"
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CourseError(
            f"chapters/claims.yml cannot be read ({type(error).__name__}): restore the file."
        ) from None
    mine = {entry["id"]: entry for entry in entries if entry.get("lab") == lab}
    for claim, entry in mine.items():
        if missing := {"quote", "verdict", "expected", "bound", "unit"} - entry.keys():
            missing = " and ".join(sorted(missing))
            raise CourseError(f"{claim} lacks {missing} in chapters/claims.yml: add it there.")
    return mine


def satisfies(value: float, bound: str) -> bool:
    """Whether `value` meets a bound such as "<= 0.05"; raises CourseError for any other text."""
    match = re.fullmatch(r"(<=|>=|<|>|==)\s*([-+]?\d+\.?\d*(?:e[-+]?\d+)?)", str(bound).strip())
    if match is None:
        raise CourseError(
            f'{bound!r} is not a bound: write an operator and a number, as in "<= 0.05".'
        )
    return OPERATORS[match[1]](value, float(match[2]))
