"""The Kullback–Leibler divergence between a policy and its reference, exactly and from samples.

    D_KL(p ‖ q) = E_{y~p} [log p(y) − log q(y)]                                          in nats

Three estimates from the log-probabilities of samples of p (Schulman 2020, "Approximating KL
divergence"). With u = log q(y) − log p(y):

    k1 = −u                 unbiased; single values may be negative
    k2 = u² / 2             biased; its gradient is that of the divergence, to first order
    k3 = exp(u) − 1 − u     unbiased and never negative
"""

import torch
from methods.arguments import check_shapes
from torch import Tensor


def k1(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The log-ratio itself, element by element: arguments and result have one shape, any."""
    check_shapes(log_p=log_p, log_q=log_q)
    return log_p - log_q


def k2(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Half the squared log-ratio. Shapes as in k1."""
    check_shapes(log_p=log_p, log_q=log_q)
    return (log_q - log_p).square() / 2


def k3(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The log-ratio with a control variate that makes every value at least 0. Shapes as in k1."""
    check_shapes(log_p=log_p, log_q=log_q)
    return (log_q - log_p).expm1() - (log_q - log_p)


def full(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """The exact divergence of each next-token distribution, a sum over the whole vocabulary.

    logits_p, logits_q: float (..., vocab) · returns float (...)

    A token that p rules out (logit −∞) adds 0; one that q alone rules out makes it infinite.
    """
    check_shapes(logits_p=logits_p, logits_q=logits_q)
    log_p, log_q = logits_p.log_softmax(-1), logits_q.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q).where(log_p > -torch.inf, 0)).sum(-1)
