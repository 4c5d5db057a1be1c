"""How two workers share the tests: `make test` runs them with pytest-xdist, two files at a time."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Keep the tests of a file with one worker, for they share fixtures; the pages of the book, which
    are built once, share a worker as well. Each lab is a matter of its own."""
    for item in items:
        path = item.path.relative_to(TESTS)
        if path.parts[0] == "labs":
            group = item.nodeid
        elif path.parts[0] == "book":
            group = "book"
        else:
            group = str(path)
        item.add_marker(pytest.mark.xdist_group(group))
