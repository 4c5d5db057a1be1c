"""A learner's own notebook: one test for each check of its lab."""

import pytest

from grading.records.record import Result


def test_check(answered, own_marks):
    """Passes if the check passes, on the same inputs as in the notebook but in its own process."""
    exercise_id, name = answered
    assert own_marks.is_graded, own_marks.reason
    check = next(
        check
        for exercise, check in own_marks.checks()
        if (exercise.id, check.name) == (exercise_id, name)
    )
    if check.result is Result.NOT_ATTEMPTED:
        pytest.skip("not attempted")
    assert check.result is Result.PASSED, f"{check.mistake}; next: {check.next}"
