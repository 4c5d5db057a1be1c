"""What each process of a team reads, and how their results become one: without any other process."""

import copy

import pytest
import torch
from methods import optimize, processes
from methods.processes import ALONE, Team, TeamError
from methods.tokens import IGNORE
from tiny import new_policy
from torch import nn


def rows(count):
    """Rows of different lengths, the first id of each its number."""
    return [
        ([number] + [1] * (number % 5), [IGNORE] + [1] * (number % 5)) for number in range(count)
    ]


@pytest.mark.parametrize(
    "size, parts, batch", [(1, 1, 5), (2, 1, 8), (2, 2, 8), (3, 2, 12), (4, 1, 4)]
)
def test_the_processes_together_read_each_row_once(size, parts, batch):
    read = []
    for rank in range(size):
        portions = processes.share(Team(rank, size), parts)(rows(batch), 0)
        assert len(portions) == parts
        assert {len(ids) for ids, _ in portions} == {batch // size // parts}
        read += [int(row[0]) for ids, _ in portions for row in ids]
    assert sorted(read) == list(range(batch))


@pytest.mark.parametrize("size, parts, batch", [(2, 1, 7), (2, 2, 6), (4, 1, 2)])
def test_a_batch_that_does_not_deal_out_evenly_is_refused(size, parts, batch):
    with pytest.raises(ValueError, match=f"let the batch be a multiple of {size * parts}"):
        processes.share(Team(0, size), parts)(rows(batch), 0)


def test_no_two_processes_and_no_two_seeds_share_a_seed():
    for size in (1, 2, 5):
        seeds = [
            processes.seed_of(Team(rank, size), seed) for seed in range(9) for rank in range(size)
        ]
        assert len(set(seeds)) == 9 * size
    assert processes.seed_of(ALONE, 7) == 7


# The loss -----------------------------------------------------------------------------------------


@pytest.fixture
def line():
    torch.manual_seed(1)
    return nn.Linear(3, 1).double()


def loss_sum(model):
    return lambda part: (model(part) ** 2).sum()


def test_parts_of_different_sizes_have_the_mean_and_the_gradient_of_the_whole(line):
    whole = torch.randn(9, 3, dtype=torch.double)
    parts = list(whole.split([2, 6, 1]))
    loss = processes.team_loss(line, ALONE, loss_sum(line), len)
    value = loss(parts)
    value.backward()
    gradient = line.weight.grad.clone()
    line.zero_grad()
    wanted = (line(whole) ** 2).mean()
    wanted.backward()
    assert value.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert torch.allclose(gradient, line.weight.grad, rtol=1e-6)


def test_a_team_of_two_minimises_twice_its_share_of_the_whole_and_sees_the_mean(line, monkeypatch):
    """The other process's tokens and losses are made up: 6 more tokens, a loss of 5 more."""
    monkeypatch.setattr(processes, "total", lambda value, team: value.detach() + next(others))
    mine = torch.randn(4, 3, dtype=torch.double)
    own = (line(mine) ** 2).sum()
    others = iter([torch.tensor(6.0), torch.tensor(2 * 5.0 / 10)])
    value = processes.team_loss(line, Team(0, 2), loss_sum(line), len)([mine])
    assert value.item() == pytest.approx((own.item() + 5) / 10, rel=1e-6)
    value.backward()
    gradient = line.weight.grad.clone()
    line.zero_grad()
    own.backward()
    assert torch.allclose(gradient, line.weight.grad * 2 / 10, rtol=1e-6)


def test_a_batch_in_which_nothing_counts_is_refused(line):
    loss = processes.team_loss(line, ALONE, loss_sum(line), lambda part: 0)
    with pytest.raises(ValueError, match="nothing counts in this batch"):
        loss([torch.zeros(1, 3, dtype=torch.double)])


def test_a_total_has_no_gradient_and_leaves_its_argument_alone():
    one = torch.ones(2, requires_grad=True)
    found = processes.total(one, ALONE)
    found += 1
    assert not found.requires_grad and one.tolist() == [1, 1]


# The model ----------------------------------------------------------------------------------------


def test_a_process_that_is_alone_keeps_its_model_as_it_is():
    model = new_policy()
    for stage in processes.STAGES:
        assert processes.spread(model, stage, ALONE) is model
        optimizer = processes.adamw(model, 1e-3, stage, ALONE)
        assert type(optimizer) is torch.optim.AdamW
    with pytest.raises(ValueError, match=r"there is no stage 4: take one of \(0, 1, 2, 3\)"):
        processes.spread(model, 4, ALONE)


class Mixture(nn.Module):
    """Two layers of four experts each: the experts are the longer list."""

    def __init__(self):
        super().__init__()
        layer = [nn.Linear(2, 2) for _ in range(4)]
        self.blocks = nn.ModuleList(nn.ModuleDict({"experts": nn.ModuleList(layer)}) for _ in "ab")


def test_the_layers_are_the_outer_list():
    model, mixture = new_policy(), Mixture()
    assert processes.layers_of(model) is model.model.layers
    assert processes.layers_of(mixture) is mixture.blocks
    with pytest.raises(ValueError, match="no list of layers"):
        processes.layers_of(nn.Linear(2, 2))


@pytest.mark.parametrize(
    "error", [OSError("the disk is full"), ValueError("no JSON"), TeamError("no")]
)
def test_what_process_0_meets_is_said_in_all_of_them(error):
    def act():
        raise error

    assert processes.led(ALONE, lambda: 7) == 7
    assert processes.led(ALONE, lambda: None) is None
    with pytest.raises(TeamError, match=str(error)):
        processes.led(ALONE, act)


def test_without_a_launcher_a_process_is_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with processes.join() as team:
        assert team == ALONE and team.leads


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TeamError, match="has 1 GPUs and process 2 wants one of its own: start 1"):
        processes.device_of(1)


# Checkpoints --------------------------------------------------------------------------------------


def trained(steps, model, optimizer):
    for step in range(steps):
        torch.manual_seed(step)
        ids = torch.randint(0, 12, (2, 6))
        model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: one.detach().clone() for name, one in model.named_parameters()}


def test_a_checkpoint_keeps_model_states_and_step(tmp_path):
    model = new_policy()
    optimizer = optimize.adamw(model.parameters(), 1e-2)
    trained(3, model, optimizer)
    processes.save(tmp_path / "three", model, optimizer, 3, ALONE)
    wanted = trained(2, model, optimizer)
    other = new_policy()
    another = optimize.adamw(other.parameters(), 1e-2)
    assert processes.load(tmp_path / "three", other, another) == 3
    found = trained(2, other, another)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_is_no_checkpoint_of_the_model_is_refused_and_changes_nothing(tmp_path):
    model = new_policy()
    optimizer = optimize.adamw(model.parameters(), 1e-2)
    trained(1, model, optimizer)
    before = copy.deepcopy(model.state_dict())
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(TeamError, match=f"{folder} holds no whole checkpoint"):
            processes.load(tmp_path / folder, model, optimizer)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def test_a_second_checkpoint_takes_the_place_of_the_first(tmp_path):
    model = new_policy()
    optimizer = optimize.adamw(model.parameters(), 1e-2)
    for step in (1, 2):
        wanted = trained(1, model, optimizer)
        processes.save(tmp_path / "last", model, optimizer, step, ALONE)
    other = new_policy()
    assert processes.load(tmp_path / "last", other, optimize.adamw(other.parameters(), 1e-2)) == 2
    assert all(torch.equal(one, wanted[name]) for name, one in other.named_parameters())


def test_a_checkpoint_is_whole_when_its_last_file_is_there(tmp_path):
    model = new_policy()
    optimizer = optimize.adamw(model.parameters(), 1e-2)
    trained(1, model, optimizer)
    assert not processes.is_whole(tmp_path / "one")
    processes.save(tmp_path / "one", model, optimizer, 1, ALONE)
    assert processes.is_whole(tmp_path / "one")
    (tmp_path / "one/.metadata").unlink()
    assert not processes.is_whole(tmp_path / "one")


def test_a_place_that_cannot_be_written_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    model = new_policy()
    optimizer = optimize.adamw(model.parameters(), 1e-2)
    trained(1, model, optimizer)
    with pytest.raises(TeamError, match="cannot be written .*: free some space, or name another"):
        processes.save(tmp_path / "file/one", model, optimizer, 1, ALONE)


def test_another_model_is_refused(tmp_path):
    model = new_policy()
    optimizer = optimize.adamw(model.parameters(), 1e-2)
    trained(1, model, optimizer)
    processes.save(tmp_path / "one", model, optimizer, 1, ALONE)
    wider = nn.ModuleDict({"other": nn.Linear(3, 3)})
    other = optimize.adamw(wider.parameters(), 1e-2)
    with pytest.raises(TeamError, match="one holds no whole checkpoint of this model"):
        processes.load(tmp_path / "one", wider, other)
