"""Single faults planted in the RLHF methods (`make mutants`): the stored result is of this code."""

import json

import mutants

TOLD = json.loads(mutants.FILE.read_text("utf8"))


def test_the_stored_result_is_of_this_code():
    assert TOLD["digest"] == mutants.digest(), (
        "the methods, their tests or the faults changed since faults were last planted: "
        "run make mutants"
    )


def test_every_mutant_is_killed():
    assert TOLD["survivors"] == [] and TOLD["equivalent"] == {}
    assert TOLD["killed"] == TOLD["mutants"] == len(mutants.planted())


def test_every_fault_has_a_place_and_leaves_code():
    for case in mutants.planted():
        compile(case.source, case.fault, "exec")
        assert case.source != (mutants.METHODS / case.file).read_text("utf8")
