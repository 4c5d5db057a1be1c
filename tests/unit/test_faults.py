"""The mutants are the faults they say, and a case that loops or dies stops nothing."""

import os
import time

import pytest
import torch
from faults import fates, judge_all, killed, mutants, pattern_of, written

# Faults of all kinds ------------------------------------------------------------------------------


def made(body, arguments="x, y", calls=()):
    """The faults of the mutants of a function with this body."""
    source = f"def f({arguments}):\n" + "\n".join(f"    {line}" for line in body.split("\n")) + "\n"
    return [mutant.fault for mutant in mutants(source, calls)]


@pytest.mark.parametrize(
    "body, faults",
    [
        ("return -x", ["sign: return x"]),
        (
            "return x + y",
            [
                "sign: return x - y",
                "sign: return -(x + y)",
                "part left out: return x",
                "part left out: return y",
            ],
        ),
        ("x -= y", ["sign: x += y"]),
        (
            "return x - y",
            ["order: return y - x", "part left out: return x", "part left out: return -y"],
        ),
        ("return x @ y", ["order: return y @ x"]),
        ("return g(x, y)", ["order: return g(y, x)"]),
        ("return (x, y)", ["order: return (y, x)"]),
        ("return x * y", ["part left out: return x", "part left out: return y"]),
        ("return x / len(y)", ["part left out: return x", "part left out: return 1 / len(y)"]),
        ("return x & y", ["part left out: return x"]),
        ("return x + 1e-08", ["part left out: return x", "constant: return x + 0.0"]),
        ("return x.where(y, 0)", ["step left out: return x"]),
        ("return x.detach()", ["step left out: return x"]),
        ("return x.exp()", ["step left out: return x"]),
        ("return reversed(x)", ["step left out: return x"]),
        ("return x.mean()", ["other function: return x.sum()"]),
        ("return torch.minimum(x, y)", ["other function: return torch.maximum(x, y)"]),
        ("return max(x)", ["other function: return min(x)"]),
        ("return torch.zeros(x)", ["other function: return torch.randn(x)"]),
        (
            "return x.log_softmax(-1)",
            [
                "other function: return x.softmax(-1)",
                "unstable: return x.softmax(-1).log()",
                "constant: return x.log_softmax(0)",
            ],
        ),
        (
            "return logsigmoid(x)",
            ["other function: return torch.sigmoid(x)", "unstable: return torch.sigmoid(x).log()"],
        ),
        ("return x[:, 1:]", ["off by one: return x[:, 2:]", "off by one: return x[:, 0:]"]),
        ("return x[:, :-1]", ["off by one: return x[:, :0]", "off by one: return x[:, :-2]"]),
        ("return x[:, y]", ["off by one: return x[:, y + 1]", "off by one: return x[:, y - 1]"]),
        ("return range(x)", ["off by one: return range(x - 1)", "off by one: return range(1, x)"]),
        ("return x < y", ["comparison: return x <= y"]),
        ("return x != y", ["comparison: return x == y"]),
        ("return not x", ["comparison: return x"]),
        (
            "return x.clamp(-1, y)",
            [
                "clamp of one side: return x.clamp(min=-1)",
                "clamp of one side: return x.clamp(max=y)",
            ],
        ),
        (
            "return g(True, 1, 2)",
            [
                "constant: return g(False, 1, 2)",
                "constant: return g(True, 0, 2)",
                "constant: return g(True, 1, 1)",
            ],
        ),
        ("if x:\n    raise ValueError(x - y)", ["statement left out: raise ValueError(…)"]),
        ("x.zero_()\nreturn x", ["statement left out: x.zero_()"]),
        ("for x in y:\n    x.zero_()", ["loop ends early: break"]),
        ("if x:\n    y.zero_()", ["statement left out: if True:"]),
        ("return g(x)", ["other argument: return g(y)"]),
        ("return g(x) + 2 * y", ["x and y exchanged: return g(y) + 2 * x"]),
    ],
)
def test_each_kind_of_fault_is_made(body, faults):
    assert set(faults) <= set(made(body))


def test_what_is_symmetric_is_not_swapped():
    assert not [
        fault
        for fault in made("return torch.minimum(x, y) + max(y, x)")
        if fault.startswith("order")
    ]


def test_an_exceptions_text_and_the_sign_of_a_number_are_left_alone():
    assert made("raise ValueError(1 - x)", "x") == ["statement left out: raise ValueError(…)"]
    assert made("return -1", "x") == ["constant: return 0"]


def test_the_arguments_of_calls_tell_what_may_be_constant_changed_or_learned():
    learned, other = torch.ones(2, requires_grad=True), torch.ones(2)
    found = made(
        "return x - y * rate",
        "x, y, rate",
        [{"x": other, "y": learned, "rate": 0.3}, {"rate": 0.7}],
    )
    assert (
        "rate taken to be 0.3: rate = 0.3" in found
        and "rate taken to be 0.7: rate = 0.7" not in found
    )
    assert "in place: return operator.isub(x, y * rate)" in found
    assert "detached: return x - y.detach() * rate" in found
    assert "detached: return (x - y * rate).detach()" in found
    assert "detached: return x.detach() - y * rate" not in found
    assert not [
        fault for fault in made("return x - y") if fault.startswith(("detached", "in place"))
    ]


def test_a_line_that_stands_there_twice_gives_two_names():
    found = made("y = g(1)\nx = 2\nx = 2\nreturn x + y")
    assert (
        len(found) == len(set(found))
        and "constant: x = 1" in found
        and "constant: x = 1 (2)" in found
    )


# Faults written by hand ---------------------------------------------------------------------------

TEXT = "def f(\n    a,\n    b,\n):\n    return g(\n        a + b,\n    )\n"


def test_a_text_is_found_however_it_is_broken_into_lines():
    assert pattern_of("return g(a + b)").search(TEXT)
    assert pattern_of("def f(a, b):").search(TEXT)
    assert not pattern_of("return g(a - b)").search(TEXT)


def test_a_written_fault_takes_the_place_of_the_old_text():
    (mutant,) = written(TEXT, {"the sign": ("return g(a + b)", "return g(a - b)")})
    assert mutant.fault == "the sign"
    assert mutant.source == "def f(\n    a,\n    b,\n):\n    return g(a - b)\n"


@pytest.mark.parametrize("old, times", [("c", 0), ("a", 2)])
def test_a_text_that_does_not_stand_there_once_is_refused(old, times):
    with pytest.raises(ValueError, match=f"“x” stands there {times} times"):
        written(TEXT, {"x": (old, "d")})


# Judging ------------------------------------------------------------------------------------------


def behave(case):
    if case == "loops":
        time.sleep(60)
    if case == "dies":
        os.abort()
    return [case, os.getpid()]


def test_each_case_is_judged_in_a_process_of_its_own():
    found = list(judge_all(behave, ["a", "b", "c"], timeout=30))
    assert [name for name, _ in found] == ["a", "b", "c"]
    assert len({os.getpid(), *(process for _, process in found)}) == 4


def test_a_case_that_loops_or_dies_has_no_result_and_the_others_have_theirs():
    first, *others = judge_all(behave, ["a", "loops", "dies"], timeout=1)
    assert first[0] == "a" and others == [None, None]


def test_an_error_of_the_judge_is_no_result():
    with pytest.raises(RuntimeError, match="could not be judged"):
        list(judge_all(len, [7], timeout=30))


def test_equivalent_mutants_are_left_out_of_the_share():
    told = fates(["a", "b"], equivalent={"b": "the same", "c": "not here"})
    assert told == {"equivalent": {"b": "the same"}, "survivors": ["a"]}
    assert killed(told | {"mutants": 5}) == 3 / 4
