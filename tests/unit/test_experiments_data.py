"""What lab 06 runs, at small size: which examples are shown, what is counted, what a check lets through."""

import random
import statistics

import pytest
from experiments import data as experiment
from helpdesk import replies, tasks, tickets
from helpdesk.tasks import Example
from stored_sweeps import rows_in_file

TICKETS = tickets.sample_tickets("test", 20, 0)


# Examples -----------------------------------------------------------------------------------------


def test_fewer_examples_are_not_other_splits():
    for task in experiment.TASKS:
        train = {one.prompt for one in experiment.examples_of(task, "train", 300, 20)}
        test = {one.prompt for one in experiment.examples_of(task, "test", 300, 0)}
        assert len(train) == 300 and not train & test


@pytest.mark.parametrize("way", experiment.WAYS)
def test_demonstrations_are_256_and_polite(way):
    shown = experiment.demonstrations(way, 0)
    assert len(shown) == 256
    prompts = len({one.prompt for one in shown})
    assert prompts == (64 if way == "four wordings each" else 256)
    by_prompt = {
        tasks.reply_prompt(ticket): ticket for ticket in tickets.sample_tickets("train", 256, 20)
    }
    for one in shown[:40]:
        ticket = by_prompt.get(one.prompt)
        assert ticket is None or replies.is_polite(one.response.strip(), ticket)


def test_one_wording_is_one():
    wordings = {
        experiment.one_wording(ticket)
        .replace(ticket.product, "…")
        .replace(replies.FIXES[ticket.problem], "…")
        for ticket in TICKETS
    }
    assert len(wordings) == 1
    assert all(replies.is_polite(experiment.one_wording(ticket), ticket) for ticket in TICKETS)


def test_the_check_passes_what_is_right_and_stops_what_cannot_be():
    right = [tasks.triage(ticket) for ticket in TICKETS]
    assert all(map(experiment.passes, right))
    for one in right:
        fields = one.response.split("|")
        assert not experiment.passes(Example(one.prompt, "|".join(fields[:4])))
        assert not experiment.passes(Example(one.prompt, "|".join([*fields[:4], " nowhere"])))
        assert not experiment.passes(Example(one.prompt, "|".join([*fields[:4], " "])))
        # It cannot tell an order that is wrong.
        assert experiment.passes(
            Example(one.prompt, "|".join(f" {f.strip()} " for f in fields[::-1]))
        )


# Counting -----------------------------------------------------------------------------------------


def test_how_many_examples_a_share_needs():
    curve = {16: [0.0, 0.9], 64: [0.5, 0.9], 256: [0.9, 1.0], 1024: [1.0, 1.0]}
    first, second = experiment.needed_for(0.8, curve)
    assert first == pytest.approx(64 * 4**0.75) and second == pytest.approx(16)
    (never,) = experiment.needed_for(0.8, {16: [0.1], 64: [0.3]})
    assert never == pytest.approx(64)


def test_the_best_rate_is_that_of_its_count():
    rows = [
        {"task": "triage", "arm": "full", "count": count, "rate": rate, "performance": performance}
        for count, rate, performance in (
            (64, 1e-3, 0.2),
            (64, 2e-3, 0.1),
            (1024, 1e-3, 0.6),
            (1024, 2e-3, 0.9),
            (1024, 4e-3, 0.9),
        )
    ]
    assert experiment.best_rates(rows) == {
        ("triage", "full", 64): 1e-3,
        ("triage", "full", 1024): 2e-3,
    }


def test_the_chosen_rates_are_those_of_the_rows():
    assert experiment.best_rates(rows_in_file("data.rates")) == experiment.CHOSEN


def test_the_rate_is_that_of_the_nearer_count():
    for count in experiment.COUNTS:
        near = experiment.FEW if count <= 256 else experiment.MANY
        assert (
            experiment.rate_for("triage", "full", count)
            == experiment.CHOSEN["triage", "full", near]
        )


def test_the_best_epochs_of_loss_and_metric_may_differ():
    row = {"epoch": [0.0, 5.0, 10.0], "loss": [2.0, 1.0, 1.5], "performance": [0.0, 0.6, 0.7]}
    assert experiment.best_epochs(row) == (5.0, 10.0)


def test_laws_are_judged_on_means():
    curve = {
        count: [0.1 * count**0.3, 0.1 * count**0.3 + 0.02] for count in (16, 64, 256, 1024, 4096)
    }
    (misfits,) = experiment.judge_laws({"a curve": curve}).values()
    assert set(misfits) == set(experiment.LAWS) and all(misfit >= 0 for misfit in misfits.values())


# Labels -------------------------------------------------------------------------------------------


def test_raters_who_are_alike_agree_with_their_standardised_selves():
    runs = [experiment.rated_and_compared(0.0, seed, judgements=400) for seed in range(5)]
    for way in runs[0]:
        assert 0.6 < statistics.fmean(run[way] for run in runs) < 1
    plain, standardised = (
        statistics.fmean(run[way] for run in runs)
        for way in ("ratings", "ratings, each rater standardised")
    )
    assert plain == pytest.approx(standardised, abs=0.03)


def test_only_plain_ratings_suffer_from_the_spread():
    alike, unlike = (
        [experiment.rated_and_compared(spread, seed) for seed in range(8)] for spread in (0.0, 2.0)
    )
    for way in alike[0]:
        fall = statistics.fmean(run[way] for run in alike) - statistics.fmean(
            run[way] for run in unlike
        )
        assert fall > 0.04 if way == "ratings" else abs(fall) < 0.01


def test_strengths_find_the_order_from_many_comparisons():
    rng = random.Random(0)
    worth = [0.0, 1.0, 2.0, 3.0]
    pairs = [rng.sample(range(4), 2) for _ in range(400)]
    import numpy as np

    first, second = np.array(pairs).T
    wins = np.array([worth[i] > worth[j] for i, j in pairs])
    strengths = experiment._strengths(first, second, wins, 4)
    assert list(np.argsort(strengths)) == [0, 1, 2, 3]
