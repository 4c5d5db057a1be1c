"""Lab 11's experiments after SFT, at a tiny size, with a small chat model in the real one's place."""

import math

import pytest
from experiments import real_model
from experiments import real_model_rewards as experiment
from inbox import records, replies
from inbox.messages import sample
from methods import dpo, lora
from test_experiments_real_model import tiny  # noqa: F401 (a fixture)


@pytest.fixture()
def small(tiny, monkeypatch):  # noqa: F811 (the same fixture)
    monkeypatch.setattr(experiment, "JUDGED", 4)
    monkeypatch.setattr(experiment, "ASKED", 10)
    monkeypatch.setattr(experiment, "EPOCHS", 1)
    monkeypatch.setattr(experiment, "PAIRS", 2)
    monkeypatch.setattr(experiment, "RL_STEPS", 2)
    monkeypatch.setattr(experiment, "PROMPTS", 2)
    monkeypatch.setattr(experiment, "GROUP", 3)
    monkeypatch.setattr(experiment, "REPLY_TOKENS", 8)
    monkeypatch.setattr(experiment, "MAX_NEW_TOKENS", 8)
    return tiny


def finite(row):
    return all(
        math.isfinite(value)
        for many in row.values()
        for value in (many if isinstance(many, list) else [many])
    )


def test_dpo_tells_of_before_and_after(small, monkeypatch):
    worth = iter(range(10_000))
    monkeypatch.setattr(replies, "gold", lambda *reply: float(next(worth)))
    row = experiment.run_dpo(1e-3, 0)
    assert row["pairs"] == 10 and len(row["margin"]) == len(row["chosen"]) == 5
    assert all(len(row[name]) == 2 for name in ("gold", "apology", "words", "promises"))
    assert finite(row) and row["margin"][0] == pytest.approx(0, abs=1e-4)


def test_the_better_reply_of_a_pair_stands_first_and_ties_are_left_out(small, monkeypatch):
    def worth(text, message, ended):
        return float(len(text) // 4)  # ties are common

    monkeypatch.setattr(replies, "gold", worth)
    pairs = experiment.own_pairs(real_model.fresh(), 0)
    assert 0 < len(pairs) < 10
    for _, (chosen, rejected) in pairs:
        assert worth(*_text(chosen)) > worth(*_text(rejected))
    dpo.check_pairs(pairs)


def _text(response):
    text, ended = experiment.text_of(response)
    return text, None, ended


def test_the_text_of_a_response_says_whether_it_ended(small):
    ids = small("Hello")["input_ids"]
    assert experiment.text_of([*ids, small.eos_token_id]) == ("Hello", True)
    assert experiment.text_of(ids) == ("Hello", False)


def test_each_response_is_scored_against_its_own_message(small):
    messages = sample("train", 3, 0)
    asked = {tuple(real_model.prompt(message)): message for message in messages}
    score = experiment.scored_by(experiment.right_fields, asked)
    right = [small(records.as_json(m.record))["input_ids"] + [small.eos_token_id] for m in messages]
    prompts = [list(prompt) for prompt in asked]
    assert score(prompts, right).tolist() == [1.0, 1.0, 1.0]
    assert score(prompts, [row[:-1] for row in right]).tolist() == [0.0, 0.0, 0.0]
    assert all(score(prompts, right[1:] + right[:1]) < 1)


@pytest.mark.parametrize("start", ["prompted", "some SFT"])
def test_grpo_on_records_tells_of_every_step_and_of_before_and_after(small, start):
    row = experiment.run_verified(start, 1e-3, 0)
    assert len(row["score"]) == len(row["kl"]) == len(row["flat_groups"]) == 2
    assert len(row["fields"]) == len(row["exact"]) == 2 and finite(row)
    assert row["kl"][0] == pytest.approx(0, abs=1e-3)


def test_the_prompted_start_shows_a_solved_message_and_the_other_none(small, monkeypatch):
    seen = []

    def note(policy, worth, prompt_of, limit, rate, seed):
        seen.append(small.decode(prompt_of(sample("test", 1, 0)[0])).count("assistant"))
        return []

    monkeypatch.setattr(experiment, "by_grpo", note)
    for start in ("prompted", "some SFT"):
        experiment.run_verified(start, 1e-3, 0)
    assert seen == [2, 1]


@pytest.mark.parametrize("rater", experiment.RATERS)
def test_grpo_on_replies_learns_from_the_rater(small, rater):
    row = experiment.run_rater(rater, 1e-3, 0)
    assert len(row["score"]) == len(row["kl"]) == 2
    assert len(row["gold"]) == len(row["words"]) == 2 and finite(row)
    assert experiment.short_of_gold(row) == 4 - row["gold"][-1]


def test_only_the_adapter_is_trained(small):
    model = real_model.fresh(rank=experiment.RANK)
    before = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    steps = experiment.by_grpo(model, replies.fond_of_length, experiment.reply_prompt, 8, 1e-3, 0)
    assert len(list(steps)) == 2
    assert lora.count(model)[0] > 0
    assert all(p.equal(before[n]) for n, p in model.named_parameters() if n in before)
