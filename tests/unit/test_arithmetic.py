"""Arithmetic as text: one formula is shown and computed, and nothing else than arithmetic runs."""

import pytest
from planning.arithmetic import compute, evaluate, in_numbers, in_words


def line(result, formula, **inputs):
    return {"result": result, "formula": formula, "inputs": inputs, "unit": "", "origin": "here"}


@pytest.mark.parametrize(
    "formula, values, wanted",
    [
        ("a - b - c", {"a": 10, "b": 3, "c": 2}, 5),
        ("a / b / c", {"a": 60, "b": 4, "c": 3}, 5),
        ("a * (b + 1) / 2", {"a": 33207, "b": 4}, 83017.5),
        ("2 + 3 * a", {"a": 1.5}, 6.5),
        ("7", {}, 7),
    ],
)
def test_a_formula_is_computed_as_python_would(formula, values, wanted):
    assert evaluate(formula, values) == wanted == eval(formula, {}, values)


@pytest.mark.parametrize(
    "formula",
    [
        "a",
        "f(2)",
        "2 ** 8",
        "'x' * 3",
        "True + 1",
        "[1][0]",
        "(1).real",
        "1 if 1 else 2",
        "1 +",
        "",
    ],
)
def test_anything_else_is_refused(formula):
    with pytest.raises(ValueError, match="cannot stand in a formula|has no value"):
        evaluate(formula, {"b": 1})


def test_a_division_by_zero_has_no_value():
    with pytest.raises(ValueError, match="'1 / a' has no value"):
        evaluate("1 / a", {"a": 0})


def test_later_lines_use_earlier_results():
    hours, wage = compute(
        [line("hours", "pairs * minutes / 60", pairs=50_000, minutes=3), line("wage", "75 / hours")]
    )
    assert hours.value == 2500 and wage.value == 0.03 and wage.values == {"hours": 2500}
    with pytest.raises(ValueError, match="'hours' cannot stand"):
        compute([line("wage", "75 / hours")])


def test_an_input_that_is_not_used_is_refused():
    with pytest.raises(ValueError, match="does not use minutes"):
        compute([line("hours", "pairs / 60", pairs=1, minutes=2)])


def test_words_and_numbers_are_those_of_the_formula():
    formula, values = "gpu_hours * 3 - a", {"gpu_hours": 1234.5, "a": 2}
    assert in_words(formula) == "gpu hours × 3 − a"
    assert in_numbers(formula, values, "{:,}".format) == "1,234.5 × 3 − 2"


@pytest.mark.parametrize("value", ["1e6", None, True, [1], float("nan"), float("inf")])
def test_an_input_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="pairs in 'pairs . 2' is .*: write a number"):
        compute([line("sum", "pairs * 2", pairs=value)])


@pytest.mark.parametrize(
    "second", [line("hours", "2 + 1"), line("days", "hours / 24", hours=3)], ids=["twice", "hidden"]
)
def test_a_name_is_given_once(second):
    with pytest.raises(ValueError, match="hours is the result of an earlier line"):
        compute([line("hours", "1 + 1"), second])


def test_what_is_too_large_has_no_value():
    with pytest.raises(ValueError, match="has no value"):
        evaluate("a / b", {"a": 10**400, "b": 3})
