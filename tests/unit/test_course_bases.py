"""What a lab says of itself on another base than its own."""

import json

import pytest
from course import bases, finish, machine, measure, session, start, store

LABS = sorted(path.stem for path in session.LABS.glob("[0-9][0-9]_*.py"))


@pytest.fixture(autouse=True)
def in_labs(monkeypatch, tmp_path):
    monkeypatch.chdir(session.LABS)
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path))
    monkeypatch.delenv("COURSE_BASE", raising=False)
    monkeypatch.setattr(session, "_lab", None)
    monkeypatch.setattr(machine, "pick_device", lambda: "cpu")


def test_every_lab_says_what_it_does_on_another_base():
    assert list(bases.ON_ANOTHER) == LABS


def test_a_lab_on_its_own_base_says_nothing(capsys):
    assert bases.notice("01_sft") == bases.notice(bases.REAL) == ""
    start("01_sft")
    assert capsys.readouterr().out == "01_sft on cpu, scale small\n"


@pytest.mark.parametrize("lab", ["01_sft", "10_failure_modes", bases.REAL])
def test_a_lab_on_another_base_says_so_at_its_start(lab, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_BASE", "somewhere/else")
    start(lab)
    said = " ".join(capsys.readouterr().out.split())
    assert "On another base, somewhere/else: this lab" in said
    assert bases.ON_ANOTHER[lab] in said and said.endswith(bases.NOT_ITS_OWN)


def test_the_real_model_is_the_last_labs_own_base_and_no_other_labs(monkeypatch):
    monkeypatch.setenv("COURSE_BASE", str(bases.smollm2.place()))
    assert bases.base_of(bases.REAL) == bases.SHIPPED and not bases.notice(bases.REAL)
    assert bases.base_of("01_sft") == "smollm2" and "smollm2" in bases.notice("01_sft")


@pytest.mark.parametrize("base", ["", "somewhere/else"])
def test_a_result_names_another_base_and_its_comparison_too(base, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_BASE", base)
    monkeypatch.setattr(machine, "stored", lambda: False)
    monkeypatch.setattr("course.claims.assigned_to", lambda lab: {})
    lab = start("08_cost")
    measure("cost.some", 0.5)
    finish()
    record = json.loads(store.result_path(lab).read_text("utf8"))
    assert record.get("base", "") == base
    assert (bases.NOT_ITS_OWN in " ".join(capsys.readouterr().out.split())) == bool(base)
