"""All code is formatted and passes the rules in pyproject.toml, the labs' cells included."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (["check", "--no-fix"], "mend what is named, or run .venv/bin/ruff check --fix"),
        (["format", "--check"], "run .venv/bin/ruff format ."),
    ],
)
def test_ruff_has_nothing_to_say(command, advice):
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "-q", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"{advice}\n{run.stdout[-3000:]}{run.stderr[-1000:]}"
