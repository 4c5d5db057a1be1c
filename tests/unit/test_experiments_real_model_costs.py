"""Lab 11's measurements of a step and of an adapter, on a small model."""

import pytest
import torch
from experiments import real_model
from experiments import real_model_costs as experiment
from methods import chat, lora
from methods.tokens import IGNORE
from planning import shapes
from test_experiments_real_model import tiny  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("tiny")


def test_rows_are_full_and_their_last_tokens_count():
    ids, labels = experiment.batch()
    assert ids.shape == labels.shape == (experiment.ROWS, experiment.LENGTH)
    assert torch.equal(labels != IGNORE, torch.arange(experiment.LENGTH).expand_as(ids) >= 96)
    assert torch.equal(labels[labels != IGNORE], ids[labels != IGNORE])


def test_the_two_losses_are_one():
    model, given = real_model.fresh(), experiment.batch()
    few, everywhere = (loss(model, given) for loss in (chat.answer_loss, experiment.everywhere))
    torch.testing.assert_close(few, everywhere)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_planner_predicts_a_step(rank):
    """States to the byte, but for AdamW's step counts; the peak within a few percent."""
    told = experiment.measure_step(rank)
    assert told["states"] == pytest.approx(told["predicted_states"], rel=2e-3)
    assert told["peak_everywhere"] == pytest.approx(told["predicted_peak"], rel=0.05)
    assert told["peak"] <= told["peak_everywhere"] and told["seconds"] > 0
    assert told["trained"] == lora.count(real_model.fresh(rank=rank))[0]


def test_the_planner_knows_the_shape():
    model = real_model.fresh()
    assert shapes.total(experiment.shape_of(model)) == model.num_parameters()


def test_an_adapter_changes_the_model_and_is_the_same_merged_and_in_peft():
    told = experiment.measure_adapter()
    assert told["changed"] > 1e-2
    assert told["merged"] < told["changed"] / 100 and told["peft"] < told["changed"] / 100
    assert told["base"] == 4 * real_model.fresh().num_parameters()
    adapter = shapes.adapter(experiment.shape_of(real_model.fresh()), experiment.RANK)
    assert told["adapter"] > 4 * adapter
