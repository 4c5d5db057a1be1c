"""Lab 03's experiments at a tiny size: the grids are those that are stored, and runs give rows."""

import math

import pytest
import torch
from experiments import reward_model as experiment
from experiments.shared import tokenizer
from helpdesk import raters, tickets
from methods import reward
from stored_sweeps import rows_in_file


@pytest.fixture
def tiny(monkeypatch):
    """Sixteen held-out tickets, and no more than 24 to train on."""
    whole = experiment.compare
    monkeypatch.setattr(experiment, "HELD_OUT", 16)
    monkeypatch.setattr(
        experiment, "compare", lambda split, count, *rest, **more: whole(split, 24, *rest, **more)
    )
    experiment.held_out_pairs.cache_clear()
    yield
    experiment.held_out_pairs.cache_clear()


@pytest.fixture
def opinion():
    """A reward model that was not trained, with a head that says something."""
    torch.manual_seed(0)
    model = reward.ScalarModel(experiment.fresh())
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.mark.parametrize(
    "declared, settings",
    [
        (experiment.PAIRS, {"rater": "16 % flips", "pairs": 10, "seed": 0}),
        (experiment.BIAS, {"bias": "length", "seed": 1}),
        (experiment.RANKINGS, {"batches": "grouped", "epochs": 1, "seed": 0}),
        (experiment.RANKINGS, {"batches": "shuffled", "epochs": 1, "seed": 0}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_run_gives_finite_results_with_the_stored_names(tiny, declared, settings):
    row = declared.run(**settings)
    assert row.keys() == rows_in_file(declared.name)[0].keys() - {*settings, "seconds", "code"}
    assert all(math.isfinite(value) for value in row.values())


@pytest.mark.parametrize(
    "declared, measures",
    [
        (experiment.PAIRS, [{"seed": 0} | s for _, s in experiment.PAIRS_MEASURES.values()]),
        (experiment.BIAS, [{"seed": 0, "bias": b} for _, b in experiment.BIAS_MEASURES.values()]),
        (experiment.RANKINGS, [{"seed": 0} | s for _, s in experiment.RANKINGS_MEASURES.values()]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_measure_names_settings_of_the_grid(declared, measures):
    assert all(settings in declared.grid for settings in measures)
    assert all(settings in measures for settings in declared.grid if settings["seed"] == 0)


def test_the_same_seed_draws_the_same_replies():
    asked = tickets.sample_tickets("train", 2, 0)
    first, again, other = (experiment.base_replies(asked, 3, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert [len(replies) for replies in first] == [3, 3]


def test_held_out_pairs_are_judged_by_the_given_rater(tiny):
    tickets_by_prompt = {
        tuple(prompt): ticket
        for (ticket, _), prompt in zip(
            experiment.held_out_pairs(),
            experiment.preferences.prompts(
                tokenizer(), [ticket for ticket, _ in experiment.held_out_pairs()]
            ),
        )
    }
    decided = experiment.held_out(experiment.PRECISE_RATER, decided=True)
    assert 0 < len(decided) <= len(experiment.held_out(raters.Rater())) <= 16
    for prompt, pair in decided:
        better, worse = experiment.gold_of(tickets_by_prompt[tuple(prompt)], pair)
        assert better > worse


def test_margins_are_distances_of_pairs_that_differ(tiny):
    margins = experiment.held_out_margins()
    assert len(margins) == sum(
        first != second for _, (first, second) in experiment.held_out_pairs()
    )
    assert min(margins) >= 0 and max(margins) > 0


def test_exchanged_replies_come_from_tickets_about_other_products(tiny):
    found = experiment.exchanged()
    assert found
    for (_, (own, other)), (_, (others_own, back)) in zip(found[::2], found[1::2]):
        assert own == back and other == others_own and own != other


def test_most_replies_name_the_product(tiny):
    assert 0.5 < experiment.names_product() <= 1


def test_a_ranking_of_four_has_six_pairs_in_its_order():
    pairs = experiment.pairs_of([([1], [[2], [3], [4], [5]])])
    assert pairs == [
        ([1], [[better], [worse]])
        for better, worse in [(2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 5)]
    ]


def test_each_choice_of_a_cycle_is_contradicted_by_the_other_two():
    (prompt, (a, b)), (_, (b_again, c)), (_, (c_again, a_again)) = experiment.cycle("train", 1, 0)
    assert (a, b, c) == (a_again, b_again, c_again)
    assert len(set(map(tuple, (a, b, c)))) == 3
    assert all(response[-1] == tokenizer().eos_token_id for response in (a, b, c))


def test_draws_are_scored_in_their_order(opinion):
    asked = tickets.sample_tickets("test", 2, 0)
    rewards, golds = experiment.scored_draws(opinion, asked, 3, seed=0)
    assert rewards.shape == golds.shape == (2, 3)
    drawn = experiment.base_replies(asked, 3, 0)
    assert golds[1].tolist() == pytest.approx(experiment.gold_of(asked[1], drawn[1]))


def test_a_sentence_is_worth_the_difference_of_the_rewards(monkeypatch):
    scores = iter([torch.tensor([1.0, 2.0]), torch.tensor([4.0, 3.0])])
    monkeypatch.setattr(experiment.reward, "rewards", lambda *args, **more: next(scores))
    assert experiment.gain_of(None, " thanks") == 1.0  # a mean of 2 at a sharpness of 2


def test_only_rewards_that_depend_on_the_batch_change_in_company(tiny, opinion):
    def last_column(model, rankings, pad_id):
        rows = [prompt + response for prompt, pair in rankings for response in pair]
        ids, real = experiment.reward.pad(rows, pad_id)
        return model(ids.to(model.device), real.to(model.device))[:, -1].view(len(rankings), -1)

    _, changed = experiment.in_company(last_column, opinion)
    right, unchanged = experiment.in_company(reward.batch_rewards, opinion)
    assert changed > 0 == unchanged
    assert 0 <= right <= 1


def test_train_with_uses_the_functions_it_is_given(tiny):
    asked = []

    def loss(rewards):
        asked.append(rewards.shape)
        return reward.ranking_loss(rewards)

    pairs = experiment.compare("train", 24, raters.Rater(), 0)[:18]
    _, losses = experiment.train_with(reward.batch_rewards, pairs, ranking_loss=loss)
    assert asked == [(16, 2), (2, 2)] * 2
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)


def test_what_a_bias_adds_is_taken_seed_by_seed():
    paid = {"none": (0.1, 0.2, 0.4), "length": (0.5, 0.2, 0.3), "thanks": (9.0, 9.0, 9.0)}
    rows = [
        {"bias": bias, "seed": seed, "question": value, "thanks": -1.0}
        for bias, values in paid.items()
        for seed, value in zip((2, 0, 1), values)
    ]
    added = experiment.added_by_a_bias(rows, "question", "length")
    assert added == pytest.approx([0.0, -0.1, 0.4])
