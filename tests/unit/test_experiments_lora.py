"""The experiments of lab 02: their grids, their runs at tiny size, and what is made of their rows."""

import math

import pytest
import torch
from course import CourseError, machine, session
from experiments import lora as experiment
from experiments.shared import batch_of
from methods import lora
from stored_sweeps import rows_in_file

TINY = {"near": 10, "middle": 10, "far": 10}


@pytest.fixture(autouse=True)
def lab(monkeypatch):
    """The small scale, which reads the book's rows."""
    monkeypatch.setattr(session, "_lab", session.Lab("02_lora", "cpu", "small"))


@pytest.fixture
def short(monkeypatch):
    """Tasks of a few steps on few examples."""
    monkeypatch.setattr(experiment, "STEPS", TINY)
    some = experiment.training_set
    monkeypatch.setattr(experiment, "training_set", lambda shift, count: some(shift, 16))
    asked = experiment.held_out
    monkeypatch.setattr(experiment, "held_out", lambda shift, count=8: asked(shift, 8))


def test_rank_0_is_the_base_itself_and_another_rank_starts_there():
    ids, _ = batch_of(experiment.training_set("near", 2))
    base, adapted = experiment.fresh(0), experiment.fresh(2, seed=1)
    assert not lora.layers(base) and lora.count(base)[0] == base.num_parameters()
    assert torch.equal(base(input_ids=ids).logits, adapted(input_ids=ids).logits)


def test_the_seed_draws_the_adapter():
    one, same, other = (experiment.matrices(experiment.fresh(2, seed)) for seed in (3, 3, 4))
    assert all(map(torch.equal, one, same)) and not torch.equal(one[0], other[0])


def test_the_learners_functions_make_the_adapter():
    def ones(d_out, d_in, rank):
        return torch.ones(rank, d_in), torch.zeros(d_out, rank)

    A, B = experiment.matrices(experiment.fresh(2, initialise=ones))[:2]
    assert A.min() == A.max() == 1 and B.count_nonzero() == 0


def test_the_tasks_have_the_same_tickets_and_other_responses():
    near, middle, far = (experiment.held_out(shift, 3) for shift in ("near", "middle", "far"))
    assert len(near) == len(middle) == len(far) == 3
    assert all(" | " in example.response for example in middle)
    assert [a.response for a in middle] != [b.response for b in far]


@pytest.mark.parametrize("scaling, alpha", [("none", 4), ("α/r", 32), ("α/√r", 64)])
def test_the_scaling_sets_alpha(short, monkeypatch, scaling, alpha):
    made, fresh = [], experiment.fresh
    monkeypatch.setattr(experiment, "fresh", lambda *a, **k: made.append(k) or fresh(*a, **k))
    row = experiment.run_rate(4, scaling, 1e-3, 0)
    assert made[0]["alpha"] == alpha
    assert row.keys() == {"loss", "loss_at_5", "loss_at_0"} and row["loss"] > 0


def test_a_shift_is_followed_from_before_the_first_step_to_after_the_last(short):
    row = experiment.run_shift("near", 16, 1, 1e-3, 1)
    assert row["trace_step"] == tuple(range(11))
    assert len(row["trace_target"]) == len(row["trace_old"]) == len(row["trace_step"])
    assert row["rank90"] == 1  # what LoRA of rank 1 adds has rank 1


def test_the_update_of_an_adapter_has_at_most_its_rank(short):
    model = experiment.fresh(2)
    before = experiment.linear_weights(model)
    experiment.tune(model, experiment.training_set("near", 16), steps=2, rate=1e-2, seed=0)
    for update in experiment.updates(model, before):
        assert torch.linalg.matrix_rank(update) <= 2
        share = experiment.energy(update)
        assert share[1] == pytest.approx(1, abs=1e-4) and experiment.rank90(update) <= 2


def test_rank90_counts_singular_values():
    update = torch.diag(torch.tensor([3.0, 3.0, 1.0, 1.0]))  # energies 9, 9, 1, 1 of 20
    assert experiment.rank90(update) == 2
    assert experiment.energy(update).tolist() == pytest.approx([0.45, 0.9, 0.95, 1.0])
    assert experiment.rank90(torch.eye(10)) == 9


@pytest.mark.parametrize("variant", experiment.VARIANTS.values())
def test_every_variant_of_the_trap_trains_what_it_says(monkeypatch, variant):
    losses = [1.0] * 20
    monkeypatch.setattr(experiment, "tune", lambda *arguments, **options: losses)
    row = experiment.run_trap(variant, 0)
    trained = {each["variant"]: each["trained"] for each in rows_in_file("lora.trap")}
    assert row["trained"] == trained[variant] and row["train_loss"] == 1.0


def test_facts_are_counted_on_the_way_and_at_the_end(monkeypatch):
    monkeypatch.setattr(experiment, "POINTS", 2)
    row = experiment.run_facts(32, "r = 1, one matrix", 1e-3, 4, seed=1)
    assert len(row["curve"]) == 3 and row["known"] == row["curve"][-1]
    assert row["trained"] == 592


def test_a_subspace_trains_its_dimension(short):
    row = experiment.run_subspace("near", 100, 1e-2, 0)
    assert row.keys() == {"loss", "tokens", "exact", "train_loss"}


def test_a_day_with_the_right_function_ends_as_it_began(tmp_path, short, monkeypatch):
    asked = experiment.team_test
    monkeypatch.setattr(experiment, "team_test", lambda number, count=4: asked(number, 4))
    for number in range(3):
        model = experiment.fresh(2, seed=number)
        for layer in lora.layers(model).values():
            torch.nn.init.normal_(layer.B["default"], std=0.05)
        experiment.adapter_files.save(model, tmp_path / f"team{number}")
    day = experiment.a_day(tmp_path, lora.unmerged_weight, lora.merged_weight)
    assert len(day) == 6 and day[:3] == day[3:]


def test_gradients_of_the_factors_follow_from_the_whole_weights():
    batch = batch_of(experiment.training_set("middle", 4))
    gaps = experiment.gradient_gaps(experiment.fresh(4), batch)
    assert len(gaps) == 2 * len(lora.layers(experiment.fresh(4))) and max(gaps) < 1e-4
    assert max(experiment.gradient_gaps(experiment.fresh(4), batch, alpha=16)) > 0.1


# Rows ---------------------------------------------------------------------------------------------


def row(**values):
    return {"shift": "far", "count": 1024, "rank": 0, "seed": 1} | values


def test_the_best_rate_is_that_of_the_lowest_mean():
    rows = [
        {"rank": 8, "scaling": "α/r", "rate": rate, "loss": loss}
        for rate, loss in [(1, 0.5), (1, 0.7), (2, 0.1), (2, 1.3), (3, 0.65), (3, 0.65)]
    ]
    rate, means = experiment.best_rate(rows, 8, "α/r")
    assert rate == 1 and means == pytest.approx({1: 0.6, 2: 0.7, 3: 0.65})
    with pytest.raises(CourseError):
        experiment.best_rate(rows, 1, "α/r")


def test_a_ratio_divides_means():
    rows = [row(tokens=0.5), row(tokens=1.0), row(rank=8, tokens=0.6), row(rank=8, tokens=0.3)]
    assert experiment.ratio(rows, "tokens", "far", 1024, 8) == pytest.approx(0.6)
    assert experiment.mean_tokens(rows, "far", 1024, 0) == 0.75


def test_forgotten_is_read_where_the_new_task_is_learned_first():
    rows = [
        row(trace_target=[2.0, 0.9, 0.2, 0.8], trace_old=[0.1, 3.0, 4.0, 5.0]),
        row(trace_target=[2.0, 1.9], trace_old=[0.1, 9.0]),  # never gets there
    ]
    assert experiment.forgotten(rows, "far", 0) == [3.0]


def test_overfitting_is_the_distance_of_the_losses():
    assert experiment.overfit({"loss": 1.5, "train_loss": 0.25}) == 1.25


@pytest.mark.parametrize(
    "shares, rank", [({0: 1.0, 1: 0.96, 8: 1.0}, 1), ({0: 1.0, 1: 0.94, 8: 0.95, 64: 1.0}, 8)]
)
def test_the_rank_needed_is_within_0_05(shares, rank):
    assert experiment.rank_needed(shares) == rank


def test_the_dimension_needed_reaches_90_percent_or_is_everything():
    full = [row(shift="near", tokens=0.8)]
    found = {100: 0.1, 1_000: 0.71, 10_000: 0.73, 100_000: 0.8}
    rows = [{"shift": "near", "dimension": d, "tokens": t} for d, t in found.items()]
    assert experiment.dimension_needed(rows, full, "near") == 10_000
    none = [{"shift": "near", "dimension": d, "tokens": 0.1} for d in found]
    assert experiment.dimension_needed(none, full, "near") == 965_440


def test_the_spread_is_over_ranks_at_one_rate():
    losses = {1: 2.0, 8: 1.5, 64: 1.75}
    rows = [
        {"rank": rank, "scaling": "none", "rate": rate, "loss_at_5": loss * (rate == 1e-3)}
        for rank, loss in losses.items()
        for rate in (1e-3, 2e-3)
    ]
    assert experiment.spread_over_ranks(rows, "none") == 0.5


def test_times_are_medians_in_milliseconds(monkeypatch):
    now = iter([0, 1, 10, 12, 20, 29])
    monkeypatch.setattr(experiment.time, "perf_counter", lambda: next(now))
    assert experiment.milliseconds(lambda: None, times=3) == 2000


def test_everything_runs_on_the_device_that_is_picked():
    device = next(experiment.fresh(1).parameters()).device
    assert device.type == machine.pick_device() and math.isfinite(experiment.step_times(1))
