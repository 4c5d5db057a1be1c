"""Progress bars for long loops."""

from tqdm.auto import tqdm

from . import machine


def progress(iterable, label, total=None):
    """Go through `iterable` behind a progress bar; a stored run prints one plain line at the end
    instead."""
    if machine.stored():
        return count(iterable, label)
    return tqdm(iterable, desc=label, total=total, leave=False)


def count(iterable, label):
    steps = 0
    try:
        for item in iterable:
            steps += 1
            yield item
    finally:  # a loop that is left early is told too
        print(f"{label}: {steps} steps")
