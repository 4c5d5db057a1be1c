"""PPO against plain recounts: what a rollout holds, what a token earns, losses, update, loop."""

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
from methods import kl, ppo, tokens
from methods.reward import ScalarModel
from tiny import (
    PAD,
    PROMPTS,
    STOP,
    new_policy,
    parameters,
    plain_log_probs,
    plain_values,
    random_head,
    same_parameters,
    some_tables,
)

CONFIG = ppo.PPOConfig(
    beta=0.3,
    gamma=0.9,
    lam=0.7,
    value_clip=0.05,
    minibatch=4,
    max_new_tokens=6,
    temperature=0.7,
    learning_rate=1e-2,
)


def score(prompts, responses):
    """A reward that differs from response to response: float (batch,)"""
    return torch.tensor(
        [sum(prompt) / 10 - len(response) / 3 for prompt, response in zip(prompts, responses)]
    )


def nudged(model, spread=0.05):
    """A copy with other parameters."""
    generator, model = torch.Generator().manual_seed(9), copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture()
def policy():
    return new_policy()


@pytest.fixture()
def reference(policy):
    return nudged(policy)


@pytest.fixture()
def critic(policy):
    return random_head(ScalarModel(policy))


@pytest.fixture()
def rollout(policy, reference, critic):
    return roll_out(policy, reference, critic)


def roll_out(policy, reference, critic, config=CONFIG, **more):
    torch.manual_seed(1)
    return ppo.roll_out(
        policy, reference, critic, score, PROMPTS * 3, config, stop_id=STOP, pad_id=PAD, **more
    )


def rows_of(table, counts):
    """The numbers that count, row by row, and that all the others are 0."""
    assert (table[~counts] == 0).all()
    return [row[keep].tolist() for row, keep in zip(table, counts)]


def close(rows, expected):
    return all(
        row == pytest.approx(list(other), abs=1e-4)
        for row, other in zip(rows, expected, strict=True)
    )


# The rollout --------------------------------------------------------------------------------------


def test_a_rollout_holds_what_each_model_says_of_each_token(rollout, policy, reference, critic):
    pairs = list(zip(rollout.prompts, rollout.responses, strict=True))
    assert len({len(response) for response in rollout.responses}) > 2
    for row, (prompt, response) in enumerate(pairs):
        assert rollout.ids[row][rollout.real[row]].tolist() == prompt + response
        assert rollout.ids[row, 1:][rollout.counts[row]].tolist() == response
    for table, expected in (
        (rollout.log_probs, [plain_log_probs(policy, *pair, 0.7) for pair in pairs]),
        (rollout.ref_log_probs, [plain_log_probs(reference, *pair, 0.7) for pair in pairs]),
        (rollout.values, [plain_values(critic, *pair) for pair in pairs]),
    ):
        assert close(rows_of(table, rollout.counts), [numbers.tolist() for numbers in expected])
    torch.testing.assert_close(rollout.scores, score(rollout.prompts, rollout.responses))
    assert rollout.stopped == [response[-1] == STOP for response in rollout.responses]


def test_a_rollout_pays_and_judges_by_its_config(rollout):
    rewards = ppo.token_rewards(
        rollout.scores, rollout.log_probs, rollout.ref_log_probs, rollout.counts, 0.3
    )
    torch.testing.assert_close(rollout.rewards, rewards)
    advantages = ppo.gae(rewards, rollout.values, rollout.counts, 0.9, 0.7)
    torch.testing.assert_close(rollout.advantages, tokens.whiten(advantages, rollout.counts))
    torch.testing.assert_close(rollout.returns, advantages + rollout.values)


def test_another_estimator_is_used_when_one_is_given(policy, reference, critic):
    def estimator(rewards, values, counts):
        return counts * torch.arange(counts.shape[1]), counts * 7.0

    rollout = roll_out(policy, reference, critic, estimator=estimator)
    assert (rollout.returns[rollout.counts] == 7).all()
    expected = tokens.whiten(
        (rollout.counts * torch.arange(rollout.counts.shape[1])).float(), rollout.counts
    )
    torch.testing.assert_close(rollout.advantages, expected)


def test_a_rollout_carries_no_gradient(rollout):
    assert not any(
        value.requires_grad for value in vars(rollout).values() if isinstance(value, torch.Tensor)
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_changes_nothing(policy, critic, value):
    before = parameters(policy)
    run = ppo.train(
        policy,
        critic,
        lambda prompts, responses: torch.full((len(prompts),), value),
        [PROMPTS],
        CONFIG,
        stop_id=STOP,
        pad_id=PAD,
    )
    with pytest.raises(FloatingPointError, match="score that is not finite"):
        next(run)
    assert same_parameters(policy, before)


# Rewards ------------------------------------------------------------------------------------------


def test_each_token_pays_and_the_last_one_earns():
    (log_probs, ref_log_probs), counts = some_tables(2)
    scores = torch.arange(1.0, 7.0)
    expected = []
    for row, keep in enumerate(counts):
        paid = [
            -0.3 * (new - old)
            for new, old in zip(log_probs[row][keep].tolist(), ref_log_probs[row][keep].tolist())
        ]
        expected.append(paid[:-1] + [paid[-1] + scores[row].item()])
    assert close(
        rows_of(ppo.token_rewards(scores, log_probs, ref_log_probs, counts, 0.3), counts), expected
    )


# Advantages ---------------------------------------------------------------------------------------


def plain_gae(rewards, values, gamma, lam):
    """Of one row: each advantage is the sum of all errors that follow, the k-th one times
    (γλ)^k."""
    deltas = [r + gamma * after - v for r, v, after in zip(rewards, values, values[1:] + [0.0])]
    return [
        sum((gamma * lam) ** k * delta for k, delta in enumerate(deltas[t:]))
        for t in range(len(deltas))
    ]


@pytest.mark.parametrize(
    "gamma, lam", [(0.9, 0.7), (1.0, 0.95), (1.0, 1.0), (0.8, 0.0), (0.8, 1.0)]
)
def test_advantages_are_the_errors_that_follow(gamma, lam):
    (rewards, values), counts = some_tables(2)
    expected = [
        plain_gae(r[keep].tolist(), v[keep].tolist(), gamma, lam)
        for r, v, keep in zip(rewards, values, counts)
    ]
    assert close(rows_of(ppo.gae(rewards, values, counts, gamma, lam), counts), expected)
    advantages, returns = ppo.generalised(gamma, lam)(rewards, values, counts)
    assert close(rows_of(advantages, counts), expected)
    sums = [
        [a + v for a, v in zip(row, v[keep].tolist())]
        for row, v, keep in zip(expected, values, counts)
    ]
    assert close(rows_of(returns, counts), sums)


def test_gae_at_its_two_ends():
    (rewards, values), counts = some_tables(2)
    rewards, values = rewards * counts, values * counts
    to_go = rewards.flip(-1).cumsum(-1).flip(-1)
    torch.testing.assert_close(
        ppo.gae(rewards, values, counts, 1.0, 1.0), (to_go - values) * counts
    )
    after = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    torch.testing.assert_close(
        ppo.gae(rewards, values, counts, 0.9, 0.0), (rewards + 0.9 * after - values) * counts
    )


def test_the_documents_advantage_is_a_special_case():
    (log_probs,), counts = some_tables(1)
    scores, value = torch.arange(6.0), torch.arange(6.0).unsqueeze(-1) ** 2
    rewards = ppo.token_rewards(scores, log_probs, log_probs + 1, counts, beta=0.0)
    expected = (scores.unsqueeze(-1) - value) * counts
    torch.testing.assert_close(ppo.gae(rewards, value * counts, counts, 1.0, 1.0), expected)
    torch.testing.assert_close(ppo.sequence_level(rewards, value * counts, counts)[0], expected)


def test_one_advantage_for_a_response_is_its_rewards_minus_the_prompts_value():
    (rewards, values), counts = some_tables(2)
    rewards = rewards * counts
    advantages, returns = ppo.sequence_level(rewards, values, counts)
    totals = [r[keep].sum().item() for r, keep in zip(rewards, counts)]
    firsts = [v[keep][0].item() for v, keep in zip(values, counts)]
    lengths = counts.sum(-1).tolist()
    assert close(
        rows_of(advantages, counts), [[t - f] * n for t, f, n in zip(totals, firsts, lengths)]
    )
    assert close(rows_of(returns, counts), [[t] * n for t, n in zip(totals, lengths)])


def test_a_group_is_its_own_baseline():
    (rewards, values), counts = some_tables(2)
    rewards = rewards * counts
    advantages, returns = ppo.group_mean(3)(rewards, values, counts)
    totals, lengths = (
        [r[keep].sum().item() for r, keep in zip(rewards, counts)],
        counts.sum(-1).tolist(),
    )
    means = [sum(totals[:3]) / 3] * 3 + [sum(totals[3:]) / 3] * 3
    assert close(
        rows_of(advantages, counts), [[t - m] * n for t, m, n in zip(totals, means, lengths)]
    )
    assert close(rows_of(returns, counts), [[t] * n for t, n in zip(totals, lengths)])


# Losses -------------------------------------------------------------------------------------------


def test_the_clip_stops_the_gradient_on_one_side_only():
    ratio = torch.tensor([[1.3, 0.7, 1.3, 0.7, 1.1, 5.0]])
    advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0, 1.0, 3.0]])
    counts = torch.tensor([[True] * 5 + [False]])
    log_probs = (ratio.log() - 2).requires_grad_()
    loss = ppo.clipped_surrogate(log_probs, torch.full((1, 6), -2.0), advantages, counts, 0.2)
    assert loss.item() == pytest.approx(-(1.2 - 0.8 - 1.3 + 0.7 + 1.1) / 5, abs=1e-6)
    loss.backward()
    torch.testing.assert_close(log_probs.grad, torch.tensor([[0.0, 0.0, 1.3, -0.7, -1.1, 0.0]]) / 5)


def test_without_a_clip_every_token_has_its_gradient():
    ratio, advantages = torch.tensor([[1.3, 0.7]]), torch.tensor([[1.0, -2.0]])
    log_probs = ratio.log().requires_grad_()
    loss = ppo.clipped_surrogate(
        log_probs, torch.zeros(1, 2), advantages, torch.ones(1, 2, dtype=torch.bool), None
    )
    loss.backward()
    assert loss.item() == pytest.approx(-(1.3 - 1.4) / 2)
    torch.testing.assert_close(log_probs.grad, torch.tensor([[-1.3, 1.4]]) / 2)


def test_the_critic_pays_the_larger_error():
    values, old = torch.tensor([[3.0, 3.0, 1.1, 9.0]], requires_grad=True), torch.ones(1, 4)
    returns, counts = (
        torch.tensor([[4.0, 0.0, 2.0, 0.0]]),
        torch.tensor([[True, True, True, False]]),
    )
    loss = ppo.value_loss(values, old, returns, counts, 0.5)
    assert loss.item() == pytest.approx((2.5**2 + 3.0**2 + 0.9**2) / 3 / 2)
    loss.backward()
    torch.testing.assert_close(values.grad, torch.tensor([[0.0, 3.0, -0.9, 0.0]]) / 3)


def test_the_metrics_of_an_update():
    log_probs, counts = (
        torch.tensor([[0.3, -0.3, 0.1, 2.0]]),
        torch.tensor([[True, True, True, False]]),
    )
    assert ppo.clip_fraction(log_probs, torch.zeros(1, 4), counts, 0.2) == pytest.approx(2 / 3)
    assert ppo.clip_fraction(log_probs, torch.zeros(1, 4), counts, None) == 0
    torch.testing.assert_close(tokens.entropy(torch.zeros(2, 8)), torch.full((2,), math.log(8)))
    returns, keep = torch.tensor([[1.0, 2.0, 3.0, 50.0]]), counts
    assert ppo.explained_variance(returns, returns, keep) == pytest.approx(1)
    assert ppo.explained_variance(torch.zeros(1, 4), returns, keep) == pytest.approx(0, abs=1e-6)
    assert ppo.explained_variance(
        torch.tensor([[1.0, 2.0, 4.0, 0.0]]), returns, keep
    ) == pytest.approx(2 / 3)


# The update ---------------------------------------------------------------------------------------


def plain_loss(rollout, rows, policy, critic, config):
    """The loss of some rows, each of them run alone: the policy's, the critic's."""
    pairs = [(rollout.prompts[row], rollout.responses[row]) for row in rows]
    new = torch.cat([plain_log_probs(policy, *pair, config.temperature) for pair in pairs])
    values = torch.cat([plain_values(critic, *pair) for pair in pairs])
    old, advantages, returns, old_values = (
        torch.cat([table[row][rollout.counts[row]] for row in rows])
        for table in (rollout.log_probs, rollout.advantages, rollout.returns, rollout.values)
    )
    ratio = (new - old).exp()
    held = old_values + (values - old_values).clamp(-config.value_clip, config.value_clip)
    policy_loss = -torch.minimum(
        ratio * advantages, ratio.clamp(1 - config.clip, 1 + config.clip) * advantages
    )
    critic_loss = torch.maximum((values - returns) ** 2, (held - returns) ** 2) / 2
    return policy_loss.mean(), critic_loss.mean()


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5, 6, 7, 8], [7, 2], [1]])
def test_the_loss_of_rows_is_that_of_each_row_alone(rollout, policy, critic, rows):
    policy, critic = (
        nudged(policy),
        nudged(critic),
    )  # as after some updates: ratios and values have moved
    expected = plain_loss(rollout, rows, policy, critic, CONFIG)
    gradients = torch.autograd.grad(sum(expected), [*policy.parameters(), *critic.parameters()])
    loss, metrics = ppo.minibatch_loss(rollout, torch.tensor(rows), policy, critic, CONFIG)
    torch.testing.assert_close(loss, sum(expected))
    assert [metrics["policy_loss"], metrics["value_loss"]] == pytest.approx(
        [part.item() for part in expected], abs=1e-5
    )
    mine = torch.autograd.grad(loss, [*policy.parameters(), *critic.parameters()])
    for gradient, other in zip(mine, gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-5)
    assert metrics["clip_fraction"] > 0


def test_the_metrics_are_of_the_tokens_that_count(rollout, policy, critic):
    policy = nudged(policy)
    _, metrics = ppo.minibatch_loss(rollout, torch.arange(9), policy, critic, CONFIG)
    pairs = list(zip(rollout.prompts, rollout.responses))
    new = torch.cat([plain_log_probs(policy, *pair, 0.7) for pair in pairs])
    old = rollout.log_probs[rollout.counts]
    assert metrics["approximate_kl"] == pytest.approx(kl.k3(old, new).mean().item(), rel=1e-3)
    entropies = [
        -(p.exp() * p).sum(-1)
        for prompt, response in pairs
        for p in (policy(torch.tensor([prompt + response])).logits[0] / 0.7).log_softmax(-1)[
            len(prompt) - 1 : -1
        ]
    ]
    assert metrics["entropy"] == pytest.approx(torch.stack(entropies).mean().item(), rel=1e-3)


def test_before_the_first_update_every_ratio_is_1(rollout, policy, critic):
    loss, metrics = ppo.minibatch_loss(rollout, torch.arange(9), policy, critic, CONFIG)
    assert metrics["clip_fraction"] == 0 and metrics["approximate_kl"] == pytest.approx(0, abs=1e-9)
    assert metrics["policy_loss"] == pytest.approx(
        0, abs=1e-5
    )  # the mean of the whitened advantages


def test_a_pass_uses_every_row_once(rollout, policy, critic, monkeypatch):
    used, minibatch_loss = [], ppo.minibatch_loss

    def spy(rollout, rows, *others):
        used.append(rows.tolist())
        return minibatch_loss(rollout, rows, *others)

    monkeypatch.setattr(ppo, "minibatch_loss", spy)
    optimizer = torch.optim.SGD([*policy.parameters(), *critic.parameters()], lr=0.0)
    ppo.update(rollout, policy, critic, optimizer, replace(CONFIG, passes=3))
    assert [len(rows) for rows in used] == [4, 4, 1] * 3
    passes = [sum(used[i : i + 3], []) for i in (0, 3, 6)]
    assert all(sorted(rows) == list(range(9)) for rows in passes) and passes[0] != passes[1]


def test_an_update_is_one_step_down_the_gradient_for_each_minibatch(rollout, policy, critic):
    config, ours, theirs = (
        replace(CONFIG, passes=2, minibatch=9),
        (policy, critic),
        copy.deepcopy((policy, critic)),
    )
    ours_of, theirs_of = ([*a.parameters(), *b.parameters()] for a, b in (ours, theirs))
    metrics = ppo.update(rollout, *ours, torch.optim.SGD(ours_of, lr=0.5), config)
    losses = []
    for _ in range(2):
        parts = plain_loss(rollout, range(9), *theirs, config)
        losses.append(parts[1].item())
        for parameter, gradient in zip(theirs_of, torch.autograd.grad(sum(parts), theirs_of)):
            parameter.data -= 0.5 * gradient
    for parameter, expected in zip(ours_of, theirs_of, strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-3, atol=1e-5)
    assert metrics["value_loss"] == pytest.approx(sum(losses) / 2, rel=1e-4)
    assert all(parameter.grad is None for parameter in ours_of)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_reaches_no_parameter(rollout, policy, critic, value):
    before = parameters(policy) + parameters(critic)
    rollout.returns[rollout.counts] = value
    optimizer = torch.optim.AdamW([*policy.parameters(), *critic.parameters()], lr=1.0)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        ppo.update(rollout, policy, critic, optimizer, replace(CONFIG, minibatch=9))
    assert all(
        torch.equal(old, new)
        for old, new in zip(before, [*policy.parameters(), *critic.parameters()])
    )


# The loop -----------------------------------------------------------------------------------------


def test_a_policy_learns_what_is_paid_and_the_reference_stays(policy, critic):
    def likes_five(prompts, responses):
        return torch.tensor([float(5 in response) for response in responses])

    torch.manual_seed(3)
    before, critics = parameters(policy), parameters(critic)
    config = ppo.PPOConfig(beta=0.0, minibatch=32, max_new_tokens=3, learning_rate=3e-3)
    history, rollouts = [], []
    for rollout, metrics in ppo.train(
        policy, critic, likes_five, [PROMPTS * 32] * 25, config, stop_id=STOP, pad_id=PAD
    ):
        history.append(metrics)
        rollouts.append(rollout)
    assert history[-1]["score"] > history[0]["score"] + 0.4
    assert history[0]["kl"] == pytest.approx(0, abs=1e-5) and history[-1]["kl"] > 0.1
    original = new_policy()
    assert same_parameters(original, before) and not same_parameters(policy, before)
    assert not same_parameters(critic, critics)
    last = rollouts[-1]
    expected = plain_log_probs(original, last.prompts[0], last.responses[0])
    assert rows_of(last.ref_log_probs, last.counts)[0] == pytest.approx(expected.tolist(), abs=1e-4)


def test_training_is_adamw_on_policy_and_critic(policy, critic):
    """Against a plain loop with one optimizer for all steps, which nothing decays."""
    plain, plain_critic, steps = copy.deepcopy(policy), copy.deepcopy(critic), 3
    torch.manual_seed(4)
    for _ in ppo.train(
        policy,
        critic,
        score,
        [PROMPTS * 3] * steps,
        CONFIG,
        stop_id=STOP,
        pad_id=PAD,
        estimator=ppo.sequence_level,
    ):
        pass
    original = copy.deepcopy(plain)
    optimizer = torch.optim.AdamW(
        [*plain.parameters(), *plain_critic.parameters()], lr=1e-2, weight_decay=0.0
    )
    torch.manual_seed(4)
    for _ in range(steps):
        rollout = ppo.roll_out(
            plain,
            original,
            plain_critic,
            score,
            PROMPTS * 3,
            CONFIG,
            stop_id=STOP,
            pad_id=PAD,
            estimator=ppo.sequence_level,
        )
        ppo.update(rollout, plain, plain_critic, optimizer, CONFIG)
    for model, other in ((policy, plain), (critic, plain_critic)):
        for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-4)


def test_the_reference_is_a_frozen_copy(policy, critic, monkeypatch):
    seen, roll_out = [], ppo.roll_out

    def spy(policy, reference, *others, **more):
        seen.append(reference)
        return roll_out(policy, reference, *others, **more)

    monkeypatch.setattr(ppo, "roll_out", spy)
    list(ppo.train(policy, critic, score, [PROMPTS] * 2, CONFIG, stop_id=STOP, pad_id=PAD))
    assert seen[0] is seen[1] and same_parameters(seen[0], parameters(new_policy()))
    assert not any(
        parameter.requires_grad or parameter.grad is not None for parameter in seen[0].parameters()
    )
    assert all(parameter.requires_grad for parameter in policy.parameters())


def test_the_metrics_of_a_step(policy, critic):
    torch.manual_seed(0)
    run = ppo.train(
        policy, critic, score, itertools.repeat(PROMPTS * 3, 2), CONFIG, stop_id=STOP, pad_id=PAD
    )
    rollout, metrics = list(run)[1]
    sums = [
        sum(new) - sum(old)
        for new, old in zip(
            rows_of(rollout.log_probs, rollout.counts),
            rows_of(rollout.ref_log_probs, rollout.counts),
        )
    ]
    assert metrics["kl"] == pytest.approx(sum(sums) / 9, abs=1e-4)
    assert metrics["length"] == pytest.approx(sum(map(len, rollout.responses)) / 9)
    assert metrics["stopped"] == pytest.approx(
        sum(response[-1] == STOP for response in rollout.responses) / 9
    )
    assert metrics["score"] == pytest.approx(rollout.scores.mean().item())
    assert metrics["explained_variance"] == pytest.approx(
        ppo.explained_variance(rollout.values, rollout.returns, rollout.counts)
    )


def test_a_step_is_yielded_after_its_update(policy, critic):
    before = parameters(policy)
    next(ppo.train(policy, critic, score, [PROMPTS], CONFIG, stop_id=STOP, pad_id=PAD))
    assert not same_parameters(policy, before)


def test_whole_numbers_as_rewards_give_the_same_advantages():
    values, counts = torch.tensor([[0.5, 0.25, 0.125]]), torch.ones(1, 3, dtype=torch.bool)
    whole, floats = (
        ppo.gae(torch.tensor([[0, 0, 1]], dtype=dtype), values, counts, 1.0, 0.9)
        for dtype in (torch.int64, torch.float32)
    )
    assert whole.dtype == floats.dtype and torch.equal(whole, floats)
