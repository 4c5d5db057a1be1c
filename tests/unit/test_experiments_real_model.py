"""Lab 11's experiments at a tiny size, with a small chat model in the real one's place."""

import chats
import pytest
import torch
from experiments import real_model as experiment
from inbox import model as real
from inbox import questions, records
from inbox.messages import sample
from methods import lora
from methods.tokens import IGNORE
from transformers import LlamaConfig, LlamaForCausalLM


@pytest.fixture()
def tiny(monkeypatch):
    tokenizer = chats.chatml()

    def load(device="cpu"):
        torch.manual_seed(7)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=2048,
        )
        return LlamaForCausalLM(config).to(device), tokenizer

    monkeypatch.setattr(real, "load", load)
    experiment.tokenizer.cache_clear()
    monkeypatch.setattr(experiment, "TESTED", 6)
    monkeypatch.setattr(experiment, "MAX_NEW_TOKENS", 6)
    monkeypatch.setattr(questions, "QUESTIONS", questions.QUESTIONS[:3])
    yield tokenizer
    experiment.tokenizer.cache_clear()


def test_a_run_marks_both_tests_and_what_is_left_of_the_rest(tiny):
    row = experiment.run_tuned("SmolLM2", 2, 16, 1e-3, 0)
    marks = {"valid", "keys", "fields", "exact", *records.KEYS}
    assert marks | {f"far_{name}" for name in marks} < row.keys()
    assert len(row["losses"]) == experiment.STEPS and row["losses"][-1] < row["losses"][0]
    assert row["english"] > 0 and 0 <= row["answered"] <= 1
    assert experiment.missed(row) == 1 - row["fields"]


def test_a_run_can_be_repeated_and_follows_its_seed(tiny):
    rows = [experiment.run_tuned("SmolLM2", 2, 16, 1e-2, seed) for seed in (0, 0, 1)]
    assert rows[0]["losses"] == rows[1]["losses"] != rows[2]["losses"]


def test_random_weights_are_other_weights_of_the_same_shape(tiny):
    one, other = experiment.fresh(), experiment.fresh("random weights")
    shapes = [[p.shape for p in model.parameters()] for model in (one, other)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(one.get_input_embeddings().weight, other.get_input_embeddings().weight)


def test_rank_0_trains_everything_and_another_rank_its_adapter(tiny):
    trained, whole = lora.count(experiment.fresh())
    assert trained == whole
    assert lora.count(experiment.fresh(rank=2))[0] < whole / 10


def test_marks_are_of_the_messages_that_were_asked_about(tiny, monkeypatch):
    """A model that answers every prompt rightly has all marks, in both tests."""
    known = {
        tuple(experiment.prompt(message)): records.as_json(message.record)
        for group in ("test", "far")
        for message in sample(group, 6, 100)
    }
    monkeypatch.setattr(
        experiment, "draw", lambda model, prompts, limit: [known[tuple(p)] for p in prompts]
    )
    assert set(experiment.both_tests(None, 0).values()) == {1.0}


def test_what_is_drawn_lacks_the_end_of_the_turn_and_is_cut(tiny):
    model = experiment.fresh()
    prompts = [experiment.prompt(message) for message in sample("test", 5, 0)]
    texts = experiment.draw(model, prompts, 4)
    assert len(texts) == 5 and not any("<|im_end|>" in text for text in texts)
    assert all(len(tiny(text)["input_ids"]) <= 4 * 4 for text in texts)


def test_demonstrations_count_on_the_record_alone(tiny):
    for (ids, labels), message in zip(
        experiment.demonstrations(3, 5), sample("train", 3, 5), strict=True
    ):
        counted = [label for label in labels if label != IGNORE]
        assert tiny.decode(counted) == records.as_json(message.record) + "<|im_end|>"
        assert ids[-len(counted) :] == counted


def test_english_is_the_mean_over_all_tokens_but_the_first_of_a_paragraph(tiny):
    model = experiment.fresh()
    text = (experiment.Path(experiment.__file__).parent / experiment.DATA[0]).read_text("utf8")
    losses, tokens = 0.0, 0
    for paragraph in text.strip().split("\n\n"):
        ids = torch.tensor([tiny(paragraph)["input_ids"]])
        with torch.no_grad():
            losses += model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    assert experiment.english(model) == pytest.approx(losses / tokens, rel=1e-4)


def test_questions_are_asked_with_their_instruction(tiny, monkeypatch):
    asked = []

    def answer(model, prompts, limit):
        asked.extend(tiny.decode(prompt) for prompt in prompts)
        return ["Paris", "I do not know.", "Madrid."]

    monkeypatch.setattr(experiment, "draw", answer)
    assert experiment.answered(None) == pytest.approx(2 / 3)
    assert all(questions.SYSTEM in text for text in asked)
    assert [question in text for text, (question, _) in zip(asked, questions.QUESTIONS)] == [
        True
    ] * 3


def test_rates_are_chosen_on_messages_of_their_own():
    assert experiment.TUNING_SEED not in experiment.SEEDS
    assert {settings["seed"] for settings in experiment.RATES.grid} == {experiment.TUNING_SEED}


def test_prompted_answers_are_read_strictly_and_with_words_around_them(tiny, monkeypatch):
    """Answers in a sentence: no valid record, and each is found."""
    asked = []

    def answer(model, prompts, limit):
        asked.extend(map(tiny.decode, prompts))
        return ['So: {"product": 1, "issue": 2, "order": 3, "name": 4, "urgent": 5}.'] * len(
            prompts
        )

    monkeypatch.setattr(experiment, "draw", answer)
    row = experiment.run_prompted("long", 2, 0)
    assert row["valid"] == row["far_valid"] == 0 and row["found"] == row["far_found"] == 1
    assert all(text.count("<|im_start|>assistant") == 3 for text in asked)
    assert all(records.LONG in text for text in asked) and len(asked) == 12


def test_a_solved_message_is_a_training_message(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(
        experiment,
        "draw",
        lambda model, prompts, limit: asked.extend(prompts) or [""] * len(prompts),
    )
    experiment.run_prompted("short", 1, 3)
    solved = sample("train", 1, 3)[0]
    assert all(solved.text in tiny.decode(prompt) for prompt in asked)
