"""The capstone: hand-ins of every kind in, a leaderboard out."""

import csv
import importlib
import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save

from grading.capstone import __main__ as command
from grading.capstone import artefacts, leaderboard
from grading.errors import GradingError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "labs"))

from experiments import shared  # noqa: E402 (labs/ first)
from methods import adapter_files, lora  # noqa: E402

CONFIG, WEIGHTS = artefacts.CONFIG, artefacts.WEIGHTS


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A folder with a small adapter for the base."""
    folder, model = tmp_path_factory.mktemp("adapter"), shared.fresh()
    torch.manual_seed(0)
    lora.inject(model, rank=2, alpha=8)
    adapter_files.save(model, folder)
    return folder


@pytest.fixture
def capstone():
    """The module as it is now: tests of the grader import the course's packages afresh."""
    return importlib.import_module("experiments.capstone")


@pytest.fixture
def class_folder(tmp_path, adapter, monkeypatch, capstone):
    """A folder for hand-ins, examined on a few tickets."""
    monkeypatch.setattr(capstone, "TICKETS", 4)
    monkeypatch.setattr(capstone, "reading", lambda policy: 1.0)
    folder = tmp_path / "class"
    folder.mkdir()
    return folder


def hand_in(folder, adapter, **replaced):
    folder.mkdir(parents=True)
    for name in (CONFIG, WEIGHTS):
        (folder / name).write_bytes((adapter / name).read_bytes())
    (folder / "defence.md").write_text("I chose this.")
    for name, content in replaced.items():
        (folder / {"config": CONFIG, "weights": WEIGHTS}[name]).write_bytes(content)


def zipped(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def files_of(adapter):
    return {name: (adapter / name).read_bytes() for name in (CONFIG, WEIGHTS)}


def table(folder):
    text = (folder.with_name("class.capstone") / "leaderboard.csv").read_text()
    return {row["student"]: row for row in csv.DictReader(io.StringIO(text))}


def test_a_class_becomes_a_leaderboard(class_folder, adapter, capsys):
    hand_in(class_folder / "ann", adapter)
    hand_in(class_folder / "bob" / "my adapter", adapter)
    zipped(class_folder / "cy.zip", {f"work/{k}": v for k, v in files_of(adapter).items()})
    (class_folder / "dee").mkdir()
    assert command.main([str(class_folder), "--word", "x"]) == command.SOME_MISSING
    told = table(class_folder)
    assert [told[name]["place"] for name in ("ann", "bob", "cy", "dee")] == ["1", "1", "1", "–"]
    assert told["ann"]["gold"] == told["cy"]["gold"] and told["ann"]["defence"] == "3 words"
    assert told["cy"]["defence"] == "missing" and CONFIG in told["dee"]["note"]
    page = (class_folder.with_name("class.capstone") / "leaderboard.html").read_text()
    assert all(name in page for name in told) and "<script" not in page
    assert "ann: " in capsys.readouterr().out


def test_other_words_draw_other_tickets(class_folder, adapter, capstone):
    monkey = [capstone.examine(adapter, word).gold for word in ("a", "b", "c", "a")]
    assert monkey[0] == monkey[3] and len(set(monkey)) > 1


def test_the_budget_is_told(adapter, class_folder, monkeypatch, capstone):
    assert capstone.examine(adapter).faults == ()
    monkeypatch.setattr(capstone, "MOST_BYTES", 1_000 + artefacts.MOST[WEIGHTS] // 100)
    monkeypatch.setattr(capstone, "MOST_KL", -1.0)
    monkeypatch.setattr(capstone, "LEAST_READING", 1.1)
    size, kl, read = capstone.examine(adapter).faults
    assert "lower the rank" in size and "stop earlier" in kl and "questions" in read


def broken_weights(adapter, change, which=None):
    """The file of weights with one tensor changed, or all whose name contains `which`."""
    tensors = load_file(adapter / WEIGHTS)
    for key in [key for key in tensors if which in key] if which else [next(iter(tensors))]:
        tensors[key] = change(tensors[key])
    return save(tensors)


def extended_weights(adapter, name, tensor):
    return save(load_file(adapter / WEIGHTS) | {f"base_model.model.{name}": tensor})


def described_weights(adapter, base):
    return save(load_file(adapter / WEIGHTS), {"base": base})


def settings(adapter, **changed):
    return json.dumps(json.loads((adapter / CONFIG).read_text()) | changed).encode()


CASES = {
    "no settings": (lambda adapter: {"config": b"[]"}, "holds no settings"),
    "no JSON": (lambda adapter: {"config": b"{'r': 8}"}, "is no JSON"),
    "deep JSON": (lambda adapter: {"config": b"[" * 60_000}, "is no JSON"),
    "a regular expression": (
        lambda adapter: {"config": settings(adapter, target_modules="(a+)+$")},
        "as a list",
    ),
    "numbers for names": (
        lambda adapter: {"config": settings(adapter, target_modules=[1])},
        "as a list",
    ),
    "another kind": (lambda adapter: {"config": settings(adapter, peft_type="IA3")}, "only LORA"),
    "beyond LoRA": (lambda adapter: {"config": settings(adapter, use_dora=True)}, "use_dora"),
    "large settings": (lambda adapter: {"config": b" " * 70_000}, "are read at most"),
    "large weights": (lambda adapter: {"weights": bytes(3_000_001)}, "smaller rank"),
    "truncated weights": (
        lambda adapter: {"weights": (adapter / WEIGHTS).read_bytes()[:500]},
        "truncated",
    ),
    "pickled weights": (lambda adapter: {"weights": b"\x80\x04K\x01."}, "truncated or no file"),
    "not finite": (
        lambda adapter: {"weights": broken_weights(adapter, lambda t: t * float("nan"))},
        "not finite",
    ),
    "another layer": (
        lambda adapter: {"config": settings(adapter, target_modules=["wq"])},
        "no layer is named 'wq'",
    ),
    "rank 0": (lambda adapter: {"config": settings(adapter, r=0)}, "whole number from 1 up"),
    "a rank that fills a page": (
        lambda adapter: {"config": settings(adapter, r=10**300)},
        "gives r a value that is far too long",
    ),
    "a kind that fills a page": (
        lambda adapter: {"config": settings(adapter, peft_type=[[[["x"] * 9] * 9] * 9])},
        "gives peft_type a value that is far too long",
    ),
    "a kind that moves the cursor": (
        lambda adapter: {"config": settings(adapter, peft_type="\x1b[2J\ud800IA3")},
        "of the type \ufffdIA3: only LORA",
    ),
    "numbers that overflow": (
        lambda adapter: {
            "config": settings(adapter, lora_alpha=1e308),
            "weights": broken_weights(adapter, lambda t: t * 1e30, ".lora_"),
        },
        "numbers overflow",
    ),
    "other weights beside": (
        lambda adapter: {"weights": extended_weights(adapter, "lm_head.weight", torch.ones(2))},
        "brings base_model.model.lm_head.weight",
    ),
    "metadata that overflow": (
        lambda adapter: {"weights": described_weights(adapter, '{"a": [1' + "0" * 400 + "]}")},
        "could not be examined (OverflowError",
    ),
    "whole numbers": (
        lambda adapter: {"weights": broken_weights(adapter, lambda t: t.long(), ".lora_")},
        "whole numbers",
    ),
    "another shape": (
        lambda adapter: {"weights": broken_weights(adapter, lambda t: t[:, :3].contiguous())},
        "adapter",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_hand_ins_get_a_sentence_and_the_others_a_place(class_folder, adapter, case):
    made, said = CASES[case]
    hand_in(class_folder / "good", adapter)
    hand_in(class_folder / "bad", adapter, **made(adapter))
    assert command.main([str(class_folder), "--word", "x"]) == command.SOME_MISSING
    told = table(class_folder)
    assert said in told["bad"]["note"] and told["bad"]["gold"] == ""
    assert told["good"]["place"] == "1"
    assert "/tmp" not in told["bad"]["note"]


def test_links_are_not_followed(class_folder, adapter):
    hand_in(class_folder / "good", adapter)
    os.symlink(adapter, class_folder / "linked")
    (class_folder / "inside").mkdir()
    for name in (CONFIG, WEIGHTS):
        os.symlink(adapter / name, class_folder / "inside" / name)
    (class_folder / "below").mkdir()
    os.symlink(adapter, class_folder / "below" / "adapter")
    command.main([str(class_folder), "--word", "x"])
    told = table(class_folder)
    assert "symbolic link" in told["linked"]["note"]
    assert CONFIG in told["inside"]["note"] and CONFIG in told["below"]["note"]


def test_pipes_are_not_opened(class_folder, adapter):
    hand_in(class_folder / "good", adapter)
    (class_folder / "pipe").mkdir()
    os.mkfifo(class_folder / "pipe" / CONFIG)
    command.main([str(class_folder), "--word", "x"])
    os.mkfifo(class_folder / "pipe.zip")
    command.main([str(class_folder), "--word", "x"])
    notes = [each.problem for each in artefacts.find_artefacts(class_folder)]
    assert [CONFIG in note for note in notes] == [False, True, False]
    assert "neither a folder nor a .zip" in notes[2]


def test_moodle_puts_archives_into_folders(class_folder, adapter):
    folder = class_folder / "Zoe Doe_12_assignsubmission_file_"
    folder.mkdir()
    zipped(folder / "capstone.zip", files_of(adapter) | {"Defense.md": "three short words"})
    (found,) = artefacts.find_artefacts(class_folder)
    assert not found.problem and set(found.files) == set(artefacts.MOST)


def test_what_is_no_hand_in_is_listed(class_folder, adapter):
    hand_in(class_folder / "good", adapter)
    hand_in(class_folder / "deep" / "a" / "b", adapter)
    (class_folder / "work.rar").write_bytes(b"Rar!")
    (class_folder / ".DS_Store").write_bytes(b"")
    (class_folder / "Thumbs.db").write_bytes(b"")
    (class_folder / os.fsdecode(b"caf\xe9")).mkdir()
    (class_folder / "\u200b").mkdir()
    assert command.main([str(class_folder), "--word", "x"]) == command.SOME_MISSING
    told = table(class_folder)
    assert set(told) == {"good", "deep", "work.rar", "caf\ufffd", "(no name)"}
    assert "neither a folder nor a .zip" in told["work.rar"]["note"]
    assert "or one folder below" in told["deep"]["note"]


def test_a_defence_is_counted_where_the_adapter_is_refused(class_folder, adapter):
    hand_in(class_folder / "large", adapter, weights=bytes(3_000_001))
    command.main([str(class_folder), "--word", "x"])
    assert table(class_folder)["large"]["defence"] == "3 words"


def test_a_broken_base_is_nobodys_fault(class_folder, adapter, monkeypatch, capsys, capstone):
    error = importlib.import_module("helpdesk.base").BaseError

    def fail(*_):
        raise error("the base model's manifest.json is missing")

    hand_in(class_folder / "good", adapter)
    monkeypatch.setattr(capstone, "examine", fail)
    assert command.main([str(class_folder), "--word", "x"]) == command.USAGE
    assert "manifest.json" in capsys.readouterr().err
    assert not class_folder.with_name("class.capstone").exists()


def test_archives_are_read_with_care(class_folder, adapter):
    good = files_of(adapter)
    zipped(class_folder / "twice.zip", good | {f"b/{CONFIG}": b"{}"})
    zipped(
        class_folder / "bomb.zip",
        {CONFIG: good[CONFIG], WEIGHTS: bytes(50_000_000)},
        compression=zipfile.ZIP_DEFLATED,
    )
    zipped(class_folder / "many.zip", {f"f{number}": b"" for number in range(1_200)})
    (class_folder / "damaged.zip").write_bytes(b"PK\x03\x04 no archive")
    whole = bytearray((class_folder / "twice.zip").read_bytes())
    zipped(class_folder / "flipped.zip", good)
    whole = bytearray((class_folder / "flipped.zip").read_bytes())
    whole[200:260] = bytes(60)
    (class_folder / "flipped.zip").write_bytes(bytes(whole))
    with (class_folder / "huge.zip").open("wb") as file:
        file.truncate(artefacts.MOST_ARCHIVE + 1)
    found = {each.student: each.problem for each in artefacts.find_artefacts(class_folder)}
    assert "two files" in found["twice"] and "are read at most" in found["bomb"]
    assert "more than 1,000 files" in found["many"]
    assert "damaged" in found["damaged"] and "damaged" in found["flipped"]
    assert "larger than" in found["huge"]


def test_a_size_that_lies_is_found_out(class_folder, adapter):
    listed = [(CONFIG, 10, lambda most: b"x" * most)]
    with pytest.raises(artefacts.Refused, match="larger than it says"):
        artefacts.collect({}, iter(listed))


def test_an_empty_or_missing_folder_is_told(tmp_path):
    for folder, said in ((tmp_path / "none", "no folder"), (tmp_path, "no hand-in")):
        with pytest.raises(GradingError, match=said):
            artefacts.find_artefacts(folder)
        assert command.main([str(folder), "--word", "x"]) == command.USAGE


class Report(NamedTuple):
    gold: float
    error: float = 0.05
    exact: float = 0.5
    kl: float = 3.0
    reading: float = 1.0
    bytes: int = 1000
    faults: tuple = ()


def entry(student, *values, **named):
    return leaderboard.Entry(student, Report(*values, **named), "", 10)


def test_who_cannot_be_told_apart_shares_a_place():
    some = [
        entry("d", 1.00),
        entry("a", 2.00),
        entry("c", 1.89),
        entry("b", 1.80),
        entry("x", 9.0, faults=("too large",)),
        leaderboard.Entry("y", None, "no adapter", 0),
    ]
    ordered = leaderboard.ranked(some)
    assert [each.student for each in ordered] == ["a", "c", "b", "d", "x", "y"]
    assert leaderboard.places(ordered) == ["1", "1", "3", "4", "–", "–"]


def test_hostile_names_show_and_do_nothing():
    some = [entry("<script>alert(1)</script>", 1.0), entry("=HYPERLINK(1)", 0.5)]
    page = leaderboard.as_page(some)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "\n2,'=HYPERLINK(1)" in leaderboard.as_csv(some)
    assert "default-src 'none'" in page


def test_numbers_stay_numbers_in_the_spreadsheet():
    told = leaderboard.as_csv([entry("ann", -1.5), entry("bob", -2.5, kl=-0.01)])
    assert "1,ann,-1.50," in told and ",0.0,100%," in told


def test_the_page_tells_the_examined_and_the_others_apart():
    missing = leaderboard.Entry("eve", None, "<b>no adapter</b>", 0)
    page = leaderboard.as_page([entry("ann", 1.0), missing])
    assert "<td>ann</td>" in page and "<td>eve" not in page
    assert "<strong>eve</strong>: &lt;b&gt;no adapter" in page
    assert "<table>" not in leaderboard.as_page([missing])
    assert "Not examined" not in leaderboard.as_page([entry("ann", 1.0)])
