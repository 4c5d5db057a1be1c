"""A learner's own notebook: one test for each check of its lab."""

import pytest


def test_check(answered, own_record):
    """Passes if the check is passed: as in the notebook, on the same inputs, but in a process of
    its own."""
    exercise, name = answered
    assert own_record["status"] == "graded", own_record["reason"]
    checks = next(each["checks"] for each in own_record["exercises"] if each["id"] == exercise)
    check = next(check for check in checks if check["name"] == name)
    if check["result"] == "not attempted":
        pytest.skip("not attempted")
    assert check["result"] == "passed", f"{check['mistake']}; next: {check['next']}"
