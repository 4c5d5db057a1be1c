"""The first cell of a lab: `lab = start("01_sft")`."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from . import bases, figures, machine, smollm2
from .errors import CourseError

LABS = Path(__file__).resolve().parents[1]
SCALES = ("small", "full")


@dataclass
class Lab:
    """One run of a lab: where it runs, how large it is, and what it has recorded so far."""

    name: str
    device: str
    scale: str
    claims: dict = field(default_factory=dict, repr=False)
    measures: dict = field(default_factory=dict, repr=False)
    sweeps: dict = field(default_factory=dict, repr=False)
    began: float = field(default_factory=time.perf_counter, repr=False)

    @property
    def full(self) -> bool:
        return self.scale == "full"


_lab: Lab | None = None


def start(name: str) -> Lab:
    """Make the kernel ready for the lab `name` and begin its record afresh.

    Returns the Lab: .name .device .scale .full
    Raises CourseError for a wrong working directory, lab name or COURSE_SCALE, and where
    COURSE_BASE asks for the real model and it cannot be had.
    """
    global _lab
    if Path.cwd() != LABS:
        raise CourseError(
            f"The working directory is {Path.cwd().name}/ but a lab runs in labs/: "
            "open the notebook from the labs folder, then restart its kernel."
        )
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise CourseError(f'{name!r} is not the name of a lab: write it as in start("01_sft").')
    if not any(LABS.glob(f"{name}.*")):
        raise CourseError(
            f"There is no lab {name} in labs/: write the name of the file into start(...), "
            "without its ending."
        )
    scale = os.environ.get("COURSE_SCALE", "small")
    if scale not in SCALES:
        raise CourseError(f"COURSE_SCALE is {scale!r}: set it to small or full, or remove it.")
    machine.quieten()
    name_base()
    figures.style()
    machine.seed_everything(0)
    _lab = Lab(name, machine.pick_device(), scale)
    if _lab.device == "cpu":
        machine.set_threads()
    if _lab.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    print(f"{name} on {_lab.device}, scale {scale}")
    if said := bases.notice(name):
        print(said)
    return _lab


def outside(name: str) -> Lab:
    """Begin the lab `name` without its notebook, at the full scale, as a tool that runs its sweeps
    does. Returns the Lab."""
    global _lab
    machine.quieten()
    name_base()
    machine.seed_everything(0)
    _lab = Lab(name, machine.pick_device(), "full")
    if _lab.device == "cpu":
        machine.set_threads()
    return _lab


def name_base() -> None:
    """Put the real model's folder into COURSE_BASE where that says smollm2; raises CourseError if
    it cannot be had."""
    if os.environ.get("COURSE_BASE") == smollm2.NAME:
        os.environ["COURSE_BASE"] = str(smollm2.ready())


def running() -> Lab | None:
    """The lab in progress, None before the first start()."""
    return _lab


def current() -> Lab:
    """The lab in progress; raises CourseError before the first start()."""
    if _lab is None:
        raise CourseError("No lab has been started: run the first cell, the one with start(...).")
    return _lab
