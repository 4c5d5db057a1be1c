"""The experiments of labs 01 and all: what they share, and lab 01's runs at tiny size."""

import math

import pytest
import torch
from experiments import sft as experiment
from experiments import shared
from helpdesk import replies, tasks, tickets
from methods import sft
from methods.tokens import IGNORE, collate, mask_prompt


@pytest.fixture
def short(monkeypatch):
    """Runs of one step, few customers and few tests."""
    tune = shared.tune
    monkeypatch.setattr(
        experiment,
        "tune",
        lambda model, examples, **options: tune(model, examples, **options | {"steps": 1}),
    )
    few = tickets.sample_tickets("test", 4, 2)
    monkeypatch.setattr(experiment, "customers", lambda: few)
    tests = experiment.test_set()[:4]
    monkeypatch.setattr(experiment, "test_set", lambda: tests)


# What experiments share ---------------------------------------------------------------------------


def examples(count):
    return [tasks.triage(ticket) for ticket in tickets.sample_tickets("train", count, 7)]


def test_a_fresh_base_is_a_new_one_each_time():
    one, other = shared.fresh(), shared.fresh()
    assert one is not other and all(map(torch.equal, one.parameters(), other.parameters()))


def test_tokens_are_masked_by_the_function_that_is_given():
    ids, labels = shared.tokens_of(examples(1))[0]
    assert labels.count(IGNORE) > 0 and ids[-1] == labels[-1] == shared.tokenizer().eos_token_id
    all_count = shared.tokens_of(examples(1), lambda prompt, response: (prompt + response,) * 2)
    assert all_count[0][1] == ids


def test_tuning_lowers_the_loss_and_looks_before_every_step():
    model, seen = shared.fresh(), []
    losses = shared.tune(model, examples(16), steps=4, rate=2e-3, seed=0, size=8, look=seen.append)
    assert seen == [0, 1, 2, 3] and len(losses) == 4 and losses[-1] < losses[0]


def test_tuning_is_the_methods_own():
    ours, theirs, rows = shared.fresh(), shared.fresh(), shared.tokens_of(examples(16))
    losses = shared.tune(ours, examples(16), steps=2, rate=1e-3, seed=5, size=4)
    pad = shared.tokenizer().pad_token_id
    some = sft.batches(rows, batch_size=4, steps=2, pad_id=pad, seed=5)
    assert losses == sft.fine_tune(theirs, some, steps=2, learning_rate=1e-3)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_a_score_counts_right_tokens_and_whole_responses():
    model, some = shared.fresh(), examples(3)

    class Knows(torch.nn.Module):
        """Predicts every token of the batch, but for one of the last response."""

        def forward(self, input_ids):
            logits = torch.nn.functional.one_hot(input_ids.roll(-1, 1), 1000).float() * 50
            logits[-1, len(shared.tokens_of(some)[-1][0]) - 2] = 0
            return type("Output", (), {"logits": logits})

    found = shared.score(Knows(), some)
    counted = sum(label != IGNORE for _, labels in shared.tokens_of(some) for label in labels)
    assert found["exact"] == pytest.approx(2 / 3)
    assert found["tokens"] == pytest.approx((counted - 1) / counted)
    assert shared.score(Knows(), some, stop=False)["exact"] == 1  # the stop token was the wrong one
    assert shared.score(model, some)["exact"] == 0


def test_drawing_gives_each_prompt_its_responses():
    prompts = [ids[:5] for ids, _ in shared.tokens_of(examples(3))]
    torch.manual_seed(0)
    drawn = shared.draw(shared.fresh(), prompts, 2)
    assert [len(each) for each in drawn] == [2, 2, 2]
    assert all(0 < len(response) <= shared.MAX_NEW_TOKENS for each in drawn for response in each)


def test_last_is_a_mean_of_the_end():
    assert shared.last([100.0, 1.0, 3.0], 2) == 2 and shared.last([4.0]) == 4


# Lab 01 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["the base", "random weights"])
def test_triage_starts_where_it_is_told_and_uses_the_learners_functions(short, start):
    called = []

    def loss(logits, labels):
        called.append(labels.shape)
        return sft.sft_loss(logits, labels)

    row = experiment.run_triage(start, 0, sft_loss=loss)
    assert called and len(row["curve"]) == 1 and len(row["responses"].splitlines()) == 3
    evenly = math.log(len(shared.tokenizer()))  # the loss of who knows nothing, and is not sure
    assert (abs(row["curve"][0] - evenly) < 0.2) == (start == "random weights")


def test_a_mixture_has_its_share():
    shown = experiment.mixture(0.7, 3)
    firsts = sum("please" in example.response for example in shown)
    assert len(shown) == 1024 and 0.65 < firsts / 1024 < 0.75
    assert all("please" in example.response for example in experiment.mixture(1.0, 3))


def test_runs_give_shares(short):
    row = experiment.run_mixture(0)
    assert row.keys() == {"first", "second"} and 0 <= row["first"] + row["second"] <= 1
    row = experiment.run_rude(1.0, 0)
    assert row["shown"] == 1 and 0 <= row["sampled"] <= 1
    assert 0 <= experiment.run_polite(16, 0)["polite"] <= 1
    assert experiment.run_polite(0, 0) == {"polite": 0}


def test_what_is_not_shown_gets_less_likely(short):
    assert experiment.run_undemonstrated(0)["change"] < 0


def test_clerks_write_by_their_habits():
    polite = experiment.written(replies.POLITE, 20, 1)
    asked = tickets.sample_tickets("train", 20, 1)
    assert all(replies.is_polite(e.response.strip(), t) for e, t in zip(polite, asked))


def test_adamw_keeps_eight_bytes_and_plain_descent_none():
    batch = shared.batch_of(examples(2))
    assert experiment.bytes_kept(torch.optim.AdamW, batch) == 8
    assert experiment.bytes_kept(torch.optim.SGD, batch) == 0


def test_the_colleagues_batches_are_padded_with_the_stop_token():
    ids, labels = next(experiment.batches_with(collate, 1, mask_prompt))
    stop = shared.tokenizer().eos_token_id
    assert (ids == stop).sum() > len(ids)
    assert (labels == stop).sum() == len(ids) == experiment.BATCH
