"""Marks in the tables of Canvas and Moodle: the right cells change, and no other byte."""

import codecs
import csv
import io
import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import made
import pytest

from grading.errors import GradingError
from grading.lms.gradebooks import (
    agrees,
    fill_canvas,
    fill_moodle,
    moodle_row,
    name_key,
    number,
    scaled,
    written,
)
from grading.lms.table import read_table

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Notes,Lab 01 (901),Lab 02 (902),Final Score
,,,,,,Manual Posting,,
    Points Possible,,,,,,21.00,10.00,(read only)
"Ångström, Zoë",4321,s1,zoe,"A; ""late"" group",,,,0.00
"Li, Bo",55,s2,bo,A,"two
lines",,3.00,0.00
"O'Hara-Ruiz, Ana María",66,s3,ana,B,,,,
"Student, Test",99,,,A,,,,
"""
MOODLE = """\
Identifier,"Full name","Email address",Status,Grade,"Maximum Grade","Grade can be changed",\
"Last modified (grade)","Feedback comments"
"Participant 4321","Zoë Ångström",zoe@example.edu,"Submitted for grading",,21.00,Yes,-,
"Participant 55","Bo Li",bo@example.edu,"Submitted for grading - Late",12.00,21.00,Yes,"Monday, 3 March",\
"<p>""good""; =1+1</p>"
"Participant 66","Ana María O'Hara-Ruiz",ana@example.edu,"No submission",,21.00,No,-,
"""


def record(student, file="", number=1, **changes):
    """A graded record with 17 of 21 points."""
    fields = {"file": file or f"{student}.ipynb", "earned": 17} | changes
    return made.record(submission=f"s{number}", student=student, **fields)


def records_of(*ones):
    """The records, numbered, and that all of them count."""
    records = [replace(one, submission=f"s{number}") for number, one in enumerate(ones)]
    return records, {one.submission: True for one in records}


def cells(table, delimiter=",", encoding="utf-8"):
    text = table.decode(encoding).removeprefix("\ufeff")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def canvas(*ones, export=CANVAS, column=None):
    """The table that is filled, and its sentences."""
    return fill_canvas(
        export.encode() if isinstance(export, str) else export, *records_of(*ones), column
    )


def moodle(*ones, export=MOODLE, column=None):
    return fill_moodle(
        export.encode() if isinstance(export, str) else export, *records_of(*ones), column
    )


def changed(before, after):
    """(line, column, text) of each cell that differs."""
    pairs = zip(cells(before.encode()), cells(after), strict=True)
    return [
        (line, column, new)
        for line, (olds, news) in enumerate(pairs)
        for column, (old, new) in enumerate(zip(olds, news, strict=True))
        if old != new
    ]


def about(sentences, word):
    return [sentence for sentence in sentences if word in sentence]


# Canvas


def test_canvas_is_filled_by_the_number_in_the_path():
    filled, told = canvas(
        record("ångströmzoë", "ångströmzoë_4321_98765_01_sft.ipynb"),
        record("libo", "submissions.zip!libo_LATE_55_98766_01_sft-1.ipynb", earned=21),
    )
    assert changed(CANVAS, filled) == [(3, 6, "17"), (4, 6, "21")]
    assert (
        filled
        == CANVAS.replace('group",,,,', 'group",,17,,').replace('lines",,3', 'lines",21,3').encode()
    )
    assert told == [
        "01_sft was filled into the column 'Lab 01 (901)'.",
        "O'Hara-Ruiz, Ana María has no submission that counts; the cell stays as it was.",
        "Student, Test has no submission that counts; the cell stays as it was.",
    ]


@pytest.mark.parametrize(
    "student",
    [
        "ångströmzoë",
        "Zoë Ångström",
        "ÅNGSTRÖM  ZOË",
        "Zoe-Angstrom",
        "zoe",
        "s1",
        "Zoe\u0308 A\u030angstro\u0308m",
        "angstrom, zoe",
    ],
)
def test_canvas_is_filled_by_name_or_login(student):
    assert changed(CANVAS, canvas(record(student))[0]) == [(3, 6, "17")]


@pytest.mark.parametrize(
    "student", ["Zoë", "ZOE", "Ångström", "Zoë Å", "", "🙂", "zoee angstrom", "4321 Zoë"]
)
def test_a_name_that_is_not_the_same_matches_nobody(student):
    filled, told = canvas(record(student, "x.ipynb"))
    assert filled == CANVAS.encode()
    assert about(told, "nobody in the export has this name; nothing was filled in.")


def test_a_number_that_the_export_does_not_have_is_no_reason_to_guess_by_name():
    filled, told = canvas(record("libo", "libo_56_98766_01_sft.ipynb"))
    assert filled == CANVAS.encode() and about(
        told, "nobody in the export has the number 56 of its path"
    )


def test_a_number_of_somebody_else_is_not_believed():
    filled, told = canvas(record("mallory", "mallory_4321_98765_01_sft.ipynb"))
    assert filled == CANVAS.encode()
    assert about(
        told, "the number 4321 of its path belongs to Ångström, Zoë, whose name is another"
    )


@pytest.mark.parametrize(
    "file",
    [
        "libo_55_98765_a.zip!ångströmzoë_4321_98765_x.ipynb",
        "libo/ångströmzoë_4321_98765_x.ipynb",
        "Bo Li/x.zip!libo_4321_98765_x.ipynb",
    ],
)
def test_a_file_inside_an_upload_cannot_pose_as_somebody_else(file):
    assert changed(CANVAS, canvas(record(file.split("_")[0].split("/")[0], file))[0]) in (
        [(4, 6, "17")],
        [],
    )


def test_namesakes_are_told_apart_by_number_only():
    export = CANVAS.replace('"Ångström, Zoë"', '"Li, Bo"')
    filled, told = canvas(record("libo"), export=export)
    assert filled == export.encode() and about(told, "2 students in the export have this name")
    assert about(told, "has no submission") and not about(told, "Li, Bo has no submission")
    filled, _ = canvas(
        record("libo (4321)", "libo_4321_98765_x.ipynb"),
        record("libo (55)", "libo_55_98766_x.ipynb", earned=3),
        export=export,
    )
    assert changed(export, filled) == [(3, 6, "17"), (4, 6, "3")]


def test_a_number_that_two_lines_have_is_no_match():
    export = CANVAS.replace(",55,", ",4321,")
    filled, told = canvas(record("libo", "libo_4321_98765_x.ipynb"), export=export)
    assert filled == export.encode() and about(
        told, "2 students in the export have the number 4321 of its path"
    )


def test_two_submissions_that_count_for_one_student_fill_nothing():
    filled, told = canvas(record("libo"), record("Bo Li", earned=3))
    assert filled == CANVAS.encode()
    assert (
        len(about(told, "2 submissions that count belong to Li, Bo; nothing was filled in.")) == 2
    )


def test_a_submission_that_does_not_count_fills_nothing():
    filled, told = fill_canvas(CANVAS.encode(), [record("libo")], {"s1": False}, "901")
    assert filled == CANVAS.encode() and about(told, "Li, Bo has no submission that counts")


def test_what_is_not_graded_may_have_no_reason():
    assert about(
        canvas(record("libo", status="ungradable"))[1], "it is ungradable; nothing was filled in."
    )


@pytest.mark.parametrize(
    "status, words",
    [
        ("needs review", "libo (libo.ipynb): it needs review (a reason); nothing was filled in."),
        ("ungradable", "libo (libo.ipynb): it is ungradable (a reason); nothing was filled in."),
    ],
)
def test_what_is_not_graded_is_never_a_mark(status, words):
    export = CANVAS.replace('two\nlines",', 'two\nlines",5')  # nor does it take away a mark
    filled, told = canvas(record("libo", status=status, reason="a reason", earned=0), export=export)
    assert (
        filled == export.encode()
        and about(told, words)
        and not about(told, "Li, Bo has no submission")
    )


def test_a_file_of_no_lab_does_not_stand_in_the_way():
    stray = record(
        "libo", "other.ipynb", lab=None, status="ungradable", reason="no lab", points=0, earned=0
    )
    filled, told = canvas(record("libo"), stray)
    assert changed(CANVAS, filled) == [(4, 6, "17")] and about(
        told, "libo (other.ipynb): it is ungradable (no lab)"
    )


@pytest.mark.parametrize("cell", ["-", "  ", "--", " -"])
def test_a_cell_that_is_as_good_as_empty_is_filled(cell):
    export = CANVAS.replace('lines",,3', f'lines",{cell},3')
    filled, told = canvas(record("libo"), export=export)
    assert changed(export, filled) == [(4, 6, "17")] and not about(told, "held")


def test_blank_lines_are_no_students():
    export = CANVAS + ",,,,,,,,\n  , ,\t,,,,,,\n\n"
    assert canvas(record("libo"), export=export)[1] == canvas(record("libo"))[1]


def test_blanks_around_a_number_or_login_do_not_matter():
    export = CANVAS.replace(",55,s2,", ", 55 , s2 ,")
    for one in (record("libo", "libo_55_98765_x.ipynb"), record("s2")):
        assert changed(export, canvas(one, export=export)[0]) == [(4, 6, "17")]


def test_a_lab_without_points_is_no_mark():
    filled, told = canvas(record("libo", earned=0, points=0))
    assert filled == CANVAS.encode() and about(told, "it has no points; nothing was filled in.")


@pytest.mark.parametrize("cell", ["EX", "N/A", "complete", "-1", "=1+1"])
def test_a_cell_that_holds_no_mark_stays(cell):
    export = CANVAS.replace('lines",,3', f'lines",{cell},3')
    filled, told = canvas(record("libo"), export=export)
    assert filled == export.encode() and about(
        told, f"the cell holds {cell!r}; nothing was filled in."
    )


def test_a_mark_that_is_replaced_is_told_and_an_equal_one_stays():
    filled, told = canvas(record("libo"), export=CANVAS.replace('lines",,3', 'lines",12.50,3'))
    assert about(told, "the cell held 12.50, now 17.") and changed(CANVAS, filled) == [(4, 6, "17")]
    same = CANVAS.replace('lines",,3', 'lines","17.00",3')
    filled, told = canvas(record("libo"), export=same)
    assert filled == same.encode() and not about(told, "held")


def test_filling_twice_is_filling_once():
    ones = [record("libo", earned=16), record("zoe")]
    once, _ = canvas(*ones, export=CANVAS.replace("21.00", "100.00"))
    twice, told = canvas(*ones, export=once)
    assert once == twice and not about(told, "held")


@pytest.mark.parametrize("line", ['"Li, Bo",55', '"Li, Bo",55,s2,bo,A', '"Li, Bo",55,s2,bo,A,note'])
def test_a_line_that_is_too_short_is_told(line):
    export = CANVAS.replace('"Li, Bo",55,s2,bo,A,"two\nlines",,3.00,0.00', line)
    filled, told = canvas(record("libo"), export=export)
    assert filled == export.encode() and about(told, "line in the export is too short")


@pytest.mark.parametrize("column", ["Lab 02 (902)", "lab  02", "902"])
def test_a_column_is_chosen_by_title_or_number(column):
    filled, told = canvas(record("libo", earned=21), column=column)
    assert changed(CANVAS, filled) == [(4, 7, "10")] and not about(told, "was filled into")


@pytest.mark.parametrize(
    "title, fits",
    [
        ("Lab 1: SFT (901)", True),
        ("lab-01 (901)", True),
        ("01 SFT (901)", True),
        ("Sheet 01_sft", True),
        ("Lab 10 (901)", False),
        ("Lab 11 (1)", False),
        ("Exam 1 (901)", False),
        ("Collab 1 (901)", False),
        ("Quiz (1)", False),
    ],
)
def test_a_column_is_chosen_by_the_lab(title, fits):
    export = CANVAS.replace("Lab 01 (901)", title)
    if fits:
        assert changed(export, canvas(record("libo"), export=export)[0]) == [(4, 6, "17")]
    else:
        with pytest.raises(
            GradingError, match="No assignment in the export is titled like the lab 01_sft"
        ):
            canvas(record("libo"), export=export)


@pytest.mark.parametrize("column", ["Lab 03", "Final Score", "Student", "ID", "lab", "(901)"])
def test_a_column_that_is_missing_or_no_assignment_is_told_with_those_there_are(column):
    with pytest.raises(GradingError) as caught:
        canvas(record("libo"), column=column)
    assert str(caught.value) == (
        f"No assignment in the export is called {column!r}: name one of 'Notes', "
        "'Lab 01 (901)', 'Lab 02 (902)'."
    )


def test_two_columns_that_fit_are_told():
    with pytest.raises(
        GradingError, match="More than one assignment in the export is titled like the lab 01_sft"
    ):
        canvas(record("libo"), export=CANVAS.replace("Lab 02 (902)", "Lab 1 again (902)"))
    with pytest.raises(
        GradingError, match="More than one assignment in the export is called 'lab 01'"
    ):
        canvas(
            record("libo"), export=CANVAS.replace("Lab 02 (902)", "Lab 01 (902)"), column="lab 01"
        )


@pytest.mark.parametrize(
    "old, new, words",
    [
        (
            "ID,SIS User ID",
            "Number,SIS User",
            "no column 'ID', only 'Student', 'Number', 'SIS User', 'SIS Login ID'",
        ),
        ("Section", "Group", "no column 'Section'"),
        ("    Points Possible", "x", "no line 'Points Possible'"),
        ("21.00", "", "has no points possible: set them"),
        ("21.00", "0.00", "has no points possible"),
        ('"Li, Bo"', '"Li, Bo', "marks in the export do not pair"),
    ],
)
def test_a_table_that_is_no_gradebook_is_told(old, new, words):
    with pytest.raises(GradingError, match=words):
        canvas(record("libo"), export=CANVAS.replace(old, new, 1), column="Lab 01")


GERMAN = {
    "Student,ID,SIS User ID,SIS Login ID,Section,Notes": "Student/in,ID,SIS-Benutzer-ID,"
    "SIS-Anmelde-ID,Abschnitt,Notizen",
    "Points Possible": "Mögliche Punkte",
    "21.00": '"1.000,00"',
}
FRENCH = {
    "SIS User ID,SIS Login ID": "ID utilisateur SIS,ID de connexion SIS",
    "Points Possible": "Points possibles",
}
WITHOUT_SIS = {
    "SIS User ID,SIS Login ID,Section": "A,B,Sección",
    "Points Possible": "Puntos posibles",
}
SWEDISH = {"Student,ID,": "Student,Nummer,", "Points Possible": "Möjliga poäng"}


@pytest.mark.parametrize("words", [GERMAN, FRENCH, WITHOUT_SIS, SWEDISH])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_canvas_gradebook_in_another_language_is_told(words, delimiter):
    lines = csv.reader(io.StringIO(CANVAS))
    for old, new in words.items():
        assert old in CANVAS
        lines = csv.reader(io.StringIO(joined_by(",", lines).replace(old, new)))
    with pytest.raises(GradingError, match="set the LMS's language to English") as refusal:
        canvas(record("libo"), export=joined_by(delimiter, lines))
    assert "\n" not in str(refusal.value)


def joined_by(delimiter, lines):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(lines)
    return text.getvalue()


def test_another_table_is_not_taken_for_canvas_in_another_language():
    with pytest.raises(GradingError, match="export the gradebook from Canvas"):
        canvas(record("libo"), export="ID,Name,Points\n1,zoe,3\n")


@pytest.mark.parametrize(
    "possible, filled",
    [
        ("1000", "809.52"),
        ("1,000.00", "809.52"),
        ("1.000,00", '"809,52"'),
        ("12,000.0", "9714.29"),
        ("1.234.567,8", '"999412,03"'),
    ],
)
def test_points_of_more_than_a_thousand_are_read(possible, filled):
    export = CANVAS.replace("21.00", f'"{possible}"')
    table, _ = canvas(record("libo"), export=export, column="Lab 01")
    assert f'lines",{filled},3.00' in table.decode()


@pytest.mark.parametrize("possible", ["12.3.4", "1,00.0", ",5"])
def test_points_that_are_no_number_are_told(possible):
    with pytest.raises(GradingError, match="which is no number: correct them"):
        canvas(record("libo"), export=CANVAS.replace("21.00", f'"{possible}"'), column="Lab 01")


@pytest.mark.parametrize(
    "export", [b"", b"\n", b"\xff\xfeS", b"\xef\xbb\xbf\xff", b"\x00" * 99, b'"', MOODLE.encode()]
)
def test_no_table_at_all_is_told(export):
    with pytest.raises(GradingError):
        canvas(record("libo"), export=export)


def test_records_of_two_labs_are_refused():
    for fill in (canvas, moodle):
        with pytest.raises(GradingError, match=r"of 2 labs \(01_sft, 02_lora\).*choose the lab"):
            fill(record("libo"), record("zoe", lab="02_lora"))


def test_no_records_change_nothing():
    filled, told = canvas(column="Lab 01")
    assert filled == CANVAS.encode() and len(told) == 4 == len(
        about(told, "has no submission that counts")
    )
    with pytest.raises(
        GradingError, match="No lab tells which assignment is meant: name one of 'Notes', 'Lab 01"
    ):
        canvas()
    filled, told = moodle()
    assert filled == MOODLE.encode() and len(told) == 3


def test_names_in_two_columns_are_read():
    export = (
        "LastName,FirstName,ID,SIS Login ID,Section,Lab 01 (9)\n"
        "    Points Possible,,,,,21\nÅngström,Zoë,1,z,A,\n"
    )
    assert (
        canvas(record("ångströmzoë"), export=export)[0] == export.replace("A,\n", "A,17\n").encode()
    )


# Moodle


def test_moodle_is_filled_by_the_participants_number():
    filled, told = moodle(
        record("Zoë Ångström", "Zoë Ångström_4321_assignsubmission_file_/01_sft.ipynb"),
        record("Bo Li", "all.zip!Bo Li_55_assignsubmission_file_01_sft.ipynb"),
    )
    assert filled == MOODLE.replace('grading",,', 'grading",17,').replace("12.00", "17").encode()
    assert about(
        told,
        "Bo Li (all.zip!Bo Li_55_assignsubmission_file_01_sft.ipynb): the cell held 12.00, now 17.",
    )
    assert about(told, "Ana María O'Hara-Ruiz has no submission that counts")


@pytest.mark.parametrize(
    "file",
    ["Group A-Bo Li_55_assignsubmission_file_/x.ipynb", "Bo Li_55_assignsubmission_file_/x.ipynb"],
)
def test_a_groups_name_may_stand_before_the_students(file):
    assert changed(MOODLE, moodle(record(file.split("_")[0], file))[0]) == [(2, 4, "17")]


def test_letters_that_a_zip_program_garbled_do_not_hide_a_student():
    garbled = "Zoë Ångström".encode().decode("cp437")
    filled, _ = moodle(record(garbled, f"{garbled}_4321_assignsubmission_file_/x.ipynb"))
    assert changed(MOODLE, filled) == [(1, 4, "17")]


def test_anonymous_marking_has_numbers_only():
    export = "Identifier,Status,Grade,Maximum Grade\nParticipant 55,x,,21\nParticipant 66,x,,21\n"
    filled, _ = moodle(
        record("Participant", "Participant_55_assignsubmission_file_/x.ipynb"), export=export
    )
    assert changed(export, filled) == [(1, 2, "17")]
    assert changed(export, moodle(record("Participant 66"), export=export)[0]) == [(2, 2, "17")]


def test_nobody_is_everybody_without_an_address():
    export = MOODLE.replace("zoe@example.edu", "")
    filled, told = moodle(record("", "x.ipynb"), export=export)
    assert filled == export.encode() and about(told, "nobody in the export has this name")


def test_moodle_is_filled_by_address():
    assert changed(MOODLE, moodle(record("bo@example.edu"))[0]) == [(2, 4, "17")]


def test_a_grade_that_moodle_locked_stays():
    filled, told = moodle(record("Ana María O'Hara-Ruiz"))
    assert filled == MOODLE.encode() and about(told, "Moodle says that the grade cannot be changed")


def test_a_maximum_that_is_no_number_fills_nothing():
    filled, told = moodle(record("Bo Li"), export=MOODLE.replace("12.00,21.00", "12.00,-"))
    assert (
        about(told, "its Maximum Grade is not a number; nothing was filled in.")
        and b"12.00,-" in filled
    )


@pytest.mark.parametrize("title", ["Identifier", "Grade,", "Maximum Grade"])
def test_a_missing_column_of_a_worksheet_is_told_with_those_there_are(title):
    with pytest.raises(GradingError) as caught:
        moodle(
            record("Bo Li"), export=MOODLE.replace(title, "Other" + "," * title.endswith(","), 1)
        )
    assert f"The export has no column {title.strip(',')!r}, only " in str(caught.value)
    assert "'Full name', 'Email address', 'Status'" in str(caught.value)


def test_another_column_of_marks_can_be_named_but_none_that_names_students():
    export = MOODLE.replace(",Grade,", ",Bewertung,")
    assert changed(export, moodle(record("Bo Li"), export=export, column="bewertung")[0]) == [
        (2, 4, "17")
    ]
    for column in ("Full name", "Identifier", "Maximum grade"):
        with pytest.raises(GradingError, match="does not hold marks"):
            moodle(record("Bo Li"), column=column)
    with pytest.raises(GradingError, match="no column 'Mark', only 'Identifier'"):
        moodle(record("Bo Li"), column="Mark")


# scales


def test_other_points_are_scaled_and_said_once():
    hundred = CANVAS.replace("21.00", "100.00")
    filled, told = canvas(record("libo", earned=16), record("zoe", earned=21), export=hundred)
    assert changed(hundred, filled) == [(3, 6, "100"), (4, 6, "76.19")]
    assert about(told, "multiplied") == [
        "The lab has 21 points and the LMS 100: marks were multiplied by 100/21 and rounded half up to two places."
    ]


def test_equal_points_are_not_called_scaled():
    assert not about(canvas(record("libo"))[1], "multiplied")


def test_a_decimal_comma_is_written_as_the_export_writes_it():
    export = CANVAS.replace("21.00", '"100,00"')
    assert (
        b'lines","76,19",3.00' in canvas(record("libo", earned=16), export=export)[0]
    )  # quoted: commas part cells
    worksheet = MOODLE.replace("12.00,21.00", '"12,00","100,00"')
    assert b'Late","76,19","100,00"' in moodle(record("Bo Li", earned=16), export=worksheet)[0]
    export = export.replace(",", ";").replace("100;00", "100,00")
    filled, _ = canvas(record("Li; Bo", earned=16), export=export)
    assert b'lines";76,19;3.00' in filled


@pytest.mark.parametrize(
    "earned, points, possible, mark",
    [
        (1, 8, "1", "0.13"),
        (1, 200, "1", "0.01"),
        (1, 201, "1", "0"),
        (5, 1000, "1", "0.01"),
        (4, 1000, "1", "0"),
        (2, 3, "10", "6.67"),
        (1, 3, "10", "3.33"),
        (21, 21, "12.5", "12.50"),
        (0, 21, "100", "0"),
        (3, 16, "0.40", "0.08"),
    ],
)
def test_scaling_rounds_half_up(earned, points, possible, mark):
    assert (
        written(scaled(made.record(earned=earned, points=points), Decimal(possible)), False) == mark
    )


def test_scaling_is_exact():
    rng = random.Random(1)
    for _ in range(3000):
        points, possible = rng.randrange(1, 500), Decimal(rng.randrange(1, 20000)) / 100
        earned = rng.randrange(points + 1)
        exact = Fraction(earned) * Fraction(possible) / points * 100
        assert (
            scaled(made.record(earned=earned, points=points), possible) * 100
            == (exact + Fraction(1, 2)).__floor__()
        )


@pytest.mark.parametrize(
    "text, value",
    [
        ("21", 21),
        (" 21.00 ", 21),
        ("12,5", Decimal("12.5")),
        ("", None),
        ("-1", None),
        ("1.2.3", None),
        ("EX", None),
        ("٣", None),
        ("1e5", None),
        ("12.", None),
    ],
)
def test_only_plain_numbers_are_numbers(text, value):
    assert number(text) == value


# names


def test_keys_of_names():
    assert name_key("  O'Hara–Ruiz, Ana María ") == "ohararuizanamaria"
    assert name_key("STRASSE") == name_key("Straße") and name_key("ﬁ") == "fi"
    assert name_key("की") != name_key("का") and name_key("李明") == "李明"
    assert name_key("\u202e\u200b!?") == ""


def test_a_name_agrees_with_its_line():
    row = moodle_row(read_table(MOODLE.encode(), "Identifier"), 1, 4)
    assert row.number == "4321" and row.names == ("Zoë Ångström",)
    assert all(
        agrees(name, row)
        for name in ("zoeangstrom", "Group 1-Zoë Ångström", "Zo?? ?ngstr?m", "ZO ?NGSTR?M")
    )
    assert not any(agrees(name, row) for name in ("Bo Li", "Zoë", "Zoë Ångströms", ""))


# bytes

AWKWARD = [
    "",
    "x",
    "Zoë",
    "a;b",
    "a,b",
    "a\tb",
    'say "x"',
    "two\nlines",
    "cr\rhere",
    "crlf\r\nhere",
    '=HYPERLINK("http://e")',
    " lead",
    "'",
    '"',
    '""',
    "-",
    "0.00",
    "ß\u00ff",
]
CODECS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "latin-1": b"",
    "cp1252": b"",
}


def quoted(text, delimiter, always):
    needs = always or any(sign in text for sign in (delimiter, '"', "\r", "\n"))
    return '"' + text.replace('"', '""') + '"' if needs else text


def random_export(rng, header, rows, fixed):
    """The bytes of a table with extra columns, and what is needed to say what becomes of them."""
    delimiter, end, codec = rng.choice(",;\t"), rng.choice(["\r\n", "\n"]), rng.choice(list(CODECS))
    extra = rng.randrange(4)
    lines = []
    for index, row in enumerate([header, *rows]):
        more = [
            rng.choice(AWKWARD) if index >= fixed else "" if index else f"More {place}"
            for place in range(extra)
        ]
        lines.append([quoted(cell, delimiter, rng.random() < 0.3) for cell in [*row, *more]])
    last = rng.choice(["", end, end + end])

    def joined(changes):
        shown = [
            delimiter.join(changes.get((number, column), cell) for column, cell in enumerate(line))
            for number, line in enumerate(lines)
        ]
        return CODECS[codec] + (end.join(shown) + last).encode(codec)

    return joined, lines, delimiter, codec


@pytest.mark.parametrize("seed", range(150))
def test_no_byte_of_a_canvas_gradebook_changes_but_those_of_the_marks(seed):
    rng = random.Random(seed)
    names = rng.sample(
        ["Ångström, Zoë", "Li, Bo", 'Ray "Q", Al', "=1+1, Eve", "O'Hara, Ana", "Ñu; Max"], 4
    )
    header = ["Student", "ID", "SIS Login ID", "Section", "Lab 01 (7)", "Lab 02 (8)"]
    rows = [["    Points Possible", "", "", "", "50.00", "10"]]
    rows += [
        [
            name,
            str(100 + place),
            f"u{place}",
            rng.choice(AWKWARD),
            rng.choice(["", "5", "40.00"]),
            rng.choice(AWKWARD),
        ]
        for place, name in enumerate(names)
    ]
    joined, lines, delimiter, codec = random_export(rng, header, rows, fixed=2)
    ones, expected = [], {}
    for place in rng.sample(range(4), rng.randrange(5)):
        earned = rng.randrange(22)
        ones.append(record(f"u{place}", earned=earned))
        mark, old = written(scaled(ones[-1], Decimal(50)), False), lines[place + 2][4]
        if number(old.strip('"')) != Decimal(mark):
            expected[place + 2, 4] = f'"{mark}"' if old.startswith('"') else mark
    filled, _ = fill_canvas(joined({}), *records_of(*ones), "Lab 01")
    assert filled == joined(expected)
    reread = [row for row in cells(filled, delimiter, codec) if row]
    assert [len(row) for row in reread] == [len(lines[0])] * len(lines)
    assert [row[0] for row in reread[2:]] == names


@pytest.mark.parametrize("seed", range(150))
def test_no_byte_of_a_moodle_worksheet_changes_but_those_of_the_marks(seed):
    rng = random.Random(seed)
    header = [
        "Identifier",
        "Full name",
        "Email address",
        "Status",
        "Grade",
        "Maximum Grade",
        "Feedback comments",
    ]
    rows = [
        [
            f"Participant {place}",
            rng.choice(["Zoë Ångström", "Bo Li"]),
            f"u{place}@e.edu",
            rng.choice(AWKWARD),
            rng.choice(["", "5.00"]),
            "21.00",
            rng.choice(AWKWARD),
        ]
        for place in range(5)
    ]
    joined, lines, delimiter, codec = random_export(rng, header, rows, fixed=1)
    ones, expected = [], {}
    for place in rng.sample(range(5), rng.randrange(6)):
        name = rows[place][1]
        ones.append(record(name, f"{name}_{place}_assignsubmission_file_/x.ipynb"))
        expected[place + 1, 4] = '"17"' if lines[place + 1][4].startswith('"') else "17"
    filled, told = fill_moodle(joined({}), *records_of(*ones), None)
    assert filled == joined(expected)
    assert len(about(told, "has no submission")) == 5 - len(ones)
    assert all(len(row) == len(lines[0]) for row in cells(filled, delimiter, codec) if row)


def test_a_table_is_read_as_the_strict_csv_module_reads_it():
    rng = random.Random(2)
    read = 0
    for _ in range(6000):
        pieces = ['"', '""', '"a"', ",", "\n", "\r\n", "a", " ", "é", ";"]
        text = "ID," + "".join(rng.choices(pieces, k=rng.randrange(14)))
        try:
            found = [[cell.text for cell in line] for line in read_table(text.encode(), "ID").lines]
        except GradingError:
            found = None
        try:
            expected = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        except csv.Error:
            expected = None
        if None in (found, expected):
            assert found is expected
        else:
            blank = ([], [""])  # csv leaves blank lines out
            assert [line for line in found if line not in blank] == [
                line for line in expected if line not in blank
            ]
        read += found is not None
    assert 1000 < read < 5000


@pytest.mark.parametrize(
    "codec, name", [("cp1252", "Šárka Ž’ilka"), ("latin-1", "Zoë \x81"), ("utf-16", "李明")]
)
def test_names_are_read_in_the_code_page_of_the_export(codec, name):
    export = MOODLE.replace("Bo Li", name).encode(codec, "replace")
    filled, _ = moodle(record(name), export=export)
    assert filled.decode(codec) == MOODLE.replace("Bo Li", name).replace("12.00", "17").encode(
        codec, "replace"
    ).decode(codec)


def test_errors_are_clean_whatever_the_titles():
    evil = "\x1b[31m\u202etitle\x07" * 30
    for old, column in (
        ("Notes", None),
        ("SIS User ID", None),
        ("Section", "Lab 01"),
        ("21.00", "Lab 01"),
    ):
        with pytest.raises(GradingError) as caught:
            export = CANVAS.replace(old, evil if old != "21.00" else "0", 1)
            canvas(record("libo"), column=column or evil, export=export)
        assert str(caught.value).isprintable() and "31m" not in str(caught.value)
    for export in (
        CANVAS.replace("ID,", evil + ","),
        CANVAS.replace('"Li, Bo"', f'"{evil}" x'),
        evil,
    ):
        with pytest.raises(GradingError) as caught:
            canvas(record("libo"), export=export)
        assert (
            str(caught.value).isprintable()
            and "31m" not in str(caught.value)
            and len(str(caught.value)) < 2500
        )
    with pytest.raises(GradingError) as caught:
        canvas(
            record("libo"),
            export=CANVAS.replace("Lab 01 (901)", f"Lab 01 {evil}").replace("21.00", ""),
        )
    assert str(caught.value).isprintable()


def test_sentences_are_clean_whatever_the_names():
    evil = '\x1b[31m\u202e=HYPERLINK("http://e")\nline'
    export = CANVAS.replace("Ångström, Zoë", evil.replace('"', '""'))
    _, told = canvas(
        record(evil, f"{evil}/x.ipynb", status="ungradable", reason=evil),
        record("other" + evil),
        export=export,
    )
    assert all(line.isprintable() for line in told) and about(told, "HYPERLINK")
    stranger, twice = record("x", "x_4321_98765_y.ipynb"), [record("zoe"), record("s1")]
    one = [record("libo")]
    for table, ones in (
        (export, [stranger]),
        (export, twice),
        (CANVAS.replace('lines",,3', 'lines",\x1b[3mx,3'), one),
        (CANVAS.replace("Lab 01", "Lab 01 \x1b[3m"), one),
    ):
        told = canvas(*ones, export=table)[1]
        assert all(line.isprintable() and "[3" not in line for line in told)
    long = record("x" * 999, "y" * 999, status="ungradable", reason="z" * 999)
    assert all(len(line) < 600 for line in canvas(long)[1])
