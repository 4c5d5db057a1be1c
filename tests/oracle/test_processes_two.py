"""Two processes do what one does: the course's own training under accelerate launch.

One launch for all that should go well, one for a process that dies; the results are compared with
those of a single process.
"""

import shutil

import pytest
from experiments import outgrow
from experiments.outgrow import AT_STAGES, HALF, IN_PARTS, STEPS, STOPPED, Job, named
from experiments.outgrow_results import gap
from methods.processes import ALONE, STAGES, TeamError

pytestmark = pytest.mark.xdist_group("two processes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("teams")


@pytest.fixture(scope="module")
def alone(folder):
    """What one process found, and its checkpoint in the folder."""
    return outgrow.alone(outgrow.jobs_of_one(), folder / "alone")


@pytest.fixture(scope="module")
def team(folder, alone):
    """What both processes found."""
    return outgrow.launch(outgrow.jobs_of_two(folder / "alone"), folder / "two")


def moved(one):
    """How far the parameters of a method moved at all: without that, equality would say nothing."""
    start = dict(outgrow.fresh().named_parameters())
    return max((tensor - start[name]).abs().max().item() for name, tensor in one["trained"].items())


@pytest.mark.parametrize("method, stage", AT_STAGES)
def test_two_processes_have_the_losses_and_the_parameters_of_one(alone, team, method, stage):
    for one in team[named(method, stage)]:
        assert len(one["losses"]) == STEPS
        assert one["losses"] == pytest.approx(alone[method]["losses"], abs=1e-5)
        assert gap(one, alone[method]) < 1e-5


def test_the_steps_move_the_parameters_by_far_more_than_that(alone):
    for method in ("SFT", "DPO", "GRPO"):
        assert moved(alone[method]) > 1e-3
    assert len(set(alone["SFT"]["losses"])) == STEPS
    assert set(alone["SFT"]["trained"]) == set(dict(outgrow.fresh().named_parameters()))
    assert set(alone["LoRA"]["trained"]).isdisjoint(alone["SFT"]["trained"])


def test_the_processes_drew_responses_of_different_lengths(team):
    """Else nothing would show that a gathered model does without the other process."""
    one, other = (found["widths"] for found in team[named("GRPO", 3)])
    assert len(one) == len(other) == STEPS and one != other


@pytest.mark.parametrize("stage", IN_PARTS)
def test_a_batch_read_in_parts_gives_the_same(alone, team, stage):
    for one in (*team[named("SFT", stage, "in parts")], alone["SFT in parts"]):
        assert one["losses"] == pytest.approx(alone["SFT"]["losses"], abs=1e-5)
        assert gap(one, alone["SFT"]) < 1e-5


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("what, divided_from", [("states", 1), ("gradients", 2), ("weights", 3)])
def test_each_process_holds_half_of_what_the_stage_divides(alone, team, stage, what, divided_from):
    held, whole = [one[what] for one in team[named("SFT", stage)]], alone["SFT"][what]
    if stage < divided_from:
        assert held == [whole] * 2
    elif stage == 1:  # whole parameters are dealt out, and the largest is a tenth of all
        assert sum(held) == whole and max(held) < 0.6 * whole
    else:
        assert sum(held) == whole and max(held) < 0.51 * whole


def test_gradients_of_parts_are_divided_too(alone, team):
    for one in team[named("SFT", 3, "in parts")]:
        assert one["gradients"] < 0.51 * alone["SFT"]["gradients"]


@pytest.mark.parametrize("method, stage", STOPPED)
def test_a_checkpoint_of_two_processes_goes_on_with_one(alone, team, folder, method, stage):
    start = named(method, stage, "half")
    found = outgrow.run(Job("on", method, start=start), ALONE, folder / "two")
    assert found["losses"] == pytest.approx(alone[method]["losses"][HALF:], abs=1e-5)
    assert gap(found, alone[method]) < 1e-5


@pytest.mark.parametrize("method", ["SFT", "LoRA"])
def test_a_checkpoint_of_one_process_goes_on_with_two(alone, team, method):
    for one in team[f"{method} on from one"]:
        assert len(one["losses"]) == STEPS - HALF and gap(one, alone[method]) < 1e-5


def test_a_checkpoint_of_an_adapter_does_without_the_base(alone, folder, team):
    sizes = {
        method: sum(path.stat().st_size for path in (folder / "alone" / f"{method} half").iterdir())
        for method in ("SFT", "LoRA")
    }
    numbers = 3 * 4 * sum(one.numel() for one in alone["LoRA"]["trained"].values())
    assert numbers < sizes["LoRA"] < 2 * numbers < alone["SFT"]["weights"] < sizes["SFT"]


@pytest.mark.parametrize("stage", (0, 3))
def test_all_processes_begin_with_the_numbers_of_the_first(alone, team, stage):
    for one in team[named("SFT", stage, outgrow.OTHER_START)]:
        assert gap(one, alone["SFT"]) < 1e-5


# What goes wrong ----------------------------------------------------------------------------------


def test_a_mean_of_means_is_another_loss(alone, team):
    one, other = team["means"]
    assert gap(one, other) == 0  # nothing looks wrong: the processes agree
    assert gap(one, alone["SFT"]) > 1e-3


def test_an_adapter_that_is_put_in_later_belongs_to_no_team(alone, team):
    one, other = team["late adapter"]
    assert gap(one, other) > 1e-3
    assert gap(*team[named("LoRA", 0)]) == 0


def test_other_seeds_draw_other_responses_in_a_right_run_too(alone, team):
    one, other = team[outgrow.OTHER_SEEDS]
    assert gap(one, other) == 0 and gap(one, alone["GRPO"]) > 1e-3


def test_with_one_seed_all_have_that_of_the_first():
    job = outgrow.Job("wrong", "GRPO", mistake=outgrow.ONE_SEED)
    right = outgrow.Job("right", "GRPO")
    processes = [outgrow.Team(rank, 2) for rank in (0, 1)]
    assert len({outgrow.seed_in(job, one, 3) for one in processes}) == 1
    assert len({outgrow.seed_in(right, one, step) for one in processes for step in (3, 4)}) == 4


def test_one_seed_for_all_draws_other_responses_than_a_seed_for_each(alone, team):
    assert gap(team["one seed"][0], alone["GRPO"]) > 1e-3


def test_a_process_that_reads_the_rows_of_another_learns_from_half_of_the_batch(alone, team):
    one, other = team["same rows"]
    assert gap(one, other) == 0  # again the processes agree
    assert gap(one, alone["SFT"]) > 1e-3


def test_a_process_that_dies_is_named_and_the_checkpoint_survives(alone, folder, team):
    start = named("SFT", 3, "half")
    dying = Job("dying", stage=3, start=start, mistake=outgrow.DIES)
    with pytest.raises(TeamError, match="process 1 was killed, and the others were stopped: go on"):
        outgrow.launch([dying], folder / "two")
    found = outgrow.run(Job("after", start=start), ALONE, folder / "two")
    assert gap(found, alone["SFT"]) < 1e-5


@pytest.mark.parametrize("damage", ["metadata", "part", "everything", "cut"])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(folder, team, damage, tmp_path):
    broken = tmp_path / "half"
    shutil.copytree(folder / "two" / named("SFT", 3, "half"), broken)
    for path in list(broken.iterdir()):
        if damage == "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif damage == "everything" or (path.name == ".metadata") == (damage == "metadata"):
            path.unlink()
    with pytest.raises(TeamError, match="half holds no whole checkpoint of this model .*: name"):
        outgrow.run(Job("on", start="half"), ALONE, tmp_path)


@pytest.mark.parametrize(
    "text, said",
    [
        (
            "[rank0]:   File x\n[rank0]: methods.processes.TeamError: this is why\nmore",
            "this is why",
        ),
        ("ValueError: no rows\n[rank1]: KeyError: 'x'", "a process ended: ValueError: no rows"),
        ("RuntimeError: ... errno: 98 - Address already in use", "the port is in use: end"),
        ("  rank      : 3 (local_rank: 1)\n  exitcode  : -9 (pid: 5)", "process 3 was killed, and"),
        ("", "a process ended: it said nothing"),
        ("nothing that is known", "a process ended: nothing that is known"),
    ],
)
def test_a_complaint_is_one_sentence(text, said):
    assert outgrow.complaint(text).startswith(said) and "\n" not in outgrow.complaint(text)
