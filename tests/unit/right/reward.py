"""Right solutions of lab 03's exercises."""

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from methods import reward, tokens


def by_softplus(chosen, rejected):
    return F.softplus(rejected - chosen).mean()


def by_cross_entropy(chosen, rejected):
    return F.cross_entropy(
        torch.stack([chosen, rejected], 1), torch.zeros(len(chosen), dtype=torch.long)
    )


def by_binary_cross_entropy(chosen, rejected):
    return F.binary_cross_entropy_with_logits(chosen - rejected, torch.ones_like(chosen))


def by_logaddexp(chosen, rejected):
    return sum(torch.logaddexp(torch.zeros(()), r - c) for c, r in zip(chosen, rejected)) / len(
        chosen
    )


def by_einsum_in_double(chosen, rejected):
    margins = chosen.double().clone().sub_(rejected)
    return -torch.einsum("i->", F.logsigmoid(margins)) / margins.numel()


def with_a_dimension(chosen, rejected):
    return -F.logsigmoid(chosen - rejected).mean(0, keepdim=True)


def row_by_row(scores, real):
    return torch.stack([row[keep][-1] for row, keep in zip(scores, real)])


def by_flipping(scores, real):
    return scores.flip(1).gather(1, real.flip(1).int().argmax(1, keepdim=True))[:, 0]


def by_one_hot(scores, real):
    last = real & (real.flip(1).cumsum(1).flip(1) == 1)
    return (scores * last).sum(1)


def by_nonzero(scores, real):
    return scores[range(len(real)), [int(row.nonzero().max()) for row in real]]


def ends_by_einsum_in_double(scores, real):
    after = torch.cat([real[:, 1:], torch.zeros(len(real), 1, dtype=torch.bool)], 1)
    return torch.einsum("bt,bt->b", scores.double(), (real & ~after).double())


def by_triangle(rewards):
    K = rewards.shape[1]
    better, worse = torch.triu_indices(K, K, offset=1)
    return F.softplus(rewards[:, worse] - rewards[:, better]).mean()


def by_two_loops(rewards):
    losses = [
        F.softplus(row[j] - row[i])
        for row in rewards
        for i in range(len(row))
        for j in range(i + 1, len(row))
    ]
    return sum(losses) / len(losses)


def ranking_by_ranking(rewards):
    def one(row):
        margins = (row.unsqueeze(1) - row.unsqueeze(0))[
            torch.ones(len(row), len(row)).triu(1).bool()
        ]
        return -F.logsigmoid(margins).mean()

    return torch.stack([one(row) for row in rewards]).mean()


def by_cross_entropy_in_double(rewards):
    pairs = [
        rewards.double()[:, [i, j]] for i, j in itertools.combinations(range(rewards.shape[1]), 2)
    ]
    return F.cross_entropy(
        torch.cat(pairs), torch.zeros(len(pairs) * len(rewards), dtype=torch.long)
    )


def check_finite(rewards):
    if not torch.isfinite(rewards).all():
        raise FloatingPointError("a reward is not finite")


def by_max(rewards):
    check_finite(rewards)
    return rewards.max(-1).indices


def as_a_list(rewards):
    check_finite(rewards)
    return [row.index(max(row)) for row in rewards.tolist()]


def by_a_loop_of_tensors(rewards):
    check_finite(rewards)
    return [max(range(len(row)), key=row.__getitem__) for row in rewards.double()]


def by_numpy(rewards):
    if not np.isfinite(rewards.numpy()).all():
        raise FloatingPointError("a reward is not finite")
    return rewards.numpy().argmax(1)


def one_by_one(model, rankings, pad_id):
    def alone(ids):
        return model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))[0, -1]

    return torch.stack(
        [
            torch.stack([alone(prompt + response) for response in ranked])
            for prompt, ranked in rankings
        ]
    )


def padded_on_the_left(model, rankings, pad_id):
    rows = [[*prompt, *response] for prompt, ranked in rankings for response in ranked]
    ids, real = tokens.pad(rows, pad_id, side="left")
    return model(ids, real)[:, -1].reshape(len(rankings), len(rankings[0][1]))


def ranking_at_a_time(model, rankings, pad_id):
    return torch.cat([reward.batch_rewards(model, [ranking], pad_id) for ranking in rankings])


def own_padding(model, rankings, pad_id):
    rows = [prompt + response for prompt, ranked in rankings for response in ranked]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [pad_id] * (longest - len(row)) for row in rows])
    numbers = model(ids, torch.ones_like(ids, dtype=torch.bool))
    return torch.stack([number[len(row) - 1] for number, row in zip(numbers, rows)]).unflatten(
        0, (len(rankings), -1)
    )


RIGHT = {
    "reward.bradley_terry_loss": [
        by_softplus,
        by_cross_entropy,
        by_binary_cross_entropy,
        by_logaddexp,
        by_einsum_in_double,
        with_a_dimension,
    ],
    "reward.at_end": [row_by_row, by_flipping, by_one_hot, by_nonzero, ends_by_einsum_in_double],
    "reward.ranking_loss": [
        by_triangle,
        by_two_loops,
        ranking_by_ranking,
        by_cross_entropy_in_double,
    ],
    "reward.best_of_n": [by_max, as_a_list, by_a_loop_of_tensors, by_numpy],
    "reward.silent_bug": [one_by_one, padded_on_the_left, ranking_at_a_time, own_padding],
}
