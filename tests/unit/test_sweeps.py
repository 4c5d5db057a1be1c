"""tools/sweeps.py: rows completed and vouched for, or left as they were."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import sweeps
from course import machine, session, store

TINY = """
from course import Sweep, rows_of

SIZE = 1
FAIL = False
CALLS = []

def run(rate, seed, *, update=abs):
    CALLS.append((rate, seed))
    if FAIL:
        raise RuntimeError("out of memory")
    return {"loss": update(rate) * SIZE, "curve": [0, rate * SIZE], "said": "so"}

def end(row):
    return row["curve"][-1]

RATES = Sweep("tiny.rates", run, [{"rate": r, "seed": s} for r in (1, 2, 3) for s in (0, 1)],
              agree={"loss": 0.5, end: 0.5})

SAME = RATES

def best():
    return [{"rate": min(rows_of(RATES), key=lambda row: row["loss"])["rate"], "seed": 9}]

BEST: Sweep = Sweep("tiny.best", run, best, agree={"loss": 0.5})
"""
OTHER = """
from course import Sweep
from experiments.tiny import RATES, run

ONE = Sweep("other.one", run, [{"rate": 1, "seed": 0}], agree={"loss": 0})
"""
FILE = "tiny.rates.json"


@pytest.fixture
def labs(tmp_path, monkeypatch):
    """A folder labs/ with two modules of experiments; the lab of tiny is 02_tiny."""
    folder = tmp_path / "labs"
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "tiny.py").write_text(TINY)
    (folder / "experiments" / "other.py").write_text(OTHER)
    (folder / "02_tiny.ipynb").write_text("{}")
    monkeypatch.setattr(session, "LABS", folder)
    monkeypatch.setattr(session, "_lab", None)
    monkeypatch.setattr(machine, "pick_device", lambda: "cpu")
    monkeypatch.setenv("COURSE_SWEEPS", "book")
    monkeypatch.delenv("COURSE_STORED", raising=False)
    monkeypatch.syspath_prepend(folder)
    forget()
    yield folder
    forget()


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def tiny(labs):
    """A function that writes the experiments with a change, and returns the module as imported
    from then on."""

    def tiny(old="SIZE = 1", new="SIZE = 1"):
        assert old in TINY
        (labs / "experiments" / "tiny.py").write_text(TINY.replace(old, new))
        forget()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            module = importlib.import_module("experiments.tiny")
        finally:
            sys.dont_write_bytecode = before
        sweeps.provenance.tree_at.cache_clear()
        return module

    return tiny


def path(labs, name=FILE):
    return labs / "results" / "sweeps" / name


def data(labs, name=FILE):
    return json.loads(path(labs, name).read_text())


def codes(labs, name=FILE):
    return [row["code"] for row in data(labs, name)["rows"]]


def digest(module):
    return sweeps.provenance.digest(module.run)


def test_every_sweep_is_found_once_under_its_lab(tiny):
    tiny()
    found = {lab: [each.name for each in many] for lab, many in sweeps.find().items()}
    assert found == {"other": ["other.one"], "02_tiny": ["tiny.rates", "tiny.best"]}


@pytest.mark.parametrize(
    "module, lab",
    [("tiny", "02_tiny"), ("tiny_more", "02_tiny"), ("tinytin", "tinytin"), ("tin", "tin")],
)
def test_a_lab_may_have_a_second_module_of_experiments(labs, module, lab):
    assert sweeps.lab_of(module) == lab


def test_missing_rows_are_run_and_stored(tiny, labs, capsys):
    module = tiny()
    assert sweeps.main([]) == 0
    assert len(module.CALLS) == 8
    assert codes(labs) == [digest(module)] * 6
    head = data(labs)
    assert (head["lab"], head["device"], head["vouched"]) == ("02_tiny", "cpu", [])
    assert data(labs, "tiny.best.json")["rows"][0]["rate"] == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("tiny.rates: row 1 of 6 took ") and len(lines) == 8 + 3
    assert sweeps.main([]) == 0
    assert len(module.CALLS) == 8


@pytest.mark.parametrize(
    "names, made",
    [
        (["tiny.rates"], [FILE]),
        (["02_tiny"], ["tiny.best.json", FILE]),
        (["other", "tiny.rates"], ["other.one.json", FILE]),
    ],
)
def test_only_what_is_named_is_run(tiny, labs, names, made):
    tiny()
    assert sweeps.main(names) == 0
    assert sorted(file.name for file in path(labs).parent.iterdir()) == made


def test_an_unknown_name_is_told(tiny, labs, capsys):
    tiny()
    assert sweeps.main(["tiny.rates", "tiny.rate"]) == 1
    assert capsys.readouterr().err == (
        "There is no sweep 'tiny.rate'; these are the labs and their sweeps: "
        "other, 02_tiny, other.one, tiny.rates, tiny.best.\n"
    )
    assert not path(labs).exists()


def test_a_name_that_comes_twice_is_told(tiny, labs, capsys):
    tiny('"tiny.best"', '"tiny.rates"')
    assert sweeps.main([]) == 1
    assert "tiny.rates is declared twice: rename one" in capsys.readouterr().err


def test_rows_go_elsewhere_where_that_is_asked_for(tiny, labs, monkeypatch, tmp_path):
    tiny()
    monkeypatch.setenv("COURSE_SWEEPS", str(tmp_path / "mine"))
    assert sweeps.main(["tiny.rates"]) == 0
    assert (tmp_path / "mine" / "sweeps" / FILE).exists() and not path(labs).exists()


def test_a_run_that_raises_keeps_the_rows_and_the_other_sweeps(tiny, labs, capsys):
    tiny("if FAIL", "if rate == 3")
    assert sweeps.main([]) == 1
    assert capsys.readouterr().err == (
        "tiny.rates raised RuntimeError: out of memory\n"
        "tiny.rates has no stored row for 2 of its 6 settings: "
        "run `make sweeps ARGS=tiny.rates`.\n"
    )
    assert len(data(labs)["rows"]) == 4 and path(labs, "other.one.json").exists()


def test_rows_of_other_code_are_refused_until_they_are_vouched_for(tiny, labs, capsys):
    tiny()
    sweeps.main(["tiny.rates"])
    module = tiny("SIZE = 1", "SIZE = 1.0")
    before = path(labs).read_text()
    assert sweeps.main(["tiny.rates"]) == 1
    assert "holds 6 rows made by other code" in capsys.readouterr().err
    assert module.CALLS == [] and path(labs).read_text() == before


def test_verified_rows_are_stamped_with_the_present_code(tiny, labs, capsys):
    old = digest(tiny())
    sweeps.main(["tiny.rates"])
    rows = data(labs)["rows"]
    module = tiny("SIZE = 1", "SIZE = 1.125")
    capsys.readouterr()
    assert sweeps.main(["--verify", "--rows", "2", "--seed", "5", "tiny.rates"]) == 0
    new = digest(module)
    assert new != old and codes(labs) == [new] * 6
    assert [row | {"code": old} for row in data(labs)["rows"]] == rows
    repeated = [max(rate for rate, _ in module.CALLS) * 0.125] * 2
    assert len(set(module.CALLS)) == 2
    assert data(labs)["vouched"] == [
        {
            "code": new,
            "before": [old],
            "repeated": 2,
            "of": 6,
            "largest": dict(zip(("loss", "end"), repeated)),
            "seed": 5,
            "versions": machine.versions(),
        }
    ]
    out = capsys.readouterr().out
    assert out.startswith("seed 5\n") and "2 of 6 rows repeated and all agree: loss within " in out
    assert sweeps.main(["--verify", "tiny.rates"]) == 0
    assert [record["before"] for record in data(labs)["vouched"]] == [[old], [new]]


def test_a_row_that_moved_leaves_the_file_as_it_was(tiny, labs, capsys):
    tiny()
    sweeps.main(["tiny.rates", "other.one"])
    module = tiny("SIZE = 1", "SIZE = 1.25")
    before = path(labs).read_text()
    capsys.readouterr()
    assert sweeps.main(["--verify", "--rows", "6", "tiny.rates"]) == 1
    out = capsys.readouterr().out
    assert "tiny.rates: rate 3, seed 0: loss stored 3, now 3.75, tolerance 0.5\n" in out
    assert "tiny.rates: rate 3, seed 1: end stored 3, now 3.75, tolerance 0.5\n" in out
    assert out.count("tolerance") == 4 and "nothing was changed" in out
    assert len(module.CALLS) == 6 and path(labs).read_text() == before


def test_every_sweep_is_verified_by_itself(tiny, labs):
    tiny()
    sweeps.main([])
    module = tiny("SIZE = 1", "SIZE = 1.125")
    assert sweeps.main(["--verify"]) == 1  # other.one tolerates no difference
    assert codes(labs) == [digest(module)] * 6
    assert codes(labs, "other.one.json") != [digest(module)]


def test_a_run_that_raises_vouches_for_nothing(tiny, labs, capsys):
    tiny()
    sweeps.main(["tiny.rates"])
    tiny("FAIL = False", "FAIL = True")
    before = path(labs).read_text()
    assert sweeps.main(["--verify", "tiny.rates"]) == 1
    assert capsys.readouterr().err == "tiny.rates raised RuntimeError: out of memory\n"
    assert path(labs).read_text() == before


def test_a_file_that_cannot_be_written_stays(tiny, labs, monkeypatch, capsys):
    tiny()
    sweeps.main(["tiny.rates"])
    tiny("SIZE = 1", "SIZE = 1.125")
    before = path(labs).read_text()

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "replace", full)
    assert sweeps.main(["--verify", "tiny.rates"]) == 1
    assert "could not be written" in capsys.readouterr().err
    assert path(labs).read_text() == before


def test_missing_rows_are_not_vouched_for(tiny, labs, capsys):
    module = tiny()
    assert sweeps.main(["--verify", "tiny.rates"]) == 1
    assert "tiny.rates has no stored row for 6 of its 6 settings" in capsys.readouterr().err
    assert module.CALLS == [] and not path(labs).exists()


def test_a_sweep_that_lacks_rows_is_vouched_for_as_far_as_it_goes(tiny, labs):
    """So that single rows can be taken out and run afresh after the code has changed."""
    tiny()
    sweeps.main(["tiny.rates"])
    kept = json.loads(path(labs).read_text())
    path(labs).write_text(
        json.dumps(kept | {"rows": [row | {"code": "old"} for row in kept["rows"][:4]]})
    )
    assert sweeps.main(["--verify", "tiny.rates"]) == 0
    assert sweeps.main(["tiny.rates"]) == 0
    rows = json.loads(path(labs).read_text())["rows"]
    assert len(rows) == 6 and {row["code"] for row in rows} == {kept["rows"][0]["code"]}


def test_which_rows_are_repeated_follows_from_the_seed_alone(tiny, labs):
    module = tiny()
    sweeps.main(["tiny.rates"])
    drawn = {}
    for seed in [*range(30), 0, 1]:
        module.CALLS.clear()
        sweeps.main(["--verify", "--seed", str(seed), "tiny.rates"])
        assert drawn.setdefault(seed, module.CALLS[0]) == module.CALLS[0]
    assert len(set(drawn.values())) == 6  # each row has its turn, the costly ones too


def test_without_a_seed_one_is_drawn_and_told(tiny, capsys):
    tiny()
    sweeps.main(["tiny.rates"])
    seeds = set()
    for _ in range(3):
        capsys.readouterr()
        sweeps.main(["--verify", "tiny.rates"])
        seeds.add(capsys.readouterr().out.split("\n")[0])
    assert len(seeds) > 1 and all(line.startswith("seed ") for line in seeds)


@pytest.mark.parametrize("rows", ["0", "-1", "x"])
def test_a_number_of_rows_of_another_kind_is_refused(labs, rows, capsys):
    with pytest.raises(SystemExit):
        sweeps.main(["--verify", "--rows", rows])
    assert "--rows" in capsys.readouterr().err


def test_the_status_names_what_nothing_vouches_for(tiny, labs, capsys):
    tiny()
    sweeps.main(["tiny.rates"])
    capsys.readouterr()
    assert sweeps.main(["--status", "tiny.rates"]) == 0
    assert capsys.readouterr().out == "tiny.rates: all 6 rows are vouched for\n"
    record = data(labs)
    record["rows"][0]["code"] = "ba9876543210"
    del record["rows"][1]["code"], record["rows"][5]
    path(labs).write_text(json.dumps(record))
    before = path(labs).read_text()
    assert sweeps.main(["--status", "tiny.rates"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        'tiny.rates: no row for {"rate": 3, "seed": 1}',
        'tiny.rates: made by ba9876543210: {"rate": 1, "seed": 0}',
        'tiny.rates: made by unknown code: {"rate": 1, "seed": 1}',
        "tiny.rates: 2 of 6 rows were made by other code than labs/experiments/tiny.py holds now: "
        "run make sweeps ARGS='--verify tiny.rates'",
    ]
    assert path(labs).read_text() == before


def test_without_experiments_there_is_nothing_to_do(labs, capsys):
    for file in Path(labs, "experiments").glob("*.py"):
        file.unlink()
    assert sweeps.main([]) == 0
    assert capsys.readouterr().out == "labs/experiments declares no sweep\n"


def test_a_sweep_is_run_with_the_threads_of_a_lab(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(machine, "set_threads", lambda: asked.append(machine.THREADS))
    tiny()
    sweeps.main(["tiny.rates"])
    assert asked == [machine.THREADS] and session.current().name == "02_tiny"
