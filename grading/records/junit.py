"""junit.xml: a testsuite per submission, a testcase per check."""

import xml.etree.ElementTree as ET

from ..text import clean
from .feedback import mistake
from .record import CheckResult, ExerciseResult, Record, Result

# "failure" is a wrong answer, "error" no answer, "skipped" an exercise that was not attempted.
TAGS = {
    Result.FAILED: "failure",
    Result.MISSING: "failure",
    Result.TIMEOUT: "error",
    Result.CRASHED: "error",
    Result.ERROR: "error",
    Result.NEEDS_REVIEW: "error",
    Result.NOT_ATTEMPTED: "skipped",
}


def junit(records: list[Record]) -> str:
    root = ET.Element("testsuites", name="grading")
    root.extend(map(testsuite, records))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def testsuite(record: Record) -> ET.Element:
    suite = ET.Element(
        "testsuite", name=record.submission, time=str(record.run.seconds), timestamp=record.run.date
    )
    properties = ET.SubElement(suite, "properties")
    for name in ("student", "lab", "file", "status", "reason", "earned", "points"):
        value = getattr(record, name)
        text = "" if value is None else clean(str(value), 300)
        ET.SubElement(properties, "property", name=name, value=text)
    suite.extend(testcase(record, exercise, check) for exercise, check in record.checks())
    if not record.exercises:
        suite.append(no_exercises(record))
    suite.set("tests", str(len(suite.findall("testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    return suite


def testcase(record: Record, exercise: ExerciseResult, check: CheckResult) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=clean(f"{record.submission}.{exercise.id}", 300),
        name=clean(check.name, 120),
    )
    if check.result is not Result.PASSED:
        tag = TAGS[check.result]
        child = ET.SubElement(case, tag, message=mistake(check), type=check.result)
        child.text = clean(check.next, 500)
    return case


def no_exercises(record: Record) -> ET.Element:
    """The one testcase of a submission without exercises, which must not look like a clean run."""
    case = ET.Element("testcase", classname=record.submission, name="can be graded")
    ET.SubElement(case, "error", message=clean(record.reason, 500), type=record.status)
    return case
