"""What a lab runs on: threads, seeds, device, memory, versions, and how quiet it is."""

import os
import random
import re
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

THREADS = 2
LIBRARIES = ("torch", "transformers", "trl", "peft")
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def set_threads() -> None:
    """Give torch the number of CPU threads that every time in the book was measured with."""
    torch.set_num_threads(THREADS)


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch with one integer."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def pick_device() -> str:
    """The name of the fastest device here: cuda, mps, else cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def quieten() -> None:
    """Turn off the libraries' own progress bars and notices; what you set yourself stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # PEFT 0.21 still asks for a name that transformers 5.23 has renamed
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    # a library that is here already read its settings when it was imported
    if "transformers" in sys.modules:
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
    if "datasets" in sys.modules:
        import datasets

        datasets.logging.set_verbosity_error()
        datasets.disable_progress_bars()


def stored() -> bool:
    """Whether this run is kept or compared, so that what it prints must be the same every time."""
    return os.environ.get("COURSE_STORED") == "1"


def peak_mib() -> float:
    """The largest main memory this process has held so far, in MiB."""
    if sys.platform == "linux":
        # getrusage would begin at the peak of the process that started this one
        return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries in use, by name."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    return found | {name: metadata.version(name) for name in LIBRARIES if name in sys.modules}
