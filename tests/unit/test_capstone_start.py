"""The capstone's start and the code on its page run as they stand, on a few records and tickets."""

import re
import runpy
from pathlib import Path

import capstone_start
import pytest
from experiments import after_ppo, capstone
from experiments.shared import fresh
from methods import lora

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "chapters" / "capstone.md").read_text("utf8")


@pytest.fixture(autouse=True)
def few(monkeypatch):
    for name, number in {"TRANSCRIPTS": 40, "WRITTEN": 4, "CHOSEN": 12, "TICKETS": 8}.items():
        monkeypatch.setattr(capstone, name, number)
    monkeypatch.setattr(capstone, "reading", lambda policy: 1.0)
    monkeypatch.setattr(after_ppo, "RESPONSES", 4)


def test_the_start_leaves_an_adapter_and_tells_its_worth(tmp_path, capsys):
    capstone_start.main(tmp_path / "first")
    told = capsys.readouterr().out
    assert re.search(r"gold -?\d\.\d\d ± \d\.\d\d · house style \d+%", told)
    assert "within the budget" in told
    again = capstone.examine(tmp_path / "first", "practice")
    assert capstone.told(again) in told


def test_the_start_finds_the_course_from_either_folder():
    assert capstone_start.BOOK == ROOT
    names = runpy.run_path(str(ROOT / "labs" / "capstone_start.py"))
    assert names["ATTEMPT"] == ROOT / "mine" / "capstone" / "first"


def test_the_methods_on_the_page_run():
    (code,) = re.findall(r"^```python\n(.+?)^```", PAGE, flags=re.M | re.S)
    names = {"SEED": 0}
    exec(code, names)
    handed = capstone.records()
    for train in (names["train_with_dpo"], names["train_with_ppo"]):
        policy = fresh()
        lora.inject(policy, rank=1, alpha=8)
        train(policy, handed)
        assert any(layer.B["default"].any() for layer in lora.layers(policy).values())


def test_the_page_tells_the_numbers_of_the_code(monkeypatch):
    monkeypatch.undo()
    for told in (
        f"{{fixed}}`{capstone.MOST_BYTES:,} bytes`",
        f"{{fixed}}`{capstone.MOST_KL:.0f} nats`",
        f"{{fixed}}`{100 * capstone.LEAST_READING:.0f} %`",
        f"{{fixed}}`{capstone.TRANSCRIPTS}` tickets",
        f"{{fixed}}`{capstone.WRITTEN}` replies",
        f"{{fixed}}`{capstone.CHOSEN}` tickets",
        f"{{fixed}}`{capstone.TICKETS}` tickets",
    ):
        assert told in PAGE


def test_a_report_names_every_fault():
    report = capstone.Report(1.0, 0.1, 0.5, 30.0, 0.5, 1000, ("too far", "too little"))
    assert capstone.told(report).splitlines()[1:] == ["too far", "too little"]
    assert len(capstone.faults(1, float("nan"), 1.0)) == 1
