"""What lab 08 measures with: each method's step runs, rows become trainings, errors are counted."""

from dataclasses import replace

import pytest
import torch
from experiments import cost as experiment
from planning import memory
from planning.memory import ADAPTER, ALL, METHODS, Training
from planning.others import CALCULATORS
from planning.published import PUBLISHED

TINY = replace(experiment.SHAPES["small llama"], layers=1, width=32, heads=2, kv_heads=1, head=16)
TINY = replace(TINY, vocabulary=50, inner=48)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("trains", [ALL, ADAPTER])
def test_a_step_of_each_method_trains_and_is_counted(method, trains):
    training = Training(
        TINY, method, trains, "float32", rows=2, length=8, sampled=2, checkpointing=False
    )
    measured = experiment.measure_training(training, torch.device("cpu"))
    said = memory.states(training)
    assert measured["weights"] > 0 and measured["optimiser states"] > measured["weights"]
    # An adapter's critic has a head, and its reward model an adapter that never trains.
    assert sum(measured[part] for part in said) == pytest.approx(sum(said.values()), rel=0.35)
    assert measured["peak"] > sum(measured[part] for part in said)


def test_a_row_asks_for_its_training():
    settings = {"shape": experiment.SMOL} | experiment.USUAL | {"length": 48}
    training = experiment.as_training(**settings)
    assert (training.shape.name, training.length, training.sampled) == ("SmolLM2 135M", 48, 2)


def test_the_grid_is_wide():
    grid = experiment.MEMORY.settings().values()
    assert len(grid) >= 30
    assert {row["method"] for row in grid} == METHODS.keys()
    assert sum(row["shape"] == experiment.SMOL for row in grid) >= 12


def test_errors_are_shares_of_the_measured_peak():
    row = {"shape": experiment.SMOL} | experiment.USUAL
    said = memory.peak(experiment.as_training(**row)).total / 1e6
    assert experiment.error(row | {"peak": said / 1.5}) == pytest.approx(0.5)
    cases = experiment.measured_cases([row | {"peak": said}])
    errors = experiment.errors_of_all(cases + experiment.published_cases(PUBLISHED), CALCULATORS)
    assert errors[experiment.OURS][0] == pytest.approx(0)
    assert set(errors) == {experiment.OURS, *CALCULATORS} and all(errors.values())


def test_other_calculators_are_judged_where_they_can_answer():
    for training, _ in experiment.published_cases(PUBLISHED):
        assert training.devices == 1
    errors = experiment.errors_of_all(experiment.published_cases(PUBLISHED), CALCULATORS)
    assert {name for name, wrong in errors.items() if wrong} == set(experiment.ERRORS)


def test_the_documents_amounts_become_jobs():
    jobs = experiment.document_jobs()
    assert [job.tokens for job in jobs.values()] == [5e6, 5e7, 2.5e5, 2.5e6, 5e6, 5e7]
    assert [job.training.method for job in jobs.values()].count("PPO") == 2
