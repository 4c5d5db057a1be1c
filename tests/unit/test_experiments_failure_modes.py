"""Lab 10's experiments at a tiny size."""

import math
from collections import Counter

import pytest
import torch
from experiments import after_ppo
from experiments import failure_modes as experiment
from helpdesk import preferences, tasks, tickets
from helpdesk.words import CITIES, PRODUCTS


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(experiment, "SHOWN", 40)
    monkeypatch.setattr(experiment, "NOISE_STEPS", 1)
    monkeypatch.setattr(experiment, "LONGER", (1, 2))
    monkeypatch.setattr(experiment, "RANK_STEPS", 3)
    monkeypatch.setattr(experiment, "LOOKS", (1, 2))
    monkeypatch.setattr(experiment, "PAIRS", 20)
    monkeypatch.setattr(experiment, "MORE", 2)
    monkeypatch.setattr(experiment, "MEMBERS", 2)
    monkeypatch.setattr(experiment, "HACK_STEPS", 2)
    monkeypatch.setattr(after_ppo, "RESPONSES", 16)
    experiment.labelled.cache_clear()
    yield
    experiment.labelled.cache_clear()


def cities(examples):
    return [example.response.split(" | ")[2] for example in examples]


def right_cities(seed):
    return [ticket.city for ticket in tickets.sample_tickets("train", experiment.SHOWN, 900 + seed)]


@pytest.mark.parametrize("kind", experiment.KINDS)
def test_errors_are_in_the_city_alone_and_as_many_as_asked(kind):
    clean, shown = (experiment.noisy(kind, dose, 1) for dose in (0.0, 0.3))
    right = right_cities(1)
    assert cities(clean) == right
    hit = [a != b for a, b in zip(cities(shown), right)]
    assert sum(hit) / len(hit) == pytest.approx(0.3, abs=0.1)
    for before, after in zip(clean, shown):
        old, new = (each.response.split(" | ") for each in (before, after))
        assert before.prompt == after.prompt and old[:2] + old[3:] == new[:2] + new[3:]
    if kind == "any wrong city":
        assert len(Counter(zip(right, cities(shown)))) > 2 * len(CITIES)
    else:
        assert all(
            new == experiment.next_city(old)
            for old, new, bad in zip(right, cities(shown), hit)
            if bad
        )
    if kind == "whole products":
        products = experiment.wrong_products(0.3, 1)
        assert len(products) == round(0.3 * len(PRODUCTS))
        assert hit == [example.response.split()[0] in products for example in shown]


def test_the_city_is_read_where_it_stands():
    """A model that says the right fields is right there, whatever else it says."""
    some = tickets.sample_tickets("test", 5, 4)

    class Knows(torch.nn.Module):
        def forward(self, input_ids):
            logits = torch.zeros(*input_ids.shape, 200)
            for row, ids in enumerate(input_ids.tolist()):
                for place, token in enumerate(ids[1:]):
                    logits[row, place, token] = 9.0
            return type("Output", (), {"logits": logits})

    said, right = experiment.city_probabilities(Knows(), some)
    assert said.argmax(-1).tolist() == right.tolist() == [CITIES.index(t.city) for t in some]
    assert said.max(-1).values.min() > 0.9
    assert tasks.triage(some[0]).response.split()[4] == some[0].city


@pytest.mark.parametrize("kind", experiment.KINDS)
def test_a_run_with_noise_tells_shares(tiny, kind):
    row = experiment.run_noise(kind, 0.2, 0)
    assert all(0 <= value <= 1 for value in row.values())
    assert row.keys() == {"shown", "greedy", "sampled", "among_hit", "among_others"}


@pytest.mark.parametrize("parameters", ["full", "r = 4"])
def test_facts_are_looked_at_on_the_way_and_at_the_end(tiny, parameters):
    row = experiment.run_rank(64, parameters, 1e-3, 0)
    assert len(row["known"]) == 3 and experiment.unknown(row) == 1 - row["known"][-1]


def test_the_rate_is_chosen_by_what_is_known_on_the_way():
    early, late = {"known": [0.5, 1.0]}, {"known": [0.0, 1.0]}
    assert experiment.unknown_on_the_way(early) == 0.25 < experiment.unknown_on_the_way(late)


@pytest.mark.parametrize("remedy", experiment.REMEDIES)
def test_a_remedy_has_its_price_in_labels(tiny, remedy):
    row = experiment.run_hack("fond of length", remedy, 0)
    assert all(len(row[name]) == 2 for name in ("gold", "score", "kl", "length"))
    assert all(map(math.isfinite, row["score"]))
    most = {"more pairs": 40, "fresh labels": 40}.get(remedy, 20)
    assert most - 6 <= row["labels"] <= most
    assert row["said"].count("\n") == 1


def test_an_ensemble_pays_what_its_strictest_member_says():
    members = [torch.tensor([1.0, 5.0]), torch.tensor([2.0, 3.0])]
    ensemble = experiment.Ensemble(members)
    saved = experiment.reward.rewards
    experiment.reward.rewards = lambda model, *_, pad_id: model
    try:
        assert ensemble([[1], [1]], [[2], [2]]).tolist() == [1.0, 3.0]
    finally:
        experiment.reward.rewards = saved


def test_a_rater_who_is_fond_of_length_chooses_longer_replies(tiny, monkeypatch):
    monkeypatch.setattr(experiment, "PAIRS", 300)
    longer = {}
    for rater in experiment.RATERS:
        some = experiment.labelled(rater, 300, 0)
        longer[rater] = sum(len(a) > len(b) for _, (a, b) in some) / len(some)
    assert longer["fond of length"] > longer["fair"] + 0.03


def test_gold_lost_is_taken_from_the_best_step():
    row = {"gold": [1.0, 3.0, 2.0, 1.0, 0.0]}
    assert experiment.gold_at_end(row) == 1.0 and experiment.gold_lost(row) == 2.0


@pytest.mark.parametrize("kind", experiment.KINDS[:2])
def test_the_noise_is_that_of_the_examples(kind):
    noise = experiment.noise_of(kind, 0.4).cpu()
    torch.testing.assert_close(noise.sum(-1), torch.ones(len(noise)))
    ids = experiment.tokenizer().convert_tokens_to_ids(list(CITIES))
    others = [token for token in range(len(noise)) if token not in ids]
    assert torch.equal(noise[others], torch.eye(len(noise))[others])
    rome, after = ids[CITIES.index("rome")], ids[(CITIES.index("rome") + 1) % len(CITIES)]
    assert noise[rome, rome] == pytest.approx(0.6)
    wrong = 0.4 if kind == "one wrong city" else 0.4 / (len(CITIES) - 1)
    assert noise[rome, after] == pytest.approx(wrong)
    assert noise[rome, others].sum() == 0


def test_the_corrected_loss_gets_the_rows_that_count(tiny):
    seen = []

    def forward_loss(logits, labels, noise):
        seen.append((logits.shape, labels.shape, noise.shape, (labels >= 0).all().item()))
        return torch.nn.functional.cross_entropy(logits, labels)

    row = experiment.run_corrected("any wrong city", 0.4, 0, forward_loss=forward_loss)
    ((logits, labels, noise, positive),) = seen
    assert logits == (labels[0], noise[0]) and noise[0] == noise[1] and positive
    assert 0 <= row["greedy"] <= 1 and 0 <= row["sampled"] <= 1


@pytest.mark.parametrize("loss", experiment.LOSSES)
def test_a_longer_run_is_looked_at_on_the_way(tiny, loss):
    row = experiment.run_longer(loss, 0)
    assert row.keys() == {"greedy", "sampled"} and all(len(each) == 2 for each in row.values())
    assert experiment.greedy_at_end(row) == row["greedy"][-1]


def test_the_two_losses_are_two(tiny):
    usual, corrected = (experiment.run_longer(loss, 0) for loss in experiment.LOSSES)
    assert usual["sampled"] != corrected["sampled"]


def test_a_judge_reads_the_stored_replies_to_their_own_tickets(tiny, monkeypatch):
    seen = []

    def rewards(model, prompts, replies, *, pad_id):
        seen.append((prompts, replies))
        return torch.arange(float(len(prompts)))

    some = [
        {"rater": rater, "seed": seed, "said": "hello . thank you .\nplease cool your laptop ."}
        for rater, seed in (("fair", 0), ("fond of length", 1), ("fair", 2))
    ]
    monkeypatch.setattr(experiment, "rows_of", lambda sweep: some)
    monkeypatch.setattr(experiment.reward, "rewards", rewards)
    row = experiment.run_judge("fair", 1, 0)
    assert row == {"first": [0.0, 1.0], "last": [0.0, 1.0]}
    for (prompts, replies), at, said in zip(
        seen, (0, -1), ("hello . thank you .", "please cool your laptop .")
    ):
        asked = [experiment.asked_in(experiment.HACK_STEPS, 1, seed)[at][0] for seed in (0, 2)]
        assert prompts == preferences.prompts(experiment.tokenizer(), asked)
        assert {experiment.tokenizer().decode(reply) for reply in replies} == {said}


@pytest.mark.parametrize(
    "remedy, betas, members",
    [
        ("none", [0.0], [1]),
        ("KL penalty", [0.1], [1]),
        ("more pairs", [0.0], [1]),
        ("ensemble", [0.0], [2]),
        ("fresh labels", [0.0, 0.0], [1, 1]),
    ],
)
def test_each_remedy_reaches_ppo(tiny, monkeypatch, remedy, betas, members):
    seen = []

    def follow(policy, models, groups, config, seed, told):
        seen.append((config.beta, models))
        return ["a reply"] * len(groups)

    monkeypatch.setattr(experiment, "follow", follow)
    experiment.run_hack("fair", remedy, 0)
    assert [beta for beta, _ in seen] == betas
    assert [len(models) for _, models in seen] == members
    if remedy == "ensemble":
        one, other = (torch.cat([p.flatten() for p in each.parameters()]) for each in seen[0][1])
        assert not torch.equal(one, other)
    if remedy == "fresh labels":
        assert seen[0][1][0] is not seen[1][1][0]
