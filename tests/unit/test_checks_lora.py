"""What only lab 02's checks have to be tested for."""

import torch
from banks import points
from checks.lora import adapter
from checks.shared import randoms
from course import find, run_checks
from methods import lora


def bug_of_the_colleague(weight, A, B, alpha):
    return weight - B @ A


def test_the_colleagues_bug_copied_earns_nothing():
    assert points("lora.silent_bug", bug_of_the_colleague, seed=0)[0] == 0


def test_the_colleagues_bug_hides_where_alpha_is_the_rank():
    weight, (A, B, _) = randoms(2, 9, 11), adapter(0)
    merged = lora.merged_weight(weight, A, B, len(A))
    torch.testing.assert_close(bug_of_the_colleague(merged, A, B, len(A)), weight)


def test_a_wrong_factor_costs_the_points_of_the_scale_alone():
    for wrong in find("lora.update").wrong_solutions[:8]:
        results = run_checks(find("lora.update"), wrong.function, 1)
        assert [result.earned for result in results] == [0, 1, 1], wrong.function.__name__


def test_a_product_that_fits_only_square_matrices_is_named_whatever_its_factor():
    def turned(sign):
        return lambda weight, A, B, alpha: weight + sign * (B @ A).T * alpha

    for id, sign in (("lora.merge", 1), ("lora.silent_bug", -1)):
        _, (first, *_) = points(id, turned(sign), seed=3)
        assert first == "the product of A and B is transposed"
    _, (first, *_) = points("lora.update", lambda x, A, B, alpha: x @ B @ A, seed=3)
    assert first == "A and B have changed places: B is applied first"


def test_the_update_alone_and_the_update_added_again_are_named_whatever_the_factor():
    for id, function, told in (
        ("lora.merge", lambda weight, A, B, alpha: 7 * B @ A, "this is the update alone"),
        ("lora.silent_bug", lambda weight, A, B, alpha: 7 * B @ A, "this is the update alone"),
        ("lora.silent_bug", lambda weight, A, B, alpha: weight + 7 * B @ A, "the adapter is added"),
    ):
        assert points(id, function, seed=3)[1][0].startswith(told)
