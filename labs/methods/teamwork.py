"""What the processes of a team have to agree on, as functions of plain numbers.

`methods.processes` does the same with processes; here one process plays all of them, so that each
rule can be looked at, and broken, by itself.
"""

import math
from collections.abc import Sequence

from torch import Tensor

RIGHT, SAME_ROWS, ONE_SEED, APART, MEAN_OF_MEANS = (
    "right",
    "same rows",
    "one seed",
    "apart",
    "mean of means",
)


def rows_of(order: Sequence[int], batch: int, size: int, rank: int) -> list[list[int]]:
    """The rows that process `rank` of `size` reads, one list for each step.

    order: numbers of all rows as every process has shuffled them, with the same seed · batch: rows in
    a step of all processes together, a multiple of size

    A batch is dealt out row by row; what is left over at the end for no whole batch is not read.
    """
    last = len(order) // batch * batch
    return [list(order[step + rank : step + batch : size]) for step in range(0, last, batch)]


def to_minimise(losses: Tensor, counts: Sequence[int]) -> Tensor:
    """What one process minimises, so that the average of all processes' gradients is the gradient of
    the mean over all tokens: K · S_k / Σ N, a scalar.

    losses: of this process's tokens, float (tokens,), whose sum is S_k · counts: N, the tokens of
    every process. Raises ValueError where no token counts in any of them.
    """
    if not sum(counts):
        raise ValueError("nothing counts in this batch: check its labels")
    return losses.sum() * (len(counts) / sum(counts))


def part_weights(counts: Sequence[Sequence[int]]) -> list[list[float]]:
    """The factor for each part's own mean loss, before its backward pass.

    counts: for each process a list, the tokens that count in each of its parts

    Gradients of a process's parts add up, and those of the processes are averaged; with these weights
    the outcome is the gradient of the mean over all tokens. A part without a token has the weight 0.
    Raises ValueError where no token counts anywhere.
    """
    total = sum(map(sum, counts))
    if not total:
        raise ValueError("nothing counts in this batch: check its labels")
    return [[len(counts) * count / total for count in parts] for parts in counts]


def clipped(shards: Sequence[Tensor], limit: float) -> list[Tensor]:
    """The gradient no longer than `limit`, where each process holds a part of it.

    shards: each process's part, of any shape. The length is that of the whole gradient, √Σ g², so all
    parts shrink by the same factor; a gradient that is short enough stays as it is.
    """
    length = math.sqrt(sum(shard.double().square().sum().item() for shard in shards))
    factor = min(1.0, limit / length) if length else 1.0
    return [shard * factor for shard in shards]


def diagnosed(
    rows: Sequence[Sequence[int]],
    seeds: Sequence[int],
    parameters: Sequence[float],
    loss_sums: Sequence[float],
    counts: Sequence[int],
    loss: float,
) -> str:
    """What a team does wrong in a step: one of these five strings, the first that applies.

        "same rows"       two processes read a row in common; a row that one process lists twice is
                          none
        "one seed"        two processes sample with the same seed
        "apart"           after the step the sums of two processes' parameters are not the same
        "mean of means"   the loss is the mean of the processes' own mean losses, and not the mean
                          over all tokens
        "right"           none of these, as where the loss is neither of both means

    Two sums, or two losses, are the same here if they differ by no more than a millionth of the one
    whose absolute value is larger.

    Of each process: rows, the numbers of those that it read · seeds, with which it samples ·
    parameters, their sum after the step · loss_sums and counts, of its own tokens. loss: the step's
    """
    if sum(map(len, map(set, rows))) > len(set().union(*rows)):
        return SAME_ROWS
    if len(set(seeds)) < len(seeds):
        return ONE_SEED
    if not _same(min(parameters), max(parameters)):
        return APART
    own = [total / count for total, count in zip(loss_sums, counts, strict=True)]
    means, whole = sum(own) / len(own), sum(loss_sums) / sum(counts)
    return MEAN_OF_MEANS if _same(loss, means) and not _same(loss, whole) else RIGHT


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6)
