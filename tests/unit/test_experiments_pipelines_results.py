"""What lab 09 makes of its rows: prices, fates, differences, and the demonstrations that run live."""

import matplotlib.pyplot as plt
import pytest
import torch
from experiments import pipelines as experiment
from experiments import pipelines_compared as compared
from experiments import pipelines_results as results
from methods import pipelines

ROW = {"method": "SFT", "labels": 60, "train_seconds": 0.0, "state_bytes": 2_000_000}


@pytest.fixture
def rates(monkeypatch):
    """Rates as the sweep of the rates might have found them."""
    for module in (compared, results):
        monkeypatch.setattr(module, "rates", lambda: dict.fromkeys(compared.METHODS, 1e-3))


@pytest.mark.parametrize(
    ("method", "dollars"),
    [
        ("SFT", 100.0),  # 60 demonstrations of five minutes, at 20 dollars an hour
        ("SFT, LoRA", 100.0),
        ("PPO", 40.0),
        ("best of 16", 40.0),
        ("program", 160.0),
        ("teacher", 100.0),
        ("the base", 0.0),
    ],
)
def test_labels_are_paid_by_the_hour_and_a_program_by_its_own(method, dollars):
    assert results.dollars(ROW | {"method": method}) == pytest.approx(dollars)


def test_the_machine_is_paid_as_well():
    assert results.dollars(ROW | {"train_seconds": 7200.0}) == pytest.approx(100.2)


@pytest.mark.parametrize(
    ("changed", "fate"),
    [
        ({"gold": [1.0, 2.5], "exact": [0.02, 0.9]}, "learned"),
        ({"gold": [1.0, 1.0], "exact": [0.02, 0.02]}, "unchanged"),
        ({"gold": [1.0, 0.8], "exact": [0.02, 0.06]}, "unchanged"),
        ({"gold": [1.0, -2.0], "exact": [0.02, 0.0]}, "diverged"),
        ({"gold": [2.5, 2.0], "exact": [0.8, 0.9]}, "diverged"),
        ({"gold": [1.0, 2.5], "exact": [0.02, 0.9], "broke": True}, "diverged"),
    ],
)
def test_stall_and_divergence_are_told_apart(changed, fate):
    assert results.fate({"broke": False} | changed) == fate


def test_fates_are_counted_for_one_start():
    still = {"broke": False, "gold": [1.0, 1.0], "exact": [0.0, 0.0]}
    rows = [still | {"start": "base"}, still | {"start": "base", "broke": True}]
    rows.append(still | {"start": "random weights"})
    assert results.fates(rows, "base") == {"unchanged": 1, "diverged": 1, "learned": 0}


def test_the_first_step_is_that_of_one_start_at_one_rate():
    row = {"start": "base", "rate": experiment.COLD_RATES[0], "score": [0.1, 9.0]}
    rows = [row | {"flat_groups": [flat, 9.0]} for flat in (0.5, 0.7)]
    rows += [rows[0] | {"start": "random weights", "score": [5.0]}]
    rows += [rows[0] | {"rate": experiment.COLD_RATES[1], "score": [5.0]}]
    assert results.first_step(rows, "base") == pytest.approx({"p0": 0.1, "signal": 0.4})


def stage_rows():
    """Two pipelines, two seeds; the second seed is better everywhere."""
    return [
        {"pipeline": name, "parameters": parameters, "seed": seed, "exact": [0.0, end + 0.1 * seed]}
        for seed in range(2)
        for name, parameters, end in (
            ("SFT → PPO", "full", 0.6),
            ("SFT → PPO", "r = 1", 0.5),
            ("PPO", "full", 0.2),
        )
    ]


def test_gaps_are_taken_seed_by_seed_at_the_end_and_shares_in_percentage_points():
    gaps = results.stage_gaps(stage_rows(), "SFT → PPO", "PPO", "exact")
    assert gaps == pytest.approx([40.0, 40.0])
    assert results.rank_gaps(stage_rows(), "r = 1", "exact") == pytest.approx([-10.0, -10.0])


def test_what_ppo_adds_is_taken_from_the_policy_after_sft():
    row = {"pipeline": "SFT → PPO", "parameters": "full"}
    rows = [row | {"gold": [1.0, 2.5, 2.5 + gain]} for gain in (0.1, -0.2)]
    assert results.added_by_ppo(rows, "full") == pytest.approx([0.1, -0.2])


def test_one_result_comes_in_the_order_of_the_seeds():
    rows = [ROW | {"seed": seed, "gold": 10.0 * seed} for seed in (2, 0, 1)]
    assert results.of(rows, "SFT", 60) == [0.0, 10.0, 20.0]


def test_every_measure_belongs_to_a_row_of_the_grid(rates):
    settings = {(row["method"], row["labels"]) for row in compared.grid()}
    for _, method, labels in results.COMPARED.values():
        assert (method, labels) in settings
    for pair in results.LEADS.values():
        assert settings.issuperset(pair)
    assert settings.issuperset(results.PRICES.values())
    for pipeline, _, place in results.STAGE_MEASURES.values():
        assert pipeline in experiment.PIPELINES and place <= pipeline.count("→") + 1
    assert results.live_row() in compared.grid()


def test_a_mixed_batch_is_the_same_as_one_adapter_at_a_time():
    assert results.mixed_difference(pipelines.mixed_batch, 3) < 1e-4

    def first_for_all(x, weight, A, B, alpha, adapter):
        return pipelines.mixed_batch(x, weight, A, B, alpha, torch.zeros_like(adapter))

    assert results.mixed_difference(first_for_all, 3) > 1


def test_after_begin_stage_the_reference_is_the_policy(rates):
    told = results.first_divergence(pipelines.begin_stage)
    assert told["switched off"] > 1
    assert told["renewed"] == pytest.approx(0, abs=1e-3)


def test_no_labels_have_a_place_on_a_logarithmic_axis():
    rows = [
        ROW
        | {"method": method, "labels": labels, "seed": seed, "gold": 2.0 + seed, "exact": 0.5}
        | {"train_seconds": 9.0}
        for method in compared.METHODS
        for labels in (compared.LABELS if method in compared.CURVES else (compared.MOST,))
        for seed in range(3)
    ]
    for budget in results.BUDGETS:
        fig, axes = plt.subplots(1, 2)
        results.draw_comparison(axes, rows, budget)
        names = axes[0].get_legend_handles_labels()[1]
        trained = [name for name, what in compared.METHODS.items() if what.reads != "nothing"]
        assert names == trained
        plt.close(fig)
    assert results.labels_to_draw(ROW | {"method": "program"}) == results.NO_LABELS
