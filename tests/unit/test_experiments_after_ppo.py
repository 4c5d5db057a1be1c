"""Lab 05's experiments at a tiny size: runs give rows with the stored names, and what they count is
right."""

import copy
import math

import pytest
import torch
from course import session
from experiments import after_ppo as experiment
from experiments import ppo as lab_04
from experiments.shared import fresh
from methods import dpo, grpo, lora
from methods.reference import reference_of
from stored_sweeps import rows_in_file
from torch import nn


@pytest.fixture
def tiny(monkeypatch):
    """Forty tickets, one step of sixteen responses, four test tickets."""
    caches = (experiment.pairs, experiment.test_tickets, lab_04.reward_model)
    monkeypatch.setattr(experiment, "PAIRS", 40)
    monkeypatch.setattr(experiment, "TEST_TICKETS", 4)
    monkeypatch.setattr(experiment, "RESPONSES", 16)
    monkeypatch.setattr(experiment, "STEPS", 1)
    monkeypatch.setattr(experiment, "EPOCHS", 1)
    monkeypatch.setattr(experiment, "BEST_OF", (1, 2))
    monkeypatch.setattr(lab_04, "REWARD_TICKETS", 16)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def names(declared, settings):
    return rows_in_file(declared.name)[0].keys() - {*settings, "seconds", "code"}


@pytest.mark.parametrize("signal", ["SFT", "DPO", "PPO", "GRPO", "RLOO"])
@pytest.mark.parametrize("parameters", ["full", "r = 1"])
def test_a_cell_gives_results_with_the_stored_names(tiny, signal, parameters):
    settings = {"signal": signal, "parameters": parameters, "rate": 1e-3, "seed": 0}
    row = experiment.run_cell(**settings)
    stored = next(each for each in rows_in_file("after.cell_rates") if each["signal"] == signal)
    assert row.keys() == stored.keys() - {*settings, "seconds", "code"}
    assert all(map(math.isfinite, row["gold"])) and row["step"][0] == 0
    assert 0 < row["changed"] <= 1 and row["operations"][0] == 0
    asked = signal in ("PPO", "GRPO", "RLOO") and parameters == "full"
    assert (row["copied"] > 0) == asked


@pytest.mark.parametrize(
    "declared, settings",
    [
        (experiment.LONG, {"beta": 0.05, "seed": 0}),
        (experiment.SOURCE, {"source": "its own, refreshed", "seed": 0}),
        (experiment.SOURCE, {"source": "the base's", "seed": 0}),
        (experiment.BEST, {"seed": 0}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_run_gives_results_with_the_stored_names(tiny, monkeypatch, declared, settings):
    monkeypatch.setattr(experiment, "SOURCE_TICKETS", 20)
    assert declared.run(**settings).keys() == names(declared, settings)


def test_a_policy_learns_from_the_pairs_of_lab_04(tiny, monkeypatch):
    """The reward model and DPO are given the same choices."""
    monkeypatch.setattr(lab_04, "REWARD_TICKETS", 40)
    seen = []
    monkeypatch.setattr(lab_04, "fit", lambda pairs, seed: seen.append(pairs) or nn.Linear(1, 1))
    lab_04.reward_model(1)
    assert experiment.pairs(1) == seen[0]


def test_a_look_changes_nothing_and_costs_nothing(tiny):
    policy = fresh()
    watch = experiment.Watch(policy, 1)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    watch.look(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert watch.compute.operations == 0 and watch.history["operations"] == [0.0]
    watch.look(2)
    assert watch.history["gold"][0] == watch.history["gold"][1]
    assert watch.history["kl"] == pytest.approx([0, 0], abs=1e-4)


def test_work_is_counted_by_tokens_and_weights():
    model, ids = fresh(), torch.randint(3, 50, (4, 7))
    weights = sum(parameter.numel() for parameter in model.parameters())
    compute = experiment.Compute(model)
    with torch.no_grad():
        model(input_ids=ids)
    assert compute.operations == 28 * 2 * weights
    model(input_ids=ids)
    assert compute.operations == 28 * (2 + 6) * weights
    copy.deepcopy(model).requires_grad_(False)  # a reference is counted along
    compute.stop()
    model(input_ids=ids)
    assert compute.operations == 28 * (2 + 6) * weights


def test_frozen_weights_cost_no_gradient_of_their_own():
    model, ids = fresh(), torch.randint(3, 50, (2, 5))
    lora.inject(model, rank=1, alpha=32)
    weights = sum(parameter.numel() for parameter in model.parameters())
    compute = experiment.Compute(model)
    model(input_ids=ids)
    assert compute.operations == 10 * 4 * weights


def test_weights_are_those_that_the_model_uses():
    plain, adapted = fresh(), fresh()
    lora.inject(adapted, rank=2, alpha=4)
    before = experiment.weights_of(adapted)
    assert all(map(torch.equal, experiment.weights_of(plain), before))
    with torch.no_grad():
        for layer in lora.layers(adapted).values():
            layer.B["default"].normal_()
    merged = copy.deepcopy(adapted)
    lora.merge(merged)
    lora.strip(merged)
    after = experiment.weights_of(adapted)
    for mine, theirs in zip(after, merged.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.data)
    inside = sum(layer.base.weight.numel() for layer in lora.layers(adapted).values())
    share = inside / sum(weight.numel() for weight in before)
    assert experiment.moved(before, after)["changed"] == pytest.approx(share, rel=1e-3)


def test_a_small_move_is_no_move_in_bfloat16():
    before = [torch.ones(10), torch.full((30,), -2.0)]
    after = [torch.full((10,), 1.5), torch.full((30,), -2.0001)]
    assert experiment.moved(before, after) == {"changed": 1.0, "changed_bf16": 0.25}
    assert experiment.moved(before, before) == {"changed": 0.0, "changed_bf16": 0.0}


def test_a_reference_that_is_the_policy_itself_copies_nothing():
    policy = experiment.policy_of("r = 8", 0)
    assert experiment.copied(policy, reference_of(policy)) == 0
    full = experiment.policy_of("full", 0)
    size = sum(parameter.nbytes for parameter in full.parameters())
    assert experiment.copied(full, reference_of(full)) == size


def test_every_cell_is_run_at_the_rate_that_was_best_for_it(monkeypatch):
    monkeypatch.setattr(session, "_lab", session.Lab("05_after_ppo", "cpu", "small"))
    grid, tried = experiment.cell_grid(), rows_in_file("after.cell_rates")
    assert len(grid) == 17 * len(experiment.SEEDS)
    for row in grid:
        cell = [
            each
            for each in tried
            if (each["signal"], each["parameters"]) == (row["signal"], row["parameters"])
        ]
        assert len(cell) == 3 and {each["seed"] for each in cell} == {9}
        best = max(each["gold"][-1] for each in cell)
        assert best == next(each["gold"][-1] for each in cell if each["rate"] == row["rate"])


def test_the_learners_functions_are_used(tiny):
    called = []

    def noted(function):
        return lambda *arguments: called.append(function.__name__) or function(*arguments)

    own = {
        "dpo_loss": noted(dpo.dpo_loss),
        "standardised": noted(grpo.standardised),
        "leave_one_out": noted(grpo.leave_one_out),
    }
    for signal in ("DPO", "GRPO", "RLOO"):
        experiment.run_cell(signal, "r = 1", 1e-3, 0, **own)
    assert set(called) == {"dpo_loss", "standardised", "leave_one_out"}


def test_tickets_of_a_step_make_as_many_responses_for_every_signal():
    for size in (1, 8):
        asked = experiment.asked_in(3, size, 0)
        assert [len(group) * size for group in asked] == [experiment.RESPONSES] * 3


def test_gaps_are_taken_seed_by_seed():
    rows = [
        {"signal": "PPO", "parameters": parameters, "seed": seed, "gold": [0.0, gold + seed**2]}
        for parameters, gold in (("full", 2.0), ("r = 1", 1.5))
        for seed in experiment.SEEDS
    ]
    assert experiment.lead(rows, ("PPO", "r = 1"), ("PPO", "full")) == [-0.5] * 3
    other = [row | {"signal": "RLOO", "gold": [1.0, 4.0]} for row in rows]
    both = rows[::-1] + other
    assert experiment.lead(both, ("RLOO", "full"), ("PPO", "full")) == [2.0, 1.0, -2.0]


def test_equal_work_is_that_of_the_lightest_run():
    rows = [
        {"signal": "SFT", "gold": [1.0, 1.5], "operations": [0, 2]},
        {"signal": "DPO", "gold": [1.0, 2.0, 2.5], "operations": [0, 4, 8]},
        {"signal": "PPO", "gold": [1.0, 2.25, 2.75], "operations": [0, 6, 12]},
    ]
    assert experiment.lightest(rows) == 8
    assert [experiment.gold_within(row, 8) for row in rows] == [1.5, 2.5, 2.25]


def test_stacks_are_held_against_ppo_alone():
    stacks = [
        {"stack": stack, "seed": seed, "gold": [1.0, end + seed]}
        for stack, end in zip(experiment.STACKS, (2.0, 2.0, 2.0, 3.0))
        for seed in experiment.SEEDS[::-1]
    ]
    alone = [
        {"signal": signal, "parameters": parameters, "seed": seed, "gold": [1.0, end]}
        for signal, parameters, end in (
            ("PPO", "full", 2.5),
            ("PPO", "r = 8", 8.0),
            ("DPO", "full", 9.0),
        )
        for seed in experiment.SEEDS
    ]
    assert experiment.over_alone(stacks, alone, "SFT → DPO → PPO") == [0.5, 1.5, 2.5]


def test_a_stack_asks_the_policy_before_and_after_each_stage(tiny, monkeypatch):
    monkeypatch.setattr(session, "_lab", session.Lab("05_after_ppo", "cpu", "small"))
    row = experiment.run_stack("SFT → DPO → PPO", 0)
    assert len(row["gold"]) == 4 and all(map(math.isfinite, row["gold"]))


def test_a_running_mean_keeps_length_and_level():
    assert experiment.running([1.0, 1, 1, 1]) == [1, 1, 1, 1]
    assert experiment.running([0.0, 3, 0], width=3) == [1.5, 1, 1.5]
    assert experiment.smoothed([[0.0, 2], [2.0, 4]]) == [2, 2]


def test_a_fall_is_taken_from_the_best_look():
    assert experiment.gold_fall({"gold": [1.0, 2.5, 2.0]}) == 0.5
    assert experiment.road({"kl": [-0.1, 4.0]}) == [0, 2]


def test_the_silent_bugs_rows_are_scored_as_pairs_are():
    model = fresh()
    pairs = [([5, 6, 7], [[8, 9, 1], [10, 1]]), ([4], [[3, 1], [11, 12, 13, 1]])]
    rows = [(prompt, response) for prompt, both in pairs for response in both]
    table = dpo.pair_log_probs(model, pairs, 0)
    torch.testing.assert_close(experiment.row_log_probs(model, rows, 0).view(-1, 2), table)
