"""What only lab 01's checks have to be tested for."""

import math

import torch
from banks import points
from checks.sft import log_of_softmax
from course import find, run_checks
from methods import sft
from methods.tokens import IGNORE


def test_naive_but_correct_costs_only_the_point_for_stability():
    earned, mistakes = points("sft.token_log_probs", log_of_softmax, seed=3)
    assert (earned, mistakes) == (3, ["large logits give infinities"])
    assert not math.isfinite(
        log_of_softmax(torch.tensor([[[0.0, 9e3], [0, 0]]]), torch.tensor([[IGNORE, 0]]))
    )


def test_a_rate_of_ones_own_is_named_whatever_it_is():
    def own_rate(parameters, learning_rate):
        sft.gradient_step(parameters, 0.0123)

    for seed in range(5):
        first, _ = run_checks(find("sft.gradient_step"), own_rate, seed)
        assert first.mistake.startswith("the learning rate is not used: ")
        assert first.next == "multiply the gradient by learning_rate"
