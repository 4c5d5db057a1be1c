"""What makes the notebooks a course: exercises, checks, evidence, figures and progress."""

from . import machine
from .bars import progress
from .errors import CourseError, EvidenceError
from .figures import PALETTE, show, style
from .learner import check, exercise
from .record import evidence, finish, mean_interval, measure, on_trial
from .registry import Exercise, Mistake, find, run_checks
from .session import start
from .sweep import sweep

__all__ = [
    "CourseError",
    "EvidenceError",
    "Exercise",
    "Mistake",
    "PALETTE",
    "check",
    "evidence",
    "exercise",
    "find",
    "finish",
    "machine",
    "mean_interval",
    "measure",
    "on_trial",
    "progress",
    "run_checks",
    "show",
    "start",
    "style",
    "sweep",
]
