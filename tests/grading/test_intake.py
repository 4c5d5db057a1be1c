"""The intake lists every submission once, under the right student, and resists every trick."""

import hashlib
import io
import itertools
import json
import os
import random
import re
import signal
import socket
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import made
import pytest

from grading.errors import GradingError
from grading.lms import intake
from grading.lms.intake import find_submissions, read_submission
from grading.lms.submission import CANVAS
from grading.records.counting import attention, which_count, with_ties_doubted

NOTEBOOK = b'{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}'
SENTENCE = re.compile(r"[^\n]{20,300}")


def put(folder, *files, data=NOTEBOOK):
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def packed(*names, data=NOTEBOOK, method=zipfile.ZIP_DEFLATED):
    """The bytes of a zip archive with these members; a name is a str or a ZipInfo."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names:
            archive.writestr(name, data)
    return buffer.getvalue()


def students(folder):
    return {found.file: found.student for found in find_submissions(folder)}


def problems(folder):
    return {found.file: found.problem for found in find_submissions(folder)}


def only(folder):
    (found,) = find_submissions(folder)
    return found


def patched(data, **fields):
    """The archive with fields of all its headers overwritten: "flags" or "size" (unpacked)."""
    data, offsets = bytearray(data), {"flags": (6, 8, "<H"), "size": (22, 24, "<L")}
    for field, value in fields.items():
        for mark, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), offsets[field], strict=False):
            for match in re.finditer(re.escape(mark), bytes(data)):
                struct.pack_into(offsets[field][2], data, match.start() + offset, value)
    return bytes(data)


@pytest.fixture
def alarm():
    """Five seconds for what must not wait, such as opening a pipe that nobody writes to."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# --- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file, student, attempt",
    [
        ("angstromzoe_12345_678901_01_sft.ipynb", "angstromzoe", None),
        ("angstromzoe_LATE_12345_678901_01_sft.ipynb", "angstromzoe", None),
        ("angstromzoe_12345_678901_01_sft-2.ipynb", "angstromzoe", 2),
        ("angstromzoe_LATE_12345_678901_01_sft-11.ipynb", "angstromzoe", 11),
        ("angstromzoe_12345_678901_my run 2024-2025.ipynb", "angstromzoe", None),
        ("ångströmzoë_12345_678901_Kopie von 01_sft (1).ipynb", "ångströmzoë", None),
        (
            "a\u030angstro\u0308mzoe_12345_678901_01_sft.ipynb",
            "a\u030angstro\u0308mzoe",
            None,
        ),  # as macOS unpacks it
        ("o_neil_jo_12345_678901_01_sft.ipynb", "o_neil_jo", None),
        ("anon_x7Kp2_678901_01_sft.ipynb", "anon_x7Kp2", None),
        ("LATE_anon_x7Kp2_678901_345_x-1.ipynb", "anon_x7Kp2", 1),
        ("_12345_678901_01_sft.ipynb", "12345", None),  # a name of which Canvas kept no letter
        ("Zoë Ångström_12345_assignsubmission_file_/01_sft.ipynb", "Zoë Ångström", None),
        ("Zoë Ångström_12345_assignsubmission_file/01_sft.ipynb", "Zoë Ångström", None),
        (
            "Zoë Ångström_12345_assignsubmission_file_/week 1/day 2/01_sft-2.ipynb",
            "Zoë Ångström",
            None,
        ),
        ("Zoë Ångström_12345_assignsubmission_file_01_sft.ipynb", "Zoë Ångström", None),
        (" Zoë _12345_assignsubmission_file_/01_sft.ipynb", "Zoë", None),
        ("Zoë Ångström/01_sft.ipynb", "Zoë Ångström", None),
        ("zoe/drafts/02_lora/final.ipynb", "zoe", None),
        (" zoe /01_sft.ipynb", "zoe", None),
        ("zoe.ipynb", "zoe", None),
        ("zoe.IPYNB", "zoe", None),
        ("zoe_01_sft.ipynb", "zoe", None),
        ("zoe-03_reward_model (2).ipynb", "zoe", None),
        ("Zoë Ångström 02_LoRA-1.ipynb", "Zoë Ångström", None),
        ("zoe - 01_sft.ipynb", "zoe", None),
        ("01_sft.ipynb", "01_sft", None),
        ("01_sft_zoe.ipynb", "01_sft_zoe", None),
        ("team_12_smith.ipynb", "team_12_smith", None),  # 12_smith is no lab
        ("team_12_01_sft.ipynb", "team_12", None),  # and this is no name by Canvas
        ("zoe.zip", "zoe", None),
        ("zoe_01_sft.zip", "zoe", None),
        ("zoe/answers.ZIP", "zoe", None),
        ("angstromzoe_12345_678901_work-3.zip", "angstromzoe", 3),
        ("Zoë Ångström_12345_assignsubmission_file_/handed in.zip", "Zoë Ångström", None),
        ("zoe/week 1/handed in.zip", "zoe", None),
        ("01_sft/zoe/solution.ipynb", "zoe", None),  # a folder for each lab
        ("01_sft/angstromzoe_12345_678901_01_sft-2.ipynb", "angstromzoe", 2),
    ],
)
def test_student_and_attempt_come_from_the_exports_names(tmp_path, file, student, attempt):
    put(
        tmp_path,
        file,
        data=packed("inner/01_sft.ipynb") if file.lower().endswith(".zip") else NOTEBOOK,
    )
    # A folder is Canvas's only as a whole, so the other file there is named in the same way.
    by_canvas = CANVAS.fullmatch(file) and "assignsubmission" not in file
    put(tmp_path, "other_99_999999_x.ipynb" if by_canvas else "other.ipynb")
    found = next(one for one in find_submissions(tmp_path) if one.student != "other")
    assert (found.student, found.attempt, found.problem) == (student, attempt, "")
    assert found.file == file + ("!inner/01_sft.ipynb" if file.lower().endswith(".zip") else "")
    assert read_submission(tmp_path, found) == NOTEBOOK


def test_every_notebook_at_any_depth_is_a_submission_sorted_by_file(tmp_path):
    files = [
        "zoe/b.ipynb",
        "zoe/a/deep/er/01.ipynb",
        "adam.ipynb",
        "Bea/02_lora.ipynb",
        "zoe/notes.txt",
    ]
    found = find_submissions(put(tmp_path, *files))
    assert [one.file for one in found] == [
        "Bea/02_lora.ipynb",
        "adam.ipynb",
        "zoe/a/deep/er/01.ipynb",
        "zoe/b.ipynb",
    ]
    assert [one.student for one in found] == ["Bea", "adam", "zoe", "zoe"]


def test_a_submission_tells_hash_and_time_of_its_file(tmp_path):
    os.utime(put(tmp_path, "zoe.ipynb") / "zoe.ipynb", (1764.0, 1764.5))
    found = only(tmp_path)
    assert found.sha256 == hashlib.sha256(NOTEBOOK).hexdigest() and found.modified == 1764.5
    assert found.id == "zoe-zoe-" + hashlib.sha256(b"zoe.ipynb").hexdigest()[:10]


def test_one_notebook_or_archive_can_be_given(tmp_path):
    put(tmp_path, "zoe_01_sft.ipynb", "other.ipynb")
    put(tmp_path, "adam.zip", data=packed("work/01_sft.ipynb"))
    notebook, archive = only(tmp_path / "zoe_01_sft.ipynb"), only(tmp_path / "adam.zip")
    assert (notebook.student, notebook.file) == ("zoe", "zoe_01_sft.ipynb")
    assert (archive.student, archive.file) == ("adam", "adam.zip!work/01_sft.ipynb")
    assert read_submission(tmp_path / "zoe_01_sft.ipynb", notebook) == NOTEBOOK
    assert read_submission(tmp_path / "adam.zip", archive) == NOTEBOOK


def test_a_notebook_can_be_named_from_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(put(tmp_path, "zoe.ipynb"))
    assert read_submission(Path("zoe.ipynb"), only(Path("zoe.ipynb"))) == NOTEBOOK
    assert read_submission(Path("."), only(Path("."))) == NOTEBOOK


@pytest.mark.parametrize(
    "names, expected",
    [
        (
            ["angstromzoe_12345_678901_01_sft.ipynb", "bakerbo_12346_678902_01_sft.ipynb"],
            ["angstromzoe", "bakerbo"],
        ),
        (
            ["all/Bo_7_assignsubmission_file_/x.ipynb", "all/Zoë_8_assignsubmission_file_/x.ipynb"],
            ["Bo", "Zoë"],
        ),
        (
            ["Bo_7_assignsubmission_file_/x.ipynb", "Zoë_8_assignsubmission_file_/x.ipynb"],
            ["Bo", "Zoë"],
        ),
    ],
)
@pytest.mark.parametrize("as_archive", [True, False])
def test_an_export_in_one_folder_or_archive_is_read_as_the_export(
    tmp_path, names, expected, as_archive
):
    if as_archive:
        put(tmp_path, "submissions.zip", data=packed(*names))
    else:
        put(tmp_path / "submissions", *names)
    assert sorted(set(students(tmp_path).values())) == expected


def test_a_student_cannot_hand_in_under_another_name(tmp_path):
    put(
        tmp_path,
        "adam/zoe_12345_678901_01_sft.ipynb",
        "adam/Zoe_1_assignsubmission_file_/01.ipynb",
        "zoe/01.ipynb",
    )
    put(tmp_path, "eve.zip", data=packed("zoe_12345_678901_01_sft.ipynb", "zoe/01_sft.ipynb"))
    assert sorted(students(tmp_path).values()) == ["adam", "adam", "eve", "eve", "zoe"]


def test_not_even_a_student_who_is_alone_in_the_export(tmp_path):
    put(tmp_path, "Adam_1_assignsubmission_file_/zoe_12345_678901_01_sft.ipynb")
    assert only(tmp_path).student == "Adam"


# --- names that only look like an LMS's -----------------------------------------------------------


def doubts(folder):
    return {found.student: found.doubt for found in find_submissions(folder)}


@pytest.mark.parametrize(
    "files",
    [
        ["lab_01_4711234_mueller.ipynb", "lab_01_4719999_schmidt.ipynb"],
        ["lab_1_4711234_mueller.ipynb", "lab_1_4719999_schmidt.ipynb"],
        ["sft_3_4711234_01_sft_x.ipynb", "sft_3_4719999_01_sft_x.ipynb"],
        ["week_3_4711234_x.zip", "week_3_4719999_y.ipynb", "week_4_4711234_z.ipynb"],
        ["team_1_471_x.ipynb", "group_1_472_x.ipynb", "party_2_473_x.ipynb"],
        ["mueller_2026_4711_x.ipynb", "schmidt_2026_4719_y.ipynb"],
        ["hw_1_4711234_mueller.ipynb", "hw_2_4719999_schmidt.ipynb", "kim.ipynb"],
    ],
)
@pytest.mark.parametrize("place", ["", "01_sft/", "submissions/"])
def test_names_that_fit_canvas_by_chance_merge_nobody(tmp_path, files, place):
    put(tmp_path, *(f"{place}{file}" for file in files), data=packed("01_sft.ipynb"))
    assert len(students(tmp_path)) == len(set(students(tmp_path).values())) == len(files)


def test_names_that_fit_canvas_in_part_are_told(tmp_path):
    put(tmp_path, "leekim_12_900001_x.ipynb", "bakerbo_13_900002_x.ipynb")
    assert set(doubts(tmp_path).values()) == {""}
    put(tmp_path, "solution.ipynb")
    told = doubts(tmp_path)
    assert told.pop("solution") == ""
    assert set(told) == {"leekim_12_900001_x", "bakerbo_13_900002_x"}
    assert all("solution.ipynb beside it does not" in doubt for doubt in told.values())
    assert all(SENTENCE.fullmatch(doubt) for doubt in told.values())


def test_several_notebooks_at_once_are_told(tmp_path):
    put(tmp_path, "lab_1_4711234_mueller.ipynb", "lab_1_4719999_schmidt.ipynb")
    put(tmp_path, "hw_2_4712222_weber.ipynb", "bo_3_900001_x.ipynb", "bo_3_900002_x-1.ipynb")
    put(tmp_path, "kim_4_900003_my 01_sft.ipynb", "kim_4_900004_my 02_lora.ipynb")
    told = {file: found for file, found in doubts(tmp_path).items() if found}
    assert set(told) == {"lab"} and SENTENCE.fullmatch(told["lab"])
    assert "2 notebooks at once" in told["lab"] and "schmidt" in told["lab"]


def test_a_class_of_one_may_hand_in_again(tmp_path):
    put(tmp_path, "leekim_12_900001_x.ipynb", "leekim_12_900002_x-1.ipynb")
    assert [(one.student, one.attempt) for one in find_submissions(tmp_path)] == [
        ("leekim", None),
        ("leekim", 1),
    ]


def test_one_number_with_two_names_is_told(tmp_path):
    put(tmp_path, "Bo_7_assignsubmission_file_/x.ipynb", "Lee_7_assignsubmission_file_/x.ipynb")
    put(tmp_path, "Kim_8_assignsubmission_file_/x.ipynb")
    told = doubts(tmp_path)
    assert told.pop("Kim") == "" and set(told) == {"Bo", "Lee"}
    assert all("number 7 goes with several names, Bo and Lee" in doubt for doubt in told.values())


# --- folders around the work ----------------------------------------------------------------------


@pytest.mark.parametrize("outer", ["wrap/submitted", "a", "a/b/c/d", "all.zip", "all.zip!x/y"])
@pytest.mark.parametrize("junk", [[], ["__MACOSX/a/._x.ipynb", ".DS_Store", "Thumbs.db", "a.csv"]])
@pytest.mark.parametrize(
    "inner",
    [
        ["anna/01_sft.ipynb", "bob/01_sft.ipynb"],
        ["anna/x/01_sft.ipynb", "bob/y.zip"],
        ["anna/01_sft.ipynb", "bob.ipynb"],
        ["01_sft/anna/x.ipynb", "02_lora/bob/x.ipynb"],
        ["anna_01_sft.ipynb", "bob_01_sft.ipynb"],
        ["anna.ipynb", "bob.ipynb"],
        ["anna_1_900001_x.ipynb", "bob_2_900002_x.ipynb"],
        ["anna_1_assignsubmission_file_/x.ipynb", "bob_2_assignsubmission_file_/x.ipynb"],
    ],
)
def test_folders_around_the_work_are_looked_through(tmp_path, outer, junk, inner):
    if ".zip" in outer:
        inside = outer.partition("!")[2]
        names = [f"{inside}/{name}".lstrip("/") for name in [*inner, "__MACOSX/._x.ipynb"]]
        put(tmp_path, "all.zip", data=packed(*names))
        inner = [name for name in inner if ".zip" not in name]
    else:
        put(tmp_path / outer, *inner, data=packed("01_sft.ipynb"))
        put(tmp_path / outer, *junk)
    put(tmp_path, *junk)
    assert {"anna", "bob"} >= set(students(tmp_path).values())
    assert len(set(students(tmp_path).values())) == 2 or ".zip" in outer
    assert not any(doubts(tmp_path).values())


@pytest.mark.parametrize(
    "files, student",
    [
        (["zoe/01_sft.ipynb", "zoe/02_lora.ipynb"], "zoe"),
        (["zoe/01_sft/x.ipynb", "zoe/02_lora/x.ipynb"], "zoe"),
        (["in/all/zoe/01_sft.ipynb"], "zoe"),
        (["zoe/anything.ipynb", "zoe/data/x.csv"], "zoe"),
    ],
)
def test_the_folder_of_one_learner_is_not_looked_through(tmp_path, files, student):
    assert set(students(put(tmp_path, *files)).values()) == {student}


def test_a_lone_archive_with_one_folder_is_its_learners(tmp_path):
    put(tmp_path, "zoe.zip", data=packed("homework/final/01_sft.ipynb"))
    assert list(students(tmp_path).values()) == ["zoe"]


def test_a_folder_that_may_hold_several_learners_is_told(tmp_path):
    put(tmp_path, "group A/anna/01_sft.ipynb", "group A/bob/01_SFT.ipynb")
    put(tmp_path, "group B/carl/01_sft.ipynb", "group B/carl/02_lora.ipynb")
    told = doubts(tmp_path)
    assert told["group B"] == "" and "anna, bob hold notebooks of one name" in told["group A"]
    assert SENTENCE.fullmatch(told["group A"])


# --- hand-ins with another ending -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name, told",
    [
        ("bob.ipynb.txt", "rename it"),
        ("bob_01_sft.IPYNB.json", "rename it"),
        ("bob.ipynb (1)", "rename it"),
        ("bob.ipynb.download", "rename it"),
        ("bob.rar", "cannot be opened here"),
        ("bob.7z", "cannot be opened here"),
        ("bob.tar.gz", "cannot be opened here"),
        ("bob.TGZ", "cannot be opened here"),
        ("bob.docx", "is no notebook"),
        ("bob_01_sft.py", "is no notebook"),
        ("bob.pdf", "is no notebook"),
        ("bob.html", "is no notebook"),
        ("bob.json", "is no notebook"),
        ("bob", "is no notebook"),
    ],
)
@pytest.mark.parametrize(
    "place, beside",
    [
        ("", ["anna.ipynb"]),
        ("01_sft/", ["anna.ipynb", "carl.ipynb"]),
        ("in/submitted/", ["anna.zip", "carl.zip"]),
        ("", ["anna/01_sft.ipynb", "carl/01_sft.ipynb"]),
        ("02_lora/", ["anna/week 1/02_lora.ipynb"]),
        ("", []),
    ],
)
def test_a_hand_in_with_another_ending_is_listed(tmp_path, name, told, place, beside):
    put(tmp_path, *(f"{place}{one}" for one in beside), data=packed("x.ipynb"))
    put(tmp_path, *(f"{place}{one}" for one in (name, "grades.csv", "README.md", "Notes.txt")))
    found = {one.student: one.problem for one in find_submissions(tmp_path)}
    assert set(found) == {"bob", *(re.split("[./]", one)[0] for one in beside)}
    assert told in found["bob"] and name in found["bob"] and SENTENCE.fullmatch(found["bob"])


def test_a_folder_around_hand_ins_of_two_endings_is_looked_through(tmp_path):
    put(tmp_path, "submitted/anna.ipynb", "submitted/bob.rar")
    assert sorted(students(tmp_path).values()) == ["anna", "bob"]


@pytest.mark.parametrize("first, second", [("week 1", "Week_2"), ("lab1", "lab2"), ("HW-3", "hw4")])
def test_a_lone_learner_may_sort_the_work_into_folders(tmp_path, first, second):
    put(tmp_path, f"zoe/{first}/01_sft.ipynb", f"zoe/{second}/02_lora (1).ipynb")
    assert set(students(tmp_path).values()) == {"zoe"}


def test_folders_of_weeks_may_hold_the_work_of_many(tmp_path):
    put(tmp_path, "class/week 1/anna.ipynb", "class/week 1/bob.ipynb", "class/week 2/anna.ipynb")
    assert set(students(tmp_path).values()) == {"week 1", "week 2"}
    assert all("grade it by itself" in one.doubt for one in find_submissions(tmp_path))


@pytest.mark.parametrize(
    "files, doubted",
    [
        (["A/max.ipynb", "A/zoe.ipynb", "B/eve.ipynb"], {"A"}),
        (["A/max_01_sft.ipynb", "A/zoe-01_sft.ipynb", "B/eve_01_sft.ipynb"], {"A"}),
        (
            [
                "A/Max M_11_assignsubmission_file_/x.ipynb",
                "A/Zoe Z_12_assignsubmission_file_/x.ipynb",
                "B/Eve E_13_assignsubmission_file_/x.ipynb",
            ],
            {"A"},
        ),
        (["anna/labs/01_sft.ipynb", "anna/labs/02_lora.ipynb"], {"labs"}),
        (["anna/final/01_sft.ipynb"], {"final"}),
        (["anna/01_sft.ipynb", "anna/02_lora (1).ipynb", "bob/answers.ipynb"], set()),
        (["class/anna/01_sft.ipynb", "class/bob/01_sft.ipynb"], set()),
        (["anna/answer 1.ipynb", "anna/answer 2.ipynb", "bob/x.ipynb"], set()),
    ],
)
def test_a_folder_that_may_hold_the_work_of_several_is_doubted(tmp_path, files, doubted):
    put(tmp_path, *files)
    found = find_submissions(tmp_path)
    assert {one.student for one in found if one.doubt} == doubted
    assert len(found) == len(files)


def test_two_exports_beside_each_other_are_doubted(tmp_path):
    for name, members in (
        ("submissions.zip", ["maxm_11_9001_01_sft.ipynb", "zoez_12_9002_01_sft.ipynb"]),
        ("submissions (1).zip", ["evee_13_9003_01_sft.ipynb", "tomt_14_9004_01_sft.ipynb"]),
    ):
        put(tmp_path, name, data=packed(*members))
    assert all("grade it by itself" in one.doubt for one in find_submissions(tmp_path))


@pytest.mark.parametrize("first, doubted", [("01_sft-2", True), ("01_sft", False)])
def test_a_number_that_a_browser_added_is_no_attempt_by_canvas(tmp_path, first, doubted):
    second = "01_sft" if doubted else "01_sft-1"
    put(tmp_path, f"anna_105_9005_{first}.ipynb", f"anna_105_9006_{second}.ipynb")
    put(tmp_path, "zoe_106_9007_01_sft.ipynb")
    found = {one.student: one.doubt for one in find_submissions(tmp_path)}
    assert ("not in the order" in found["anna"]) == doubted and not found["zoe"]


def test_what_lies_beside_a_notebook_of_its_name_is_not_listed(tmp_path):
    put(tmp_path, "bob.ipynb", "bob.pdf", "bob.ipynb.bak", "anna/01_sft.ipynb", "anna/notes.docx")
    assert set(problems(tmp_path)) == {"bob.ipynb", "anna/01_sft.ipynb"}


def test_a_renamed_notebook_is_listed_though_its_learner_has_another(tmp_path):
    put(tmp_path, "bob/01_sft.ipynb", "bob/02_lora.ipynb.txt", "eve/x.ipynb", "eve/y.rar")
    found = problems(tmp_path)
    assert "rename it" in found.pop("bob/02_lora.ipynb.txt")
    assert "cannot be opened" in found.pop("eve/y.rar") and set(found.values()) == {""}


# --- never merged, always with an id of its own ---------------------------------------------------


def test_the_same_file_name_of_two_students_stays_two(tmp_path):
    found = find_submissions(put(tmp_path, "adam/01_sft.ipynb", "zoe/01_sft.ipynb"))
    assert [one.student for one in found] == ["adam", "zoe"] and len({one.id for one in found}) == 2


def test_two_students_of_one_name_are_told_apart_by_the_lms_number(tmp_path):
    put(
        tmp_path,
        "smithjo_111_900001_01_sft.ipynb",
        "smithjo_222_900002_01_sft.ipynb",
        "leekim_333_900003_x.ipynb",
        "smithjo_LATE_222_900004_02_lora.ipynb",
    )
    put(
        tmp_path,
        *(f"Participant_{number}_assignsubmission_file_/01_sft.ipynb" for number in (5, 6)),
    )
    assert list(students(tmp_path).values()) == [
        "Participant (5)",
        "Participant (6)",
        "leekim",
        "smithjo (111)",
        "smithjo (222)",
        "smithjo (222)",
    ]


def test_a_namesake_who_comes_later_does_not_change_an_id(tmp_path):
    put(tmp_path, "bakerbo_7_900000_01_sft.ipynb", "smithjo_111_900001_01_sft.ipynb")
    before = find_submissions(tmp_path)[1]
    after = find_submissions(put(tmp_path, "smithjo_222_900002_01_sft.ipynb"))[1]
    assert (before.student, after.student) == ("smithjo", "smithjo (111)") and before.id == after.id


NASTY = [
    "-rf",
    "--help",
    "a;b",
    "a\nb",
    "a\tb",
    "emoji 🦊",
    "🦊",
    "   ",
    "Zoe",
    "zoe",
    "zoe ",
    " zoe",
    "z\u00f6e",
    "zo\u0308e",
    "a'b\"c",
    "$(x)",
    "`x`",
    "=1+1",
    "%00",
    "con",
    "x" * 250,
    "a\\b",
    "a\\\\b",
    "\\udcff",
    "a!b",
    "a.zip!b",
    "a.zip\\x21b",
    "\x1b[31m",
    "\u202egro",
    "<b>",
    "..a",
    "a.",
    "NULL",
]


def test_nasty_names_give_ids_that_are_safe_and_all_different(tmp_path):
    for name in NASTY:
        put(tmp_path, f"{name}/01_sft.ipynb")
    if len(os.listdir(tmp_path)) < len(NASTY):
        pytest.skip("this disk takes some of the names for the same")
    found = find_submissions(tmp_path)
    seen = [name for name in NASTY if not name.startswith(".")]
    assert (
        len({one.id.lower() for one in found})
        == len({one.file for one in found})
        == len(found)
        == len(seen)
    )
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{9,91}", one.id) for one in found)
    names = {one.student for one in found}
    assert len(names) == len(seen) - 2 and all(names)  # zoe is there with blanks and without
    assert [read_submission(tmp_path, one) for one in found] == [NOTEBOOK] * len(seen)


def test_names_of_files_can_be_nasty_too(tmp_path):
    for name in NASTY:
        put(tmp_path / "zoe", f"{name[:240]}.ipynb")
    put(tmp_path, "adam/01_sft.ipynb")
    found = [one for one in find_submissions(tmp_path) if one.student != "adam"]
    assert len({one.id for one in found}) == len(found) == len(os.listdir(tmp_path / "zoe")) - 1
    assert {one.student for one in found} == {"zoe"}
    assert [read_submission(tmp_path, one) for one in found] == [NOTEBOOK] * len(found)


def test_a_name_that_is_no_utf_8_can_be_written_and_read_back(tmp_path):
    try:
        for name in (b"zo\xeb", b"zo\\udceb", b"zo\xec"):
            os.mkdir(os.path.join(os.fsencode(tmp_path), name))
            put(tmp_path, f"{os.fsdecode(name)}/01_sft.ipynb", data=name)
    except OSError:
        pytest.skip("this disk refuses such names")
    found = find_submissions(tmp_path)
    assert [one.student for one in found] == [r"zo\\udceb", r"zo\udceb", r"zo\udcec"]
    assert len({one.id for one in found}) == 3
    assert all(json.dumps(vars(one), ensure_ascii=False).encode("utf-8") for one in found)
    assert [read_submission(tmp_path, one) for one in found] == [b"zo\\udceb", b"zo\xeb", b"zo\xec"]


def test_the_text_of_a_name_gives_the_name_back():
    draw = random.Random(0)
    pieces = [
        "\\",
        "\\\\",
        "!",
        ".zip!",
        ".ZIP!",
        "x21",
        "u",
        "udcff",
        "\udcff",
        "\ud83e",
        "a",
        "é",
        "🦊",
        "\n",
    ]
    names = {"".join(draw.choices(pieces, k=draw.randint(1, 6))) for _ in range(5000)}
    for name in names:
        assert intake.unescape(intake.escape(name)) == name
        assert not re.search(r"\.zip!", intake.escape(name), re.IGNORECASE)
        intake.escape(name).encode("utf-8")


def test_a_folder_cannot_pass_for_an_archive(tmp_path):
    put(tmp_path, "a.zip", data=packed("01.ipynb", data=b"in the archive"))
    put(tmp_path, "a.zip!/01.ipynb", "a.zip!01.ipynb", data=b"beside it")
    found = find_submissions(tmp_path)
    assert len({one.id for one in found}) == 3
    assert [read_submission(tmp_path, one) for one in found if one.file == "a.zip!01.ipynb"] == [
        b"in the archive"
    ]


def test_a_folder_can_be_called_like_an_archive_or_a_notebook(tmp_path):
    found = find_submissions(put(tmp_path, "zoe.zip/01_sft.ipynb", "adam.ipynb/01_sft.ipynb"))
    assert [(one.student, one.problem) for one in found] == [("adam", ""), ("zoe", "")]


# --- what is left out, and what is missing --------------------------------------------------------


def test_what_editors_and_archivers_leave_behind_is_left_out(tmp_path):
    put(
        tmp_path,
        "zoe/01_sft.ipynb",
        "zoe/.ipynb_checkpoints/01_sft-checkpoint.ipynb",
        "zoe/._01_sft.ipynb",
        "zoe/.hidden.ipynb",
        "__MACOSX/zoe/01_sft.ipynb",
        ".git/x.ipynb",
        "zoe/read.me",
        "zoe/plot.pdf",
        "list.csv",
    )
    put(
        tmp_path,
        "adam.zip",
        data=packed(
            "__MACOSX/._01.ipynb",
            "./01.ipynb",
            ".ipynb_checkpoints/01.ipynb",
            "a.pdf",
            "__MACOSX/x.zip",
        ),
    )
    assert problems(tmp_path) == {"adam.zip!./01.ipynb": "", "zoe/01_sft.ipynb": ""}


def test_a_student_without_a_notebook_is_listed_once(tmp_path):
    put(
        tmp_path,
        "zoe/deep/er/answers.pdf",
        "zoe/notes.txt",
        "zoe/.hidden.ipynb",
        "adam/01_sft.ipynb",
    )
    (tmp_path / "empty").mkdir()
    found = problems(tmp_path)
    assert found.pop("adam/01_sft.ipynb") == ""
    assert found == {
        name: f"there is no notebook in {name}: ask for a file that ends in .ipynb"
        for name in ("zoe", "empty")
    }


def test_an_upload_to_the_lms_that_is_no_notebook_is_not_lost(tmp_path):
    put(
        tmp_path,
        "angstromzoe_1_900001_work.pdf",
        "angstromzoe_1_900002_data.csv",
        "bakerbo_2_900003_01_sft.ipynb",
        "bakerbo_2_900004_plot.png",
        "grades.csv",
        "Li_3_assignsubmission_onlinetext_/text.html",
        "Wu_4_assignsubmission_onlinetext_/text.html",
        "Wu_4_assignsubmission_file_/01_sft.ipynb",
    )
    found = find_submissions(tmp_path)
    assert [(one.student, one.sha256, bool(one.problem)) for one in found if one.problem] == [
        ("Li", "", True),
        ("angstromzoe", "", True),
    ]
    assert sorted(one.student for one in found if not one.problem) == ["Wu", "bakerbo"]


def test_labs_in_folders_of_their_own_are_missed_one_by_one(tmp_path):
    put(
        tmp_path,
        "01_sft/zoe/x.ipynb",
        "02_lora/zoe/x.pdf",
        "02_lora/adam/x.ipynb",
        "01_sft/bo_1_900001_x.ipynb",
        "02_lora/bo_1_900002_x.pdf",
    )
    (tmp_path / "03_reward_model").mkdir()
    found = find_submissions(tmp_path)
    assert [(one.file, one.student) for one in found if one.problem] == [
        ("02_lora/bo_1_900002_x.pdf", "bo"),
        ("02_lora/zoe", "zoe"),
    ]


@pytest.mark.parametrize("files", [[], ["readme.txt", "list.csv"], [".hidden/zoe/01_sft.ipynb"]])
def test_a_folder_without_submissions_gets_one_sentence(tmp_path, files):
    with pytest.raises(GradingError, match="no submission in .*: name the folder") as error:
        find_submissions(put(tmp_path, *files))
    assert SENTENCE.fullmatch(str(error.value)[-200:])


@pytest.mark.parametrize("name", ["missing", "mis\nsing", "x" * 5000, "zo\udceb"])
def test_a_missing_folder_gets_one_sentence(tmp_path, name):
    with pytest.raises(GradingError, match="There is no folder .*: check the path") as error:
        find_submissions(tmp_path / name)
    assert (
        "\n" not in str(error.value) and len(str(error.value)) < 300 and str(error.value).encode()
    )


def test_another_file_gets_one_sentence(tmp_path):
    with pytest.raises(GradingError, match="is no notebook: name a folder"):
        find_submissions(put(tmp_path, "answers.pdf") / "answers.pdf")


@pytest.mark.parametrize(
    "data", [b"%PDF-1.4", b"\xef\xbb\xbf{}", b"\xff\xfe", packed("01_sft.ipynb"), b" "]
)
def test_what_is_no_notebook_but_is_called_so_is_a_submission(tmp_path, data):
    found = only(put(tmp_path, "zoe.ipynb", data=data))
    assert found.problem == "" and read_submission(tmp_path, found) == data


def test_an_empty_file_is_a_problem_and_can_be_read(tmp_path):
    put(tmp_path, "zoe.ipynb", data=b"")
    put(tmp_path, "adam.zip", data=packed("01_sft.ipynb", data=b""))
    for found in find_submissions(tmp_path):
        assert "empty" in found.problem and found.sha256 == hashlib.sha256(b"").hexdigest()
        assert read_submission(tmp_path, found) == b""


# --- what is dangerous to open --------------------------------------------------------------------


def test_links_are_listed_and_not_followed(tmp_path):
    secret = put(tmp_path / "outside", "secret.ipynb", data=b"secret")
    folder = put(tmp_path / "in", "adam/01_sft.ipynb")
    (folder / "file.ipynb").symlink_to(secret / "secret.ipynb")
    (folder / "zoe").symlink_to(secret)
    (folder / "adam" / "more").symlink_to(secret)
    (folder / "adam" / "loop").symlink_to(folder)
    (folder / "adam" / "dangling.ipynb").symlink_to("nowhere")
    (folder / "adam" / "sheets.zip").symlink_to(secret)
    found = find_submissions(folder)
    assert [one.file for one in found] == [
        "adam/01_sft.ipynb",
        "adam/dangling.ipynb",
        "adam/loop",
        "adam/more",
        "adam/sheets.zip",
        "file.ipynb",
        "zoe",
    ]
    for one in found[1:]:
        assert "symbolic link" in one.problem and one.sha256 == ""
        with pytest.raises(GradingError, match="symbolic link"):
            read_submission(folder, one)


def test_the_folder_itself_may_be_a_link_but_a_notebook_may_not(tmp_path):
    put(tmp_path / "real", "zoe.ipynb")
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link.ipynb").symlink_to("real/zoe.ipynb")
    assert (
        only(tmp_path / "folder").problem == "" and "link" in only(tmp_path / "link.ipynb").problem
    )


def test_a_hard_link_is_read_by_value(tmp_path):
    os.link(put(tmp_path, "zoe.ipynb") / "zoe.ipynb", tmp_path / "adam.ipynb")
    assert problems(tmp_path) == {"adam.ipynb": "", "zoe.ipynb": ""}


def test_pipes_devices_and_sockets_are_not_read(tmp_path, monkeypatch, alarm):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.ipynb")
    os.mkfifo("pipe.zip")
    os.mkfifo("pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket.ipynb")
    expected = {"pipe.ipynb", "pipe.zip", "socket.ipynb"}
    try:
        os.mknod("zero.ipynb", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        expected.add("zero.ipynb")
    except PermissionError:
        pass  # only root makes devices
    found = problems(tmp_path)
    server.close()
    assert set(found) == expected and all(
        "a pipe, a device or a socket" in problem for problem in found.values()
    )


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink(__file__, path), os.mkdir])
def test_a_file_that_is_swapped_before_it_is_opened_is_not_read(tmp_path, monkeypatch, alarm, make):
    regular = os.lstat(put(tmp_path, "zoe.ipynb") / "zoe.ipynb")
    make(tmp_path / "swapped.ipynb")
    monkeypatch.setattr(intake.os, "lstat", lambda path: regular)
    with pytest.raises(GradingError):
        intake.read_file(str(tmp_path / "swapped.ipynb"))


def test_a_file_above_the_limit_is_a_problem_with_both_sizes(tmp_path):
    for size, name in (
        (50_000_000, "just"),
        (50_000_001, "over"),
        (200_000_000, "far"),
        (200_000_000, "archive"),
    ):
        with open(tmp_path / f"{name}.{'zip' if name == 'archive' else 'ipynb'}", "wb") as file:
            file.truncate(size)
    found = problems(tmp_path)
    assert found["just.ipynb"] == "" and "50.0 MB" in found["over.ipynb"]
    assert "200.0 MB" in found["far.ipynb"] and "50 MB are the limit" in found["far.ipynb"]
    assert "200.0 MB" in found["archive.zip"]


def test_a_file_that_grows_is_read_up_to_the_limit(tmp_path, monkeypatch):
    with open(tmp_path / "zoe.ipynb", "wb") as file:
        file.truncate(200_000_000)
    monkeypatch.setattr(intake, "MAX_BYTES", 1000)
    monkeypatch.setattr(intake, "check_regular", lambda about: None)
    tracemalloc.start()
    found = only(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "limit" in found.problem and found.sha256 == "" and peak < 20_000_000


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_what_may_not_be_read_is_a_problem(tmp_path):
    put(tmp_path, "zoe.ipynb", "adam/01_sft.ipynb")
    os.chmod(tmp_path / "zoe.ipynb", 0)
    os.chmod(tmp_path / "adam", 0)
    found = problems(tmp_path)
    os.chmod(tmp_path / "adam", 0o700)
    assert set(found) == {"adam", "zoe.ipynb"} and all(
        "Permission denied" in one for one in found.values()
    )


def test_a_file_that_may_not_be_opened_is_a_problem(tmp_path, monkeypatch):
    def refuse(path, *rest):
        raise PermissionError(13, "Permission denied")

    put(tmp_path, "zoe.ipynb")
    monkeypatch.setattr(intake.os, "open", refuse)
    assert "Permission denied" in only(tmp_path).problem


def test_a_folder_that_may_not_be_listed_is_a_problem(tmp_path, monkeypatch):
    put(tmp_path, "adam/01_sft.ipynb", "zoe/01_sft.ipynb")
    scandir = os.scandir

    def scan(path):
        if str(path).endswith("zoe"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(intake.os, "scandir", scan)
    found = find_submissions(tmp_path)
    assert [(one.file, one.student) for one in found] == [
        ("adam/01_sft.ipynb", "adam"),
        ("zoe", "zoe"),
    ]
    assert "Permission denied" in found[1].problem and found[1].sha256 == ""


def test_folders_that_vanish_meanwhile_are_problems(tmp_path, monkeypatch):
    put(tmp_path, "adam/01_sft.ipynb", "gone/01_sft.ipynb", "zoe/01_sft.ipynb")
    scandir = os.scandir

    def scan(path):
        if str(path).endswith("gone"):
            (tmp_path / "gone" / "01_sft.ipynb").unlink()
            (tmp_path / "gone").rmdir()
        return scandir(path)

    monkeypatch.setattr(intake.os, "scandir", scan)
    found = problems(tmp_path)
    assert "No such file" in found.pop("gone") and found == {
        "adam/01_sft.ipynb": "",
        "zoe/01_sft.ipynb": "",
    }


def test_files_that_vanish_meanwhile_are_problems(tmp_path, monkeypatch):
    put(tmp_path, "adam.ipynb", "gone.ipynb")
    read = intake.read_file

    def read_later(path):
        (tmp_path / "gone.ipynb").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(intake, "read_file", read_later)
    found = problems(tmp_path)
    assert "No such file" in found.pop("gone.ipynb") and found == {"adam.ipynb": ""}


def test_a_folder_that_cannot_be_opened_gets_one_sentence(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(intake.os, "scandir", refuse)
    with pytest.raises(
        GradingError, match="cannot be opened .Permission denied.: check its permissions"
    ):
        find_submissions(tmp_path)


def test_more_files_than_the_limit_get_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "MAX_FILES", 5)
    put(tmp_path, *(f"{number}.ipynb" for number in range(5)), ".hidden.ipynb", "__MACOSX/x")
    assert len(find_submissions(tmp_path)) == 5
    put(tmp_path, "one more.txt")
    with pytest.raises(GradingError, match="more than 5 files"):
        find_submissions(tmp_path)


def test_ten_thousand_files_are_the_limit():
    assert intake.MAX_FILES == 10_000


def test_a_path_that_goes_deep_does_not_end_the_listing(tmp_path):
    inner = tmp_path
    for _ in range(200):
        inner = inner / "deeper"
    put(tmp_path, "zoe.ipynb")
    put(inner, "01_sft.ipynb")
    assert sorted(students(tmp_path).values()) == ["deeper", "zoe"]


# --- archives -------------------------------------------------------------------------------------


def test_members_are_read_by_value_and_nothing_is_unpacked_to_the_disk(tmp_path):
    put(tmp_path, "zoe.zip", data=packed("01_sft.ipynb", "work/02_lora.ipynb", "data.csv", "work/"))
    found = find_submissions(tmp_path)
    assert [one.file for one in found] == ["zoe.zip!01_sft.ipynb", "zoe.zip!work/02_lora.ipynb"]
    assert [read_submission(tmp_path, one) for one in found] == [NOTEBOOK, NOTEBOOK]
    assert os.listdir(tmp_path) == ["zoe.zip"]


@pytest.mark.parametrize(
    "name",
    [
        "../01.ipynb",
        "work/../../01.ipynb",
        "/tmp/01.ipynb",
        "C:\\01.ipynb",
        "C:/01.ipynb",
        "..\\01.ipynb",
        "work\\..\\..\\01.ipynb",
    ],
)
def test_a_member_whose_name_leads_out_of_the_archive_is_a_problem(tmp_path, name):
    put(tmp_path / "in", "zoe.zip", data=packed(name, "02_lora.ipynb"))
    found = problems(tmp_path / "in")
    assert found.pop("zoe.zip!02_lora.ipynb") == ""
    file, problem = found.popitem()
    assert (
        "leads out of the archive" in problem
        and intake.unescape(file) == f"zoe.zip!{name}"
        and not found
    )
    assert sorted(os.listdir(tmp_path)) == ["in"]


def test_an_archive_without_a_notebook_is_listed(tmp_path):
    put(tmp_path, "zoe.zip", "bea/data.zip", data=packed("answers.pdf", "work/"))
    put(tmp_path, "bea/01_sft.ipynb")
    assert problems(tmp_path) == {
        "bea/01_sft.ipynb": "",
        "zoe.zip": "there is no notebook in zoe.zip: ask for a file that ends in .ipynb",
    }


def test_an_archive_in_an_archive_is_not_lost(tmp_path):
    inner = packed("01_sft.ipynb")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("angstromzoe_1_900001_work.zip", inner)
        archive.writestr("bakerbo_2_900002_01_sft.ipynb", NOTEBOOK)
        archive.writestr("bakerbo_2_900003_data.zip", inner)
    put(tmp_path, "submissions.zip", data=buffer.getvalue())
    found = find_submissions(tmp_path)
    assert [(one.student, one.problem) for one in found] == [
        ("angstromzoe", "it is an archive in an archive: unpack the outer one"),
        ("bakerbo", ""),
    ]


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"no archive", packed("01_sft.ipynb")[:-30], packed("01_sft.ipynb")[40:]]
)
def test_a_broken_archive_is_a_problem(tmp_path, data):
    found = only(put(tmp_path, "zoe.zip", data=data))
    assert (
        found.file.startswith("zoe.zip")
        and SENTENCE.fullmatch(found.problem)
        and found.sha256 == ""
    )


def test_a_broken_archive_beside_a_notebook_is_listed_too(tmp_path):
    put(tmp_path, "zoe/01_sft.ipynb", "zoe/02_lora.zip")
    assert [bool(problem) for problem in problems(tmp_path).values()] == [False, True]


def test_no_broken_byte_of_an_archive_ends_the_listing(tmp_path):
    whole = packed("01_sft.ipynb", "é.ipynb")
    for place, value in itertools.product(range(len(whole)), (0, 0x55, 0xFF)):
        data = whole[:place] + bytes([value]) + whole[place + 1 :]
        found = find_submissions(put(tmp_path, "zoe.zip", data=data))
        assert found and len({one.id for one in found}) == len(found)
        assert all(one.problem or read_submission(tmp_path, one) == NOTEBOOK for one in found)


def test_an_encrypted_member_is_a_problem(tmp_path):
    found = only(put(tmp_path, "zoe.zip", data=patched(packed("01_sft.ipynb"), flags=1)))
    assert "encrypted" in found.problem
    with pytest.raises(GradingError, match="01_sft.ipynb was not read: it is encrypted"):
        read_submission(tmp_path, found)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_without_a_bound_is_a_problem(tmp_path, method):
    found = only(put(tmp_path, "zoe.zip", data=packed("01_sft.ipynb", method=method)))
    assert "packed in a rare way" in found.problem and found.sha256 == ""


def test_a_stored_member_is_read(tmp_path):
    put(tmp_path, "zoe.zip", data=packed("01_sft.ipynb", method=zipfile.ZIP_STORED))
    assert only(tmp_path).problem == ""


def test_a_link_in_an_archive_is_a_problem(tmp_path):
    link = zipfile.ZipInfo("01_sft.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert (
        "symbolic link"
        in only(put(tmp_path, "zoe.zip", data=packed(link, data=b"/etc/passwd"))).problem
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_one_problem(tmp_path):
    found = only(put(tmp_path, "zoe.zip", data=packed("01_sft.ipynb", "01_sft.ipynb")))
    assert "two files of this name" in found.problem


def test_a_bomb_is_stopped_by_the_bytes_that_come_out(tmp_path):
    put(tmp_path, "zoe.zip", data=packed("01_sft.ipynb", "02_lora.ipynb", data=bytes(60_000_000)))
    put(tmp_path, "adam.zip", data=packed("01_sft.ipynb"))
    found = problems(tmp_path)
    assert found.pop("adam.zip!01_sft.ipynb") == ""
    assert len(found) == 2 and all(
        "more than 50 MB, and 50 MB are the limit" in one for one in found.values()
    )


@pytest.mark.parametrize("size, problem", [(10, "cannot be unpacked"), (3_000_000_000, "limit")])
def test_the_size_in_the_header_is_not_believed(tmp_path, monkeypatch, size, problem):
    monkeypatch.setattr(intake, "MAX_BYTES", 100_000)
    bomb, small = (
        packed("01_sft.ipynb", data=bytes(1_000_000)),
        packed("01_sft.ipynb", data=bytes(1000)),
    )
    put(tmp_path, "bomb.zip", data=patched(bomb, size=size))
    put(tmp_path, "small.zip", data=patched(small, size=3_000_000_000))
    found = problems(tmp_path)
    assert problem in found["bomb.zip!01_sft.ipynb"] and found["small.zip!01_sft.ipynb"] == ""


def test_what_an_archive_may_unpack_to_is_bounded_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "MAX_BYTES", 1000)
    monkeypatch.setattr(intake, "MAX_UNPACKED", 2500)
    put(
        tmp_path,
        "zoe.zip",
        data=packed("a.ipynb", "b.ipynb", "c.ipynb", "d.ipynb", data=bytes(900)),
    )
    found = list(problems(tmp_path).values())
    assert found[:2] == ["", ""] and all(
        "its archive unpacks to more than" in problem for problem in found[2:]
    )


def test_what_fails_counts_too(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "MAX_UNPACKED", 100_000)
    broken = bytearray(packed("a.ipynb", "b.ipynb", "c.ipynb", data=bytes(80_000)))
    for match in re.finditer(b"PK\x03\x04|PK\x01\x02", bytes(broken)):
        struct.pack_into(
            "<L", broken, match.start() + (14 if broken[match.start() + 2] == 3 else 16), 0
        )  # the CRC
    found = list(problems(put(tmp_path, "zoe.zip", data=bytes(broken))).values())
    assert "cannot be unpacked" in found[0] and "its archive unpacks to more" in found[2]


def test_an_archive_with_too_many_members_is_one_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "MAX_FILES", 3)
    put(tmp_path, "adam.zip", data=packed(*(f"{number}.ipynb" for number in range(3))))
    put(tmp_path, "zoe.zip", data=packed(*(f"{number}.ipynb" for number in range(4))))
    found = find_submissions(tmp_path)
    assert [one.problem for one in found[:3]] == [""] * 3 and len(found) == 4
    assert "more than 3 files" in found[3].problem


def test_names_in_archives_can_be_long_and_nasty(tmp_path):
    names = [f"{'x' * 300}.ipynb", f"{'_' * 60_000}.ipynb", *(f"{name}/01.ipynb" for name in NASTY)]
    put(tmp_path, "submissions.zip", data=packed(*names, "zoe_1_900001_01_sft.ipynb"))
    found = find_submissions(tmp_path)
    assert len({one.id for one in found}) == len(found) == len(names) + 1 - 1  # ..a is hidden
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{9,91}", one.id) for one in found)
    assert [one.file for one in found if one.problem] == [
        r"submissions.zip!\\udcff/01.ipynb"
    ]  # absolute on Windows
    assert all(one.problem or read_submission(tmp_path, one) == NOTEBOOK for one in found)


@pytest.mark.parametrize(
    "date, expected", [((2026, 11, 25, 2, 0, 4), 1795572004.0), ((1980, 0, 0, 0, 0, 0), 1764.0)]
)
def test_a_member_has_its_own_time_or_that_of_the_archive(tmp_path, date, expected):
    put(tmp_path, "zoe.zip", data=packed(zipfile.ZipInfo("01_sft.ipynb", date)))
    os.utime(tmp_path / "zoe.zip", (1764.0, 1764.0))
    assert only(tmp_path).modified == expected


# --- reading again --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zoe.ipynb", "zoe.zip"])
def test_what_has_changed_since_is_not_read(tmp_path, name):
    found = only(put(tmp_path, name, data=packed("01.ipynb")))
    put(tmp_path, name, data=packed("01.ipynb", data=b"other"))
    with pytest.raises(GradingError, match="has changed since the submissions were listed"):
        read_submission(tmp_path, found)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"PK"),
        lambda path: path.write_bytes(packed("other.ipynb")),
    ],
)
def test_what_is_gone_is_told_in_one_sentence(tmp_path, change):
    found = only(put(tmp_path, "zoe.zip", data=packed("01.ipynb")))
    change(tmp_path / "zoe.zip")
    with pytest.raises(
        GradingError, match="zoe.zip!01.ipynb was there and cannot be read now"
    ) as error:
        read_submission(tmp_path, found)
    assert SENTENCE.fullmatch(str(error.value))


def test_a_link_put_in_place_of_a_notebook_is_not_read(tmp_path):
    put(tmp_path, "outside/same.ipynb")
    found = only(put(tmp_path / "in", "zoe.ipynb"))
    (tmp_path / "in" / "zoe.ipynb").unlink()
    (tmp_path / "in" / "zoe.ipynb").symlink_to(tmp_path / "outside" / "same.ipynb")
    with pytest.raises(GradingError, match="symbolic link"):
        read_submission(tmp_path / "in", found)


# Which submissions count --------------------------------------------------------------------------


def record(id, earned=0, file="", **fields):
    return made.record(submission=id, earned=earned, file=file or id, **fields)


def counting(policy, *records):
    """The ids that count, whatever the order of the records."""
    answers = []
    for order in itertools.islice(itertools.permutations(records), 24):
        chosen = which_count(list(order), policy)
        assert set(chosen) == {one.submission for one in records}
        answers.append({id for id, counts in chosen.items() if counts})
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def test_without_records_nothing_counts():
    assert which_count([], "latest") == which_count([], "best") == {}


@pytest.mark.parametrize("policy", ["latest", "best"])
def test_one_record_counts_for_each_student_and_lab(policy):
    records = [
        record("a"),
        record("b", lab="02_lora"),
        record("c", student="Zoe"),
        record("d", lab=None),
    ]
    assert counting(policy, *records) == {"a", "b", "c", "d"}


def test_the_latest_is_the_highest_attempt_then_the_newest_then_the_last_name():
    assert counting("latest", record("a", attempt=10), record("b", attempt=9, modified=9.0)) == {
        "a"
    }
    assert counting("latest", record("a", attempt=1), record("b", modified=9.0)) == {"a"}
    assert counting("latest", record("a", attempt=0), record("b", modified=9.0)) == {"a"}
    assert counting("latest", record("a", modified=2.0), record("b", modified=1.0)) == {"a"}
    assert counting(
        "latest", record("a", attempt=2, modified=2.0), record("b", attempt=2, modified=1.0)
    ) == {"a"}
    assert counting("latest", record("a", file="y"), record("b", file="x")) == {"a"}


def test_the_latest_counts_whatever_its_points_and_status():
    for status in ("graded", "needs review", "ungradable"):
        assert counting("latest", record("a", 21), record("b", 0, status=status, modified=1.0)) == {
            "b"
        }


def test_the_best_has_the_most_points_then_is_the_latest():
    assert counting(
        "best", record("a", 9), record("b", 10), record("c", 2, attempt=5, modified=9.0)
    ) == {"b"}
    assert counting("best", record("a", 9, attempt=2), record("b", 9, modified=9.0)) == {"a"}
    assert counting("best", record("a", 9, modified=2.0), record("b", 9, modified=1.0)) == {"a"}


def test_what_is_not_graded_is_best_only_where_nothing_is_graded():
    review = record("r", 20, status="needs review", modified=9.0)
    broken = record("u", status="ungradable", modified=10.0)
    assert counting("best", record("g", 0), review, broken) == {"g"}
    assert counting("best", review, broken) == {"u"}


@pytest.mark.parametrize(
    "older, newer",
    [
        ("01_sft.ipynb", "01_sft (1).ipynb"),
        ("zoe/01_sft.ipynb", "zoe/01_sft-2.ipynb"),
        ("try 9.ipynb", "try 10.ipynb"),
        ("v2/try.ipynb", "v11/try.ipynb"),
        ("x_01.IPYNB", "x_02.ipynb"),
        ("x" * 9, "x" * 9 + "9" * 5000),
        ("a.zip!draft.ipynb", "a.zip!final.ipynb"),
    ],
)
def test_of_equal_times_the_last_name_counts_and_is_told(older, newer):
    records = [
        record("a", 3, file=older, modified=1000.7),
        record("b", 5, file=newer, modified=1000.2),  # a copy of the folder takes its time
    ]
    assert counting("latest", *records) == {"b"}
    told = {one.submission: one.doubt for one in with_ties_doubted(records, "latest")}
    assert told["a"] == "" and SENTENCE.fullmatch(told["b"]) and "the same time" in told["b"]
    assert attention(with_ties_doubted(records, "latest"), {"b": True}) == {"zoe"}


@pytest.mark.parametrize(
    "other",
    [
        {"earned": 5},  # the same marks
        {"modified": 1002.0},
        {"attempt": 1},
        {"student": "bo"},
        {"lab": "02_lora"},
    ],
)
def test_what_makes_no_difference_or_is_not_equal_is_not_told(other):
    records = [record("a", 5, modified=1000.0), record("b", **{"modified": 1000.0} | other)]
    assert not any(one.doubt for one in with_ties_doubted(records, "latest"))


def test_equal_times_play_no_part_among_the_best():
    records = [record("a", 5), record("b", 3), record("c", 5)]
    assert not any(one.doubt for one in with_ties_doubted(records, "best"))


def test_another_policy_gets_one_sentence():
    with pytest.raises(GradingError, match="no policy 'first': take latest or best"):
        which_count([record("a")], "first")
