"""What lab 11 makes of its rows of DPO and GRPO."""

import inspect
import itertools

import matplotlib.pyplot as plt
import pytest
from experiments import real_model_rewards as experiment
from experiments import real_model_rewards_results as results
from experiments.real_model_rewards import EPOCHS
from methods import dpo

PARTS = ("gold", "apology", "product", "end", "promises", "words")


def row(**changed):
    told = {name: [float(place), place + 0.5] for place, name in enumerate(PARTS)}
    return told | {"chosen": [0.0, -1.0, -2.0, -6.0], "margin": [0.0, 0.1, 0.2, 0.4]} | changed


def drawn():
    fig, axes = plt.subplots(1, 3)
    yield axes
    plt.close(fig)


axes = pytest.fixture(drawn)


def test_before_and_after_are_the_first_and_the_last_of_a_pair():
    assert results.at("apology", results.BEFORE)(row()) == 1.0
    assert results.at("apology", results.AFTER)(row()) == 1.5
    assert results.gained("gold")(row(gold=[2.0, -1.5])) == -3.5


def test_the_loss_of_the_chosen_replies_is_that_of_the_second_half_of_a_pass():
    steps = row(chosen=[0.0, -1.0, -2.0, -4.0, 1.0, 1.0, 3.0, 5.0])
    assert results.chosen_loss(results.NEW)(steps) == 3.0
    assert results.chosen_loss(results.SEEN)(steps) == -4.0
    odd = row(chosen=[0.0, 0.0, -3.0, 9.0, 2.0, 4.0])
    assert results.chosen_loss(results.NEW)(odd) == 1.5
    assert results.chosen_loss(results.SEEN)(odd) == -3.0
    assert EPOCHS == 2


def test_the_rejected_replies_lie_below_the_chosen_ones_by_the_margin_over_beta():
    assert inspect.signature(dpo.train).parameters["beta"].default == results.BETA
    assert results.rejected(row()) == pytest.approx([0.0, -2.0, -4.0, -10.0])


def test_groups_without_a_signal_are_counted_over_all_steps():
    assert results.still_flat({"flat_groups": [1.0, 0.5, 0.0]}) == 0.5


def test_every_named_result_is_in_the_grid_of_its_sweep():
    starts = {start for _, start, _ in results.VERIFIED.values()}
    assert starts == {start for _, start, _ in results.VERIFIED_CHANGES.values()}
    assert starts == {"prompted", "some SFT"}
    raters = {rater for _, rater, _ in results.RATED.values()}
    assert raters == set(experiment.RATERS)
    assert {rater for _, rater, _ in results.RATED_CHANGES.values()} <= raters


def test_every_name_says_what_it_holds():
    """The names are written out in full, so that a search finds them; here they are put together."""
    short = {"prompted": "prompted", "some SFT": "sft", "the program": "program"}
    for name, (what, place) in results.DPO.items():
        assert name == f"real.dpo_{what}_{'after' if place else 'before'}"
    for kind, table in (("verified", results.VERIFIED), ("rated", results.RATED)):
        for name, (what, setting, place) in table.items():
            of = short.get(setting, "fond")
            assert name == f"real.{kind}_{of}_{what}_{'after' if place else 'before'}"


def test_the_picture_of_dpo_has_two_lines_and_an_arrow_for_every_seed(axes):
    results.draw_dpo(axes, [row(), row()])
    lines = [line for line in axes[0].get_lines() if len(line.get_xdata())]
    assert [line.get_ydata()[-1] for line in lines] == pytest.approx([-6, -10, -6, -10])
    names = [label.get_text() for label in axes[1].get_yticklabels()]
    assert names == ["gold", "apology", "product", "end", "promises"]
    dots = [line for line in axes[1].get_lines() if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in dots[::2]] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert len(dots) == 10


def test_the_picture_of_the_verifier_has_the_mean_of_both_starts(axes):
    rows = [
        {"start": start, "seed": seed, "score": [seed / 10, 0.5], "flat_groups": [1.0, seed / 4]}
        for start, seed in itertools.product(("some SFT", "prompted"), (0, 1, 2))
    ]
    results.draw_verified(axes[:2], rows)
    for ax, mean in zip(axes, ([0.1, 0.5], [1.0, 0.25])):
        means = [line for line in ax.get_lines() if line.get_label() in ("prompted", "some SFT")]
        assert [list(line.get_ydata()) for line in means] == [pytest.approx(mean)] * 2
        assert len(ax.get_lines()) == 8


def test_the_picture_of_raters_shows_what_each_pays_and_what_becomes_of_gold_and_words(axes):
    rows = [
        row(rater=rater, seed=seed, score=[1.0, pays], words=[9.0, 9 * pays], gold=[1.0, gold])
        for seed in (0, 1)
        for rater, pays, gold in (("the program", 2.0, 1.8), ("fond of length", 5.0, 0.3))
    ]
    results.draw_raters(axes, rows)
    ends = [line.get_ydata()[-1] for line in axes[0].get_lines() if len(line.get_ydata())]
    assert ends == [2.0, 2.0, 5.0, 5.0]
    for ax, wanted in ((axes[1], [1.8, 1.8, 0.3, 0.3]), (axes[2], [18, 18, 45, 45])):
        first_name = [
            line.get_xdata()[0]
            for line in ax.get_lines()
            if line.get_marker() == "o" and abs(line.get_ydata()[0]) < 0.3
        ]
        assert first_name == wanted


def test_what_is_paid_more_is_the_mean_of_the_last_three_steps_against_the_first():
    assert results.paid_more(row(score=[2.0, 9.0, 3.0, 4.0, 8.0])) == 3.0
