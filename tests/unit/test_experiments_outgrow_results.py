"""What lab 12 makes of its teams: differences, shares, and the gradient that several would step with."""

import pytest
import torch
from experiments import outgrow_results as results
from experiments import outgrow_sampler as engines
from experiments.outgrow import AT_STAGES, METHODS, OTHER_SEEDS, WRONG, named
from matplotlib.figure import Figure
from methods import teamwork
from torch import nn


def found(*numbers, losses=(1.0, 2.0), **held):
    return {"trained": {"w": torch.tensor(numbers)}, "losses": list(losses), **held}


def test_a_gap_is_the_largest_difference_of_either_sign():
    assert results.gap(found(1.0, 2.0), found(1.5, -1.0)) == 3.0
    assert results.gap(found(1.5, -1.0), found(1.0, 2.0)) == 3.0
    assert results.loss_gap(found(0.0), found(0.0, losses=(1.5, 0.0))) == 2.0
    with pytest.raises(ValueError, match="different parameters"):
        results.gap(found(1.0), {"trained": {"other": torch.zeros(1)}})


def test_of_a_team_the_process_that_is_farthest_off_counts():
    alone = {method: found(0.0) for method in METHODS}
    team = {named(*which): [found(0.0), found(0.0)] for which in AT_STAGES}
    team[named("DPO", 3)] = [found(0.0), found(-0.25)]
    gaps = results.gaps(alone, team, results.gap)
    assert gaps == {named(*which): 0.25 * (which == ("DPO", 3)) for which in AT_STAGES}


def test_a_late_adapter_is_compared_between_the_processes():
    alone = {method: found(0.0) for method in METHODS}
    team = {job.name: [found(1.0), found(3.0)] for job in WRONG}
    team[OTHER_SEEDS] = [found(0.5), found(0.5)]
    gaps = results.wrong_gaps(alone, team)
    assert gaps == dict.fromkeys((job.name for job in WRONG[:-1]), 1.0) | {
        WRONG[-1].name: 2.0,
        OTHER_SEEDS: 0.5,
    }
    assert gaps.keys() == results.WRONG_GAPS.keys()


def test_a_difference_of_zero_is_a_ring_on_the_logarithmic_axis():
    ax = Figure().subplots()
    results.draw_gaps(ax, {"right": 0.0, "nearly": 1e-6}, {OTHER_SEEDS: 0.1})
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_fillstyle() for line in marks] == ["none", "full", "full"]
    assert marks[0].get_xdata()[0] == results.NONE and marks[1].get_xdata()[0] == 1e-6


def test_a_share_is_what_process_0_holds_of_what_one_holds():
    whole = dict.fromkeys(results.PARTS, 8)
    alone = {"SFT": found(0.0, **whole)}
    team = {
        named("SFT", stage): [found(0.0, **dict.fromkeys(results.PARTS, stage + 1)), None]
        for stage in range(4)
    }
    shares = results.held(alone, team)
    assert all(share == (stage + 1) / 8 for (stage, _), share in shares.items())
    planned = {stage: [results.planned(stage, part) for part in results.PARTS] for stage in (0, 3)}
    assert planned == {0: [1, 1, 1], 3: [0.5, 0.5, 0.5]}


def test_more_devices_need_less_on_each_but_at_stage_0():
    assert results.planned_gb(8, 0) == results.planned_gb(64, 0)
    assert results.planned_gb(8, 3) > results.planned_gb(64, 3) > results.planned_gb(512, 3)


def test_processes_that_average_get_the_whole_batchs_gradient_or_that_of_a_mean_of_means():
    model = nn.Linear(3, 1, bias=False)
    rows = [torch.randn(count, 3) for count in (1, 2, 5, 3)]
    losses = [model(row).squeeze(-1).square() for row in rows]
    (whole,) = torch.autograd.grad(torch.cat(losses).mean(), model.parameters(), retain_graph=True)
    ours = results.averaged_gradient(model, losses, 2, teamwork.to_minimise)
    torch.testing.assert_close(ours, whole.flatten())
    means = results.averaged_gradient(model, losses, 2, lambda own, counts: own.mean())
    dealt = [torch.cat(losses[rank::2]).mean() for rank in (0, 1)]  # like cards
    (expected,) = torch.autograd.grad(sum(dealt) / 2, model.parameters(), retain_graph=True)
    torch.testing.assert_close(means, expected.flatten())
    assert results.angle(ours, means) > 0.1


def test_an_angle_is_in_degrees_and_does_without_lengths():
    one = torch.tensor([1.0, 0.0])
    assert results.angle(one, torch.tensor([0.0, 5.0])) == pytest.approx(90)
    assert results.angle(one, torch.tensor([-2.0, 0.0])) == pytest.approx(180)
    assert results.angle(one, 3 * one) == 0


def test_weights_that_turn_a_gradient_back_repair_so_many_degrees():
    coarse = engines.Found({}, {engines.PLAIN: 60.0, engines.TOKEN: 45.0})
    assert engines.repairs({engines.COARSE: [coarse]}, engines.TOKEN) == [15.0]
