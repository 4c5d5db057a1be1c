"""The loop that every method trains by: AdamW, its schedules, and what it refuses."""

import copy
import math

import pytest
import torch
from methods.optimize import adamw, linear_decay, minimize, warm_up_and_decay


@pytest.fixture()
def model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def square(model):
    """A loss of a batch that is the inputs."""
    return lambda batch: model(batch).square().mean()


def some_batches(count):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 3, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("schedule", [None, linear_decay(5), warm_up_and_decay(5)])
def test_a_step_is_adamws_at_the_scheduled_rate(model, schedule):
    """Against a plain recount of Adam's equations."""
    theirs = copy.deepcopy(model).double()
    minimize(square(model), some_batches(5), adamw(model.parameters(), 0.1), schedule=schedule)
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in theirs.parameters()]
    for step, batch in enumerate(some_batches(5)):
        rate = 0.1 * (schedule(step) if schedule else 1)
        gradients = torch.autograd.grad(square(theirs)(batch.double()), list(theirs.parameters()))
        for parameter, gradient, (m, v) in zip(theirs.parameters(), gradients, moments):
            m.mul_(0.9).add_(0.1 * gradient)
            v.mul_(0.999).add_(0.001 * gradient**2)
            unbiased = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            parameter.data -= rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)
    for mine, expected in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.double(), expected, rtol=1e-4, atol=1e-5)


def test_each_loss_is_that_of_the_parameters_as_they_are_then(model):
    """Each batch is asked for, and its loss taken, after the update before it."""
    batches, seen = some_batches(4), []

    def watched():
        for batch in batches:
            seen.append(square(model)(batch).item())
            yield batch

    losses = minimize(square(model), watched(), adamw(model.parameters(), 0.1))
    assert losses == seen and len(losses) == 4
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_reaches_no_parameter(model, value):
    optimizer = adamw(model.parameters(), 0.1)
    minimize(square(model), some_batches(1), optimizer)
    before = copy.deepcopy(model.state_dict())
    factors = iter([1.0, value, 1.0])

    def loss(batch):
        if (factor := next(factors)) != 1:
            assert not all(torch.equal(before[n], p) for n, p in model.state_dict().items())
            before.update(copy.deepcopy(model.state_dict()))
        return factor * square(model)(batch)

    with pytest.raises(FloatingPointError, match=f"the loss is {value} at step 2: lower the learn"):
        minimize(loss, some_batches(3), optimizer)
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())


def test_the_sentence_of_the_refusal_is_the_methods(model):
    with pytest.raises(FloatingPointError, match="^the loss: nan, at 1$"):
        minimize(
            lambda batch: math.nan * square(model)(batch),
            some_batches(1),
            adamw(model.parameters(), 0.1),
            refusal="the {what}: {value}, at {step}",
        )


def test_only_what_requires_a_gradient_is_trained(model):
    model.bias.requires_grad_(False)
    (group,) = adamw(model.parameters(), 0.1).param_groups
    assert [id(parameter) for parameter in group["params"]] == [id(model.weight)]
    assert group["weight_decay"] == 0 and group["lr"] == 0.1


def test_nothing_to_train_is_refused(model):
    with pytest.raises(ValueError, match="no parameter of the model requires a gradient"):
        adamw(model.requires_grad_(False).parameters(), 0.1)


def test_learning_rate_rises_stays_and_falls():
    rate = warm_up_and_decay(30)
    shares = [rate(step) for step in range(31)]
    assert shares[:3] == pytest.approx([1 / 3, 2 / 3, 1]) and shares[30] == 0
    assert set(shares[3:20]) == {1}
    assert all(a > b for a, b in zip(shares[20:], shares[21:])), shares
    assert warm_up_and_decay(1)(0) == 1 and rate(40) == 0


def test_a_linear_decay_is_a_straight_line_to_0():
    assert [linear_decay(4)(step) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]
