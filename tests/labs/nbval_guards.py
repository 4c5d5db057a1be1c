"""Guards around nbval: what it would wait for, skip or compare by accident turns red instead.

Loaded into the run of a lab with `-p nbval_guards`.
"""

import time
from queue import Empty

import pytest
from nbval import plugin

POLL = 2.0  # seconds between two looks at the kernel
PATIENCE = 60  # seconds for an output to arrive after a cell has ended


class WatchedKernel(plugin.RunningKernel):
    """A kernel whose death ends the wait; nbval alone waits for the cell's full time limit."""

    def get_message(self, stream, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = POLL if end is None else min(POLL, end - time.monotonic())
            if left <= 0:
                raise Empty
            try:
                return super().get_message(stream, timeout=left)
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died while it ran this cell") from None


plugin.RunningKernel = WatchedKernel


def pytest_collectstart(collector):
    if isinstance(collector, plugin.IPyNbFile):
        collector.skip_compare += ("stderr",)


def pytest_collection_modifyitems(items):
    refused = [
        f"{item.name}: {reason}" for item in items if (reason := vacuous(item.options, item.cell))
    ]
    if refused:
        raise pytest.UsageError("cells that would check nothing: " + ", ".join(refused))
    for item in items:
        item.output_timeout = PATIENCE


def vacuous(options, cell):
    """Why a cell would pass unseen, or no text."""
    if options["skip"] or options["check_exception"]:
        return "marked to be skipped or to raise"
    return "no stored output to compare" if options["check"] and not compared(cell) else ""


def compared(cell):
    """Whether a cell has been run and stored an output that nbval looks at."""
    return cell.execution_count is not None and any(
        output.output_type != "stream" or output.name == "stdout" for output in cell.outputs
    )
