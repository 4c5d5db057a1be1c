"""Right solutions of lab 12's exercises."""

import collections
import functools
import itertools
import math
import statistics
from fractions import Fraction

import numpy as np
import torch


def rows_by_batches(order, batch, size, rank):
    steps = []
    for number in range(len(order) // batch):
        rows = order[number * batch : (number + 1) * batch]
        steps.append(rows[rank::size])
    return steps


def rows_by_numpy(order, batch, size, rank):
    """All whole batches as a table of step, round and process."""
    steps = len(order) // batch
    table = np.array(order[: steps * batch], dtype=int).reshape(steps, batch // size, size)
    return table[:, :, rank].tolist()


def rows_by_torch(order, batch, size, rank):
    kept = torch.tensor(order, dtype=torch.long)[: len(order) // batch * batch]
    return kept.view(-1, batch)[:, rank::size]


def rows_by_cards(order, batch, size, rank):
    """One card after the other, to the hands of all; a hand that stays unfinished is thrown away."""
    steps, hand = [], []
    for place, row in enumerate(order):
        if place % batch % size == rank:
            hand.append(row)
        if (place + 1) % batch == 0:
            steps.append(hand)
            hand = []
    return steps


def rows_by_recursion(order, batch, size, rank):
    if len(order) < batch:
        return []
    return [order[:batch][rank::size], *rows_by_recursion(order[batch:], batch, size, rank)]


def rows_by_own_cards(order, batch, size, rank):
    """What the process gets of the whole order, in shares; a share counts if its batch is whole."""
    own, share = order[rank::size], batch // size
    return tuple(tuple(own[n * share : (n + 1) * share]) for n in range(len(order) // batch))


def rows_by_queue(order, batch, size, rank):
    left, steps = collections.deque(order), []
    while len(left) >= batch:
        rows = [left.popleft() for _ in range(batch)]
        steps.append([rows[place] for place in range(rank, batch, size)])
    return steps


def minimised_by_the_mean_count(losses, counts):
    return losses.sum() / statistics.mean(counts)


def minimised_by_a_dot_product(losses, counts):
    everyone = torch.full_like(losses, len(counts) / sum(counts))
    return losses @ everyone


def minimised_by_its_weight(losses, counts):
    """The mean over all tokens of what this process has, times the processes."""
    if len(losses) == 0:
        return losses.sum()
    weight = len(losses) / sum(counts)
    return len(counts) * weight * losses.mean()


def minimised_without_nan(losses, counts):
    """The mean of no losses is NaN, but it comes from them; what stands in its place does, too."""
    own = losses.mean().nan_to_num()
    return own * len(losses) * len(counts) / sum(counts)


def minimised_by_einsum(losses, counts):
    counts = torch.tensor(counts, dtype=losses.dtype)
    return torch.einsum("t,->", losses, 1 / counts.mean())


def minimised_token_by_token(losses, counts):
    total = 0 * losses.sum()
    for loss in losses:
        total = total + loss * len(counts) / sum(counts)
    return total


def weights_by_loops(counts):
    total = 0
    for parts in counts:
        for count in parts:
            total += count
    weights = []
    for parts in counts:
        weights.append([])
        for count in parts:
            weights[-1].append(count / total * len(counts))
    return weights


def weights_by_numpy(counts):
    mean = np.mean([np.sum(parts) for parts in counts])
    return [np.array(parts) / mean for parts in counts]


def weights_by_torch(counts):
    tensors = [torch.tensor(parts, dtype=torch.float64) for parts in counts]
    total = torch.cat(tensors).sum()
    return [parts * len(counts) / total for parts in tensors]


def weights_by_fractions(counts):
    mean = Fraction(sum(itertools.chain(*counts)), len(counts))
    return [[float(count / mean) for count in parts] for parts in counts]


def weights_by_mean_parts(counts):
    """Every process has a part, so it has a mean part, and the largest of its parts."""
    mean = statistics.fmean(statistics.mean(parts) * len(parts) for parts in counts)
    return [[n / max(parts) * max(parts) / mean if n else 0 for n in parts] for parts in counts]


def weights_step_by_step(counts):
    """A part within its process, the process within the team, and DDP's mean undone."""
    shares = [sum(parts) for parts in counts]
    weights = []
    for parts, share in zip(counts, shares):
        of_process = share / sum(shares)
        weights.append(tuple(n / share * of_process * len(shares) if n else 0 for n in parts))
    return tuple(weights)


def clipped_by_concatenating(shards, limit):
    length = torch.cat([shard.reshape(-1) for shard in shards]).norm()
    if length <= limit:
        return [shard.clone() for shard in shards]
    return [shard / length * limit for shard in shards]


def clipped_by_the_norm_of_norms(shards, limit):
    length = torch.stack([torch.linalg.vector_norm(shard) for shard in shards]).norm()
    return [shard * (limit / length).clamp(max=1) for shard in shards]


def clipped_by_hypot(shards, limit):
    length = math.hypot(*(number for shard in shards for number in shard.flatten().tolist()))
    return [shard / max(1, length / limit) for shard in shards]


def clipped_by_numpy(shards, limit):
    squares = [np.square(shard.numpy(), dtype=float).sum() for shard in shards]
    factor = limit / max(np.sqrt(np.sum(squares)), limit)
    return [torch.from_numpy(np.asarray(shard.numpy() * factor)) for shard in shards]


def clipped_by_torchs_own(shards, limit):
    parameters = [torch.nn.Parameter(torch.zeros_like(shard)) for shard in shards]
    for parameter, shard in zip(parameters, shards):
        parameter.grad = shard.clone()
    torch.nn.utils.clip_grad_norm_(parameters, limit)
    return [parameter.grad for parameter in parameters]


def clipped_after_cutting_up(shards, limit):
    whole = torch.cat([shard.flatten() for shard in shards]).double()
    if (length := whole.dot(whole).sqrt()) > limit:
        whole = whole * limit / length
    pieces = whole.split([shard.numel() for shard in shards])
    return tuple(piece.view_as(shard) for piece, shard in zip(pieces, shards))


def diagnosed_by_counting(rows, seeds, parameters, loss_sums, counts, loss):
    readers = collections.Counter(row for own in rows for row in set(own))
    samplers = collections.Counter(seeds)
    if readers.most_common(1)[0][1] > 1:
        return "same rows"
    if samplers.most_common(1)[0][1] > 1:
        return "one seed"
    if max(parameters) - min(parameters) > 1e-6 * max(map(abs, parameters)):
        return "apart"
    return diagnosed_loss(loss_sums, counts, loss)


def diagnosed_loss(loss_sums, counts, loss):
    own_means = [loss_sum / count for loss_sum, count in zip(loss_sums, counts)]
    whole = math.fsum(loss_sums) / sum(counts)
    if math.isclose(loss, whole, rel_tol=1e-6):
        return "right"
    is_means = math.isclose(loss, statistics.fmean(own_means), rel_tol=1e-6)
    return "mean of means" if is_means else "right"


def diagnosed_pair_by_pair(rows, seeds, parameters, loss_sums, counts, loss):
    pairs = list(itertools.combinations(range(len(rows)), 2))
    if any(not set(rows[i]).isdisjoint(rows[j]) for i, j in pairs):
        return "same rows"
    if any(seeds[i] == seeds[j] for i, j in pairs):
        return "one seed"
    if any(abs(parameters[i] - parameters[j]) > 1e-6 * abs(parameters[j]) for i, j in pairs):
        return "apart"
    return diagnosed_loss(loss_sums, counts, loss)


def diagnosed_by_fractions(rows, seeds, parameters, loss_sums, counts, loss):
    """Nothing is rounded, and a millionth is one."""

    def same(one, other):
        return abs(one - other) * 10**6 <= max(abs(one), abs(other))

    seen = set()
    for own in map(set, rows):
        if seen & own:
            return "same rows"
        seen |= own
    if len(set(seeds)) < len(seeds):
        return "one seed"
    sums = [Fraction(one) for one in parameters]
    if not all(same(one, other) for one in sums for other in sums):
        return "apart"
    loss, parts = Fraction(loss), [Fraction(one) for one in loss_sums]
    means = sum(part / count for part, count in zip(parts, counts)) / len(parts)
    whole = sum(parts) / sum(counts)
    return "mean of means" if same(loss, means) and not same(loss, whole) else "right"


def diagnosed_by_numpy(rows, seeds, parameters, loss_sums, counts, loss):
    def same(one, other):
        return np.isclose(one, other, rtol=1e-6, atol=0).all()

    read = np.concatenate([np.unique(own) for own in rows])
    sums, losses, counts = np.array(parameters), np.array(loss_sums), np.array(counts)
    means, whole = (losses / counts).mean(), losses.sum() / counts.sum()
    signs = {
        "same rows": np.unique(read).size < read.size,
        "one seed": np.unique(seeds).size < len(seeds),
        "apart": not same(sums[:, None], sums),
        "mean of means": same(loss, means) and not same(loss, whole),
        "right": True,
    }
    return next(word for word, holds in signs.items() if holds)


def diagnosed_by_torch(rows, seeds, parameters, loss_sums, counts, loss):
    """Who has read what as a table; the distances of all sums as another."""
    table = torch.zeros(len(rows), 1 + max(map(max, rows)), dtype=torch.long)
    for own, line in zip(rows, table):
        line[own] = 1
    sums, losses, counts = (
        torch.tensor(each, dtype=torch.double) for each in (parameters, loss_sums, counts)
    )
    larger = torch.maximum(sums.abs()[:, None], sums.abs())
    if (table.sum(0) > 1).any():
        return "same rows"
    if len(torch.tensor(seeds).unique()) < len(seeds):
        return "one seed"
    if torch.any(torch.cdist(sums[:, None], sums[:, None], p=1) > larger / 1e6):
        return "apart"
    loss = torch.tensor(loss, dtype=torch.double)
    is_means, is_right = (
        torch.isclose(loss, mean, rtol=1e-6, atol=0)
        for mean in ((losses / counts).mean(), losses.sum() / counts.sum())
    )
    return "mean of means" if is_means & ~is_right else "right"


def diagnosed_by_reducing(rows, seeds, parameters, loss_sums, counts, loss):
    """Each process is compared with what was seen of those before it."""

    def compare(seen, process):
        rows, seeds, sums, faults = seen
        own, seed, one = process
        if rows & set(own):
            faults = faults | {1}
        if seed in seeds:
            faults = faults | {2}
        if not all(math.isclose(one, other, rel_tol=1e-6) for other in sums):
            faults = faults | {3}
        return rows | set(own), seeds | {seed}, sums | {one}, faults

    *_, faults = functools.reduce(compare, zip(rows, seeds, parameters), (set(),) * 4)
    if not faults:
        return diagnosed_loss(loss_sums, counts, loss)
    return ["same rows", "one seed", "apart"][min(faults) - 1]


RIGHT = {
    "outgrow.rows_of": [
        rows_by_batches,
        rows_by_numpy,
        rows_by_torch,
        rows_by_cards,
        rows_by_recursion,
        rows_by_own_cards,
        rows_by_queue,
    ],
    "outgrow.to_minimise": [
        minimised_by_the_mean_count,
        minimised_by_a_dot_product,
        minimised_by_its_weight,
        minimised_without_nan,
        minimised_by_einsum,
        minimised_token_by_token,
    ],
    "outgrow.part_weights": [
        weights_by_loops,
        weights_by_numpy,
        weights_by_torch,
        weights_by_fractions,
        weights_by_mean_parts,
        weights_step_by_step,
    ],
    "outgrow.silent_bug": [
        clipped_by_concatenating,
        clipped_by_the_norm_of_norms,
        clipped_by_hypot,
        clipped_by_numpy,
        clipped_by_torchs_own,
        clipped_after_cutting_up,
    ],
    "outgrow.diagnosed": [
        diagnosed_by_counting,
        diagnosed_pair_by_pair,
        diagnosed_by_fractions,
        diagnosed_by_numpy,
        diagnosed_by_torch,
        diagnosed_by_reducing,
    ],
}
