"""What only lab 03's checks have to be tested for."""

import pytest
from banks import points
from course import find


@pytest.mark.parametrize(
    "name, told",
    [
        ("at_padding", "another prompt changes the rewards of the other prompts' responses"),
        ("without_prompt", "another prompt, and the rewards of its responses stay the same"),
    ],
)
def test_what_another_prompt_shows_is_told_as_well(name, told):
    for seed in range(9):
        assert told in points("reward.silent_bug", wrong_solution(name), seed)[1]


def test_the_colleagues_bug_copied_earns_nothing():
    for seed in range(9):
        assert points("reward.silent_bug", wrong_solution("at_padding"), seed)[0] == 0


def wrong_solution(name):
    (function,) = (
        wrong.function
        for wrong in find("reward.silent_bug").wrong_solutions
        if wrong.function.__name__ == name
    )
    return function
