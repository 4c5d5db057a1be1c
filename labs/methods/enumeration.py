"""The optimum of the KL-regularised objective where every response can be listed.

    max_π E_{y~π} [r(x, y)] − β D_KL(π ‖ π_ref)     has the one solution     π* = π_ref exp(r/β) / Z

(Rafailov et al. 2023, equation 4, and others before). A vocabulary of 5 tokens has 21 responses of
at most 2; one of 32,000 has a thousand million. So this is for proofs, not for use.
"""

from collections.abc import Sequence

import torch
from methods import ppo, sampling
from methods.sft import IGNORE, mask_prompt
from torch import Tensor


def responses(vocab: int, stop_id: int, longest: int) -> list[list[int]]:
    """All responses of at most `longest` tokens: those that end with the stop token, and those that
    are cut."""
    ended, growing = [], [[]]
    for _ in range(longest):
        grown = [start + [token] for start in growing for token in range(vocab)]
        ended += [response for response in grown if response[-1] == stop_id]
        growing = [response for response in grown if response[-1] != stop_id]
    return ended + growing


@torch.no_grad()
def log_probs(
    policy: torch.nn.Module, prompt: list[int], responses: Sequence[list[int]], pad_id: int
) -> Tensor:
    """log π(y | x) of each response, float (responses,): over all responses the probabilities sum
    to 1."""
    examples = [mask_prompt(prompt, response) for response in responses]
    ids, real = sampling.pad([ids for ids, _ in examples], pad_id)
    labels, _ = sampling.pad([labels for _, labels in examples], IGNORE)
    tensors = (tensor.to(policy.device) for tensor in (ids, real, labels))
    return ppo.response_log_probs(policy, *tensors, temperature=1.0).sum(-1)


def optimum(ref_log_probs: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """log π*(y | x) of each response; all float (responses,). The softmax divides by Z."""
    return (ref_log_probs + rewards / beta).log_softmax(-1)
