"""The optimum of the KL-regularised objective where every response can be listed.

    max_π E_{y~π} [r(x, y)] − β D_KL(π ‖ π_ref)     has the one solution     π* = π_ref exp(r/β) / Z

(Rafailov et al. 2023, equation 4, and others before). A vocabulary of 5 tokens has 21 responses of
at most 2; one of 32,000 has a thousand million. So this is for proofs, not for use.
"""

from collections.abc import Sequence

import torch
from methods.arguments import check_positive, check_shapes
from methods.models import evaluating
from methods.rollouts import response_log_probs
from methods.tokens import join
from torch import Tensor, nn


def responses(vocab: int, stop_id: int, longest: int) -> list[list[int]]:
    """All responses of at most `longest` tokens: first those that stop, then those that are cut."""
    ended, growing = [], [[]]
    for _ in range(longest):
        grown = [start + [token] for start in growing for token in range(vocab)]
        ended += [response for response in grown if response[-1] == stop_id]
        growing = [response for response in grown if response[-1] != stop_id]
    return ended + growing


@torch.no_grad()
def log_probs(
    policy: nn.Module, prompt: list[int], responses: Sequence[list[int]], pad_id: int
) -> Tensor:
    """log π(y | x) of each response, float (responses,).

    Over all responses the probabilities sum to 1.
    """
    rows = join([prompt] * len(responses), responses, pad_id)
    ids, real, labels = (tensor.to(policy.device) for tensor in rows)
    with evaluating(policy):
        return response_log_probs(policy, ids, real, labels, temperature=1.0).sum(-1)


def optimum(ref_log_probs: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """log π*(y | x) of each response; all float (responses,). The softmax divides by Z."""
    check_shapes(ref_log_probs=ref_log_probs, rewards=rewards)
    check_positive("beta", beta)
    return (ref_log_probs + rewards / beta).log_softmax(-1)
