"""The whole of PPO on a toy whose responses can be listed: it must end at π_ref exp(r/β) / Z."""

import itertools
import math

import pytest
import torch
from methods import enumeration, ppo
from methods.reward import ScalarModel
from tiny import PAD, STOP, new_policy, plain_log_probs

PROMPT, VOCAB, LONGEST, BETA = [2, 3], 5, 2, 1.0


def test_all_responses_are_listed_once_and_their_probabilities_add_up():
    responses = enumeration.responses(VOCAB, STOP, LONGEST)
    assert len(set(map(tuple, responses))) == len(responses) == 1 + 4 * 5
    assert all(
        STOP not in response[:-1] and (len(response) == LONGEST or response == [STOP])
        for response in responses
    )
    policy = new_policy(vocab=VOCAB)
    log_probs = enumeration.log_probs(policy, PROMPT, responses, PAD)
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-5)
    expected = [plain_log_probs(policy, PROMPT, response).sum().item() for response in responses]
    assert log_probs.tolist() == pytest.approx(expected, abs=1e-5)


def test_nothing_is_better_than_the_optimum():
    reference, rewards = torch.randn(20).log_softmax(-1), torch.randn(20)
    best = enumeration.optimum(reference, rewards, BETA)

    def objective(log_probs):
        return (log_probs.exp() * (rewards - BETA * (log_probs - reference))).sum()

    assert best.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert objective(best).item() == pytest.approx(
        (reference + rewards / BETA).logsumexp(-1).item() * BETA, abs=1e-5
    )
    assert all(
        objective((best + 0.3 * torch.randn(20)).log_softmax(-1)) < objective(best)
        for _ in range(20)
    )


def test_ppo_ends_at_the_optimum():
    policy = new_policy(vocab=VOCAB)
    responses = enumeration.responses(VOCAB, STOP, LONGEST)
    rewards = torch.randn(len(responses), generator=torch.Generator().manual_seed(1))
    worth = dict(zip(map(tuple, responses), rewards.tolist()))
    best = enumeration.optimum(enumeration.log_probs(policy, PROMPT, responses, PAD), rewards, BETA)

    def distance():
        reached = enumeration.log_probs(policy, PROMPT, responses, PAD)
        return (reached.exp() * (reached - best)).sum().item()

    assert distance() > 0.1
    config = ppo.PPOConfig(
        beta=BETA, passes=1, minibatch=1024, learning_rate=3e-4, max_new_tokens=LONGEST
    )
    torch.manual_seed(0)
    for _ in ppo.train(
        policy,
        ScalarModel(policy),
        lambda _, drawn: torch.tensor([worth[tuple(r)] for r in drawn]),
        itertools.repeat([PROMPT] * 1024, 200),
        config,
        stop_id=STOP,
        pad_id=PAD,
    ):
        pass
    assert distance() < 1e-3 and not math.isnan(distance())
