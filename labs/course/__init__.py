"""What makes the notebooks a course: exercises, checks, evidence, figures and progress."""

from . import machine
from .bars import progress
from .errors import CourseError, EvidenceError
from .figures import BLUE, GREEN, GREY, ORANGE, PALETTE, PINK, PURPLE, band, show, style
from .learner import check, exercise
from .record import evidence, finish, measure, on_trial
from .registry import Exercise, Mistake, find, run_checks
from .rows import grouped, lowest, select
from .session import start
from .statistics import mean_interval
from .sweep import Sweep, rows_of, sweep

__all__ = [
    "BLUE",
    "CourseError",
    "EvidenceError",
    "Exercise",
    "GREEN",
    "GREY",
    "Mistake",
    "ORANGE",
    "PALETTE",
    "PINK",
    "PURPLE",
    "Sweep",
    "band",
    "check",
    "evidence",
    "exercise",
    "find",
    "finish",
    "grouped",
    "lowest",
    "machine",
    "mean_interval",
    "measure",
    "on_trial",
    "progress",
    "rows_of",
    "run_checks",
    "select",
    "show",
    "start",
    "style",
    "sweep",
]
