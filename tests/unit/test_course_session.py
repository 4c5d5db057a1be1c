"""start(): the working directory, the scale, the seeds, the device."""

import os
import random
import re
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import torch
from course import CourseError, machine, session, start


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """Each test begins with none of the quiet settings and leaves none behind."""
    for name in machine.QUIET:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def in_labs(monkeypatch):
    monkeypatch.chdir(session.LABS)
    monkeypatch.delenv("COURSE_SCALE", raising=False)
    monkeypatch.setattr(session, "_lab", None)
    monkeypatch.setattr(machine, "pick_device", lambda: "cpu")


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_start_readies_the_kernel_and_a_second_start_begins_afresh(in_labs, capsys):
    torch.set_num_threads(1)
    lab = start("01_sft")
    assert (lab.name, lab.device, lab.scale) == ("01_sft", "cpu", "small")
    assert not lab.full
    assert capsys.readouterr().out == "01_sft on cpu, scale small\n"
    assert torch.get_num_threads() == machine.THREADS
    first = draws()
    lab.measures["sft.x"] = {}
    again = start("01_sft")
    assert draws() == first
    assert again.measures == {} and session.current() is again


def test_the_full_scale_has_five_seeds(in_labs, monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", "full")
    lab = start("01_sft")
    assert lab.full


def test_another_working_directory_is_refused(in_labs, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CourseError, match=f"The working directory is {tmp_path.name}/ but a lab runs in"
    ):
        start("01_sft")


@pytest.mark.parametrize("scale", ["big", "", "SMALL"])
def test_another_scale_is_refused(in_labs, monkeypatch, scale):
    monkeypatch.setenv("COURSE_SCALE", scale)
    with pytest.raises(CourseError, match=f"COURSE_SCALE is '{scale}': set it to small or full"):
        start("01_sft")


@pytest.mark.parametrize("name", ["sft", "01_SFT", "../01_sft", "01_sft.ipynb", ""])
def test_another_form_of_name_is_refused(in_labs, name):
    with pytest.raises(CourseError, match=re.escape(f"{name!r} is not the name of a lab")):
        start(name)


def test_nothing_is_recorded_before_start(in_labs):
    with pytest.raises(CourseError, match="run the first cell"):
        session.current()


@pytest.mark.parametrize("present, device", [(("cuda",), "cuda"), (("mps",), "mps"), ((), "cpu")])
def test_the_fastest_device_is_picked(monkeypatch, present, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in present)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in present)
    assert machine.pick_device() == device


def test_your_own_settings_stay(monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    machine.quieten()
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    assert os.environ["DATASETS_VERBOSITY"] == "error"


def test_libraries_that_are_loaded_already_are_quietened(monkeypatch):
    import datasets
    from transformers.utils import logging

    silenced = []
    for library in (logging, datasets):
        for name in ("disable_progress_bar", "disable_progress_bars"):
            monkeypatch.setattr(
                library, name, lambda who=library: silenced.append(who), raising=False
            )
    for library in (datasets.logging, logging):
        monkeypatch.setattr(
            library, "set_verbosity_error", lambda who=library: silenced.append(who)
        )
    machine.quieten()
    assert silenced == [logging, logging, datasets.logging, datasets]


def test_the_course_imports_none_of_the_labs_subjects():
    code = "import sys, course; print({'helpdesk', 'methods', 'checks'} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=session.LABS, capture_output=True, text=True
    )
    assert ended.stdout == "set()\n", ended.stderr


def test_peak_memory_counts_what_was_held_and_given_back():
    code = (
        "from course import machine; before = machine.peak_mib()\n"
        "held = b'x' * 300 * 2**20; del held\n"
        "print(before, machine.peak_mib())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=session.LABS, capture_output=True, text=True
    )
    before, after = map(float, ended.stdout.split())
    assert before + 200 < after < before + 400


def test_versions_name_what_is_in_use():
    assert machine.versions()["torch"] == torch.__version__
    assert set(machine.versions()) <= {"python", *machine.LIBRARIES}


@pytest.mark.parametrize("library", ["transformers", "trl", "peft"])
def test_versions_name_a_library_once_it_is_loaded(monkeypatch, library):
    monkeypatch.delitem(sys.modules, library, raising=False)
    assert library not in machine.versions()
    monkeypatch.setitem(sys.modules, library, None)
    assert machine.versions()[library] == metadata.version(library)
