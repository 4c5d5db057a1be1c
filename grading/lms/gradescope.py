"""The results.json of Gradescope's autograder for one submission."""

import json

from ..records.feedback import HAND_IN_AGAIN, PENDING, fault, mistake, name_of
from ..records.record import CheckResult, ExerciseResult, Record, Result, Status
from ..text import clean, readable


def gradescope(record: Record) -> str:
    """The JSON, in ASCII.

    Without "score" and "tests" Gradescope enters no mark, so a submission that is not graded has
    neither.
    """
    # Every kind of text is declared as plain text, so that none is read as HTML or Markdown.
    results = {
        "output": outcome(record),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
    }
    if record.is_graded:
        results["score"] = record.earned
        results["tests"] = [test_of(exercise, check) for exercise, check in record.checks()]
    return json.dumps(results, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def outcome(record: Record) -> str:
    """What the learner reads about the submission as a whole."""
    if record.is_graded:
        return f"{record.earned} of {record.points} points"
    if record.status is Status.NEEDS_REVIEW:
        return PENDING
    what = fault(record)
    reason = f": {what}" if what else ""
    return f"This submission could not be graded{reason}. Please {HAND_IN_AGAIN}."


def test_of(exercise: ExerciseResult, check: CheckResult) -> dict:
    passed = check.result is Result.PASSED
    step = clean(check.next, 500)
    output = ["" if passed else mistake(check), step and f"Next: {step}"]
    return {
        "name": f"{clean(name_of(exercise), 160)}: {readable(check.name)}",
        "score": check.earned,
        "max_score": check.points,
        "status": "passed" if passed else "failed",
        "output": "\n".join(filter(None, output)),
    }
