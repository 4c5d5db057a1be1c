"""The training command on one process, with a small chat model in the real one's place."""

import json
import shutil

import pytest
import torch
from experiments import outgrow_train
from inbox import model as real
from methods import chat, processes
from methods.processes import Team
from methods.tokens import IGNORE
from test_experiments_real_model import tiny  # noqa: F811, F401 (a fixture)


@pytest.fixture(autouse=True)
def small(tiny, monkeypatch):  # noqa: F811 (the same fixture)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def command(folder, *more):
    words = ["--checkpoints", str(folder), "--batch", "2", "--every", "2", *map(str, more)]
    return outgrow_train.main(words)


def losses(text):
    found = [line.split() for line in text.splitlines() if line.startswith("step")]
    return {int(step): float(loss) for _, step, _, loss in found}


@pytest.mark.parametrize("rank", [0, 2])
def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_happened(tmp_path, capsys, rank):
    assert command(tmp_path / "whole", "--steps", 5, "--rank", rank) == 0
    whole = losses(capsys.readouterr().out)
    assert list(whole) == list(range(5))
    names = sorted(path.name for path in (tmp_path / "whole").glob("step-*"))
    assert names == ["step-000002", "step-000004", "step-000005"]
    for name in names[1:]:
        shutil.rmtree(tmp_path / "whole" / name)
    assert command(tmp_path / "whole", "--steps", 5, "--rank", rank) == 0
    said = capsys.readouterr().out
    assert "from step 2 of 5" in said
    assert losses(said) == {step: pytest.approx(whole[step], abs=2e-6) for step in (2, 3, 4)}


def test_a_checkpoint_that_broke_off_is_passed_over(tmp_path, capsys):
    command(tmp_path, "--steps", 4)
    (tmp_path / "step-000004/.metadata").unlink()
    capsys.readouterr()
    assert command(tmp_path, "--steps", 4) == 0
    assert "from step 2 of 4" in capsys.readouterr().out
    assert processes.is_whole(tmp_path / "step-000004")


def test_a_damaged_checkpoint_ends_the_run_in_a_sentence(tmp_path, capsys):
    command(tmp_path, "--steps", 2)
    for path in (tmp_path / "step-000002").glob("*.distcp"):
        path.write_bytes(path.read_bytes()[:100])
    assert command(tmp_path, "--steps", 2) == 2
    assert "step-000002 holds no whole checkpoint of this model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, value", [("steps", 6), ("rate", 1e-3), ("seed", 1), ("rank", 2), ("batch", 4)]
)
def test_a_folder_of_another_run_is_refused(tmp_path, capsys, name, value):
    command(tmp_path, "--steps", 2)
    before = sorted(tmp_path.rglob("*"))
    words = {"steps": 2} | {name: value}
    assert command(tmp_path, *(w for n, v in words.items() for w in (f"--{n}", v))) == 2
    said = capsys.readouterr().err
    assert (
        f"holds a run with {name} " in said and "name another folder, or the same options" in said
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_what_the_run_is_stands_beside_its_checkpoints(tmp_path):
    command(tmp_path, "--steps", 2, "--rate", 3e-4)
    note = json.loads((tmp_path / "run.json").read_text())
    assert note == {"rank": 0, "steps": 2, "batch": 2, "rate": 3e-4, "seed": 0, "model": ""}


def test_too_little_memory_is_said_before_the_first_step(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(outgrow_train, "free_bytes", lambda model, team: 1e4)
    assert command(tmp_path, "--steps", 2) == 2
    assert "take more processes with --stage 3, an adapter" in capsys.readouterr().err
    assert not list(tmp_path.glob("step-*"))


def test_weights_that_are_read_already_count_as_free(monkeypatch):
    model, _ = real.load()
    monkeypatch.setattr(outgrow_train.psutil, "virtual_memory", lambda: Memory)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    weights = 4 * sum(one.numel() for one in model.parameters())
    assert outgrow_train.free_bytes(model, Team(0, 4)) == 1000 + weights


class Memory:
    available = 4000


@pytest.mark.parametrize("name", ["steps", "batch", "parts", "every"])
def test_nothing_can_be_less_than_one(tmp_path, capsys, name):
    assert command(tmp_path, f"--{name}", 0) == 2
    assert f"--{name} is 0: it must be at least 1" in capsys.readouterr().err


def test_the_sum_over_answers_is_their_mean_times_their_number_and_0_for_none():
    model, _ = real.load()
    ids = torch.randint(5, 300, (2, 9))
    labels = ids.clone()
    labels[0, :4] = labels[1, :7] = IGNORE
    batch = (ids, labels)
    assert outgrow_train.answers_in(batch) == 5 + 2
    found = outgrow_train.answer_sum(model, batch)
    assert found.item() == pytest.approx(7 * chat.answer_loss(model, batch).item(), rel=1e-6)
    empty = outgrow_train.answer_sum(model, (ids, torch.full_like(ids, IGNORE)))
    empty.backward()
    assert empty.item() == 0
    assert all(not one.grad.any() for one in model.parameters() if one.grad is not None)
