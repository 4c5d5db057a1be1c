"""What only lab 05's checks have to be tested for."""

import copy
import random

import pytest
import torch
from banks import points
from checks import after
from checks.models import MINE, OTHER, PAD, small_model
from checks.policies import adapted_policy
from course import find
from methods import dpo, lora, reference, verifiers

SEEDS = range(9)


def test_the_colleagues_bug_copied_earns_nothing():
    for seed in SEEDS:
        assert points("after.silent_bug", after.restored_by_order, seed)[0] == 0


def test_the_colleagues_bug_hides_where_sorting_is_its_own_inverse():
    model, pairs = small_model(), [([2, 3], [[4, 1], [5, 6, 7, 1]]), ([2], [[1], [3, 1]])]
    order = after.from_long_to_short(after.rows_of(pairs))
    assert order == [1, 0, 3, 2] and [order[row] for row in order] == [0, 1, 2, 3]
    right = dpo.pair_log_probs(model, pairs, PAD)
    torch.testing.assert_close(after.restored_by_order(model, pairs, PAD), right)


def test_the_points_are_those_of_the_lab():
    told = {id: find(f"after.{id}").points for id in POINTS}
    assert told == POINTS and sum(told.values()) == 31


POINTS = {
    "implicit_reward": 2,
    "dpo_loss": 4,
    "group_advantages": 4,
    "leave_one_out": 3,
    "constant_mean": 3,
    "reverse_kl": 4,
    "verifier": 4,
    "reference_logits": 3,
    "silent_bug": 4,
}


@pytest.mark.parametrize("make", [after.wrong_totals, after.tricks])
def test_every_trick_is_one_and_the_right_total_is_not_among_them(make):
    for seed in range(200):
        rng = random.Random(seed)
        for left, right in after.two_digit_sums(rng):
            prompt = after.prompt_of(left, right)
            assert verifiers.right_total(prompt, after.response_of(left + right)) == 1
            for _, responses in make(rng, left, right):
                assert all(verifiers.right_total(prompt, response) == 0 for response in responses)


def test_which_adapter_is_active_shows_in_the_parameters():
    policy = adapted_policy()
    before = after.parameters_of(policy)
    ids = after.some_ids(0)
    own = policy(input_ids=ids).logits
    assert not torch.allclose(own, reference.reference_logits(policy, ids))
    for name in (None, OTHER):
        other = copy.deepcopy(policy)
        lora.activate(other, name)
        told = after.parameters_of(other)
        changed = {path for path in told if not torch.equal(told[path][0], before[path][0])}
        assert changed == {f"{path}.active_number" for path in lora.layers(policy)}
        lora.activate(other, MINE)
        told = after.parameters_of(other)
        assert all(
            torch.equal(one, told[path][0]) and trains == told[path][1]
            for path, (one, trains) in before.items()
        )
        torch.testing.assert_close(other(input_ids=ids).logits, own)


def test_a_policy_that_is_switched_back_by_activate_loses_only_what_else_trained():
    for seed in SEEDS:
        earned, mistakes = points("after.reference_logits", after.activated_again, seed)
        assert earned == 2 and mistakes == [after.OTHERS_TRAIN[0]]
