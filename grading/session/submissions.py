"""A folder of submissions: one test for each."""

from grading import run
from grading.records.record import Status


def test_submission(submission, this_run, marker):
    """Passes once the submission has its record, whatever the marks; fails if it needs review."""
    record = run.mark(this_run, marker, submission)
    assert record.status is not Status.NEEDS_REVIEW, record.reason
