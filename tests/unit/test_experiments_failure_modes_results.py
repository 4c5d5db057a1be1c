"""What lab 10 makes of its rows."""

import importlib

import pytest
import torch
from experiments import failure_modes as experiment
from experiments import failure_modes_results as results
from experiments.after_ppo import SEEDS
from methods import remedies
from torch import nn


def hacked(rater, remedy, seed, gold=(1.0, 2.0, 3.0), **others):
    row = {"rater": rater, "remedy": remedy, "seed": seed, "gold": list(gold), "labels": 7}
    return row | {name: [1.0, 2.0, 6.0] for name in ("kl", "length", "score")} | others


def test_ends_are_means_over_the_seeds_of_one_rater_and_one_remedy():
    rows = [hacked("fair", "none", seed, gold=(0, 9, seed)) for seed in SEEDS]
    rows += [hacked("fair", "ensemble", 0, gold=(50, 50, 50))]
    mean = sum(SEEDS) / 3
    told = results.ends(rows, "fair", "none")
    assert told["gold"] == pytest.approx((9 + mean) / 3) and told["kl"] == 3.0
    assert told["lost"] == pytest.approx(9 - told["gold"]) and told["labels"] == 7
    assert results.LINE.format(**told).split()[-1] == "7"


def test_a_running_mean_looks_back_only():
    assert results.running([1.0, 2.0, 6.0, 1.0]) == [1.0, 1.5, 3.0, 3.0]
    assert results.running([4.0, 8.0], width=1) == [4.0, 8.0]


def test_a_run_that_is_stopped_has_the_gold_of_a_policy_within_the_budget():
    row = {"kl": [0.0, 2.0, 5.0, 11.0, 4.0], "gold": [1.0, 2.0, 3.0, 4.0, 5.0]}
    for budget, steps in ((10, 2), (1, 0), (99, 4)):
        assert remedies.stop_at(results.kl_after_each_step(row), budget) == steps
        assert row["kl"][steps] <= budget
        assert results.gold_after(row, steps) == row["gold"][steps]


def test_collecting_twice_is_compared_with_collecting_once_seed_by_seed():
    rows = [hacked("fair", "fresh labels", seed, gold=(3.0, 3.0, 3.0)) for seed in SEEDS]
    rows += [hacked("fair", "more pairs", seed, gold=[seed / 2] * 3) for seed in SEEDS]
    rows += [hacked("fond of length", "more pairs", seed, gold=[9] * 3) for seed in SEEDS]
    assert results.fresh_over(rows, "more pairs") == [3.0 - seed / 2 for seed in SEEDS]


@pytest.mark.parametrize(
    "names, grid",
    [(results.NOISE, "NOISE"), (results.CORRECTED, "CORRECTED"), (results.HACKED, "HACK")],
    ids=["noise", "corrected", "hacked"],
)
def test_every_measure_belongs_to_rows_of_the_grid(names, grid):
    for first, second, _ in names.values():
        found = [
            row for row in getattr(experiment, grid).grid if {first, second} <= {*row.values()}
        ]
        assert len({row["seed"] for row in found}) == len(SEEDS), (first, second)


def test_every_measure_of_facts_belongs_to_rows_of_the_grid(monkeypatch):
    module = importlib.import_module("experiments.failure_modes")
    best = {name: {"rate": 1e-3} for name in module.RANKS}
    monkeypatch.setattr(module, "rows_of", lambda sweep: [])
    monkeypatch.setattr(module, "lowest", lambda rows, what, by: best)
    grids = {"few": (module.RANK_RATES.grid, 1), "many": (module.rank_grid(), len(SEEDS))}
    for rows, settings, look in results.RANKED.values():
        grid, seeds = grids[rows]
        assert len([row for row in grid if settings.items() <= row.items()]) == seeds
        assert look < len(module.LOOKS)


def test_adapters_are_shown_at_their_better_rate():
    rows = [
        {"parameters": name, "rate": rate, "known": [0, 0, 0, 0, known]}
        for name, rate, known in (
            ("full", 1, 0.7),
            ("r = 1", 1, 0.2),
            ("r = 1", 2, 0.9),
            ("r = 4", 1, 1.0),
            ("r = 16", 1, 0.6),
        )
    ]
    assert results.known_by_adapters(rows) == {1: 0.9, 4: 1.0, 16: 0.6}


def test_the_best_change_of_a_rank_has_that_rank_and_what_it_misses_is_orthogonal():
    torch.manual_seed(1)
    change = torch.randn(9, 5, dtype=torch.float64)
    cut = results.of_rank(change, 2)
    assert torch.linalg.matrix_rank(cut) == 2
    torch.testing.assert_close((cut * (change - cut)).sum(), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(results.of_rank(change, 5), change)
    assert results.of_rank(change, 0).abs().max() == 0


def test_facts_are_asked_again_at_each_rank_whatever_was_asked_before(monkeypatch):
    layer = nn.Linear(4, 3, bias=False)
    before = torch.zeros(3, 4)
    change = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        results, "score", lambda model, facts: {"exact": (model.weight - change).norm().item()}
    )
    tuned = results.Tuned(layer, [], {layer: before}, {layer: change})
    far = [tuned.known_at(rank) for rank in (3, 1, 2, 3)]
    assert far[0] == pytest.approx(0, abs=1e-5) == far[3] and far[1] > far[2] > 0.01


def test_tuning_on_facts_keeps_what_it_added_to_every_adapted_matrix(monkeypatch):
    monkeypatch.setattr(results, "TUNED_STEPS", 2)
    tuned = results.tuned_on_facts(1e-3, 0)
    assert len(tuned.facts) == 256 and len(tuned.changes) == 21
    for layer, change in tuned.changes.items():
        assert change.abs().max() > 0
        torch.testing.assert_close(layer.weight, tuned.before[layer] + change)


def test_each_judge_has_its_zero_at_the_first_replies():
    rows = [{"first": [1.0, 3.0], "last": [4.0, 8.0]}, {"first": [-1.0, -1.0], "last": [0.0, 1.0]}]
    assert results.scores_of_judges(rows, "first").tolist() == [[-1.0, 1.0], [0.0, 0.0]]
    assert results.scores_of_judges(rows, "last").tolist() == [[2.0, 6.0], [1.0, 2.0]]
