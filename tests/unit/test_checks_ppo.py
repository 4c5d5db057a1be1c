"""How well lab 04's checks tell right from wrong: a bank of wrong solutions and one of unusual but
correct ones.

Each wrong solution carries the words that its check must say.
"""

import math

import checks.ppo
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from banks import by_heart, cases, points, public_calls
from course import find, run_checks
from methods import kl, ppo, rollouts, tokens
from methods.tokens import IGNORE, token_log_probs

SEEDS = range(1, 21)  # 0 is the notebook's: who knows its answers by heart is right there


# An estimate of the divergence --------------------------------------------------------------------


def k3_changed_places(log_p, log_q):
    return kl.k3(log_q, log_p)


def k3_without_u(log_p, log_q):
    return (log_q - log_p).exp() - 1


def k3_without_1(log_p, log_q):
    return (log_q - log_p).exp() - (log_q - log_p)


def k3_plus_u(log_p, log_q):
    return (log_q - log_p).exp() - 1 + (log_q - log_p)


def k3_negative(log_p, log_q):
    return -kl.k3(log_p, log_q)


def k3_weighted(log_p, log_q):
    return log_p.exp() * kl.k3(log_p, log_q)


def k3_mean(log_p, log_q):
    return kl.k3(log_p, log_q).mean()


def k3_in_place(log_p, log_q):
    log_q -= log_p
    return log_q.exp() - 1 - log_q


def k3_plus_a_constant(log_p, log_q):
    return kl.k3(log_p, log_q) + 0.1


def k3_absolute(log_p, log_q):
    return (log_q - log_p).abs()


def k3_zero(log_p, log_q):
    return torch.zeros_like(log_p)


def k3_by_numpy(log_p, log_q):
    u = log_q.numpy() - log_p.numpy()
    return np.expm1(u) - u


def k3_by_the_ratio(log_p, log_q):
    ratio = log_q.exp() / log_p.exp()
    return ratio - 1 - ratio.log()


def k3_by_loops(log_p, log_q):
    pairs = zip(log_p.flatten().tolist(), log_q.flatten().tolist())
    return torch.tensor([math.exp(q - p) - 1 - (q - p) for p, q in pairs]).view(log_p.shape)


def k3_in_double(log_p, log_q):
    u = log_q.double() - log_p.double()
    return u.clone().exp_().sub_(1).sub_(u)


# The rewards of the tokens ------------------------------------------------------------------------


def penalty_earned(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, -beta)


def beta_unused(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, 1.0)


def no_penalty(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, 0.0)


def penalty_at_the_end(scores, log_probs, ref_log_probs, counts, beta):
    total = scores - beta * (log_probs - ref_log_probs).sum(-1)
    return tokens.last_token(counts) * total.unsqueeze(-1)


def penalty_by(estimate):
    def rewarded(scores, log_probs, ref_log_probs, counts, beta):
        penalty = beta * estimate(log_probs, ref_log_probs)
        return (tokens.last_token(counts) * scores.unsqueeze(-1) - penalty).where(counts, 0)

    rewarded.__name__ = f"penalty_{estimate.__name__}"
    return rewarded


def absolute(log_p, log_q):
    return (log_p - log_q).abs()


def policy_alone(log_p, log_q):
    return log_p


def ratio(log_p, log_q):
    return (log_p - log_q).exp()


def score_at(place):
    def rewarded(scores, log_probs, ref_log_probs, counts, beta):
        return (-beta * (log_probs - ref_log_probs)).where(counts, 0) + place(
            scores.unsqueeze(-1), counts
        )

    rewarded.__name__ = f"score_{place.__name__}"
    return rewarded


def nowhere(scores, counts):
    return 0 * scores


def everywhere(scores, counts):
    return counts * scores


def in_the_last_column(scores, counts):
    return F.one_hot(torch.tensor(counts.shape[1] - 1), counts.shape[1]) * scores


def in_the_last_column_if_it_counts(scores, counts):
    return in_the_last_column(scores, counts) * counts


def at_the_first_token(scores, counts):
    return (counts & (counts.cumsum(-1) == 1)) * scores


def one_too_early(scores, counts):
    return tokens.last_token(counts).roll(-1, 1) * scores


def spread(scores, counts):
    return counts * scores / counts.sum(-1, keepdim=True)


def paid(scores, counts):
    return tokens.last_token(counts) * -scores


def on_prompt_and_padding(scores, counts):
    return scores.expand(counts.shape)


def in_the_column_of_the_length(scores, counts):
    return F.one_hot(counts.sum(-1) - 1, counts.shape[1]) * scores


def in_the_column_of_the_length_if_it_counts(scores, counts):
    return in_the_column_of_the_length(scores, counts) * counts


def score_times_beta(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(beta * scores, log_probs, ref_log_probs, counts, beta)


def beta_of_the_notebook(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(
        scores, log_probs, ref_log_probs, counts, public_calls("ppo.token_rewards")[0][4]
    )


def no_rewards(scores, log_probs, ref_log_probs, counts, beta):
    return torch.zeros(counts.shape)


def rewards_unmasked(scores, log_probs, ref_log_probs, counts, beta):
    return tokens.last_token(counts) * scores.unsqueeze(-1) - beta * (log_probs - ref_log_probs)


def rewards_of_responses(scores, log_probs, ref_log_probs, counts, beta):
    return ppo.token_rewards(scores, log_probs, ref_log_probs, counts, beta).sum(-1)


def rewards_in_place(scores, log_probs, ref_log_probs, counts, beta):
    log_probs -= ref_log_probs
    return (tokens.last_token(counts) * scores.unsqueeze(-1) - beta * log_probs).where(counts, 0)


def rewards_by_loops(scores, log_probs, ref_log_probs, counts, beta):
    result = torch.zeros(counts.shape)
    for row, places in enumerate(counts):
        columns = places.nonzero().flatten().tolist()
        for t in columns:
            result[row, t] = -beta * (log_probs[row, t] - ref_log_probs[row, t])
        result[row, columns[-1]] += scores[row]
    return result


def rewards_by_index(scores, log_probs, ref_log_probs, counts, beta):
    result = beta * (ref_log_probs - log_probs)
    result[~counts] = 0.0
    result[torch.arange(len(scores)), counts.shape[1] - 1 - counts.flip(1).int().argmax(1)] += (
        scores
    )
    return result


def rewards_by_numpy(scores, log_probs, ref_log_probs, counts, beta):
    scores, log_probs, ref_log_probs, counts = (
        t.numpy() for t in (scores, log_probs, ref_log_probs, counts)
    )
    last = np.where(counts, np.arange(counts.shape[1]), -1).max(1)
    result = np.where(counts, beta * (ref_log_probs - log_probs), 0)
    result[np.arange(len(last)), last] += scores
    return result


def rewards_by_einsum(scores, log_probs, ref_log_probs, counts, beta):
    after = F.pad(counts[:, 1:], (0, 1), value=False)
    last = (counts & ~after).double()
    return (
        torch.einsum("b,bt->bt", scores.double(), last)
        - beta * (log_probs - ref_log_probs).double() * counts
    )


# The advantages -----------------------------------------------------------------------------------


def recursion(rewards, values, counts, discount, decay, subtract=1.0):
    """GAE with a discount of the next value and a decay of its own, and a part of the value
    subtracted."""
    advantages, following, next_value = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + discount * next_value - subtract * values[:, t]
        advantages[:, t] = following = (delta + decay * following).where(counts[:, t], 0)
        next_value = values[:, t].where(counts[:, t], 0)
    return advantages


def gae_forwards(rewards, values, counts, gamma, lam):
    deltas, so_far = ppo.gae(rewards, values, counts, gamma, 0), 0
    result = torch.zeros_like(rewards)
    for t in range(rewards.shape[1]):
        result[:, t] = so_far = (deltas[:, t] + gamma * lam * so_far) * counts[:, t]
    return result


def gae_delta(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, gamma, 0)


def gae_without_lambda(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, gamma, gamma)


def gae_lambda_alone(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, gamma, lam)


def gae_no_decay(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, gamma, 1)


def gae_value_undiscounted(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, 1, gamma * lam)


def gae_without_gamma(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, 1, lam)


def gae_value_discounted_twice(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, gamma * lam, gamma * lam)


def gae_without_next_value(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, 0, gamma * lam)


def gae_without_baseline(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, counts, gamma, gamma * lam, subtract=0.0)


def gae_without_critic(rewards, values, counts, gamma, lam):
    return recursion(rewards, 0 * values, counts, gamma, gamma * lam)


def gae_returns(rewards, values, counts, gamma, lam):
    return (ppo.gae(rewards, values, counts, gamma, lam) + values).where(counts, 0)


def gae_negative(rewards, values, counts, gamma, lam):
    return -ppo.gae(rewards, values, counts, gamma, lam)


def gae_whitened(rewards, values, counts, gamma, lam):
    return tokens.whiten(ppo.gae(rewards, values, counts, gamma, lam), counts)


def gae_with_returns(rewards, values, counts, gamma, lam):
    advantages = ppo.gae(rewards, values, counts, gamma, lam)
    return advantages, advantages + values


def gae_masked_at_the_end(rewards, values, counts, gamma, lam):
    return recursion(rewards, values, torch.ones_like(counts), gamma, gamma * lam).where(counts, 0)


def gae_next_value_of_padding(rewards, values, counts, gamma, lam):
    result, following = torch.zeros_like(rewards), 0
    next_values = F.pad(values[:, 1:], (0, 1))
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_values[:, t] - values[:, t]
        result[:, t] = following = (delta + gamma * lam * following) * counts[:, t]
    return result


def gae_on_the_prompt(rewards, values, counts, gamma, lam):
    rewards, values = rewards * counts, values * counts
    return recursion(rewards, values, torch.ones_like(counts), gamma, gamma * lam)


def gae_into_the_rewards(rewards, values, counts, gamma, lam):
    result = ppo.gae(rewards, values, counts, gamma, lam)
    rewards.copy_(result)
    return rewards


def gae_zero(rewards, values, counts, gamma, lam):
    return torch.zeros_like(rewards)


def gae_divided_by_0(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, values, counts, gamma, lam) / (values - values)


def gae_gamma_of_the_notebook(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, values, counts, public_calls("ppo.gae")[0][3], lam)


def gae_lambda_of_the_notebook(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, values, counts, gamma, public_calls("ppo.gae")[0][4])


def gae_without_the_first_column(rewards, values, counts, gamma, lam):
    return F.pad(ppo.gae(rewards, values, counts, gamma, lam)[:, 1:], (1, 0))


def gae_fixed_lambda(rewards, values, counts, gamma, lam):
    return ppo.gae(rewards, values, counts, gamma, 0.7)


def gae_by_rows(rewards, values, counts, gamma, lam):
    result = torch.zeros(counts.shape)
    for row, places in enumerate(counts):
        advantage = next_value = 0.0
        for t in reversed(places.nonzero().flatten().tolist()):
            advantage = (
                rewards[row, t] + gamma * next_value - values[row, t] + gamma * lam * advantage
            )
            next_value, result[row, t] = values[row, t], advantage
    return result


def gae_by_einsum(rewards, values, counts, gamma, lam):
    rewards, values = rewards * counts, values * counts
    deltas = (rewards + gamma * F.pad(values[:, 1:], (0, 1)) - values) * counts
    ahead = torch.arange(counts.shape[1]) - torch.arange(counts.shape[1]).unsqueeze(1)
    weights = torch.where(
        ahead >= 0, torch.tensor(gamma * lam, dtype=torch.double) ** ahead.clamp(min=0), 0
    )
    return torch.einsum("bl,tl->bt", deltas.double(), weights) * counts


def gae_by_numpy(rewards, values, counts, gamma, lam):
    rewards, values, counts = rewards.numpy(), values.numpy().copy(), counts.numpy()
    values[~counts] = 0
    result = np.zeros(rewards.shape)
    for t in range(rewards.shape[1] - 1, -1, -1):
        following, next_value = (
            (result[:, t + 1], values[:, t + 1]) if t + 1 < rewards.shape[1] else (0, 0)
        )
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        result[:, t] = np.where(counts[:, t], delta + gamma * lam * following, 0)
    return result


def gae_by_stacking(rewards, values, counts, gamma, lam):
    values, columns, following = values.masked_fill(~counts, 0), [], torch.zeros(len(rewards))
    nexts = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    for reward, value, after, real in reversed(list(zip(rewards.T, values.T, nexts.T, counts.T))):
        following = (reward + gamma * after - value + gamma * lam * following) * real
        columns.insert(0, following)
    return torch.stack(columns, 1)


# The policy's loss --------------------------------------------------------------------------------


def mean(values, counts):
    return values[counts].mean()


def gains(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    return ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages


def surrogate(gain):
    """A policy loss from a wrong gain, which is right without a clip."""

    def loss(log_probs, old_log_probs, advantages, counts, clip):
        if clip is None:
            return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip)
        return -mean(gain(log_probs, old_log_probs, advantages, clip), counts)

    loss.__name__ = f"surrogate_{gain.__name__}"
    return loss


def unclipped(log_probs, old, advantages, clip):
    return gains(log_probs, old, advantages, clip)[0]


def always_clipped(log_probs, old, advantages, clip):
    return gains(log_probs, old, advantages, clip)[1]


def larger(log_probs, old, advantages, clip):
    return torch.maximum(*gains(log_probs, old, advantages, clip))


def upside_down(log_probs, old, advantages, clip):
    return torch.minimum(*gains(old, log_probs, advantages, clip))


def logarithms(log_probs, old, advantages, clip):
    ratio = log_probs - old
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def around_0(log_probs, old, advantages, clip):
    ratio = (log_probs - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(-clip, clip) * advantages)


def gain_clipped(log_probs, old, advantages, clip):
    gain = (log_probs - old).exp() * advantages
    return torch.minimum(gain, gain.clamp(1 - clip, 1 + clip))


def from_above(log_probs, old, advantages, clip):
    ratio = (log_probs - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(max=1 + clip) * advantages)


def from_below(log_probs, old, advantages, clip):
    ratio = (log_probs - old).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(min=1 - clip) * advantages)


def no_ratio(log_probs, old, advantages, clip):
    return log_probs * advantages


def ratio_detached(log_probs, old, advantages, clip):
    ratio = (log_probs - old).exp()
    return torch.minimum(ratio * advantages, ratio.detach().clamp(1 - clip, 1 + clip) * advantages)


def straight_through(log_probs, old, advantages, clip):
    gain, clipped = gains(log_probs, old, advantages, clip)
    return gain + (torch.minimum(gain, clipped) - gain).detach()


def surrogate_mean_over_all(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(
        log_probs, old_log_probs, advantages, torch.ones_like(counts), clip
    )


def surrogate_summed(log_probs, old_log_probs, advantages, counts, clip):
    return counts.sum() * ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip)


def surrogate_by_response(log_probs, old_log_probs, advantages, counts, clip):
    rows = zip(log_probs, old_log_probs, advantages, counts)
    return torch.stack([ppo.clipped_surrogate(*row, clip) for row in rows]).mean()


def surrogate_summed_by_response(log_probs, old_log_probs, advantages, counts, clip):
    return surrogate_summed(log_probs, old_log_probs, advantages, counts, clip) / len(counts)


def surrogate_wrong_sign(log_probs, old_log_probs, advantages, counts, clip):
    return -ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip)


def surrogate_of_each_token(log_probs, old_log_probs, advantages, counts, clip):
    return -torch.minimum(*gains(log_probs, old_log_probs, advantages, clip)) * counts


def surrogate_not_masked(log_probs, old_log_probs, advantages, counts, clip):
    return (
        -torch.minimum(*gains(log_probs, old_log_probs, advantages, clip or math.inf)).sum()
        / counts.sum()
    )


def surrogate_as_number(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip).item()


def surrogate_detached(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(log_probs.detach(), old_log_probs, advantages, counts, clip)


def surrogate_needs_clip(log_probs, old_log_probs, advantages, counts, clip):
    return -mean(torch.minimum(*gains(log_probs, old_log_probs, advantages, clip)), counts)


def surrogate_default_clip(log_probs, old_log_probs, advantages, counts, clip):
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip or 0.2)


def surrogate_clip_of_the_notebook(log_probs, old_log_probs, advantages, counts, clip):
    known = public_calls("ppo.clipped_surrogate")[0][4]
    return ppo.clipped_surrogate(
        log_probs, old_log_probs, advantages, counts, None if clip is None else known
    )


def surrogate_in_place(log_probs, old_log_probs, advantages, counts, clip):
    advantages *= counts.sum()
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, counts, clip) / counts.sum()


def surrogate_divides_by_0(log_probs, old_log_probs, advantages, counts, clip):
    none = torch.zeros_like(counts)
    return ppo.clipped_surrogate(log_probs, old_log_probs, advantages, none, clip)


def surrogate_by_the_sign(log_probs, old_log_probs, advantages, counts, clip):
    ratio = (log_probs - old_log_probs).exp()
    if clip is not None:
        ratio = torch.where(advantages > 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip))
    return -mean(ratio * advantages, counts)


def surrogate_as_a_maximum(log_probs, old_log_probs, advantages, counts, clip):
    losses, held = (
        -gain
        for gain in gains(log_probs, old_log_probs, advantages, math.inf if clip is None else clip)
    )
    return (torch.max(losses, held) * counts).sum() / counts.sum()


def surrogate_by_loops(log_probs, old_log_probs, advantages, counts, clip):
    told = []
    for new, old, advantage in zip(log_probs[counts], old_log_probs[counts], advantages[counts]):
        ratio = torch.exp(new - old)
        held = ratio if clip is None else ratio.clamp(1 - clip, 1 + clip)
        told.append(min(ratio * advantage, held * advantage))
    return -sum(told) / len(told)


def surrogate_in_double(log_probs, old_log_probs, advantages, counts, clip):
    ratio = log_probs.double().exp() / old_log_probs.double().exp()
    clip = 1e9 if clip is None else clip
    both = torch.stack([ratio * advantages, torch.clip(ratio, 1 - clip, 1 + clip) * advantages])
    return -torch.einsum("bt,bt->", both.amin(0), counts.double()) / counts.sum()


# The critic's loss --------------------------------------------------------------------------------


def critic_loss(error):
    """Half the mean of a wrong error."""

    def loss(values, old_values, returns, counts, clip):
        return mean(error(values, old_values, returns, clip), counts) / 2

    loss.__name__ = f"critic_{error.__name__}"
    return loss


def errors(values, old, returns, clip):
    return (values - returns).square(), (old + (values - old).clamp(-clip, clip) - returns).square()


def smaller_error(values, old, returns, clip):
    return torch.minimum(*errors(values, old, returns, clip))


def not_held(values, old, returns, clip):
    return errors(values, old, returns, clip)[0]


def always_held(values, old, returns, clip):
    return errors(values, old, returns, clip)[1]


def value_clipped(values, old, returns, clip):
    return torch.maximum(
        (values - returns).square(), (values.clamp(-clip, clip) - returns).square()
    )


def move_alone(values, old, returns, clip):
    return torch.maximum(
        (values - returns).square(), ((values - old).clamp(-clip, clip) - returns).square()
    )


def held_to_a_ratio(values, old, returns, clip):
    held = old * (values / old).clamp(1 - clip, 1 + clip)
    return torch.maximum((values - returns).square(), (held - returns).square())


def not_squared(values, old, returns, clip):
    return torch.maximum(*(error.sqrt() for error in errors(values, old, returns, clip)))


def both_errors(values, old, returns, clip):
    return sum(errors(values, old, returns, clip))


def mean_of_both(values, old, returns, clip):
    return sum(errors(values, old, returns, clip)) / 2


def held_around_the_return(values, old, returns, clip):
    held = returns + (values - returns).clamp(-clip, clip)
    return torch.maximum((values - returns).square(), (held - returns).square())


def held_with_gradient(values, old, returns, clip):
    error, held = errors(values, old, returns, clip)
    return error + (torch.maximum(error, held) - error).detach()


def no_half(values, old_values, returns, counts, clip):
    return 2 * ppo.value_loss(values, old_values, returns, counts, clip)


def critic_wrong_sign(values, old_values, returns, counts, clip):
    return -ppo.value_loss(values, old_values, returns, counts, clip)


def critic_mean_over_all(values, old_values, returns, counts, clip):
    return ppo.value_loss(values, old_values, returns, torch.ones_like(counts), clip)


def critic_summed(values, old_values, returns, counts, clip):
    return ppo.value_loss(values, old_values, returns, counts, clip) * counts.sum()


def critic_by_response(values, old_values, returns, counts, clip):
    return torch.stack(
        [ppo.value_loss(*row, clip) for row in zip(values, old_values, returns, counts)]
    ).mean()


def critic_not_masked(values, old_values, returns, counts, clip):
    return torch.maximum(*errors(values, old_values, returns, clip)).sum() / counts.sum() / 2


def critic_of_each_token(values, old_values, returns, counts, clip):
    return torch.maximum(*errors(values, old_values, returns, clip)) / 2 * counts


def critic_detached(values, old_values, returns, counts, clip):
    return ppo.value_loss(values.detach(), old_values, returns, counts, clip)


def critic_clip_of_the_notebook(values, old_values, returns, counts, clip):
    return ppo.value_loss(values, old_values, returns, counts, public_calls("ppo.value_loss")[0][4])


def critic_in_place(values, old_values, returns, counts, clip):
    held = old_values.add_((values - old_values).clamp(-clip, clip))
    return mean(torch.maximum((values - returns).square(), (held - returns).square()), counts) / 2


def critic_by_where(values, old_values, returns, counts, clip):
    held = torch.max(torch.min(values, old_values + clip), old_values - clip)
    error, other = (values - returns) ** 2, (held - returns) ** 2
    return 0.5 * torch.where(error > other, error, other)[counts].mean()


def critic_by_loops(values, old_values, returns, counts, clip):
    told = [
        max((value - target) ** 2, (old + (value - old).clamp(-clip, clip) - target) ** 2)
        for value, old, target in zip(values[counts], old_values[counts], returns[counts])
    ]
    return sum(told) / (2 * len(told))


def critic_by_mse(values, old_values, returns, counts, clip):
    held = values.clamp(old_values - clip, old_values + clip)
    worse = torch.max(
        F.mse_loss(values, returns, reduction="none"), F.mse_loss(held, returns, reduction="none")
    )
    return 0.5 * (worse * counts).sum() / counts.sum()


def critic_in_double(values, old_values, returns, counts, clip):
    values, old, returns = (table.double() for table in (values, old_values, returns))
    larger = torch.stack(errors(values, old, returns, clip)).amax(0)
    return torch.einsum("bt,bt->", larger, counts.double()) / counts.sum() / 2


# The silent bug -----------------------------------------------------------------------------------


def logits_of(model, ids, real):
    return model(**tokens.inputs(ids, real)).logits


def picked(table, labels):
    """The label's entry at each place, labels and table of one length; 0 where the label does not
    count."""
    return (
        table.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1).where(labels != IGNORE, 0)
    )


def reads_before_it_scores(model, ids, real, labels, temperature):
    return picked((logits_of(model, ids, real) / temperature).log_softmax(-1), labels)[:, 1:]


def reads_first_without_temperature(model, ids, real, labels, temperature):
    return picked(logits_of(model, ids, real).log_softmax(-1), labels)[:, 1:]


def one_token_too_few(model, ids, real, labels, temperature):
    logits = logits_of(model, ids, real).roll(1, 1)
    return token_log_probs(logits / temperature, labels)


def temperature_unused(model, ids, real, labels, temperature):
    return token_log_probs(logits_of(model, ids, real), labels)


def temperature_times(model, ids, real, labels, temperature):
    return token_log_probs(logits_of(model, ids, real) * temperature, labels)


def temperature_too_late(model, ids, real, labels, temperature):
    return token_log_probs(logits_of(model, ids, real), labels) / temperature


def temperature_of_the_notebook(model, ids, real, labels, temperature):
    return rollouts.response_log_probs(
        model, ids, real, labels, public_calls("ppo.silent_bug")[0][4]
    )


def bare_logits(model, ids, real, labels, temperature):
    return picked(logits_of(model, ids, real)[:, :-1] / temperature, labels[:, 1:])


def probabilities(model, ids, real, labels, temperature):
    return picked((logits_of(model, ids, real)[:, :-1] / temperature).softmax(-1), labels[:, 1:])


def losses(model, ids, real, labels, temperature):
    return -rollouts.response_log_probs(model, ids, real, labels, temperature)


def everything_scored(model, ids, real, labels, temperature):
    return rollouts.response_log_probs(model, ids, real, ids, temperature)


def full_length(model, ids, real, labels, temperature):
    return F.pad(rollouts.response_log_probs(model, ids, real, labels, temperature), (1, 0))


def nothing_to_learn(model, ids, real, labels, temperature):
    with torch.no_grad():
        return rollouts.response_log_probs(model, ids, real, labels, temperature)


def labels_in_place(model, ids, real, labels, temperature):
    log_probs = rollouts.response_log_probs(model, ids, real, labels, temperature)
    labels[labels == IGNORE] = 0
    return log_probs


def log_probs_by_cross_entropy(model, ids, real, labels, temperature):
    logits = logits_of(model, ids, real)[:, :-1] / temperature
    return -F.cross_entropy(
        logits.transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=IGNORE
    )


def log_probs_row_by_row(model, ids, real, labels, temperature):
    rows = []
    for row, keep, label in zip(ids, real, labels):
        logits = model(row[keep].unsqueeze(0)).logits
        told = token_log_probs(logits / temperature, label[keep].unsqueeze(0))
        rows.append(F.pad(told[0], (0, len(row) - int(keep.sum()))))
    return torch.stack(rows)


def log_probs_in_double(model, ids, real, labels, temperature):
    logits = model(input_ids=ids, attention_mask=real.long()).logits.double()[:, :-1] / temperature
    chosen = F.one_hot(labels[:, 1:].clamp(min=0), logits.shape[-1]).double()
    told = torch.einsum("btv,btv->bt", logits, chosen) - logits.logsumexp(-1)
    return told * (labels[:, 1:] != IGNORE)


def log_probs_by_loops(model, ids, real, labels, temperature):
    logits, result = logits_of(model, ids, real), torch.zeros(ids.shape[0], ids.shape[1] - 1)
    for row, t in (labels[:, 1:] != IGNORE).nonzero().tolist():
        result[row, t] = (logits[row, t] / temperature).log_softmax(0)[labels[row, t + 1]]
    return result


WRONG = {
    "ppo.k3": [
        (kl.k1, "this is k1"),
        (kl.k1, "one of its values is"),
        (kl.k2, "this is k2"),
        (kl.k2, "on average over p"),
        (k3_plus_a_constant, "equal policies must give 0"),
        (k3_changed_places, "have changed places"),
        (k3_without_u, "−u is missing"),
        (k3_without_1, "−1 is missing"),
        (k3_plus_u, "u is added"),
        (k3_negative, "the sign is wrong"),
        (k3_weighted, "already weighted"),
        (k3_mean, "shape"),
        (k3_in_place, "log_q is changed in place"),
        (k3_absolute, "not exp(u)"),
        (k3_zero, "all values are 0"),
        (by_heart("ppo.k3"), "not exp(u)"),
    ],
    "ppo.token_rewards": [
        (penalty_earned, "leaving the reference earns"),
        (beta_unused, "beta is not used"),
        (no_penalty, "there is no penalty"),
        (penalty_at_the_end, "whole penalty stands at the last token"),
        (penalty_by(kl.k3), "is k3"),
        (penalty_by(kl.k2), "is k2"),
        (penalty_by(absolute), "|log-ratio|"),
        (penalty_by(policy_alone), "not compared with the reference"),
        (penalty_by(ratio), "not their logarithms"),
        (score_at(nowhere), "paid nowhere"),
        (score_at(everywhere), "every token of the response"),
        (score_at(in_the_last_column), "padding in the shorter rows"),
        (score_at(in_the_last_column_if_it_counts), "it is lost"),
        (score_at(at_the_first_token), "first token"),
        (score_at(one_too_early), "one token too early"),
        (score_at(spread), "spread over"),
        (score_times_beta, "multiplied by beta"),
        (score_at(paid), "sign of the score"),
        (score_at(on_prompt_and_padding), "prompt and padding earn"),
        (score_at(in_the_column_of_the_length), "counted from the start of the row"),
        (score_at(in_the_column_of_the_length_if_it_counts), "where that is no response"),
        (no_rewards, "all rewards are 0"),
        (rewards_unmasked, "prompt or padding gets a reward"),
        (rewards_of_responses, "shape"),
        (rewards_in_place, "log_probs is changed in place"),
        (beta_of_the_notebook, "taken to be the notebook's"),
        (by_heart("ppo.token_rewards"), "not −β (log π − log π_ref)"),
    ],
    "ppo.gae": [
        (gae_forwards, "what came before"),
        (gae_delta, "δ alone"),
        (gae_without_lambda, "λ is not used"),
        (gae_lambda_alone, "by λ alone"),
        (gae_no_decay, "not multiplied by γλ"),
        (gae_value_undiscounted, "next value is not discounted"),
        (gae_without_gamma, "γ is not used"),
        (gae_value_discounted_twice, "discounted by γλ"),
        (gae_without_next_value, "missing from δ"),
        (gae_without_baseline, "no baseline"),
        (gae_without_critic, "critic is not asked"),
        (gae_returns, "these are the returns"),
        (gae_negative, "sign is wrong"),
        (gae_whitened, "whitened already"),
        (gae_with_returns, "yours is a tuple"),
        (gae_masked_at_the_end, "padding reaches the response"),
        (gae_next_value_of_padding, "padding reaches the response"),
        (gae_on_the_prompt, "gets an advantage"),
        (gae_into_the_rewards, "rewards is changed in place"),
        (gae_fixed_lambda, "with λ = 1"),
        (gae_divided_by_0, "infinities or NaN"),
        (gae_zero, "all advantages are 0"),
        (gae_gamma_of_the_notebook, "γ is taken to be"),
        (gae_lambda_of_the_notebook, "λ is taken to be"),
        (gae_without_the_first_column, "not the sum of the δ that follow"),
        (by_heart("ppo.gae"), "not the sum of the δ that follow"),
    ],
    "ppo.clipped_surrogate": [
        (surrogate_wrong_sign, "sign is wrong"),
        (surrogate(unclipped), "ratio is not clipped"),
        (surrogate(always_clipped), "clipped ratio always counts"),
        (surrogate(larger), "larger gain counts"),
        (surrogate(upside_down), "on its head"),
        (surrogate(logarithms), "still a logarithm"),
        (surrogate(around_0), "clipped at ±ε"),
        (surrogate(gain_clipped), "the gain is clipped"),
        (surrogate(from_above), "only clipped from above"),
        (surrogate(from_below), "only clipped from below"),
        (surrogate(no_ratio), "there is no ratio"),
        (surrogate(ratio_detached), "gradient in log_probs is another"),
        (surrogate(straight_through), "gradient in log_probs is another"),
        (surrogate_mean_over_all, "prompt and padding too"),
        (surrogate_summed, "tokens are summed"),
        (surrogate_by_response, "within each response first"),
        (surrogate_summed_by_response, "responses are summed"),
        (surrogate_of_each_token, "one loss for each token"),
        (surrogate_not_masked, "reaches the loss"),
        (surrogate_as_number, "no gradient flows"),
        (surrogate_detached, "no gradient flows"),
        (surrogate_needs_clip, "clip may be None"),
        (surrogate_default_clip, "with clip None"),
        (surrogate_in_place, "advantages is changed in place"),
        (surrogate_divides_by_0, "infinities or NaN"),
        (surrogate_clip_of_the_notebook, "clip is taken to be"),
        (by_heart("ppo.clipped_surrogate"), "not the negative mean"),
    ],
    "ppo.value_loss": [
        (no_half, "half is missing"),
        (critic_loss(smaller_error), "smaller error counts"),
        (critic_loss(not_held), "the value is not held"),
        (critic_loss(always_held), "held value always counts"),
        (critic_loss(value_clipped), "not its move"),
        (critic_loss(move_alone), "not added to the old value"),
        (critic_loss(held_to_a_ratio), "held to a ratio"),
        (critic_loss(not_squared), "not squared"),
        (critic_loss(both_errors), "two errors are added"),
        (critic_loss(mean_of_both), "two errors are averaged"),
        (critic_loss(held_around_the_return), "the value is not held"),
        (critic_loss(held_with_gradient), "gradient in values is another"),
        (critic_wrong_sign, "sign is wrong"),
        (critic_mean_over_all, "prompt and padding too"),
        (critic_summed, "tokens are summed"),
        (critic_by_response, "within each response first"),
        (critic_not_masked, "reaches the loss"),
        (critic_of_each_token, "one loss for each token"),
        (critic_detached, "no gradient flows"),
        (critic_in_place, "old_values is changed in place"),
        (critic_clip_of_the_notebook, "clip is taken to be"),
        (by_heart("ppo.value_loss"), "not half the mean"),
    ],
    "ppo.silent_bug": [
        (reads_before_it_scores, "it sees what it should predict"),
        (reads_first_without_temperature, "and the temperature is not used"),
        (one_token_too_few, "one token too few"),
        (temperature_unused, "temperature is not used"),
        (temperature_times, "multiplied by the temperature"),
        (temperature_too_late, "log-probabilities are divided"),
        (bare_logits, "these are logits"),
        (probabilities, "these are probabilities"),
        (losses, "sign is wrong"),
        (everything_scored, "are scored"),
        (full_length, "shape"),
        (nothing_to_learn, "no gradient flows"),
        (labels_in_place, "labels is changed in place"),
        (temperature_of_the_notebook, "temperature is taken to be"),
        (by_heart("ppo.silent_bug"), "not the log-probabilities of the response's tokens"),
    ],
}
RIGHT = {
    "ppo.k3": [kl.k3, k3_by_numpy, k3_by_the_ratio, k3_by_loops, k3_in_double],
    "ppo.token_rewards": [
        ppo.token_rewards,
        rewards_by_loops,
        rewards_by_index,
        rewards_by_numpy,
        rewards_by_einsum,
    ],
    "ppo.gae": [ppo.gae, gae_by_rows, gae_by_einsum, gae_by_numpy, gae_by_stacking],
    "ppo.clipped_surrogate": [
        ppo.clipped_surrogate,
        surrogate_by_the_sign,
        surrogate_as_a_maximum,
        surrogate_by_loops,
        surrogate_in_double,
    ],
    "ppo.value_loss": [
        ppo.value_loss,
        critic_by_where,
        critic_by_loops,
        critic_by_mse,
        critic_in_double,
    ],
    "ppo.silent_bug": [
        rollouts.response_log_probs,
        log_probs_by_cross_entropy,
        log_probs_row_by_row,
        log_probs_in_double,
        log_probs_by_loops,
    ],
}


def test_every_exercise_of_the_lab_has_both_banks():
    ids = {exercise.id for exercise in vars(checks.ppo).values() if hasattr(exercise, "reference")}
    assert ids == WRONG.keys() == RIGHT.keys()
    assert min(map(len, WRONG.values())) >= 8 and min(map(len, RIGHT.values())) >= 4


@pytest.mark.parametrize("id, function, words", cases(WRONG))
def test_a_wrong_solution_is_told_why(id, function, words):
    for seed in SEEDS[:8]:
        earned, mistakes = points(id, function, seed)
        assert earned < find(id).points, f"seed {seed}: full points"
        assert any(words in mistake for mistake in mistakes), f"seed {seed}: {mistakes}"


@pytest.mark.parametrize("id, function", cases(RIGHT))
def test_a_right_solution_gets_all_points(id, function):
    for seed in SEEDS:
        assert points(id, function, seed) == (find(id).points, []), f"seed {seed}"


@pytest.mark.parametrize("id", WRONG)
@pytest.mark.parametrize(
    "value", [None, ..., "text", [], 0.0, float("nan"), torch.zeros(3, 3, 3)], ids=repr
)
def test_a_constant_earns_nothing(id, value):
    assert points(id, lambda *_: value, seed=0)[0] == 0


@pytest.mark.parametrize("id", WRONG)
def test_a_stub_and_an_exception_are_named(id):
    def stub(*_): ...

    def broken(*_):
        raise KeyError("left")

    assert all("returns nothing" in result.mistake for result in run_checks(find(id), stub, 0))
    assert all(
        "KeyError" in result.mistake and not result.earned
        for result in run_checks(find(id), broken, 0)
    )


def test_every_mistake_that_is_named_says_what_to_try_next():
    for id, entries in WRONG.items():
        for function, words in entries:
            named = [
                result for result in run_checks(find(id), function, 1) if words in result.mistake
            ]
            assert all(result.next for result in named), function.__name__


def test_the_colleagues_bug_copied_earns_nothing():
    assert points("ppo.silent_bug", reads_before_it_scores, seed=0)[0] == 0
