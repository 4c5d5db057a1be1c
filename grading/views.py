"""The views of the records: gradebook, totals, feedback pages, JUnit and Gradescope. The records
decide, the views repeat: they can be deleted and written again at any moment."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from .feedback import PENDING, feedback_page, mistake, remarks
from .files import write_whole
from .text import clean, readable, text_cell

GRADEBOOK = [
    "student",
    "lab",
    "earned",
    "points",
    "percent",
    "status",
    "reason",
    "flags",
    "counts",
    "submission",
    "file",
]
# Excel takes a CSV file for UTF-8 only where it begins with a byte-order mark; Python reads it with
# utf-8-sig, pandas and LibreOffice as it is.
BOM = "\ufeff"
# JUnit calls "failure" what was answered wrongly, "error" what was not answered, "skipped" what was
# not tried.
JUNIT = {
    "failed": "failure",
    "missing": "failure",
    "timeout": "error",
    "crashed": "error",
    "error": "error",
    "needs review": "error",
    "not attempted": "skipped",
}
OURS = re.compile(r".+-[0-9a-f]{10}\.(html|json)")  # the pages named after a submission's id


def write_views(results: Path, records: list[dict], counted: dict[str, bool]) -> None:
    """Write every view of the records under the folder `results`, each file whole.

    counted: for the id of a submission, whether it is the one of its student and lab that counts.
    Pages of submissions that have no record any more are deleted. Raises GradingError.
    """
    records = sorted(records, key=order)
    write_whole(results / "gradebook.csv", gradebook(records, counted))
    write_whole(results / "totals.csv", totals(records, counted))
    write_whole(results / "junit.xml", junit(records))
    for record in records:
        name, counts = record["submission"], counted.get(record["submission"], False)
        write_whole(results / "feedback" / f"{name}.html", feedback_page(record, counts))
        write_whole(results / "gradescope" / f"{name}.json", gradescope(record))
    forget(results, {record["submission"] for record in records})


def forget(results: Path, known: set[str]) -> None:
    """Delete the pages of submissions without a record; other files stay."""
    for path in [*results.glob("feedback/*.html"), *results.glob("gradescope/*.json")]:
        if OURS.fullmatch(path.name) and path.stem not in known:
            path.unlink(missing_ok=True)


def order(record: dict) -> tuple:
    return (
        record["student"].casefold(),
        record["student"],
        record["lab"] or "",
        record["file"],
        record["submission"],
    )


def as_csv(lines: list[list]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return BOM + text.getvalue()


def gradebook(records: list[dict], counted: dict[str, bool]) -> str:
    """One line per record. What is not graded has no earned points and no percent, so no sum takes
    it for 0."""
    return as_csv([GRADEBOOK, *(gradebook_line(record, counted) for record in records)])


def gradebook_line(record: dict, counted: dict[str, bool]) -> list:
    graded = record["status"] == "graded"
    share = percent(record["earned"], record["points"]) if graded and record["points"] else ""
    return [
        text_cell(record["student"], 120),
        text_cell(record["lab"] or "", 60),
        record["earned"] if graded else "",
        record["points"],
        share,
        record["status"],
        text_cell(record["reason"], 300),
        text_cell(" · ".join(remarks(record)), 1000),
        yes(counted.get(record["submission"], False)),
        record["submission"],
        text_cell(record["file"], 300),
    ]


def percent(earned: int, points: int) -> Decimal:
    """100 · earned / points with two places, half up."""
    return (Decimal(100 * earned) / points).quantize(Decimal("0.01"), ROUND_HALF_UP)


def yes(truth: bool) -> str:
    return "yes" if truth else "no"


def totals(records: list[dict], counted: dict[str, bool]) -> str:
    """One line per student: the points of every lab, their sum, the points of the labs handed in,
    attention."""
    labs = sorted({record["lab"] for record in records if record["lab"]})
    by_student: dict[str, list[dict]] = {}
    for record in records:
        by_student.setdefault(record["student"], []).append(record)
    head = ["student", *(text_cell(lab, 60) for lab in labs), "earned", "points", "needs attention"]
    lines = [totals_line(student, own, labs, counted) for student, own in by_student.items()]
    return as_csv([head, *lines])


def totals_line(
    student: str, records: list[dict], labs: list[str], counted: dict[str, bool]
) -> list:
    counting = {
        record["lab"]: record
        for record in records
        if record["lab"] and counted.get(record["submission"])
    }
    earned = {
        lab: record["earned"] for lab, record in counting.items() if record["status"] == "graded"
    }
    points = sum(record["points"] for record in counting.values())
    total = sum(earned.values()) if earned else ""  # nothing graded is not a 0
    return [
        text_cell(student, 120),
        *(earned.get(lab, "") for lab in labs),
        total,
        points,
        yes(needs_attention(records, counted)),
    ]


def needs_attention(records: list[dict], counted: dict[str, bool]) -> bool:
    """Whether one student's marks are not final: what counts is not graded, a lab has nothing that
    counts, or a submission belongs to no lab."""
    counting = [record for record in records if counted.get(record["submission"])]
    without = {record["lab"] for record in records} - {record["lab"] for record in counting}
    return bool(without) or any(
        record["status"] != "graded" or not record["lab"] for record in counting
    )


def junit(records: list[dict]) -> str:
    """A testsuite per submission, a testcase per check."""
    root = ET.Element("testsuites", name="grading")
    for record in records:
        root.append(testsuite(record))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def testsuite(record: dict) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=record["submission"],
        time=str(record["run"]["seconds"]),
        timestamp=record["run"]["date"],
    )
    properties = ET.SubElement(suite, "properties")
    for name in ("student", "lab", "file", "status", "reason", "earned", "points"):
        value = "" if record[name] is None else str(record[name])
        ET.SubElement(properties, "property", name=name, value=clean(value, 300))
    suite.extend(
        testcase(record, exercise, check)
        for exercise in record["exercises"]
        for check in exercise["checks"]
    )
    if not record["exercises"]:
        suite.append(unreadable(record))
    suite.set("tests", str(len(suite.findall("testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    return suite


def testcase(record: dict, exercise: dict, check: dict) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=clean(f"{record['submission']}.{exercise['id']}", 300),
        name=clean(check["name"], 120),
    )
    if check["result"] != "passed":
        child = ET.SubElement(
            case, JUNIT[check["result"]], message=mistake(check), type=check["result"]
        )
        child.text = clean(check["next"], 500)
    return case


def unreadable(record: dict) -> ET.Element:
    """The one testcase of a submission without exercises, so that it does not look like a clean
    run."""
    case = ET.Element("testcase", classname=record["submission"], name="can be graded")
    ET.SubElement(case, "error", message=clean(record["reason"], 500), type=record["status"])
    return case


def gradescope(record: dict) -> str:
    """The results.json of Gradescope's autograder for one submission, in ASCII.

    Without "score" and "tests", Gradescope enters no mark: so it is for a submission that is not
    graded.
    """
    # Plain text is named for each kind of text, so that none is read as HTML or Markdown.
    results = {
        "output": outcome(record),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
    }
    if record["status"] == "graded":
        results["score"] = record["earned"]
        results["tests"] = [
            gradescope_test(exercise, check)
            for exercise in record["exercises"]
            for check in exercise["checks"]
        ]
    return json.dumps(results, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def outcome(record: dict) -> str:
    """What the learner is told about the whole submission."""
    if record["status"] == "graded":
        return f"{record['earned']} of {record['points']} points"
    return PENDING if record["status"] == "needs review" else clean(record["reason"], 500)


def gradescope_test(exercise: dict, check: dict) -> dict:
    output = "" if check["result"] == "passed" else mistake(check)
    step = clean(check["next"], 500)
    return {
        "name": f"{clean(exercise['id'], 120)}: {readable(check['name'])}",
        "score": check["earned"],
        "max_score": check["points"],
        "status": "passed" if check["result"] == "passed" else "failed",
        "output": "\n".join(filter(None, [output, step and f"Next: {step}"])),
    }
