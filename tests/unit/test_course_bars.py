"""progress(): a bar on the screen, one plain line in a stored run."""

import pytest
from course import progress


@pytest.fixture
def stored(monkeypatch):
    monkeypatch.setenv("COURSE_STORED", "1")


def test_a_stored_run_prints_one_line_at_the_end_and_nothing_on_stderr(stored, capsys):
    assert list(progress("abc", "Train")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("Train: 3 steps\n", "")


def test_a_loop_that_is_left_early_is_told_too(stored, capsys):
    for letter in progress("abc", "Train"):
        if letter == "b":
            break
    assert capsys.readouterr() == ("Train: 2 steps\n", "")


def test_an_empty_loop_is_told_too(stored, capsys):
    assert list(progress([], "Train")) == []
    assert capsys.readouterr().out == "Train: 0 steps\n"


@pytest.mark.filterwarnings("error")
def test_a_reader_sees_a_bar(monkeypatch, capsys):
    monkeypatch.delenv("COURSE_STORED", raising=False)
    assert list(progress(iter("abc"), "Train", total=3)) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == "" and "Train" in err and "3" in err
