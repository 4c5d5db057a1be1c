"""Lab 04's experiments at a tiny size: the grids are those that are stored, and runs give rows."""

import math

import pytest
import torch
from experiments import ppo as experiment
from experiments.shared import fresh, tokenizer
from helpdesk import preferences, tickets
from methods import enumeration, ppo, rollouts
from stored_sweeps import rows_in_file


@pytest.fixture
def few_clerks(monkeypatch):
    """Eight replies are enough to tell a fluent model."""
    monkeypatch.setattr(experiment, "CLERKS_TICKETS", 8)
    experiment.clerks_batch.cache_clear()
    yield
    experiment.clerks_batch.cache_clear()


@pytest.fixture
def tiny(monkeypatch, few_clerks):
    """Two steps of four responses, and a reward model of sixteen tickets."""
    whole = experiment.follow
    monkeypatch.setattr(experiment, "BATCH", 4)
    monkeypatch.setattr(experiment, "REWARD_TICKETS", 16)
    monkeypatch.setattr(
        experiment, "follow", lambda policy, seed, steps, *rest: whole(policy, seed, 2, *rest)
    )
    experiment.reward_model.cache_clear()
    yield
    experiment.reward_model.cache_clear()


@pytest.mark.parametrize(
    "declared, settings",
    [
        (experiment.BETA, {"beta": 0.05, "seed": 0, "steps": 2}),
        (experiment.STABILITY, {"beta": 0.0, "clip": None, "learning_rate": 2e-3, "seed": 0}),
        (experiment.ADVANTAGES, {"estimator": "group mean", "seed": 0}),
        (experiment.STARTS, {"start_from": "random weights", "seed": 0}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_run_gives_results_with_the_stored_names(tiny, declared, settings):
    row = declared.run(**settings)
    assert row.keys() == rows_in_file(declared.name)[0].keys() - {*settings, "seconds", "code"}
    for value in row.values():
        if isinstance(value, list):
            assert len(value) == 2 and all(map(math.isfinite, value))


def test_a_run_does_not_depend_on_what_ran_before(tiny):
    first, again = (experiment.run_beta(0.05, 0, 2) for _ in range(2))  # a reward model is kept
    assert first == again


def test_a_run_that_breaks_off_says_so(monkeypatch):
    def breaks_off(*args):
        raise FloatingPointError

    monkeypatch.setattr(experiment, "follow", breaks_off)
    row = experiment.run_stability(0.0, None, 2e-3, 0)
    assert row == {"raised": True}
    assert experiment.collapsed(row) and not experiment.stalled(row)


def test_each_step_has_its_tickets_as_often_as_asked(monkeypatch):
    monkeypatch.setattr(experiment, "BATCH", 6)
    once = experiment.ticket_groups(steps=2, copies=1, seed=0)
    thrice = experiment.ticket_groups(steps=2, copies=3, seed=0)
    assert [len(group) for group in once + thrice] == [6] * 4
    for group in thrice:
        assert group == [ticket for ticket in group[::3] for _ in range(3)]
    assert thrice[0][::3] + thrice[1][::3] == tickets.sample_tickets("train", 4, 200)


def test_the_reward_model_is_kept_and_frozen(tiny):
    model = experiment.reward_model(0)
    assert model is experiment.reward_model(0)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_starts_differ_from_the_base_as_their_names_say(monkeypatch, few_clerks):
    monkeypatch.setitem(experiment.SFT_STEPS, "a little SFT", 3)
    losses = {
        name: experiment.loss_on_clerks(experiment.tuned_start(name, 0))
        for name in ("base", "a little SFT", "random weights")
    }
    assert losses["base"] == experiment.loss_on_clerks(fresh())
    assert losses["base"] < losses["a little SFT"] < losses["random weights"]


def test_a_sampler_of_the_same_precision_has_no_ratio_gap():
    policy = fresh()
    prompts = preferences.prompts(tokenizer(), tickets.sample_tickets("train", 2, 0))
    assert experiment.ratio_gap(policy, policy, prompts) < 1e-4
    coarse = fresh().to(torch.bfloat16)
    assert experiment.ratio_gap(policy, coarse, prompts) > 1e-4


def test_the_exact_divergence_of_a_policy_from_itself_is_zero():
    policy = fresh()
    prompts = preferences.prompts(tokenizer(), tickets.sample_tickets("train", 2, 0))
    rollout = rollouts.roll_out(
        policy,
        policy,
        lambda asked, responses: torch.zeros(len(asked)),
        prompts,
        max_new_tokens=4,
        temperature=1.0,
        stop_id=tokenizer().eos_token_id,
        pad_id=tokenizer().pad_token_id,
    )
    exact = experiment.exact_kl(policy, policy, rollout)
    assert exact.shape == (rollout.counts.sum(),) and exact.abs().max() < 1e-6


def test_the_toy_is_at_no_distance_from_its_own_optimum_without_a_reward():
    toy, responses = experiment.toy_policy(), enumeration.responses(5, stop_id=1, longest=2)
    log_probs = enumeration.log_probs(toy, [2, 3], responses, pad_id=0)
    aim = enumeration.optimum(log_probs, torch.zeros(len(responses)), 1.0)
    assert experiment.distance(log_probs, aim) == pytest.approx(0, abs=1e-6)
    far = enumeration.optimum(log_probs, torch.arange(len(responses)) / 1.0, 1.0)
    assert experiment.distance(log_probs, far) > 1


def test_train_with_gives_a_history_of_each_step(tiny):
    history = experiment.train_with(rollouts.response_log_probs, steps=2)
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 2,
        "score": 2,
        "gold": 2,
    }


ROW = {
    "gold": [1.0, 3.0, 3.0, 2.0, 0.0, 1.0],
    "score": [0.0, 0.5, 1.0, 2.0, 3.0, 2.5],
    "kl": [-0.1, 1.0, 2.5, 4.0, 9.0, 16.0],
    "stopped": [1.0] * 6,
    "entropy": [2.0, 1.5, 1.0, 0.8, 0.6, 0.5],
    "loss_on_clerks": [1.0, 1.1, 1.2, 1.3, 1.4, 1.75],
    "raised": False,
}


@pytest.mark.parametrize(
    "what, value",
    [
        (experiment.gold_at_end, 1.0),
        (experiment.peak, 1),
        (experiment.gold_at_peak, 3.0),
        (experiment.gold_fall, 2.0),
        (experiment.proxy_rise_after_peak, 2.0),
        (experiment.proxy_rise, 3.0),
        (experiment.kl_at_end, 16.0),
        (experiment.entropy_at_end, 0.5),
        (experiment.fluency_lost, 0.75),
        (experiment.road, [0, 1, math.sqrt(2.5), 2, 3, 4]),
    ],
)
def test_what_a_row_tells(what, value):
    assert what(ROW) == value


def test_gold_between_two_divergences_leaves_out_runs_that_were_never_there():
    assert experiment.gold_between([ROW, ROW | {"kl": [0.0] * 6}]) == [3.0]
    assert experiment.gold_between([ROW], low=3, high=10) == [1.0]


@pytest.mark.parametrize(
    "change, collapsed, stalled",
    [
        ({}, False, False),
        ({"stopped": [1.0, 0.49, 1.0]}, True, False),
        ({"score": [0.0, 2.0, 0.9]}, True, False),
        ({"score": [0.0, 2.0, 1.0]}, False, False),
        ({"score": [0.0, 0.29, 0.1]}, False, True),
    ],
)
def test_the_two_ways_to_fail_are_told_apart(change, collapsed, stalled):
    row = ROW | change
    assert (experiment.collapsed(row), experiment.stalled(row)) == (collapsed, stalled)


def test_tables_of_measures_name_settings_of_the_grids():
    assert set(experiment.KL_ENDS.values()) == set(experiment.BETAS)
    assert set(experiment.ADVANTAGE_MEASURES.values()) == set(experiment.ESTIMATORS)
    starts = {settings["start_from"] for settings in experiment.STARTS.grid}
    for table in (experiment.GOLD_BEFORE, experiment.GOLD_AFTER, experiment.PROXY_RISES):
        assert set(table.values()) == starts
    for prefix, table in (
        ("ppo.collapsed_", experiment.COLLAPSED),
        ("ppo.gold_after_10_", experiment.GOLD_AFTER_10),
    ):
        assert {name.removeprefix(prefix): brakes for name, brakes in table.items()} == (
            experiment.BRAKES
        )


def test_every_estimator_makes_tables_of_the_rollouts_shape():
    counts = torch.ones(4, 3, dtype=torch.bool)
    for estimator, copies in experiment.ESTIMATORS.values():
        assert experiment.BATCH % copies == 0
        for table in estimator(torch.randn(4, 3), torch.randn(4, 3), counts):
            assert table.shape == counts.shape
    assert ppo.PPOConfig().lam == 0.95  # what "GAE, λ = 0.95" repeats
