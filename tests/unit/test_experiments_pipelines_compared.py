"""The comparison at a tiny size: every method runs, from its own labels, and is judged like all."""

import math

import pytest
from experiments import after_ppo
from experiments import pipelines_compared as experiment
from experiments.shared import fresh, tokenizer
from helpdesk import replies, tasks
from methods import lora

CACHES = (
    experiment.asked,
    experiment.choices,
    experiment.drawn_pairs,
    experiment.rewarder,
    experiment.teacher,
    experiment.questions,
    after_ppo.test_tickets,
)


@pytest.fixture
def tiny(monkeypatch):
    """Forty tickets, one step of everything, four test tickets."""
    monkeypatch.setattr(experiment, "MOST", 40)
    monkeypatch.setattr(experiment, "SFT_STEPS", 1)
    monkeypatch.setattr(experiment, "REWARD_STEPS", 1)
    monkeypatch.setattr(experiment, "RL_STEPS", 1)
    monkeypatch.setattr(experiment, "FACTS", ("colour",))
    monkeypatch.setattr(after_ppo, "TEST_TICKETS", 4)
    monkeypatch.setattr(after_ppo, "RESPONSES", 16)
    for cached in CACHES:
        cached.cache_clear()
    yield
    for cached in CACHES:
        cached.cache_clear()


@pytest.mark.parametrize("method", experiment.METHODS)
def test_every_method_runs_and_is_judged_alike(tiny, method):
    what = experiment.METHODS[method]
    row = experiment.run_method(method, labels=20, rate=1e-3, seed=0)
    assert row.keys() == {
        *("gold", "exact", "kl", "reading", "forgotten"),
        *("operations", "train_seconds", "state_bytes", "artefact_bytes"),
    }
    assert all(map(math.isfinite, row.values()))
    trains = what.reads != "nothing"
    assert (row["operations"] > 0) == (row["state_bytes"] > 0) == trains
    moved = trains and what.signal != "best of 16"
    assert (row["artefact_bytes"] > 0) == moved
    if not moved:
        assert row["forgotten"] == 0
    if not trains:
        assert row["kl"] == pytest.approx(0, abs=1e-5)


def test_an_untrained_adapter_is_the_base(tiny):
    rows = [
        experiment.run_method(name, labels=20, rate=0.0, seed=1)
        for name in ("the base", "an untrained adapter")
    ]
    assert {k: v for k, v in rows[0].items() if k != "kl"} == {
        k: v for k, v in rows[1].items() if k != "kl"
    }


def test_an_adapter_stores_and_holds_less(tiny):
    full, adapter = (
        experiment.run_method(name, labels=20, rate=1e-3, seed=0) for name in ("DPO", "DPO, LoRA")
    )
    trained, everything = lora.count(after_ppo.policy_of("r = 8", 0))
    assert adapter["artefact_bytes"] == 4 * trained
    assert adapter["state_bytes"] == 4 * everything + 3 * 4 * trained
    weights = sum(each.nbytes for each in fresh().parameters())
    assert full["artefact_bytes"] == weights and full["state_bytes"] == 5 * weights


def test_fewer_labels_are_the_first_of_many(tiny):
    few, many = (experiment.demonstrations(count, 0) for count in (5, 20))
    assert few == many[:5] and len(many) == 20
    few, many = (experiment.choices(count, 0) for count in (5, 20))
    assert few == many[: len(few)]
    assert experiment.demonstrations(5, 1) != experiment.demonstrations(5, 0)


def test_the_controls_have_the_wrong_labels(tiny):
    right, wrong = (experiment.demonstrations(20, 0, control) for control in (None, "others'"))
    assert [each.prompt for each in right] == [each.prompt for each in wrong]
    assert sorted(each.response for each in right) == sorted(each.response for each in wrong)
    assert all(a.response != b.response or a == b for a, b in zip(right, wrong))
    chosen, tossed = (experiment.choices(40, 0, control) for control in (None, "a coin's"))
    assert [prompt for prompt, _ in chosen] == [prompt for prompt, _ in tossed]
    swapped = [a != b for (_, a), (_, b) in zip(chosen, tossed)]
    assert 0 < sum(swapped) < len(swapped)
    assert all(sorted(a) == sorted(b) for (_, a), (_, b) in zip(chosen, tossed))


def test_the_program_accepts_the_house_style_of_this_ticket_alone():
    (one, other) = experiment.asked(0)[:2]
    verify = experiment.in_style([[one], [other]])
    reply = experiment.demonstrations(1, 0)[0].response
    prompt = tasks.reply_prompt(one)
    assert replies.is_polite(reply, one)
    assert verify(prompt, f"{reply} <eos>") == 1
    assert verify(prompt, reply) == 0, "it did not end"
    assert verify(prompt, f"{reply} {reply} <eos>") == 0
    assert verify(prompt, "<eos>") == verify(prompt, "") == 0
    assert verify(tasks.reply_prompt(other), f"{reply} <eos>") == 0, "another ticket's reply"


def test_the_base_reads_and_a_model_of_random_weights_does_not():
    assert experiment.reading(fresh()) > 0.9
    torch_random = type(fresh())(fresh().config)
    assert experiment.reading(torch_random) < 0.2


def test_fewer_labels_come_in_smaller_batches_and_at_most_four_times():
    told = {}
    for labels in experiment.LABELS:
        size = experiment.batch_for(labels, 32)
        told[labels] = size, experiment.passes_for(62, size, labels)
    assert told == {32: (4, 4), 125: (7, 4), 500: (31, 4), 2000: (32, 1)}
    assert experiment.passes_for(250, 16, 2000) == 2


def test_the_gentlest_rate_that_is_about_as_good_is_taken():
    rows = [{"rate": rate, "gold": gold} for rate, gold in ((3e-4, 2.0), (1e-3, 2.35), (3e-3, 2.4))]
    assert experiment.gentlest(rows, "gold") == 1e-3
    assert experiment.gentlest(rows[::-1], "gold") == 1e-3
    assert experiment.gentlest(rows[:1], "gold") == 3e-4


def test_prompts_decode_to_what_the_program_looks_up():
    ticket = experiment.asked(0)[0]
    (prompt,) = after_ppo.preferences.prompts(tokenizer(), [ticket])
    assert tokenizer().decode(prompt) == tasks.reply_prompt(ticket)
