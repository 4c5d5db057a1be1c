"""Single faults planted in the RLHF methods (`make mutants`): the stored result is of this code."""

import json

import mutate


def stored():
    return json.loads(mutate.FILE.read_text("utf8"))


def test_the_stored_result_is_of_this_code():
    assert stored()["digest"] == mutate.digest(), (
        "the methods, their tests or the mutants changed since faults were last planted: "
        "run make mutants"
    )


def test_every_mutant_is_killed_but_the_equivalent_ones():
    result = stored()
    assert result["survivors"] == []
    assert result["killed"] + len(result["equivalent"]) == result["mutants"] == len(mutate.MUTANTS)


def test_every_fault_has_a_place_whatever_the_formatting():
    for mutant in mutate.MUTANTS:
        assert mutate.mutated(mutant) != (mutate.METHODS / mutant.file).read_text("utf8")


def test_a_text_is_found_however_it_is_broken_into_lines():
    source = "def f(\n    a,\n    b,\n):\n    return g(\n        a + b,\n    )\n"
    assert mutate.pattern_of("return g(a + b)").search(source)
    assert mutate.pattern_of("def f(a, b):").search(source)
    assert not mutate.pattern_of("return g(a - b)").search(source)
