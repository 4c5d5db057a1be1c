"""Lab 11's experiment about the end of the turn, at a tiny size."""

import pytest
import torch
from experiments import real_model_ends as experiment
from inbox import records
from inbox.messages import sample
from methods import chat
from methods.tokens import IGNORE
from test_experiments_real_model import tiny  # noqa: F401 (a fixture)


@pytest.fixture()
def small(tiny, monkeypatch):  # noqa: F811 (the same fixture)
    monkeypatch.setattr(experiment, "MAX_NEW_TOKENS", 6)
    monkeypatch.setattr(experiment, "ASKED", 3)
    return tiny


def test_a_demonstration_is_written_as_the_template_writes_it(small):
    for message in sample("train", 20, 4):
        wanted = chat.tokens_of(small, records.turns(message), records.as_json(message.record))
        assert experiment.in_tokens(message) == wanted


def test_a_template_of_another_form_is_written_by_itself(small, monkeypatch):
    monkeypatch.setattr(small, "chat_template", small.chat_template.replace("\n", " "))
    message = sample("train", 1, 4)[0]
    wanted = chat.tokens_of(small, records.turns(message), records.as_json(message.record))
    assert not experiment.is_chatml()
    assert experiment.in_tokens(message, conversation=None) == wanted


def test_by_id_the_end_of_every_answer_is_lost_and_by_position_none(small):
    rows = [experiment.in_tokens(message) for message in sample("train", 5, 1)]
    end = chat.end_of_turn(small)
    for counted, word in ((experiment.BY_POSITION, "learned"), (experiment.BY_ID, "masked")):
        ids, labels = experiment.labelled(rows, counted, chat.labels_by_position)
        assert chat.ends(list(zip(ids.tolist(), labels.tolist())), end) == [word] * 5


def test_the_two_ways_differ_in_the_ends_alone(small):
    rows = [experiment.in_tokens(message) for message in sample("train", 5, 1)]
    ids, right = experiment.labelled(rows, experiment.BY_POSITION, chat.labels_by_position)
    same, wrong = experiment.labelled(rows, experiment.BY_ID, chat.labels_by_position)
    assert torch.equal(ids, same)
    assert set(ids[right != wrong].tolist()) == {small.pad_token_id}
    assert int((right != wrong).sum()) == 5
    for (row, labels), out in zip(rows, right.tolist()):
        assert out == labels + [IGNORE] * (len(out) - len(row))


def test_the_labels_are_those_of_the_function_that_was_given(small):
    def nothing_counts(ids, prompts, lengths):
        return torch.full_like(ids, IGNORE)

    rows = [experiment.in_tokens(message) for message in sample("train", 2, 1)]
    _, labels = experiment.labelled(rows, experiment.BY_POSITION, nothing_counts)
    assert set(labels.flatten().tolist()) == {IGNORE}


def test_every_step_reads_other_demonstrations(small):
    rows = [experiment.in_tokens(message) for message in sample("train", 16, 1)]
    drawn = experiment.batches(rows, experiment.BY_ID, 3, 0, chat.labels_by_position)
    batches = [ids.tolist() for ids, _ in drawn]
    assert len(batches) == 3 and all(len(each) == experiment.BATCH for each in batches)
    assert batches[0] != batches[1] != batches[2]


@pytest.mark.parametrize("counted", [experiment.BY_POSITION, experiment.BY_ID])
def test_a_run_tells_which_answers_end(small, counted, monkeypatch):
    row = experiment.run_ends(counted, 2, 0)
    assert 0 <= row["stopped"] <= 1 and len(row["losses"]) == 2
    assert isinstance(row["said"], str) and {"valid", "fields"} < row.keys()
    assert experiment.wrong_fields(row) == 1 - row["fields"]


def test_an_answer_that_ended_is_counted(small, monkeypatch):
    """Two of three answers end, and the text is read without the end."""
    right = [records.as_json(message.record) for message in sample("test", 3, 100)]
    tokens = [small(text)["input_ids"] for text in right]

    def draw(*args, **settings):
        assert settings["temperature"] == experiment.GREEDY
        return experiment.rollouts.Samples(
            [row + [small.eos_token_id] for row in tokens[:2]] + tokens[2:], [], [True, True, False]
        )

    monkeypatch.setattr(experiment.rollouts, "sample", draw)
    row = experiment.run_ends(experiment.BY_ID, 1, 0)
    assert row["stopped"] == pytest.approx(2 / 3) and row["exact"] == 1
    assert row["said"] == right[0]


def test_both_ways_are_run_with_the_same_settings():
    by_way = [
        [{**each, "counted": None} for each in experiment.ENDS.grid if each["counted"] == counted]
        for counted in (experiment.BY_POSITION, experiment.BY_ID)
    ]
    assert by_way[0] == by_way[1] and len(by_way[0]) == 6
