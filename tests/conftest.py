"""How two workers share the tests: `make test` runs them with pytest-xdist, two files at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LABS = TESTS.parent / "labs"


def pytest_configure(config):
    """Make the real model, where it can be had, before two workers do so at once: the one that is
    done first would read what the other one is putting in its place."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        make = "from course import smollm2; smollm2.main()"
        subprocess.run([sys.executable, "-c", make], cwd=LABS, capture_output=True)


def pytest_collection_modifyitems(items):
    """Keep the tests of a file with one worker, for they share fixtures; the tests of the book, which
    is built once, share a worker as well."""
    for item in items:
        path = item.path.relative_to(TESTS)
        group = "book" if path.parts[0] == "book" else str(path)
        item.add_marker(pytest.mark.xdist_group(group))
