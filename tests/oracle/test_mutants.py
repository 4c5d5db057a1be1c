"""The tests of the RLHF methods, tested: single faults must not pass them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="the mutants run in forks of one process, which Windows has not"
)
def test_at_least_95_of_100_mutants_are_killed():
    run = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "mutate.py")], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
