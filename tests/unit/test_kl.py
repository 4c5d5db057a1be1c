"""The KL estimators against sums over all outcomes."""

import pytest
import torch
from methods import kl

P, Q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])


def test_the_exact_divergence_is_the_sum_over_all_outcomes():
    exact = sum(p * (p / q).log() for p, q in zip(P, Q))
    torch.testing.assert_close(
        kl.full(P.log() + 3, Q.log() - 1), exact
    )  # logits are free up to a number
    assert kl.full(P.log(), Q.log()) != kl.full(Q.log(), P.log())
    assert kl.full(P.log(), P.log()) == 0
    assert kl.full(torch.randn(2, 5, 7), torch.randn(2, 5, 7)).shape == (2, 5)


@pytest.mark.parametrize("estimate", [kl.k1, kl.k3])
def test_two_estimates_are_right_on_average(estimate):
    torch.testing.assert_close((P * estimate(P.log(), Q.log())).sum(), kl.full(P.log(), Q.log()))


def test_k3_is_never_negative_and_k1_is():
    assert (kl.k3(P.log(), Q.log()) >= 0).all() and kl.k3(P.log(), P.log()).abs().max() == 0
    assert (kl.k1(P.log(), Q.log()) < 0).any()
    torch.testing.assert_close(kl.k3(torch.zeros(1), torch.ones(1)), torch.tensor([torch.e - 2]))


def test_k2_is_half_the_squared_log_ratio():
    torch.testing.assert_close(kl.k2(P.log(), Q.log()), (P / Q).log().square() / 2)


def test_near_the_reference_k2_has_the_gradient_of_the_divergence():
    logits = (P.log() + 0.001 * torch.tensor([1.0, -2.0, 0.5])).requires_grad_()
    kl.full(logits, P.log()).backward()
    expected, logits.grad = logits.grad.clone(), None
    log_p = logits.log_softmax(-1)
    (log_p.exp().detach() * kl.k2(log_p, P.log())).sum().backward()
    torch.testing.assert_close(logits.grad, expected, rtol=0.01, atol=1e-7)


def test_k3_has_the_gradient_of_the_divergence_the_other_way_round():
    logits = P.log().requires_grad_()
    kl.full(Q.log(), logits).backward()
    expected, logits.grad = logits.grad.clone(), None
    (P * kl.k3(logits.log_softmax(-1), Q.log())).sum().backward()
    torch.testing.assert_close(logits.grad, expected)


def test_k3_keeps_its_digits_near_the_reference():
    log_p = torch.linspace(-3, 0, 50, dtype=torch.double)
    near = kl.k3(log_p, log_p + 1e-7)
    torch.testing.assert_close(near, torch.full_like(near, 5e-15), rtol=0.01, atol=0)
