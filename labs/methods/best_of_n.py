"""Best-of-n: sample n responses and keep the one with the highest reward.

    y* = argmax_i r(x, y_i),  y_1, …, y_n ~ π(· | x)

It is the baseline that trains nothing.
"""

import math

import torch
from methods.arguments import check_shape, check_shapes, check_whole
from torch import Tensor


def best_of_n(rewards: Tensor) -> Tensor:
    """Index of the response to keep: float (prompts, n) → int (prompts,). The first of equals.

    Raises FloatingPointError if a reward is not finite, and ValueError for rewards of other shape.
    """
    check_shape("rewards", rewards, None, None)
    _check_finite(rewards)
    return rewards.argmax(-1)


def kl_of_best_of_n(n: int) -> float:
    """log n − (n − 1)/n: the divergence from the sampling policy, in nats.

    Stiennon et al. 2020, appendix G.3, where no two responses are equal. With equal ones it is an
    upper bound (Beirami et al. 2024). Raises ValueError for n below 1.
    """
    check_whole("n", n)
    return math.log(n) - (n - 1) / n


def expected_value(rewards: Tensor, values: Tensor, n: int) -> Tensor:
    """The mean value of best-of-n over all subsets of n among the m responses of each prompt.

    rewards, by which the best is chosen, and values: float (prompts, m), n ≤ m · returns float
    (prompts,)

    The response with the i-th lowest reward is the best of C(i − 1, n − 1) of the C(m, n) subsets
    (Nakano et al. 2021, appendix I), so nothing needs to be drawn. Raises ValueError for another n,
    and FloatingPointError if a reward is not finite.
    """
    check_shape("rewards", rewards, None, None)
    check_shapes(rewards=rewards, values=values)
    m = rewards.shape[-1]
    if not 1 <= n <= m:
        raise ValueError(f"best-of-{n} needs n between 1 and the {m} responses of a prompt")
    _check_finite(rewards)
    weights = torch.tensor(
        [math.comb(i, n - 1) / math.comb(m, n) for i in range(m)], dtype=torch.float64
    )
    best_first = rewards.argsort(dim=-1, descending=True, stable=True)  # the first of equals wins
    ranked = values.gather(-1, best_first).flip(-1).double()
    return (ranked * weights.to(ranked.device)).sum(-1)


def _check_finite(rewards: Tensor) -> None:
    if not torch.isfinite(rewards).all():
        raise FloatingPointError(
            "a reward is not finite, so no response is the best: check the reward model"
        )
