"""Evidence, measures, and the result file."""

import json
import math
import os

import numpy as np
import pytest
import torch
from course import (
    CourseError,
    EvidenceError,
    Sweep,
    cells,
    evidence,
    finish,
    learner,
    mean_interval,
    measure,
    on_trial,
    provenance,
    record,
    session,
    store,
    sweep,
)
from course.claims import satisfies

CLAIMS = """
- {id: C1.01, lab: 01_tiny, quote: it is small, verdict: wrong, expected: small, bound: "<= 0.05", unit: share of samples}
- {id: C1.02, lab: 01_tiny, quote: it is large, verdict: correct, expected: large, bound: "> 2", unit: nats}
- {id: C1.03, lab: 02_other, expected: large, bound: "> 2", unit: nats}
- {id: C1.04, verdict: correct}
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A started lab 01_tiny in a book of its own, with no learner's function in use."""
    labs = tmp_path / "labs"
    (labs / "results").mkdir(parents=True)
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters" / "claims.yml").write_text(CLAIMS)
    for name in ("COURSE_RESULTS", "COURSE_STORED", "COURSE_SWEEPS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "LABS", labs)
    monkeypatch.setattr(session, "_lab", session.Lab("01_tiny", "cpu", "small"))
    monkeypatch.setattr(learner, "_attempted", {})
    return session._lab


@pytest.fixture
def rates(monkeypatch):
    """A function that declares the sweep tiny.rates over some settings."""
    monkeypatch.setattr(provenance, "digest", lambda run, *others: "0123456789ab")
    return lambda *grid: Sweep("tiny.rates", lambda rate: {"loss": rate}, grid, {"loss": 1})


def complete():
    evidence("C1.01", 0.02, seeds=(0, 1))
    evidence("C1.02", torch.tensor([3.5]))
    measure("tiny.x", 0.995, interval=[0.99, 1.0], seeds=range(3))
    measure("tiny.steps", 12000, "steps")


# evidence


def test_the_claims_on_trial_are_listed_with_what_was_expected(lab, capsys):
    on_trial()
    assert capsys.readouterr().out.splitlines()[:2] == [
        "C1.01  “it is small”",
        "C1.02  “it is large”",
    ]


def test_a_bound_that_holds_is_recorded_and_told(lab, capsys):
    evidence("C1.01", np.float32(0.5) / 16, seeds=(0, 1))
    assert capsys.readouterr().out == (
        "C1.01: bound met, 0.03125 (<= 0.05), share of samples\n"
        "       the ledger's verdict on the statement: wrong\n"
    )
    assert lab.claims == {
        "C1.01": {
            "value": 0.03125,
            "expected": "small",
            "bound": "<= 0.05",
            "holds": True,
            "seeds": [0, 1],
        }
    }


def test_a_bound_that_fails_raises_and_blocks_the_file(lab):
    complete()
    with pytest.raises(
        EvidenceError, match="C1.02 does not hold: 2 is not > 2, nats. The measurement"
    ):
        evidence("C1.02", 2)
    with pytest.raises(CourseError, match="C1.02 does not hold, so nothing was written"):
        finish()
    assert not (session.LABS / "results" / "local").exists()


def test_a_learners_own_function_is_named_first(lab, monkeypatch):
    monkeypatch.setattr(learner, "_attempted", {"sft.loss": True, "sft.mask": False})
    with pytest.raises(
        EvidenceError, match="Your own function is in use for sft.loss: run its check"
    ):
        evidence("C1.01", 1)


@pytest.mark.parametrize("claim", ["C1.03", "C1.04", "C9.99"])
def test_a_claim_of_another_lab_is_refused(lab, claim):
    with pytest.raises(CourseError, match=f"{claim} is not assigned to 01_tiny"):
        evidence(claim, 3)


def test_one_value_for_each_seed_is_recorded_as_mean_and_interval(lab, capsys):
    measure("tiny.x", [1.0, 2.0, torch.tensor(3.0)], "nats", seeds=(4, 5, 6))
    low, high = lab.measures["tiny.x"].pop("interval")
    assert (low, high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)  # 4.303 / √3
    assert lab.measures["tiny.x"] == {"value": 2.0, "unit": "nats", "seeds": [4, 5, 6]}
    assert capsys.readouterr().out == "tiny.x = 2 nats [-0.4843, 4.484]\n"
    measure("tiny.y", (0.5,), "share", seeds=[0])
    assert lab.measures["tiny.y"]["value"] == 0.5 and lab.measures["tiny.y"]["interval"] is None


@pytest.mark.parametrize(
    "values, seeds, told",
    [
        ([], None, "mean_interval takes 1 to 10 values"),
        ([1.0, 2.0], (0, 1, 2), "2 values stand beside 3 seeds: give one value for each seed."),
        ([1.0, math.nan], (0, 1), "the value is nan"),
        ([1.0, "2"], (0, 1), "str is not one number"),
    ],
)
def test_values_that_are_not_one_number_for_each_seed_are_refused(lab, values, seeds, told):
    with pytest.raises(CourseError, match=told):
        measure("tiny.x", values, "nats", seeds=seeds)
    with pytest.raises(CourseError, match="C1.01: list is not one number"):
        evidence("C1.01", values)
    assert lab.measures == {}


@pytest.mark.parametrize(
    "value, told",
    [
        (math.nan, "the value is nan"),
        (math.inf, "the value is inf"),
        (torch.tensor(math.nan), "the value is nan"),
        ("0.01", "str is not one number"),
        (None, "NoneType is not one number"),
        (torch.zeros(2), "Tensor is not one number"),
        (np.zeros(2), "ndarray is not one number"),
    ],
    ids=repr,
)
def test_what_is_no_finite_number_is_refused(lab, value, told):
    with pytest.raises(CourseError, match=f"C1.01: {told}"):
        evidence("C1.01", value)
    with pytest.raises(CourseError, match=f"tiny.x: {told}"):
        measure("tiny.x", value)
    assert lab.claims == lab.measures == {}


@pytest.mark.parametrize(
    "text, told",
    [
        (
            "- {id: C1.01, lab: 01_tiny, bound: '> 0'}",
            "C1.01 lacks expected and quote and unit and verdict",
        ),
        (
            "- {id: C1.01, lab: 01_tiny, quote: x, verdict: wrong, expected: x, unit: x, bound: about 1}",
            "'about 1' is not a",
        ),
        ("- [", "claims.yml cannot be read"),
    ],
)
def test_a_broken_claims_file_is_told(lab, text, told):
    (session.LABS.parent / "chapters" / "claims.yml").write_text(text)
    with pytest.raises(CourseError, match=told):
        evidence("C1.01", 1)


@pytest.mark.parametrize(
    "bound, below, at, above",
    [
        ("<= 0.05", True, True, False),
        ("< 0.05", True, False, False),
        (">= 5e-2", False, True, True),
        ("> 0.05", False, False, True),
        ("==0.05", False, True, False),
    ],
)
def test_bounds(bound, below, at, above):
    assert [satisfies(value, bound) for value in (-1, 0.05, 1)] == [below, at, above]


# measures


def test_measures_are_recorded_and_told(lab, capsys):
    measure("tiny.x", 0.995, interval=[0.99, 1.0], seeds=(0, 1))
    measure("tiny.steps", 12000, "steps")
    assert capsys.readouterr().out == "tiny.x = 0.995 share [0.99, 1]\ntiny.steps = 12,000 steps\n"
    assert lab.measures == {
        "tiny.x": {"value": 0.995, "unit": "share", "interval": [0.99, 1.0], "seeds": [0, 1]},
        "tiny.steps": {"value": 12000, "unit": "steps", "interval": None, "seeds": None},
    }


@pytest.mark.parametrize("name", ["tiny", "Tiny.x", "tiny.", "tiny.x y", ".x", "tiny.x-y"])
def test_a_name_of_another_form_is_refused(lab, name):
    with pytest.raises(CourseError, match="is not the name of a measure"):
        measure(name, 1)


@pytest.mark.parametrize("interval", [[0.6, 0.7], [0.1, 0.2], [0.9, 0.1], [0.1, math.nan]])
def test_an_interval_without_the_value_is_refused(lab, interval):
    with pytest.raises(CourseError, match="tiny.x: the"):
        measure("tiny.x", 0.5, interval=interval)
    assert lab.measures == {}


def test_the_mean_and_its_t_interval():
    mean, (low, high) = mean_interval([1, 2, 3])
    half = 4.303 / math.sqrt(3)  # standard deviation 1, two degrees of freedom
    assert (mean, low, high) == pytest.approx((2, 2 - half, 2 + half))
    assert mean_interval(torch.tensor([0.5])) == (0.5, None)
    assert mean_interval([1.0] * 10) == (1, [1, 1])
    for count in (0, 11):
        with pytest.raises(
            CourseError, match=f"takes 1 to 10 values, one per seed; it was given {count}"
        ):
            mean_interval([1.0] * count)


def test_the_t_interval_covers_the_mean_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    for count in (2, 3, 5, 10):
        hits = 0
        for values in torch.randn(2000, count, generator=generator).tolist():
            low, high = mean_interval(values)[1]
            hits += low <= 0 <= high
        assert 0.935 < hits / 2000 < 0.965


# the result file


def test_finish_writes_the_whole_record(lab, capsys):
    complete()
    capsys.readouterr()
    finish()
    path = session.LABS / "results" / "local" / "01_tiny.json"
    record = json.loads(path.read_text())
    assert list(record) == [
        "lab",
        "device",
        "scale",
        "versions",
        "seconds",
        "peak_mib",
        "claims",
        "measures",
    ]
    assert (record["lab"], record["claims"], record["measures"]) == (
        "01_tiny",
        lab.claims,
        lab.measures,
    )
    assert record["peak_mib"] > 10 and record["seconds"] >= 0 and record["versions"]["torch"]
    assert capsys.readouterr().out == (
        "01_tiny is recorded: bounds that are met: 2, measures: 2\n"
        "written to results/local/01_tiny.json\n"
    )
    assert [file.name for file in path.parent.iterdir()] == ["01_tiny.json"]


def test_finish_records_the_sweeps_that_the_lab_used(lab, rates, monkeypatch, tmp_path):
    complete()
    lab.scale = "full"
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "mine"))
    stored, _ = sweep(rates({"rate": 1}, {"rate": 2}), live=[{"rate": 2}])
    finish()
    record = json.loads((tmp_path / "mine" / "01_tiny.json").read_text())
    seconds = round(sum(row["seconds"] for row in stored), 1)
    assert record["sweeps"] == {
        "tiny.rates": {"rows": 2, "live": 1, "device": "cpu", "seconds": seconds}
    }
    assert (tmp_path / "mine" / "sweeps" / "tiny.rates.json").exists()


def test_a_sweep_may_go_elsewhere_than_the_result(lab, rates, monkeypatch, tmp_path):
    complete()
    lab.scale = "full"
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "mine"))
    monkeypatch.setenv("COURSE_SWEEPS", "book")
    sweep(rates({"rate": 1}))
    finish()
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["01_tiny.json"]
    assert [path.name for path in (session.LABS / "results").rglob("*.json")] == ["tiny.rates.json"]


def test_finish_asks_for_missing_evidence(lab):
    evidence("C1.01", 0)
    with pytest.raises(CourseError, match="C1.02 is assigned to 01_tiny and has no evidence yet"):
        finish()


@pytest.mark.parametrize("device, place", [("cpu", "01_tiny.json"), ("cuda", "gpu/01_tiny.json")])
def test_the_books_results_have_their_place(lab, monkeypatch, device, place):
    monkeypatch.setenv("COURSE_RESULTS", "book")
    lab.device = device
    complete()
    finish()
    record = json.loads((session.LABS / "results" / place).read_text())
    assert ("peak_gpu_mib" in record) == (device == "cuda")


def test_yours_stand_beside_the_books(lab, monkeypatch, capsys, tmp_path):
    complete()
    monkeypatch.setenv("COURSE_RESULTS", "book")
    finish()
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "mine"))
    measure("tiny.x", 0.5)
    measure("tiny.new", 1)
    capsys.readouterr()
    finish()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["yours", "the", "book"] in rows
    assert ["tiny.x", "0.5", "0.995", "share"] in rows
    assert ["tiny.new", "1", "-", "share"] in rows
    assert (tmp_path / "mine" / "01_tiny.json").exists()


def test_a_stored_run_prints_the_same_every_time(lab, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_STORED", "1")
    complete()
    capsys.readouterr()
    finish()
    assert capsys.readouterr().out == "01_tiny is recorded: bounds that are met: 2, measures: 2\n"


def test_a_folder_that_cannot_be_written_costs_nothing(lab, monkeypatch, tmp_path):
    complete()
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "file"))
    with pytest.raises(
        CourseError, match="01_tiny.json could not be written .* set COURSE_RESULTS"
    ):
        finish()
    monkeypatch.delenv("COURSE_RESULTS")
    finish()
    assert (session.LABS / "results" / "local" / "01_tiny.json").exists()


def test_a_write_that_breaks_off_leaves_the_old_file(lab, monkeypatch, tmp_path):
    path = tmp_path / "kept.json"
    path.write_text("old")

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CourseError, match=r"could not be written \(No space left on device\)"):
        store.write_whole(path, "new")
    assert path.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["chapters", "kept.json", "labs"]


@pytest.mark.parametrize(
    "stored, mark, marks", [("1", "0123", ["0123"]), ("0", "0123", []), ("1", None, [])]
)
def test_a_run_that_is_stored_marks_the_cell_of_each_result(lab, monkeypatch, stored, mark, marks):
    monkeypatch.setenv("COURSE_STORED", stored)
    monkeypatch.setattr(cells, "running", lambda: mark)
    evidence("C1.01", 0.02)
    measure("tiny.x", 0.995)
    for entry in (lab.claims["C1.01"], lab.measures["tiny.x"]):
        assert [entry[name] for name in entry if name == "cell"] == marks


def test_what_was_expected_is_folded_and_stands_in_plain_text_too(lab, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(record, "display", lambda data, raw: shown.append(data))
    on_trial()
    (bundle,) = shown
    assert bundle["text/plain"].splitlines()[0] == (
        "C1.01  small. Bound: <= 0.05, share of samples"
    )
    assert "<details><summary>What was expected" in bundle["text/html"]
    assert "<dt>C1.02</dt><dd>large. Bound: &gt; 2, nats</dd>" in bundle["text/html"]
