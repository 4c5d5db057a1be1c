"""tools/hosted.py: what a hosted notebook lacks is installed, and what its host brings stays."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import hosted
import pytest

ROOT = Path(__file__).resolve().parents[2]
LABS = ROOT / "labs"
# A host in the style of Colab: a torch of its own, older libraries, no TRL.
HOST = {
    "torch": "2.9.0+cu126",
    "numpy": "2.0.2",
    "transformers": "4.57.6",
    "tokenizers": "0.22.2",
    "huggingface-hub": "0.36.0",
    "accelerate": "1.12.0",
    "peft": "0.18.1",
    "pyyaml": "6.0.3",
    "tqdm": "4.67.1",
}
ELSEWHERE = {"IPython", "vllm"}  # the notebook brings the one; no lab needs the other
NAMES = {"yaml": "PyYAML"}


def modules(path):
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_all_that_the_labs_import_is_brought():
    own = {path.stem for path in LABS.iterdir()}
    imported = {name.partition(".")[0] for path in LABS.rglob("*.py") for name in modules(path)}
    imported -= own | ELSEWHERE | sys.stdlib_module_names
    brought = {*hosted.KEPT, *hosted.EXACT, *hosted.ANY, hosted.READER}
    assert {NAMES.get(name, name) for name in imported} <= brought


def test_the_host_keeps_its_torch_and_gets_the_books_libraries():
    exact = hosted.pins("constraints.txt")
    lacking = hosted.lacking(HOST)
    assert {f"transformers=={exact['transformers']}", f"trl=={exact['trl']}"} <= set(lacking)
    assert {"datasets", "ipywidgets"} <= set(lacking)  # not there, so any version will do
    assert not [text for text in lacking if text.startswith(("torch", "numpy", "PyYAML", "tqdm"))]
    bounds = hosted.bounds(HOST).splitlines()
    assert {"torch==2.9.0+cu126", "numpy==2.0.2"} <= set(bounds)
    assert f"pyarrow=={exact['pyarrow']}" in bounds  # not there: as in the book
    assert not [line for line in bounds if line.startswith(("pyyaml", "transformers"))]


def test_the_model_is_read_with_a_package_of_its_own():
    assert hosted.lacking(HOST, model=True) == [
        *hosted.lacking(HOST),
        f"gguf=={hosted.pins('constraints.txt')['gguf']}",
    ]


def test_nothing_happens_where_everything_is_there():
    run = subprocess.run(
        [sys.executable, ROOT / "tools/hosted.py"],
        cwd=LABS,
        env=os.environ | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Ready for the labs") and len(run.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("version", "there", "sentence"),
    [
        ((3, 10, 9), HOST, "choose another runtime"),
        ((3, 14, 0), HOST, "choose another runtime"),
        ((3, 12, 1), {}, "has no torch"),
    ],
)
def test_a_host_that_will_not_do_is_told_why(version, there, sentence):
    with pytest.raises(hosted.HostedError, match=sentence):
        hosted.check(version, there)


def test_a_library_that_was_imported_before_asks_for_a_restart(monkeypatch, capsys):
    before = hosted.installed() | {"pytest": "0.1"}
    monkeypatch.setattr(hosted, "installed", iter([before, hosted.installed()]).__next__)
    monkeypatch.setattr(sys, "path", [*sys.path])
    hosted.main([])
    assert "Restart the kernel and run this cell again: pytest" in capsys.readouterr().out


def test_pips_last_lines_are_shown():
    with pytest.raises(hosted.HostedError, match="No matching distribution|no such option"):
        hosted.pip("--no-index", "--no-deps", "a-package-that-is-nowhere")
