"""Remedies: what each is by definition, and where it changes nothing."""

import math

import pytest
import torch
from methods import remedies
from torch.nn.functional import cross_entropy

CLASSES = 5


def drawn(seed, rows=7):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (rows,), generator=generator)
    return logits.requires_grad_(), labels


def noise_of(seed):
    """Any confusion of classes, and not the same both ways."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.rand(CLASSES, CLASSES, generator=generator, dtype=torch.float64)
    return 0.6 * torch.eye(CLASSES, dtype=torch.float64) + 0.4 * (4 * mixed).softmax(-1)


def test_without_errors_the_corrected_loss_is_the_usual_one():
    logits, labels = drawn(1)
    loss = remedies.forward_loss(logits, labels, torch.eye(CLASSES, dtype=torch.float64))
    torch.testing.assert_close(loss, cross_entropy(logits, labels))


@pytest.mark.parametrize("seed", [2, 3])
def test_the_corrected_loss_is_that_of_the_noisy_prediction(seed):
    logits, labels = drawn(seed)
    noise = noise_of(seed + 10)
    said = logits.softmax(-1) @ noise  # p(observed) = Σ p(right) T[right, observed]
    wanted = -said[torch.arange(len(labels)), labels].log().mean()
    torch.testing.assert_close(remedies.forward_loss(logits, labels, noise), wanted)


def test_its_optimum_is_the_clean_distribution():
    """Fitted to noisy labels of one input, the corrected loss finds the right shares."""
    clean = torch.tensor([0.6, 0.25, 0.1, 0.04, 0.01], dtype=torch.float64)
    noise = noise_of(4)
    observed = clean @ noise
    logits = torch.zeros(1, CLASSES, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        losses = [
            share * remedies.forward_loss(logits, torch.tensor([label]), noise)
            for label, share in enumerate(observed)
        ]
        loss = sum(losses)
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(logits.softmax(-1)[0], clean, atol=1e-3, rtol=0)


def test_the_corrected_loss_stays_finite_where_a_probability_underflows():
    logits = torch.tensor([[400.0, -400.0]], requires_grad=True)
    noise = torch.tensor([[0.9, 0.1], [0.0, 1.0]])
    loss = remedies.forward_loss(logits, torch.tensor([1]), noise)
    assert loss.item() == pytest.approx(-math.log(0.1), rel=1e-4)
    loss.backward()
    assert logits.grad.isfinite().all()
    impossible = remedies.forward_loss(-logits, torch.tensor([0]), noise)
    assert impossible.item() == pytest.approx(800 - math.log(0.9), rel=1e-4)


@pytest.mark.parametrize(
    "noise, said",
    [
        (torch.eye(4, dtype=torch.float64), "5 classes"),
        (2 * torch.eye(CLASSES, dtype=torch.float64), "no distribution"),
        (
            torch.eye(CLASSES, dtype=torch.float64).roll(1, 1) * 2 - torch.eye(CLASSES),
            "distribution",
        ),
    ],
)
def test_a_noise_that_is_none_is_refused(noise, said):
    with pytest.raises(ValueError, match=said):
        remedies.forward_loss(*drawn(1), noise)


def test_the_energy_left_is_that_of_the_small_singular_values():
    left, _ = torch.linalg.qr(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)))
    right, _ = torch.linalg.qr(torch.randn(9, 4, generator=torch.Generator().manual_seed(2)))
    change = left @ torch.diag(torch.tensor([4.0, 2.0, 1.0, 2.0])) @ right.T  # energies 16 4 1 4
    for rank, left_over in enumerate((1.0, 9 / 25, 5 / 25, 1 / 25, 0.0, 0.0)):
        assert remedies.energy_left(change, rank) == pytest.approx(left_over, abs=1e-5)
        assert remedies.energy_left(change.T, rank) == pytest.approx(left_over, abs=1e-5)
    assert remedies.energy_left(torch.zeros(3, 2), 1) == 0.0
    with pytest.raises(ValueError, match="rank"):
        remedies.energy_left(change, -1)


def test_no_adapter_of_that_rank_leaves_less():
    generator = torch.Generator().manual_seed(3)
    change = torch.randn(8, 5, generator=generator)
    A = torch.randn(2, 5, generator=generator, requires_grad=True)
    B = torch.randn(8, 2, generator=generator, requires_grad=True)
    optimizer = torch.optim.LBFGS([A, B], max_iter=400, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (change - B @ A).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    reached = ((change - B @ A).square().sum() / change.square().sum()).item()
    assert reached == pytest.approx(remedies.energy_left(change, 2), rel=1e-3)


def test_reward_models_are_taken_together():
    scores = torch.tensor([[1.0, 5.0, -2.0], [3.0, 4.0, -2.0], [2.0, 9.0, -2.0]])
    assert remedies.strictest(scores).tolist() == [1.0, 4.0, -2.0]
    expected = [2 - 0.5 * 2 / 3, 6 - 0.5 * 14 / 3, -2.0]
    assert remedies.cautious(scores, 0.5).tolist() == pytest.approx(expected)
    assert remedies.cautious(scores, 0.0).tolist() == [2.0, 6.0, -2.0]
    assert remedies.cautious(scores[:1], 7.0).tolist() == scores[0].tolist()


def test_training_stops_before_the_budget_is_exceeded():
    assert remedies.stop_at([1.0, 2.0, 5.0, 1.0], budget=4.0) == 2
    assert remedies.stop_at([1.0, 2.0, 4.0], budget=4.0) == 3
    assert remedies.stop_at([9.0, 1.0], budget=4.0) == 0
    assert remedies.stop_at([], budget=4.0) == 0
    with pytest.raises(ValueError, match="step 2"):
        remedies.stop_at([1.0, math.nan], budget=4.0)
