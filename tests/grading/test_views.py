"""The views of the records: every file is read back by a parser, also with hostile text."""

import csv
import errno
import html.parser
import io
import json
import os
import random
import re
import shutil
import unicodedata
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import made
import pytest

from grading import files
from grading.errors import GradingError
from grading.files import write_durably
from grading.lms.gradescope import gradescope
from grading.records.feedback import CHECK_HELP, PENDING, feedback_page
from grading.records.gradebook import COLUMNS, gradebook, percent, totals
from grading.records.junit import junit
from grading.records.record import CheckResult, ExerciseResult, Result, State, Status
from grading.records.views import write_views
from grading.text import clean, readable, text_cell

RESULTS = (
    "passed",
    "failed",
    "timeout",
    "crashed",
    "error",
    "missing",
    "not attempted",
    "needs review",
)
EVIL = [
    '=HYPERLINK("http://evil.example";"mark")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    " \r=2",
    "＝1+1",
    "\u200b=1",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]>",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "a\u202egpj.exe",
    "a\x00b",
    "\x1b]0;never closed",
    "\udcff\udc00",
    "\ufffe\uffff",
    "a\nb\r\nc\u2028d",
    "a;b,c\"d'e",
    "&lt;&amp;",
    "```\n# head\n```",
    "e" + "\u0301" * 500,
    "x" * 5000,
    "\U000e0041\U000e0042",
    "مرحبا",
    "Zoë Ångström",
    "李明",
    "🙂",
    "",
]


def check(name="is_right", points=2, result="passed", mistake="", next=""):
    earned = points if result == "passed" else 0
    return CheckResult(name, points, earned, Result(result), mistake, next)


def exercise(id, *checks, state="attempted", flags=(), function=""):
    points, earned = sum(one.points for one in checks), sum(one.earned for one in checks)
    state, flags = State(state), tuple(flags)
    return ExerciseResult(id, points, earned, state, flags, "c" * 64, checks, function)


def record(student="Zoë Ångström", lab="01_sft", exercises=None, number=1, **changes):
    """A graded record of one student, with the fields that differ."""
    if exercises is None:
        wrong = check("is_the_mean", 1, "failed", "it is the sum", "divide it")
        exercises = [exercise("sft.loss", check(), wrong)]
    fields = {
        "submission": f"made-{number}-{number:010x}",
        "file": f"{number}/01_sft.ipynb",
        "earned": sum(one.earned for one in exercises),
        "points": sum(one.points for one in exercises),
        "exercises": tuple(exercises),
    }
    return made.record(student=student, lab=lab, **fields | changes)


def ungradable(number=2, **changes):
    return record(
        number=number,
        **{
            "lab": None,
            "exercises": [],
            "status": "ungradable",
            "reason": "it is empty: ask for it again",
        }
        | changes,
    )


def of_every_kind():
    """Records of every status, with checks of every result, and which of them count."""
    every = exercise(
        "sft.loss", *(check(f"gives_{word}".replace(" ", "_"), 2, word) for word in RESULTS)
    )
    untouched = exercise("sft.pack", check("fills", 1, "not attempted"), state="not attempted")
    records = [
        record(exercises=[every, untouched]),
        ungradable(),
        record(
            "Bo", "02_lora", number=3, status="needs review", reason="KeyError('secret') in check x"
        ),
        record("Bo", "01_sft", number=4),
        record("Bo", "01_sft", [exercise("sft.loss", check(points=3))], number=5),
        ungradable(6, student="Cy", lab="01_sft"),
    ]
    return records, {one.submission: number != 4 for number, one in enumerate(records)}


def hostile(text):
    """A record in which every text is `text`, even those that no submission can set."""
    checks = [check(text, result=word, mistake=text, next=text) for word in RESULTS]
    return record(
        text,
        text,
        [exercise(text, *checks, flags=[text], function=text)],
        file=text,
        notes=[text],
        reason=text,
        doubt=text,
    )


def ungraded(text):
    return replace(hostile(text), status=Status.UNGRADABLE)


def table(text):
    """The lines of a CSV text with a byte-order mark, as dicts."""
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline=""), strict=True))


class Page(html.parser.HTMLParser):
    """The elements and the words of a page; its tags must be closed in order."""

    VOID = {"meta"}

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


# text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]0;t\x1b\\x", "x"),
        ("\x1b]8;;http://e.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\x", "x"),
        ("\x9d0;t\x9cx", "x"),
        ("\x1b(Bx\x1bc", "x"),
        ("x\x1b", "x"),
        ("\x1b]never closed (line 3)", "never closed (line 3)"),
        ("a\x00b\x07c\x7fd\x85e", "a b c d e"),
        (" a\n\t b\r\n\u2028c ", "a b c"),
        ("a\u202eb\u2066c\u061cd", "abcd"),
        ("a\u200bb\u200dc\ufeffd\u2060e\u00adf\u3164g\U000e0041", "abcdefg"),
        ("\udcffx", "\ufffdx"),
        ("\ufffex\uffff", "x"),
        ("Zoë Ångström 李明 مرحبا 🙂", "Zoë Ångström 李明 مرحبا 🙂"),
        ("", ""),
    ],
)
def test_clean_keeps_words_and_nothing_that_hides_moves_or_runs(text, shown):
    assert clean(text, 100) == shown


def test_clean_cuts_and_limits_accents():
    assert clean("x" * 100, 10) == "x" * 9 + "…"
    assert clean("x" * 10, 10) == "x" * 10
    assert clean("word " * 9, 6) == "word…"
    assert clean("e" + "\u0301\u200d" * 50 + "f", 100) == "e\u0301\u0301\u0301f"


def test_clean_text_is_one_safe_line_whatever_it_was():
    rng = random.Random(0)
    pieces = [
        *EVIL,
        *map(chr, range(0x250)),
        "\x1b]",
        "\x1b[",
        "\u202e",
        *(chr(0x2000 + i) for i in range(0x70)),
    ]
    for _ in range(2000):
        shown = clean("".join(rng.choices(pieces, k=rng.randrange(12))), 200)
        assert len(shown) <= 200 and shown == " ".join(shown.split()) == clean(shown, 200)
        assert not {unicodedata.category(letter) for letter in shown} & {
            "Cc",
            "Cf",
            "Cs",
            "Zl",
            "Zp",
        }
        shown.encode("utf-8")


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@a", " =1", "\t=1", "\r\n=1", "\u200b=1", "\x1b[0m=1", "＝1", "＋1"]
)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text):
    assert text_cell(text, 50).startswith("'") and text_cell(text, 50)[1:] == clean(text, 50)


def test_other_texts_get_no_apostrophe():
    for text in ("a=1", "1-2", "O'Neil", "", "Zoë"):
        assert text_cell(text, 50) == text
    assert readable("is_the_\x1b[1mmean\x1b[0m") == "is the mean"


# whole files


def test_a_file_is_written_whole_and_readable(tmp_path):
    path = tmp_path / "new" / "a.csv"
    for content in ("Zoë\r\n", b"\xff\xfe", ""):
        write_durably(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["a.csv"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: make room"),
        (OSError(errno.EACCES, "Permission denied"), "(Permission denied): name a folder"),
    ],
)
def test_an_error_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step, error, words):
    write_durably(tmp_path / "a.csv", "old")

    def fail(*_):
        raise error

    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(GradingError) as caught:
        write_durably(tmp_path / "a.csv", "new")
    assert words in str(caught.value) or "disk is full" in str(caught.value)
    assert os.listdir(tmp_path) == ["a.csv"] and (tmp_path / "a.csv").read_text() == "old"


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_durably(tmp_path / "a.csv", "new")
    assert not os.listdir(tmp_path)


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(
        files.os, "fsync", lambda handle: (steps.append(os.fstat(handle).st_size), fsync(handle))
    )
    monkeypatch.setattr(
        files.os, "replace", lambda *names: (steps.append("replace"), replace(*names))
    )
    write_durably(tmp_path / "a.csv", "new")
    assert steps == [3, "replace"]


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GradingError, match="name a folder you can write to"):
        write_views(tmp_path / "file", [record()], {})
    with pytest.raises(GradingError) as caught:
        write_durably(tmp_path / "file" / "\x1b[31m\u202ea", "")
    assert str(caught.value).isprintable() and "31m" not in str(caught.value)


# gradebook


def test_the_gradebook_has_a_line_for_each_record():
    records, counted = of_every_kind()
    lines = table(gradebook(records, counted))
    assert list(lines[0]) == COLUMNS
    assert [line["submission"] for line in lines] == [one.submission for one in records]
    assert [line["earned"] for line in lines] == ["2", "", "", "2", "3", ""]
    assert [line["points"] for line in lines] == ["17", "0", "3", "3", "3", "0"]
    assert [line["percent"] for line in lines] == ["11.76", "", "", "66.67", "100.00", ""]
    assert [line["counts"] for line in lines] == ["yes", "yes", "yes", "yes", "no", "yes"]
    assert lines[1]["reason"] == "it is empty: ask for it again" and lines[1]["lab"] == ""


def test_the_gradebook_shows_flags_and_notes():
    one = record(
        exercises=[exercise("sft.loss", check(), flags=["found by its name", "twice"])],
        notes=["no network"],
    )
    assert (
        table(gradebook([one], {}))[0]["flags"]
        == "sft.loss: found by its name · sft.loss: twice · no network"
    )


@pytest.mark.parametrize(
    "earned, points, share",
    [
        (1, 3, "33.33"),
        (2, 3, "66.67"),
        (1, 800, "0.13"),
        (0, 7, "0.00"),
        (17, 17, "100.00"),
        (1, 1600, "0.06"),
        (3, 1600, "0.19"),
    ],
)
def test_percent_is_exact_and_rounded_half_up(earned, points, share):
    assert str(percent(earned, points)) == share


def test_no_cell_of_a_table_is_a_formula():
    records = [hostile(text) for text in EVIL]
    for text in (gradebook(records, {}), totals(records, {})):
        for line in table(text):
            for column, cell in line.items():
                assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")), (
                    column,
                    cell,
                )
                assert cell == clean(cell, 2000)


# totals


def test_totals_has_a_line_per_student_and_only_graded_points():
    records, counted = of_every_kind()
    lines = {line["student"]: line for line in table(totals(records, counted))}
    assert lines == {
        "Zoë Ångström": {
            "student": "Zoë Ångström",
            "01_sft": "2",
            "02_lora": "",
            "earned": "2",
            "points": "17",
            "needs attention": "yes",
        },
        "Bo": {
            "student": "Bo",
            "01_sft": "2",
            "02_lora": "",
            "earned": "2",
            "points": "6",
            "needs attention": "yes",
        },
        "Cy": {
            "student": "Cy",
            "01_sft": "",
            "02_lora": "",
            "earned": "",
            "points": "0",
            "needs attention": "yes",
        },
    }


def test_a_student_needs_attention_only_where_marks_are_open():
    first, second = record(number=1), ungradable(number=2, lab="01_sft")

    def attention(records, counted):
        return table(totals(records, counted))[0]["needs attention"]

    assert attention([first], {first.submission: True}) == "no"
    assert (
        attention([first, second], {first.submission: True}) == "no"
    )  # a broken upload before a good one
    assert attention([first, second], {second.submission: True}) == "yes"
    assert attention([first], {}) == "yes"
    assert (
        attention([first, ungradable()], {first.submission: True}) == "yes"
    )  # of no lab, and nobody has looked


def test_students_who_look_alike_stay_apart():
    records = [record("Bo", number=1), record("B\u200bo", number=2)]
    assert len(table(totals(records, {}))) == 2


# junit


def test_junit_counts_what_it_holds():
    records, _ = of_every_kind()
    root = ET.fromstring(junit(records).encode())
    assert [suite.get("name") for suite in root] == [one.submission for one in records]
    for suite in root:
        cases = suite.findall("testcase")
        assert cases and int(suite.get("tests")) == len(cases)
        for attribute, tag in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            assert int(suite.get(attribute)) == sum(case.find(tag) is not None for case in cases)
    assert junit(records).startswith('<?xml version="1.0" encoding="utf-8"?>\n<testsuites')
    assert root[1].find("properties/property[@name='lab']").get("value") == ""
    found = {case.get("name"): [child.tag for child in case] for case in root[0].iter("testcase")}
    assert found == {
        "gives_passed": [],
        "gives_failed": ["failure"],
        "gives_timeout": ["error"],
        "gives_crashed": ["error"],
        "gives_error": ["error"],
        "gives_missing": ["failure"],
        "gives_not_attempted": ["skipped"],
        "gives_needs_review": ["error"],
        "fills": ["skipped"],
    }
    assert root[0].find("testcase").get("classname") == f"{records[0].submission}.sft.loss"
    assert root[1].find("testcase/error").get("message") == "it is empty: ask for it again"
    failure = root[3].find("testcase/failure")
    assert (failure.get("message"), failure.get("type"), failure.text) == (
        "it is the sum",
        "failed",
        "divide it",
    )


@pytest.mark.parametrize("text", EVIL)
def test_junit_is_valid_whatever_the_text(text):
    root = ET.fromstring(junit([hostile(text), replace(hostile(text), exercises=())]).encode())
    values = [value for one in root.iter() for value in one.attrib.values()]
    assert all(len(value) <= 500 and value == clean(value, 500) for value in values)
    assert root.find(".//property[@name='student']").get("value") == clean(text, 300)


# gradescope


def test_gradescope_has_the_scores_of_what_is_graded():
    records, _ = of_every_kind()
    told = json.loads(gradescope(records[0]))
    assert told["output"] == "2 of 17 points"
    assert told["score"] == 2 == sum(test["score"] for test in told["tests"])
    assert sum(test["max_score"] for test in told["tests"]) == records[0].points
    assert [test["status"] for test in told["tests"]] == ["passed"] + ["failed"] * 8
    assert told["tests"][2] == {
        "name": "sft.loss: gives timeout",
        "score": 0,
        "max_score": 2,
        "status": "failed",
        "output": CHECK_HELP["timeout"],
    }
    assert (
        json.loads(gradescope(records[3]))["tests"][1]["output"] == "it is the sum\nNext: divide it"
    )
    assert "visibility" not in gradescope(records[0])


def test_gradescope_gets_no_mark_of_what_is_not_graded():
    records, _ = of_every_kind()
    for one, words in ((records[1], "it is empty"), (records[2], PENDING)):
        told = json.loads(gradescope(one))
        assert "score" not in told and "tests" not in told and words in told["output"]
    assert "secret" not in gradescope(records[2])


@pytest.mark.parametrize("text", EVIL)
def test_gradescope_is_ascii_and_plain_text(text):
    written = gradescope(hostile(text))
    told = json.loads(written)
    assert written.isascii() and gradescope(ungraded(text)).isascii()
    outcome = json.loads(gradescope(ungraded(text)))["output"]
    assert (
        outcome == clean(outcome, 900)
        and clean(text, 500) in outcome
        and all(test["name"].strip() == clean(test["name"], 300) for test in told["tests"])
    )
    assert told["output_format"] == told["test_output_format"] == told["test_name_format"] == "text"
    assert all(
        line == clean(line, 2000) for test in told["tests"] for line in test["output"].split("\n")
    )


# feedback


def test_a_page_tells_each_check():
    records, _ = of_every_kind()
    page = Page(feedback_page(records[0], True))
    assert {"html", "title", "main", "h1", "h2", "ul"} <= set(page.tags) and page.tags.count(
        "h1"
    ) == 1
    assert ("html", "lang", "en") in page.attributes
    for word in (
        "Zoë Ångström",
        "01 sft",
        "2 of 17 points",
        "1 of 9 checks passed",
        "Begin with gives failed in sft.loss",
        "ab" * 32,
        "2026-11-25 02:00:00 UTC",
        *(f"gives {word} {word}" for word in RESULTS),
        *(
            CHECK_HELP[word]
            for word in RESULTS
            if word not in ("passed", "missing", "not attempted")
        ),
    ):
        assert word in page.text, word
    assert (
        page.text.count(CHECK_HELP["not attempted"]) == 2
    )  # once for sft.pack, once for a check of sft.loss
    assert ("span", "style", "width: 11.76%") in page.attributes and "so far" not in page.text
    assert ("a", "href", "#c1-2") in page.attributes and ("li", "id", "c1-2") in page.attributes
    assert "About your notebook" not in page.text and "Next:" not in page.text


def test_a_page_tells_mistake_next_flags_and_notes():
    one = record(
        exercises=[
            exercise(
                "sft.loss",
                check(result="failed", mistake="it is the sum", next="divide it"),
                flags=["two cells define it"],
            )
        ],
        notes=["cell 3 was left out"],
    )
    text = Page(feedback_page(one, True)).text
    for words in (
        "it is the sum",
        "Next: divide it",
        "sft.loss: two cells define it",
        "cell 3 was left out",
    ):
        assert words in text
    assert (
        "counts" not in text and "not the one that counts" in Page(feedback_page(one, False)).text
    )


@pytest.mark.parametrize(
    "reason, fault",
    [
        ("the file is empty: ask for the notebook again", "the file is empty"),
        ("there is no notebook in a: b.zip: ask for a file", "there is no notebook in a: b.zip"),
        ("the notebook has no code", "the notebook has no code"),
    ],
)
def test_a_learner_is_not_told_what_the_instructor_should_do(reason, fault):
    one = ungradable(reason=reason)
    for told in (Page(feedback_page(one, True)).text, json.loads(gradescope(one))["output"]):
        assert f"{fault}." in told and "and opens in Jupyter" in told
        assert "ask for" not in told and reason.rpartition(": ")[2] + ":" not in told


def test_a_page_names_the_function_and_the_exercise():
    one = record(exercises=[exercise("sft.silent_bug", check(result="failed"), function="repair")])
    page = Page(feedback_page(one, True))
    assert page.text.count("repair (sft.silent_bug)") == 2
    (test,) = json.loads(gradescope(one))["tests"]
    assert test["name"] == "repair (sft.silent_bug): is right"


def test_a_doubt_stands_in_the_tables_and_not_on_the_learners_page():
    one = record(doubt="the number 7 goes with several names, Bo and Lee")
    counted = {one.submission: True}
    assert "Bo and Lee" in table(gradebook([one], counted))[0]["flags"]
    assert table(totals([one], counted))[0]["needs attention"] == "yes"
    assert "Lee" not in Page(feedback_page(one, True)).text and "Lee" not in gradescope(one)


def test_a_page_of_full_marks_says_so():
    page = Page(feedback_page(record(exercises=[exercise("sft.loss", check(points=1))]), True))
    assert "Every check passed." in page.text and "1 of 1 point " in page.text


def test_a_page_of_what_is_not_graded_shows_no_zero():
    text = Page(feedback_page(ungradable(), True)).text
    assert "could not be graded. it is empty. It has no mark yet: hand in" in text
    assert "ask for it" not in text and "or ask your instructor" in text
    assert "points" not in text and "lab not known" in text


def test_a_page_without_points_has_an_empty_bar():
    page = Page(
        feedback_page(record(exercises=[], status="needs review", reason="no checks"), True)
    )
    assert (
        "span",
        "style",
        "width: 0.00%",
    ) in page.attributes and "0 of 0 points so far" in page.text


def test_a_page_says_nothing_of_a_fault_in_the_grader():
    wrong = check(
        "asks", result="needs review", mistake="KeyError('secret')", next="look at secret"
    )
    one = record(
        status="needs review", reason="KeyError('secret')", exercises=[exercise("sft.loss", wrong)]
    )
    text = Page(feedback_page(one, True)).text
    assert (
        PENDING in text
        and "so far" in text
        and CHECK_HELP["needs review"] in text
        and "secret" not in text
    )


@pytest.mark.parametrize("text", EVIL)
def test_a_page_is_sound_whatever_the_text(text):
    for one in (hostile(text), ungraded(text)):
        harmless = Page(feedback_page(replace(hostile("x"), status=one.status), True))
        check_that_the_text_adds_nothing(text, harmless, Page(feedback_page(one, True)))


def check_that_the_text_adds_nothing(text, harmless, page):
    assert (page.tags == harmless.tags or not clean(text, 9)) and "script" not in page.tags
    names = {(tag, name) for tag, name, _ in page.attributes}
    assert names == {(tag, name) for tag, name, _ in harmless.attributes}
    assert all(
        value.startswith("#") for _, name, value in page.attributes if name in ("href", "src")
    )
    assert " ".join(clean(text, 120).split()) in page.text


def test_a_page_asks_for_no_other_file():
    text = feedback_page(record(), True)
    assert not re.search(r"https?:|//|url\(|@import|<link|<img|<script|\bon\w+=", text)
    assert "default-src 'none'" in text


# all of them


def test_all_views_are_written_and_written_again_alike(tmp_path):
    records, counted = of_every_kind()
    write_views(tmp_path, records, counted)
    first = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")
    }
    names = [one.submission for one in records]
    assert set(first) == {
        "gradebook.csv",
        "totals.csv",
        "junit.xml",
        *(f"feedback/{name}.html" for name in names),
        *(f"gradescope/{name}.json" for name in names),
    }
    write_views(tmp_path, records[::-1], counted)  # in whatever order the records are read
    assert first == {
        path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")
    }
    with open(tmp_path / "gradebook.csv", encoding="utf-8-sig", newline="") as file:
        students = [line["student"] for line in csv.DictReader(file)]
    assert students == ["Bo", "Bo", "Bo", "Cy", "Zoë Ångström", "Zoë Ångström"]


def test_a_record_that_is_gone_takes_its_pages_along(tmp_path):
    records, counted = of_every_kind()
    write_views(tmp_path, records, counted)
    (tmp_path / "feedback" / "mine.html").write_text("")
    write_views(tmp_path, records[:1], counted)
    name = records[0].submission
    assert sorted(path.name for path in (tmp_path / "feedback").iterdir()) == [
        f"{name}.html",
        "mine.html",
    ]
    assert [path.name for path in (tmp_path / "gradescope").iterdir()] == [f"{name}.json"]


def test_no_records_give_empty_views(tmp_path):
    write_views(tmp_path, [], {})
    assert table((tmp_path / "gradebook.csv").read_text("utf-8")) == []
    assert table((tmp_path / "totals.csv").read_text("utf-8")) == []
    assert len(ET.parse(tmp_path / "junit.xml").getroot()) == 0


def test_hostile_records_write_all_views(tmp_path):
    records = [
        replace(hostile(text), submission=f"evil-{number:010x}") for number, text in enumerate(EVIL)
    ]
    write_views(tmp_path, records, {})
    assert len(list((tmp_path / "feedback").iterdir())) == len(records)
    assert len(table((tmp_path / "gradebook.csv").read_bytes().decode())) == len(records)
    assert len(ET.parse(tmp_path / "junit.xml").getroot()) == len(records)


# in a browser

MODES = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "dark")}
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-gpu"]
RUN_AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(
    v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(" | ")}`)"""
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser():
    """Chromium, from CHROMIUM or the usual names. Without one: skip, or fail in CI."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave("no browser: install Chromium or set CHROMIUM to its path")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_page_is_accessible_and_fits(browser, tmp_path, mode):
    axe = (
        Path(pytest.importorskip("axe_playwright_python").__file__)
        .with_name("axe.min.js")
        .read_text("utf-8")
    )
    records, _ = of_every_kind()
    width, scheme = MODES[mode]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults = []
    for one in [*records[:3], hostile("W" * 400), record(number=9, notes=["a note"])]:
        path = tmp_path / "page.html"
        path.write_text(feedback_page(one, one is records[0]), "utf-8")
        page = context.new_page()
        page.on(
            "request", lambda request: request.url.startswith("file:") or faults.append(request.url)
        )
        page.on("console", lambda message: faults.append(message.text))
        page.goto(path.as_uri())
        page.evaluate(axe)
        faults.extend(page.evaluate(RUN_AXE))
        faults.extend(page.evaluate(f"() => {TOO_WIDE} ? ['too wide'] : []"))
        page.close()
    context.close()
    assert not faults, "\n".join(faults)
