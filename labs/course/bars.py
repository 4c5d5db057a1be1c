"""Progress bars for long loops."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

from . import machine

Item = TypeVar("Item")


def progress(iterable: Iterable[Item], label: str, total: int | None = None) -> Iterable[Item]:
    """Go through `iterable` behind a progress bar; a stored run prints one plain line at the end
    instead."""
    if machine.stored():
        return count(iterable, label)
    return tqdm(iterable, desc=label, total=total, leave=False)


def count(iterable: Iterable[Item], label: str) -> Iterator[Item]:
    steps = 0
    try:
        for item in iterable:
            steps += 1
            yield item
    finally:  # a loop that is left early is told too
        print(f"{label}: {steps} steps")
