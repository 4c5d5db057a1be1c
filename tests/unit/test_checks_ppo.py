"""What only lab 04's checks have to be tested for."""

import pytest
from banks import points
from checks.ppo import reads_first
from methods import kl


@pytest.mark.parametrize(
    "estimate, told", [(kl.k1, "one of its values is -"), (kl.k2, "on average over p it gives ")]
)
def test_a_known_estimate_is_told_what_it_lacks_as_well(estimate, told):
    for seed in range(9):
        assert any(mistake.startswith(told) for mistake in points("ppo.k3", estimate, seed)[1])


def test_the_colleagues_bug_copied_earns_nothing():
    for seed in range(9):
        assert points("ppo.silent_bug", reads_first, seed)[0] == 0
