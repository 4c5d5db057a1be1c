"""Right solutions of lab 04's exercises."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from checks.ppo import errors, gains, logits_of, mean
from methods.tokens import IGNORE, token_log_probs


def k3_by_numpy(log_p, log_q):
    u = log_q.numpy() - log_p.numpy()
    return np.expm1(u) - u


def k3_by_expm1(log_p, log_q):
    u = torch.sub(log_q, log_p)
    return u.expm1().sub(u)


def k3_by_loops(log_p, log_q):
    pairs = zip(log_p.flatten().tolist(), log_q.flatten().tolist())
    return torch.tensor([math.exp(q - p) - 1 - (q - p) for p, q in pairs]).view(log_p.shape)


def k3_in_double(log_p, log_q):
    u = log_q.double() - log_p.double()
    return u.clone().exp_().sub_(1).sub_(u)


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
        before = int(keep.long().argmax())
        rows.append(F.pad(told[0], (before, len(row) - int(keep.sum()) - before)))
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


RIGHT = {
    "ppo.k3": [k3_by_numpy, k3_by_expm1, k3_by_loops, k3_in_double],
    "ppo.token_rewards": [rewards_by_loops, rewards_by_index, rewards_by_numpy, rewards_by_einsum],
    "ppo.gae": [gae_by_rows, gae_by_einsum, gae_by_numpy, gae_by_stacking],
    "ppo.clipped_surrogate": [
        surrogate_by_the_sign,
        surrogate_as_a_maximum,
        surrogate_by_loops,
        surrogate_in_double,
    ],
    "ppo.value_loss": [critic_by_where, critic_by_loops, critic_by_mse, critic_in_double],
    "ppo.silent_bug": [
        log_probs_by_cross_entropy,
        log_probs_row_by_row,
        log_probs_in_double,
        log_probs_by_loops,
    ],
}
