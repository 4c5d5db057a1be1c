"""The tables of the comparison, every method on one task, and of the capstone's strategies."""

import importlib.util
import json
from pathlib import Path

import pytest
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
FILE = "labs/results/sweeps/pipelines.compared.json"
ROW = {
    "labels": 2000,
    "rate": 0.001,
    "gold": 2.5,
    "exact": 0.8,
    "kl": 4.0,
    "reading": 0.97,
    "forgotten": 0.71,
    "operations": 5e11,
    "train_seconds": 9.6,
    "state_bytes": 15_447_040,
    "artefact_bytes": 3_861_760,
}


@pytest.fixture(scope="module")
def comparison():
    spec = importlib.util.spec_from_file_location(
        "ext_comparison", ROOT / "chapters/_ext/course_comparison.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(comparison, **changed):
    """Three seeds of every method; gold differs between them."""
    return [
        ROW | {"method": method, "seed": seed, "gold": 2.4 + 0.1 * seed} | changed
        for seed in range(3)
        for method in comparison.METHODS
    ]


def write(root, rows):
    path = root / FILE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"rows": rows}), "utf8")


def test_a_line_has_means_and_the_half_width_of_the_interval(comparison, tmp_path):
    write(tmp_path, rows_of(comparison))
    line = comparison.cells("SFT", comparison.read(tmp_path)["SFT"])
    assert line == [
        "[SFT](sft.md)",
        "2,000 demonstrations",
        "2.50 ± 0.25",  # 4.303 × 0.1 / √3
        "80 ± 0",
        "4.0",
        "97",
        "0.71",
        "0.5",
        "15",
        "3,862",
    ]


def test_what_is_not_trained_costs_nothing_and_what_is_not_stored_is_left_out(comparison, tmp_path):
    write(tmp_path, rows_of(comparison, artefact_bytes=0))
    found = comparison.read(tmp_path)
    assert comparison.cells("the base", found["the base"])[-3:] == ["–", "–", "–"]
    assert comparison.cells("best of 16", found["best of 16"])[-3:] == ["0.5", "15", "–"]


def test_rows_with_fewer_labels_do_not_count(comparison, tmp_path):
    fewer = [row | {"labels": 32, "gold": 0.0} for row in rows_of(comparison)]
    write(tmp_path, rows_of(comparison) + fewer)
    assert comparison.cells("SFT", comparison.read(tmp_path)["SFT"])[2].startswith("2.50")


def test_every_method_has_a_line_and_its_page_exists(comparison):
    assert len(comparison.table(comparison.read(ROOT))) == len(comparison.METHODS) + 2
    for _, page in comparison.METHODS.values():
        assert (ROOT / "chapters" / f"{page}.md").is_file()


def test_what_is_missing_or_unknown_is_named(comparison, tmp_path):
    with pytest.raises(ExtensionError, match="cannot be read: .*; make sweeps makes it"):
        comparison.read(tmp_path)
    rows = [row for row in rows_of(comparison) if row["method"] != "RLOO"]
    write(tmp_path / "lacks", rows)
    with pytest.raises(ExtensionError, match="lacks seeds of RLOO"):
        comparison.read(tmp_path / "lacks")
    write(tmp_path / "new", rows_of(comparison) + rows_of(comparison, method="magic")[:3])
    with pytest.raises(ExtensionError, match="does not name: .*magic"):
        comparison.read(tmp_path / "new")


def test_a_strategy_has_a_line_over_its_seeds(comparison):
    row = {"strategy": "SFT", "exact": 0.72, "kl": 6.0, "reading": 0.98}
    rows = [row | {"gold": 2.3 + 0.1 * seed, "within": seed > 0} for seed in range(3)]
    rows.append(row | {"strategy": "DPO", "gold": 2.0, "within": True})
    rows.append(row | {"strategy": "DPO", "gold": 2.0, "within": True})
    *_, first, second = comparison.strategies(rows)
    assert first == "| SFT | 2.40 ± 0.25 | 72 ± 0 | 6.0 | 98 | 2 of 3 |"
    assert second.endswith("| 2 of 2 |")
