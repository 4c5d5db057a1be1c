"""How two workers share the tests: `make test` runs them with pytest-xdist, two files at a time."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Keep the tests of a file with one worker, for they share fixtures; the tests of the book, which
    is built once, share a worker as well."""
    for item in items:
        path = item.path.relative_to(TESTS)
        group = "book" if path.parts[0] == "book" else str(path)
        item.add_marker(pytest.mark.xdist_group(group))
