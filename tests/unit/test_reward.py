"""The reward model: where it reads, what its loss sees, how it is trained."""

import copy
import math
from collections import Counter

import pytest
import torch
from methods import reward, tokens
from tiny import PAD, PROMPTS, STOP, new_policy

PAIRS = [
    ([3, 4], [[5, 6, STOP], [7, STOP]]),
    ([6], [[8, STOP], [5, 9, 4, STOP]]),
    ([2, 3, 4], [[10, STOP], [11, STOP]]),
]


@pytest.fixture()
def model():
    model = reward.ScalarModel(new_policy())
    torch.nn.init.normal_(model.head.weight)
    return model


def alone(model, row):
    """The numbers of one row's prefixes; nothing is padded."""
    return model(torch.tensor([row]), torch.ones(1, len(row), dtype=torch.bool))[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_reward(model, side):
    ids, real = tokens.pad(PROMPTS, PAD, side=side)
    expected = torch.stack([alone(model, row)[-1] for row in PROMPTS])
    torch.testing.assert_close(reward.reward_at_end(model(ids, real), real), expected)


def test_rewards_of_many_rows_are_those_of_each_alone(model):
    prompts, responses = PROMPTS * 3, [[5, STOP], [6], [7, 8, 9, STOP]] * 3
    expected = torch.stack(
        [alone(model, prompt + response)[-1] for prompt, response in zip(prompts, responses)]
    )
    rewards = reward.rewards(model, prompts, responses, pad_id=PAD, batch_size=4)
    torch.testing.assert_close(rewards, expected)
    assert not rewards.requires_grad
    assert reward.rewards(model, [], [], pad_id=PAD).shape == (0,)
    with pytest.raises(ValueError):
        reward.rewards(model, prompts, responses[:-1], pad_id=PAD)


def test_training_starts_without_an_opinion_and_leaves_the_policy_alone():
    policy = new_policy()
    before = [parameter.clone() for parameter in policy.parameters()]
    model = reward.ScalarModel(policy)
    losses = reward.train(model, PAIRS, pad_id=PAD, epochs=2, batch_size=2, learning_rate=1e-2)
    assert losses[0] == pytest.approx(math.log(2)) and len(losses) == 4
    assert all(torch.equal(old, new) for old, new in zip(before, policy.parameters()))


def test_training_learns_the_choices():
    model = reward.ScalarModel(new_policy())
    assert (
        reward.accuracy(model, PAIRS, PAD) == 0
    )  # all rewards are equal, and that is no right order
    losses = reward.train(model, PAIRS, pad_id=PAD, epochs=15, batch_size=3, learning_rate=1e-2)
    assert losses[-1] < 0.1 and reward.accuracy(model, PAIRS, PAD) == 1
    assert reward.accuracy(model, [(prompt, pair[::-1]) for prompt, pair in PAIRS], PAD) == 0


def test_the_loss_is_what_the_choices_cost():
    chosen, rejected = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert reward.bradley_terry_loss(chosen, rejected).item() == pytest.approx(expected)
    far = torch.tensor([-1000.0], requires_grad=True)
    loss = reward.bradley_terry_loss(far, torch.zeros(1))
    loss.backward()
    assert loss.item() == 1000 and far.grad.item() == -1


def test_a_ranking_is_all_its_pairs_and_a_shift_is_invisible():
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    expected = torch.stack(
        [reward.bradley_terry_loss(scores[:, i], scores[:, j]) for i, j in pairs]
    ).mean()
    torch.testing.assert_close(reward.ranking_loss(scores), expected)
    torch.testing.assert_close(reward.ranking_loss(scores + torch.randn(3, 1)), expected)


def test_batch_rewards_keep_prompts_and_order(model):
    expected = torch.stack(
        [torch.stack([alone(model, prompt + r)[-1] for r in pair]) for prompt, pair in PAIRS]
    )
    torch.testing.assert_close(reward.batch_rewards(model, PAIRS, PAD), expected)


def test_each_epoch_shows_every_ranking_once_in_a_new_order():
    numbered = [([number], [[3], [4]]) for number in range(10)]
    epochs = list(reward.batches(numbered, batch_size=4, epochs=2, seed=0))
    assert [len(batch) for batch in epochs] == [4, 4, 2] * 2
    first, second = (
        [prompt[0] for batch in part for prompt, _ in batch] for part in (epochs[:3], epochs[3:])
    )
    assert Counter(first) == Counter(second) == Counter(range(10)) and first != second
    assert epochs == list(reward.batches(numbered, batch_size=4, epochs=2, seed=0))
    assert epochs != list(reward.batches(numbered, batch_size=4, epochs=2, seed=1))


def test_accuracy_is_of_all_pairs_and_rankings_may_differ_in_length(model):
    rankings = [
        ([3, 4], [[5, 6], [7], [8, 9, STOP]]),
        ([6], [[4, 4], [10]]),
        ([9, 8], [[3], [4], [5], [11]]),
    ]
    rows = [
        reward.rewards(model, [prompt] * len(ranked), ranked, pad_id=PAD).tolist()
        for prompt, ranked in rankings
    ]
    right = [
        row[i] > row[j] for row in rows for i in range(len(row)) for j in range(i + 1, len(row))
    ]
    assert len(right) == 3 + 1 + 6 and 0 < sum(right) < 10
    assert reward.accuracy(model, rankings, PAD) == pytest.approx(sum(right) / 10)


def test_training_is_adamw_with_a_rate_that_falls_to_zero(model):
    """Against a plain loop: the rate written out, no weight decay, fresh gradients at every
    step."""
    plain = copy.deepcopy(model)
    losses = reward.train(
        model, PAIRS, pad_id=PAD, epochs=3, batch_size=2, learning_rate=1e-2, seed=4
    )
    optimizer, expected = torch.optim.AdamW(plain.parameters(), weight_decay=0.0), []
    for step, batch in enumerate(reward.batches(PAIRS, batch_size=2, epochs=3, seed=4)):
        loss = reward.ranking_loss(reward.batch_rewards(plain, batch, PAD))
        expected.append(loss.item())
        optimizer.param_groups[0]["lr"] = 1e-2 * (6 - step) / 6
        for parameter, gradient in zip(
            plain.parameters(), torch.autograd.grad(loss, list(plain.parameters()))
        ):
            parameter.grad = gradient
        optimizer.step()
    assert losses == pytest.approx(expected, abs=1e-4)
    for parameter, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "rankings, words",
    [
        ([], "at least one pair"),
        ([([3], [[4]])], "at least 2"),
        ([([3], [[4], [5]]), ([3], [[4], [5], [6]])], r"K in \[2, 3\]"),
        ([([3], [[4], [5]]), ([3], [[4], [4]])], "ranking 1 holds the same response twice"),
    ],
)
def test_rankings_that_teach_nothing_are_refused(rankings, words):
    with pytest.raises(ValueError, match=words):
        reward.train(reward.ScalarModel(new_policy()), rankings, pad_id=PAD)


def test_no_pair_has_no_loss():
    with pytest.raises(ValueError, match="no pair"):
        reward.bradley_terry_loss(torch.zeros(0), torch.zeros(0))


def test_a_loss_that_is_not_finite_reaches_no_parameter(model):
    model.head.weight.data[0, 0] = torch.inf
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(FloatingPointError, match="at step 1"):
        reward.train(model, PAIRS, pad_id=PAD)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters()))


def test_rankings_of_different_size_make_no_table():
    rankings = [([3], [[4], [5], [6]]), ([7], [[8]])]
    with pytest.raises(ValueError, match=r"rankings of one K, and these have K in \[1, 3\]"):
        reward.batch_rewards(None, rankings, pad_id=0)  # refused before the model is asked
