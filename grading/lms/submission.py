"""A submission, and the names that Canvas and Moodle give to the files they export."""

import re
from dataclasses import dataclass

# Canvas: name[_LATE]_user_upload_file. The user is anon_… where names are hidden. A file uploaded
# again under the same name gets a number at its end. An upload's number has at least three digits
# and a user's does not begin with 0, so that the number of a lab is not mistaken for one.
CANVAS = re.compile(
    r"(?:(?P<name>.*?)_)??(?:LATE_)?(?P<number>[1-9]\d*|anon_[0-9A-Za-z]+)_(?P<order>\d{3,})_"
    r"(?P<upload>.*?)(?:-(?P<attempt>\d{1,2}))?(?:\.\w+)?",
    re.DOTALL,
)
# Moodle: name_number_assignsubmission_file_, as a folder or as the beginning of a file's name;
# online texts have _onlinetext_ in the place of _file_.
MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_[a-z]+(?P<attempt>)(?:_.*)?", re.DOTALL
)


@dataclass(frozen=True)
class Submission:
    """One notebook that was handed in, or what was found where a notebook should be."""

    id: str  # the name of its record, safe as a file name on every system
    student: str  # as the export names the student
    file: str  # relative to the folder; a member of an archive is "a.zip!inner/b.ipynb"
    sha256: str  # of the notebook's bytes, "" if they could not be read
    attempt: int | None  # the export's own number of the attempt, if it has one
    modified: float  # seconds since the epoch: the file's time, or the archive member's
    problem: str  # "", or one sentence on why it cannot be read
    doubt: str = ""  # why it may not be this student's, or not the one that counts


def match_export_name(name: str) -> re.Match[str] | None:
    """The groups name, number and attempt in a name that Canvas or Moodle made; None for others."""
    return MOODLE.fullmatch(name) or CANVAS.fullmatch(name)
