"""Token arithmetic: rows, labels, padding, log-probabilities, tables with places that count."""

import math

import pytest
import torch
from methods.models import inputs
from methods.tokens import (
    IGNORE,
    collate,
    entropy,
    join,
    last_token,
    mask_prompt,
    masked_mean,
    pad,
    place,
    token_log_probs,
    whiten,
)
from tiny import PAD, PROMPTS, new_policy, some_tables


def some_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 7, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 7, (3, 6), generator=generator)
    labels[:, :2] = IGNORE
    labels[1, 4:] = IGNORE
    return logits, labels


def test_log_probs_are_those_of_the_following_token():
    logits, labels = some_logits()
    found = token_log_probs(logits, labels)
    for row in range(3):
        for t in range(5):
            label = labels[row, t + 1].item()
            p = (
                math.exp(logits[row, t, label]) / sum(math.exp(z) for z in logits[row, t])
                if label != IGNORE
                else 1
            )
            assert found[row, t].item() == pytest.approx(math.log(p), abs=1e-12)


def test_masking_keeps_the_stop_token_even_where_it_is_the_padding_token():
    stop = 1
    ids, labels = collate([mask_prompt([3, 4], [5, stop]), mask_prompt([3], [stop])], pad_id=stop)
    assert ids.tolist() == [[3, 4, 5, stop], [3, stop, stop, stop]]
    assert labels.tolist() == [[IGNORE, IGNORE, 5, stop], [IGNORE, stop, IGNORE, IGNORE]]


def test_padding_on_the_left_changes_nothing():
    policy = new_policy()
    ids, real = pad(PROMPTS, PAD, side="left")
    assert ids[1].tolist() == [PAD] * 3 + [6, 7] and real[1].tolist() == [False] * 3 + [True] * 2
    assert inputs(policy, ids, real)["position_ids"][1].tolist() == [0, 0, 0, 0, 1]
    with torch.no_grad():
        together = policy(**inputs(policy, ids, real)).logits
    for row, prompt in enumerate(PROMPTS):
        alone = policy(torch.tensor([prompt])).logits[0]
        torch.testing.assert_close(together[row, -len(prompt) :], alone, rtol=0, atol=1e-5)


def test_padding_on_the_right_needs_no_mask():
    ids, real, policy = *pad(PROMPTS, PAD), new_policy()
    assert ids[1].tolist() == [6, 7] + [PAD] * 3 and list(inputs(policy, ids, real)) == [
        "input_ids"
    ]


def test_the_last_token_is_one_in_each_row():
    _, counts = some_tables(0)
    assert last_token(counts).nonzero().tolist() == [[0, 2], [1, 5], [2, 8], [3, 2], [4, 3], [5, 8]]


def test_whitened_numbers_have_mean_0_and_variance_1_where_they_count():
    (values,), counts = some_tables(1)
    white = whiten(3 * values + 5, counts)
    assert (white[~counts] == 0).all()
    assert white[counts].mean().item() == pytest.approx(0, abs=1e-6)
    assert white[counts].var(correction=0).item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(
        whiten(3 * values + 5, counts)[counts], whiten(values, counts)[counts]
    )


def test_equal_numbers_are_whitened_to_0():
    counts = torch.tensor([[True, True, False]])
    assert whiten(torch.tensor([[2.0, 2.0, 9.0]]), counts).tolist() == [[0, 0, 0]]


def test_a_masked_mean_sees_what_counts():
    (values,), counts = some_tables(1)
    assert masked_mean(values, counts).item() == pytest.approx(values[counts].mean().item())


def test_prompts_and_responses_are_joined_as_examples_are():
    responses = [[5, 1], [6, 7, 1], [PAD, 1]]
    ids, real, labels = join(PROMPTS, responses, PAD)
    examples = [mask_prompt(*pair) for pair in zip(PROMPTS, responses)]
    expected_ids, expected_labels = collate(examples, PAD)
    assert torch.equal(ids, expected_ids) and torch.equal(labels, expected_labels)
    assert real.sum(-1).tolist() == [len(ids) for ids, _ in examples]
    assert [row[keep].tolist() for row, keep in zip(ids, real)] == [ids for ids, _ in examples]


def test_more_prompts_than_responses_are_refused():
    with pytest.raises(ValueError):
        join(PROMPTS, [[5, 1]], PAD)


def test_what_is_placed_stands_where_it_counts():
    _, counts = some_tables(0)
    rows = [[10.0 * row + i for i in range(n)] for row, n in enumerate(counts.sum(-1).tolist(), 1)]
    table = place(rows, counts)
    assert [line[keep].tolist() for line, keep in zip(table, counts)] == rows
    assert (table[~counts] == 0).all()


def test_entropy_is_that_of_the_choice():
    torch.testing.assert_close(entropy(torch.zeros(2, 8)), torch.full((2,), math.log(8)))
    p = [0.7, 0.2, 0.1]
    expected = -sum(share * math.log(share) for share in p)
    assert entropy(torch.tensor(p).log() + 3).item() == pytest.approx(expected, abs=1e-6)
