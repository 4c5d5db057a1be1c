"""sweep(): rows that are stored once, a part of them run live, and nothing lost in between."""

import json
import math
import os

import numpy as np
import pytest
import torch
from course import CourseError, Sweep, machine, provenance, rows_of, session, store, sweep

GRID = [{"rate": rate, "rank": rank} for rate in (0.1, 0.2) for rank in (1, 4)]
FILE = "tiny.rates.json"


CODE = "0123456789ab"


class Run:
    """A run that counts its calls and can be told to fail at one of them."""

    def __init__(self, fail_at=None):
        self.calls, self.fail_at = [], fail_at

    def __call__(self, **settings):
        self.calls.append(settings)
        if len(self.calls) == self.fail_at:
            raise RuntimeError("out of memory")
        return {"loss": settings["rate"] * settings["rank"]}


def swept(run, grid, live=(), name="tiny.rates", agree=None, **own):
    """sweep() of a sweep that is declared on the spot."""
    return sweep(Sweep(name, run, grid, agree or {"loss": 1e-9}), live, **own)


@pytest.fixture(autouse=True)
def code(monkeypatch):
    """The digest of every run, as a list of one that a test may change."""
    code = [CODE]

    def digest(run, *others):
        return "+".join([*code, *(other.__name__ for other in others)])

    monkeypatch.setattr(provenance, "digest", digest)
    return code


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """A function that starts lab 02_tiny at a scale, in a book of its own."""
    for name in ("COURSE_RESULTS", "COURSE_SWEEPS", "COURSE_BASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_STORED", "1")
    monkeypatch.setattr(session, "LABS", tmp_path / "labs")

    def begin(scale="small", device="cpu"):
        monkeypatch.setattr(session, "_lab", session.Lab("02_tiny", device, scale))
        return session._lab

    return begin


@pytest.fixture
def book(begin, monkeypatch):
    """The path of the book's file for the sweep tiny.rates over GRID, made at the full scale."""
    monkeypatch.setenv("COURSE_RESULTS", "book")
    begin("full")
    swept(Run(), GRID)
    monkeypatch.delenv("COURSE_RESULTS")
    begin()
    return session.LABS / "results" / "sweeps" / FILE


def local():
    return session.LABS / "results" / "local" / "sweeps" / FILE


def bare(rows):
    """The rows without their times and codes."""
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "code")}
        for row in rows
    ]


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


# the full scale


def test_at_the_full_scale_every_setting_is_run_once_and_live_picks_among_the_rows(begin, capsys):
    begin("full")
    run = Run()
    stored, live = swept(run, GRID, live=[GRID[3], GRID[0]])
    assert run.calls == GRID
    assert bare(stored) == [
        {**settings, "loss": settings["rate"] * settings["rank"]} for settings in GRID
    ]
    assert live == [stored[3], stored[0]]
    assert all(
        list(row) == ["rate", "rank", "loss", "seconds", "code"] and row["seconds"] >= 0
        for row in stored
    )
    assert capsys.readouterr().out == "tiny.rates: 4 steps\n"


def test_the_file_says_how_it_was_made_and_holds_one_row_on_a_line(begin):
    begin("full")
    stored, _ = swept(Run(), GRID)
    data = json.loads(local().read_text())
    assert list(data) == ["sweep", "lab", "device", "versions", "vouched", "settings", "rows"]
    assert [data[name] for name in ("sweep", "lab", "device", "settings", "rows")] == [
        "tiny.rates",
        "02_tiny",
        "cpu",
        ["rank", "rate"],
        stored,
    ]
    assert data["versions"] == machine.versions()
    assert [
        json.loads(line.rstrip(",")) for line in local().read_text().splitlines() if "loss" in line
    ] == stored
    assert [file.name for file in local().parent.iterdir()] == [FILE]


def test_a_sweep_that_broke_off_goes_on_where_it_stopped(begin):
    begin("full")
    broken, rest = Run(fail_at=3), Run()
    with pytest.raises(RuntimeError, match="out of memory"):
        swept(broken, GRID)
    kept = json.loads(local().read_text())["rows"]
    assert bare(kept) == [
        {**settings, "loss": settings["rate"] * settings["rank"]} for settings in GRID[:2]
    ]
    stored, _ = swept(rest, GRID)
    assert rest.calls == GRID[2:]
    assert stored[:2] == kept and len(stored) == 4
    swept(rest, GRID)
    assert len(rest.calls) == 2


def test_the_file_is_whole_after_every_row(begin, monkeypatch):
    begin("full")
    lengths = []

    def run(rate, rank):
        lengths.append(len(json.loads(local().read_text())["rows"]) if local().exists() else 0)
        return {"loss": 1}

    swept(run, GRID)
    assert lengths == [0, 1, 2, 3]

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    before = local().read_text()
    with pytest.raises(CourseError, match="could not be written"):
        swept(Run(), [{"rate": 9, "rank": 9}])
    assert local().read_text() == before
    assert [file.name for file in local().parent.iterdir()] == [FILE]


def test_another_grid_keeps_the_rows_that_it_does_not_ask_for(begin):
    begin("full")
    swept(Run(), GRID)
    run = Run()
    stored, _ = swept(run, [{"rank": 8, "rate": 0.1}, GRID[1]])
    assert run.calls == [{"rank": 8, "rate": 0.1}]
    assert [row["rank"] for row in stored] == [8, 4]
    assert len(json.loads(local().read_text())["rows"]) == 5


def test_settings_with_another_set_of_names_are_other_settings(begin):
    begin("full")
    swept(lambda **settings: {"loss": len(settings)}, [{"rate": 1}, {"rate": 1, "rank": 2}])
    run = []
    stored, _ = swept(
        lambda **settings: run.append(settings), [{"rank": 2, "rate": 1}, {"rate": 1}]
    )
    assert run == [] and [row["loss"] for row in stored] == [2, 1]
    with pytest.raises(CourseError, match="rank is the name of a setting, of the time"):
        swept(lambda rate: {"rank": 3}, [{"rate": 2}])


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda data: data["versions"].update(torch="1.0"), "was made with torch 1.0, not "),
        (lambda data: data["versions"].update(peft="0.1"), "was made with peft 0.1, not "),
        (lambda data: data.update(device="mps"), "was made with device mps, not cpu"),
    ],
    ids=["torch", "peft", "device"],
)
def test_rows_made_otherwise_are_not_mixed(begin, monkeypatch, change, told):
    monkeypatch.setattr(machine, "versions", lambda: {"torch": "2.0", "peft": "0.2"})
    begin("full")
    swept(Run(), GRID[:2])
    edit(local(), change)
    before, run = local().read_text(), Run()
    with pytest.raises(
        CourseError, match=f"results/local/sweeps/tiny.rates.json {told}.*: delete it to begin"
    ):
        swept(run, GRID)
    assert run.calls == [] and local().read_text() == before


def test_a_library_that_is_loaded_later_is_no_other_version(begin, monkeypatch):
    versions = {"torch": "2.0"}
    monkeypatch.setattr(machine, "versions", lambda: dict(versions))
    begin("full")
    swept(Run(), GRID[:1])
    versions["peft"] = "0.2"
    swept(Run(), GRID[:2])
    del versions["peft"]
    swept(Run(), GRID)
    assert json.loads(local().read_text())["versions"] == {"torch": "2.0", "peft": "0.2"}


@pytest.mark.parametrize(
    "device, settings, place",
    [
        ("cpu", {}, "results/local/sweeps"),
        ("cpu", {"COURSE_RESULTS": "book"}, "results/sweeps"),
        ("mps", {"COURSE_RESULTS": "book"}, "results/sweeps"),
        ("cuda", {"COURSE_RESULTS": "book"}, "results/gpu/sweeps"),
        ("cpu", {"COURSE_RESULTS": "mine"}, "mine/sweeps"),
        ("cuda", {"COURSE_RESULTS": "mine", "COURSE_SWEEPS": "book"}, "results/gpu/sweeps"),
    ],
)
def test_the_file_is_written_where_the_results_go(begin, monkeypatch, device, settings, place):
    begin("full", device)
    for name, where in settings.items():
        monkeypatch.setenv(name, where if where == "book" else str(session.LABS / where))
    swept(Run(), GRID)
    assert [path for path in session.LABS.rglob("*") if path.is_file()] == [
        session.LABS / place / FILE
    ]


# the small scale


def test_at_the_small_scale_the_books_rows_are_drawn_and_a_few_run_live(book, capsys):
    capsys.readouterr()
    before, run = book.read_text(), Run()
    stored, live = swept(run, GRID[::-1], live=[GRID[3], GRID[1]])
    assert stored == json.loads(before)["rows"][::-1]
    assert run.calls == [GRID[3], GRID[1]]
    assert bare(live) == bare([stored[0], stored[2]])
    assert capsys.readouterr().out == (
        "tiny.rates: 2 steps\nloss now 0.8000, stored 0.8000\nloss now 0.4000, stored 0.4000\n"
    )
    assert book.read_text() == before and not local().exists()


def test_live_rows_are_run_and_not_read(book):
    stored, live = swept(lambda **settings: {"loss": -1.0}, GRID, live=GRID[:1], agree={"loss": 2})
    assert live[0]["loss"] == -1 != stored[0]["loss"]
    assert swept(Run(fail_at=1), GRID)[1] == []


def test_rows_that_the_grid_no_longer_asks_for_are_ignored(book):
    stored, _ = swept(Run(), GRID[1:3])
    assert [(row["rate"], row["rank"]) for row in stored] == [(0.1, 4), (0.2, 1)]


def test_missing_rows_are_counted_and_nothing_is_run(book):
    run = Run()
    with pytest.raises(
        CourseError,
        match="^tiny.rates has no stored row for 1 of its 5 settings: "
        "run `make sweeps ARGS=tiny.rates`.$",
    ):
        swept(run, [*GRID, {"rate": 0.3, "rank": 1}], live=GRID[:1])
    assert run.calls == []


def test_without_a_file_all_rows_are_missing(begin):
    begin()
    with pytest.raises(
        CourseError, match="for 4 of its 4 settings: run `make sweeps ARGS=tiny.rates`"
    ):
        swept(Run(), GRID)
    assert not session.LABS.exists()


def test_a_gpu_reads_the_rows_of_a_gpu_where_there_are_any(book, begin):
    lab = begin(device="cuda")
    assert swept(Run(), GRID)[0][0]["loss"] == 0.1
    assert lab.sweeps["tiny.rates"]["device"] == "cpu"
    gpu = session.LABS / "results" / "gpu" / "sweeps" / FILE
    gpu.parent.mkdir(parents=True)
    gpu.write_text(book.read_text())
    edit(gpu, lambda data: (data.update(device="cuda"), data["rows"][0].update(loss=7)))
    lab = begin(device="cuda")
    assert swept(Run(), GRID)[0][0]["loss"] == 7
    assert lab.sweeps["tiny.rates"]["device"] == "cuda"
    begin(device="mps")
    assert swept(Run(), GRID)[0][0]["loss"] == 0.1


def test_other_versions_may_read_the_books_rows(book):
    edit(book, lambda data: data["versions"].update(torch="1.0"))
    assert len(swept(Run(), GRID)[0]) == 4


# both scales


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"rows": [',
        "[]",
        "null",
        '{"rows": []}',
        '{"settings": ["a"], "rows": [3]}',
        '{"device": "cpu", "versions": {}, "settings": ["a"], "rows": [{"a": 1}]}',
        '{"device": "cpu", "versions": 3, "settings": [], "rows": []}',
        b"\xff",
    ],
)
@pytest.mark.parametrize("scale", ["small", "full"])
def test_a_broken_file_is_told_and_left_alone(book, begin, monkeypatch, scale, text):
    monkeypatch.setenv("COURSE_RESULTS", "book")
    begin(scale)
    before = text if isinstance(text, bytes) else text.encode()
    book.write_bytes(before)
    run = Run()
    with pytest.raises(
        CourseError,
        match=r"^results/sweeps/tiny.rates.json cannot be read \(\w+\): restore the file, "
        "or delete it to begin the sweep afresh.$",
    ):
        swept(run, GRID)
    assert run.calls == [] and book.read_bytes() == before


@pytest.mark.parametrize("name", ["tiny", "Tiny.x", "../tiny.x", "tiny.x/y"])
def test_a_name_of_another_form_is_refused(begin, name):
    begin("full")
    with pytest.raises(
        CourseError, match='is not the name of a sweep: write it as in "lora.rates"'
    ):
        swept(Run(), GRID, name=name)


@pytest.mark.parametrize(
    "grid, live, told",
    [
        ([*GRID, GRID[0]], [], "comes twice: take one of them out"),
        (
            [{"rate": 1, "rank": 2}, {"rank": 2, "rate": 1}],
            [],
            '{"rank": 2, "rate": 1} comes twice',
        ),
        (GRID, [GRID[0], GRID[0]], "comes twice"),
        (
            GRID,
            [{"rate": 0.1, "rank": 2}],
            '{"rank": 2, "rate": 0.1} is in live and not in the grid',
        ),
        (GRID, [{"rate": 0.1}], '{"rate": 0.1} is in live and not in the grid'),
        ([{"rate": math.nan}], [], "are no settings"),
        ([{"rate": [1]}], [], "are no settings"),
        ([{"rate": torch.tensor(1)}], [], "are no settings"),
        ([{1: 1}], [], "are no settings"),
        ([{"seconds": 1}], [], "are no settings"),
        ([{"code": 1}], [], "are no settings"),
        ({"rate": 1}, [], "'rate' are no settings"),
    ],
)
@pytest.mark.parametrize("scale", ["small", "full"])
def test_a_grid_of_another_form_is_refused_before_anything_runs(begin, scale, grid, live, told):
    begin(scale)
    run = Run()
    with pytest.raises(CourseError) as error:
        swept(run, grid, live)
    assert told in str(error.value)
    assert run.calls == [] and not session.LABS.exists()


@pytest.mark.parametrize(
    "results, told",
    [
        (
            {"rank": 1},
            "rank is the name of a setting, of the time or of the code: rename that result",
        ),
        ({"seconds": 1}, "seconds is the name of a setting"),
        ({"code": 1}, "code is the name of a setting"),
        ({"loss": math.nan}, "tiny.rates, loss: the value is nan"),
        ({"loss": np.float32("inf")}, "tiny.rates, loss: the value is inf"),
        ({"loss": [1, math.inf]}, "tiny.rates, loss: the value is inf"),
        ({"loss": ["a"]}, "tiny.rates, loss: str is not one number"),
        ({"loss": None}, "tiny.rates, loss: NoneType is not one number"),
        ({"loss": {"a": 1}}, "tiny.rates, loss: dict is not one number"),
        ({"loss": torch.zeros(2)}, "tiny.rates, loss: Tensor is not one number"),
        ({1: 1}, "must return a dict of results by name"),
        (0.5, "must return a dict of results by name"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("scale", ["small", "full"])
def test_results_of_another_form_are_refused_and_not_stored(
    book, begin, monkeypatch, scale, results, told
):
    monkeypatch.setenv("COURSE_RESULTS", "book")
    begin(scale)
    edit(book, lambda data: data["rows"].pop() if scale == "full" else None)
    before = book.read_text()
    with pytest.raises(CourseError) as error:
        swept(lambda **settings: results, GRID, live=GRID[3:])
    assert told in str(error.value)
    assert book.read_text() == before


def test_a_row_is_the_same_whether_it_was_run_or_read(begin, monkeypatch):
    monkeypatch.setenv("COURSE_RESULTS", "book")
    grid = [
        {"rate": 0.1, "kind": "ü", "tied": True, "rank": None, "steps": 3, "scale": np.float64(0.3)}
    ]

    def run(**settings):
        return {
            "loss": torch.tensor(0.5),
            "steps_done": 7,
            "curve": (np.float32(0.25), torch.tensor([2])),
            "fits": False,
            "said": "“so”",
            "one": np.float64(1e-30),
        }

    begin("full")
    made = swept(run, grid, live=grid)
    begin("small")
    read = swept(run, grid, live=grid)
    assert made[0] == read[0] and bare(made[1]) == bare(read[1])
    for rows in (*made, *read):
        assert bare(rows) == [
            {
                **grid[0],
                "loss": 0.5,
                "steps_done": 7,
                "curve": [0.25, 2],
                "fits": False,
                "said": "“so”",
                "one": 1e-30,
            }
        ]
        assert rows[0]["fits"] is False and type(rows[0]["steps_done"]) is int
    assert "“so”" in (session.LABS / "results" / "sweeps" / FILE).read_text(encoding="utf-8")


def test_a_lab_remembers_its_sweeps(book, begin):
    edit(book, lambda data: [row.update(seconds=1.26) for row in data["rows"]])
    book.with_name("tiny.ranks.json").write_text(book.read_text())
    lab = begin()
    swept(Run(), GRID, live=GRID[:1])
    rates = {"rows": 4, "live": 1, "device": "cpu", "seconds": 5.0}
    assert lab.sweeps == {"tiny.rates": rates}
    swept(Run(), GRID[:2], name="tiny.ranks")
    assert lab.sweeps == {
        "tiny.rates": rates,
        "tiny.ranks": {"rows": 2, "live": 0, "device": "cpu", "seconds": 2.5},
    }


def test_the_seconds_of_a_row_are_those_of_its_run(begin, monkeypatch):
    begin("full")
    clock = iter(range(0, 1000, 7))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    stored, _ = swept(Run(), GRID)
    assert [row["seconds"] for row in stored] == [7] * 4


def test_no_lab_no_sweep(monkeypatch):
    monkeypatch.setattr(session, "_lab", None)
    with pytest.raises(CourseError, match="No lab has been started"):
        swept(Run(), GRID)


def test_a_table_without_rows_is_json_too():
    assert json.loads(store.as_table({"sweep": "x"}, [])) == {"sweep": "x", "rows": []}


# a repeated run and its stored row


def gold_at_end(row):
    return sum(row["gold"][-2:]) / 2


def off_by(much):
    return lambda rate, rank: {"loss": rate * rank + much, "gold": [9, 1 + much, 2 + much]}


@pytest.fixture
def curves(begin, monkeypatch):
    """A book whose rows hold a curve as well."""
    monkeypatch.setenv("COURSE_RESULTS", "book")
    begin("full")
    swept(off_by(0), GRID)
    begin()


@pytest.mark.parametrize(
    "agree, much, told",
    [
        ({"loss": 0.5}, 0.25, "loss now 0.3500, stored 0.1000"),
        ({"loss": 0.25, "gold": 0.25}, 0.125, "gold now 4.0833, stored 4.0000"),
        ({gold_at_end: 0.25}, 0.25, "gold at end now 1.7500, stored 1.5000"),
        ({lambda row: row.get("no") or 1: 0}, 9, "<lambda> now 1.0000, stored 1.0000"),
    ],
)
def test_a_repeated_run_may_be_a_little_off(curves, capsys, agree, much, told):
    swept(off_by(much), GRID, GRID[:1], agree=agree)
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    "agree, much",
    [({"loss": 0.25}, 0.5), ({"loss": 9, "gold": 0.25}, -0.5), ({gold_at_end: 0.25}, 0.5)],
)
def test_a_repeated_run_that_is_far_off_is_told(curves, capsys, agree, much):
    with pytest.raises(
        CourseError,
        match="^tiny.rates: a repeated run is far from its stored row: "
        "run the checks of your functions, or put the ... back$",
    ):
        swept(off_by(much), GRID, GRID[:2], agree=agree)
    assert capsys.readouterr().out.count("now") == 2 * len(agree)


def test_another_base_is_not_compared_with_the_shipped_ones_rows(book, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_BASE", "a/hub-id")
    far = Run()
    far.__class__ = type("Far", (Run,), {"__call__": lambda self, **settings: {"loss": 99.0}})
    _, live = swept(far, GRID, live=GRID[:1])
    assert live[0]["loss"] == 99.0
    assert capsys.readouterr().out.endswith(
        "tiny.rates: the stored rows are of the shipped base; yours are not compared\n"
    )


def test_rows_of_two_bases_are_not_mixed(begin, monkeypatch):
    begin("full")
    swept(Run(), GRID[:2])
    monkeypatch.setenv("COURSE_BASE", "a/hub-id")
    with pytest.raises(CourseError, match="made with base the shipped base, not a/hub-id: delete"):
        swept(Run(), GRID)
    swept(Run(), GRID, name="tiny.others")
    assert json.loads(local().with_name("tiny.others.json").read_text())["base"] == "a/hub-id"
    monkeypatch.setenv("COURSE_BASE", "another")
    with pytest.raises(CourseError, match="made with base a/hub-id, not another: delete it"):
        swept(Run(), [*GRID, {"rate": 9, "rank": 9}], name="tiny.others")


@pytest.mark.parametrize("agree", [{"los": 1}, {"said": 1}, {lambda row: row["los"]: 1}])
def test_agreement_on_what_is_no_number_is_refused(begin, monkeypatch, agree):
    monkeypatch.setenv("COURSE_RESULTS", "book")
    begin("full")
    swept(lambda **_: {"loss": 1, "said": "so"}, GRID)
    begin()
    with pytest.raises(CourseError, match="which is no number in any row"):
        swept(lambda **_: {"loss": 1, "said": "so"}, GRID, GRID[:1], agree=agree)


def test_a_result_that_only_some_rows_have_must_be_missing_again(begin, monkeypatch):
    def run(**settings):
        return {"raised": True} if settings["rank"] == 1 else {"raised": False, "loss": 1}

    monkeypatch.setenv("COURSE_RESULTS", "book")
    begin("full")
    swept(run, GRID)
    begin()
    swept(run, GRID, GRID)
    with pytest.raises(CourseError, match="far from its stored row"):
        swept(lambda **_: {"raised": False, "loss": 1}, GRID, GRID[:1])


@pytest.mark.parametrize(
    "agree", [{}, {"loss": -1}, {"loss": math.nan}, {"loss": "1"}, {"loss": math.inf}, {3: 1}]
)
def test_tolerances_of_another_form_are_refused(agree):
    with pytest.raises(CourseError, match="^tiny.rates: agree is .*a tolerance"):
        Sweep("tiny.rates", Run(), GRID, agree)


# the learner's own functions


def reference(x):
    return x


def run_with(rate, rank, *, update=reference):
    return {"loss": update(rate) * rank}


def test_the_learners_function_takes_the_place_of_the_reference(book, begin):
    asked = []

    def update(x):
        asked.append(x)
        return x

    _, live = swept(run_with, GRID, GRID[:1], update=update)
    assert asked == [0.1] and live[0]["code"] == f"{CODE}+update"
    assert swept(run_with, GRID, GRID[:1], update=reference)[1][0]["code"] == CODE
    update.attempted = False  # the solution, under the name of the exercise
    assert swept(run_with, GRID, GRID[:1], update=update)[1][0]["code"] == CODE


@pytest.mark.parametrize("name", ["rate", "updates"])
def test_a_function_that_the_run_does_not_take_is_refused(book, name):
    with pytest.raises(
        CourseError, match=f"^tiny.rates: its run takes no function '{name}': it takes update.$"
    ):
        swept(run_with, GRID, GRID[:1], **{name: reference})


# the code behind the rows


def test_every_row_says_which_code_made_it(begin):
    begin("full")
    stored, _ = swept(Run(), GRID)
    assert [row["code"] for row in stored] == [CODE] * 4


@pytest.mark.parametrize("change", [lambda row: row.pop("code"), lambda row: row.update(code="x")])
def test_rows_of_other_code_are_not_mixed_with_new_ones(begin, change):
    begin("full")
    swept(Run(), GRID[:3])
    edit(local(), lambda data: change(data["rows"][1]))
    before, run = local().read_text(), Run()
    with pytest.raises(
        CourseError,
        match="^results/local/sweeps/tiny.rates.json holds 1 rows made by other code: vouch for "
        "them with `make sweeps ARGS='--verify tiny.rates'`, or delete the file to begin",
    ):
        swept(run, GRID)
    assert run.calls == [] and local().read_text() == before
    swept(run, [GRID[0], GRID[3]])  # a row that the grid no longer asks for is no matter
    assert run.calls == [GRID[3]]


def test_a_lab_draws_the_books_rows_whatever_code_made_them(book, code):
    code[0] = "ba9876543210"
    assert swept(Run(), GRID)[0][0]["code"] == CODE


def test_what_was_vouched_for_stays_when_rows_are_added(begin):
    begin("full")
    swept(Run(), GRID[:1])
    edit(local(), lambda data: data.update(vouched=[{"code": CODE}]))
    swept(Run(), GRID)
    assert json.loads(local().read_text())["vouched"] == [{"code": CODE}]


# a grid that follows from another sweep


def test_a_grid_may_follow_from_stored_rows(begin):
    first = Sweep("tiny.rates", Run(), GRID, {"loss": 1e-9})

    def grid():
        best = min(rows_of(first), key=lambda row: row["loss"])
        return [{"rate": best["rate"], "rank": rank} for rank in (16, 32)]

    second, lab = Sweep("tiny.ranks", Run(), grid, {"loss": 1e-9}), begin("full")
    with pytest.raises(CourseError, match="tiny.rates has no stored row for 4 of its 4 settings"):
        sweep(second)
    sweep(first)
    stored, _ = sweep(second, [{"rate": 0.1, "rank": 32}])
    assert [(row["rate"], row["rank"]) for row in stored] == [(0.1, 16), (0.1, 32)]
    assert lab.sweeps["tiny.ranks"]["rows"] == 2
