"""What lab 11 makes of its rows."""

import itertools

import matplotlib.pyplot as plt
import pytest
from experiments import real_model as experiment
from experiments import real_model_ends as ends
from experiments import real_model_results as results

MARKS = ("valid", "fields", "exact", "product")


def tuned(start, rank, seed, **marks):
    marks = {name: marks.get(name, 0.5) for name in (*MARKS, "answered")}
    far = {f"far_{name}": marks[name] / 2 for name in MARKS}
    setting = {"start": start, "rank": rank, "examples": 256, "rate": 1e-3, "seed": seed}
    return setting | marks | far | {"english": 4.0}


def all_ways():
    return [
        tuned(start, rank, seed, fields=(rank + seed) / 100)
        for (start, rank), seed in itertools.product(results.WAYS, experiment.SEEDS)
    ]


def prompted():
    return [
        {"system": system, "shots": shots, "seed": seed, "found": 1.0}
        | {f"{before}{name}": shots / 10 for before in results.TESTS for name in MARKS}
        for system, shots in results.ASKED
        for seed in experiment.SEEDS
    ]


def test_leads_are_full_tunings_fields_minus_an_adapters_seed_by_seed():
    rows = all_ways()[::-1]
    assert results.leads(rows, 8) == pytest.approx([-0.08] * 3)
    assert results.seed_by_seed([3.0, 1.0], [1.0, 2.0]) == [2.0, -1.0]
    with pytest.raises(ValueError):
        results.seed_by_seed([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    "what, unit",
    [("fields", "share of right fields"), ("english", "nats per token of English prose")],
)
def test_units_say_which_messages_a_mark_is_of(what, unit):
    assert results.unit_of(what) == unit
    assert results.unit_of(f"far_{what}") == f"{unit}, messages of another kind"


def test_every_named_result_is_in_the_grid_of_its_sweep():
    asked = {(row["system"], row["shots"]) for row in experiment.PROMPTED.grid}
    assert {(system, shots) for _, system, shots in results.PROMPTED.values()} == asked
    rates = {row["rate"] for row in experiment.RATES.grid if row["rank"] == 0}
    assert {rate for _, rate in results.ON_THE_WAY.values()} <= rates
    assert set(results.WAYS) == set(experiment.WAYS)
    settings = {(row["counted"], row["steps"]) for row in ends.ENDS.grid}
    assert set(results.ENDS.values()) == settings


def test_the_picture_of_prompting_and_tuning_has_a_bar_for_every_way():
    fig, axes = plt.subplots(1, 2)
    results.draw_steps_up(axes, prompted(), all_ways())
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names == ["0 solved", "4 solved", "8 solved", "random weights"] + [
        "LoRA, rank 1", "LoRA, rank 8", "LoRA, rank 64", "full tuning"
    ]  # fmt: skip
    for ax, part in zip(axes, (1, 2)):
        widths = [bar.get_width() for bar in ax.patches]
        assert widths[:3] == pytest.approx([0, 0.4, 0.8])
        assert widths[5] == pytest.approx(0.09 / part) and len(widths) == 8
    plt.close(fig)


def test_the_picture_of_rates_has_a_line_for_every_way_in_the_order_of_rates():
    rows = [
        tuned(start, rank, 9, fields=rate) | {"rate": rate}
        for (start, rank), rate in itertools.product(results.WAYS, (3e-3, 1e-4, 1e-3))
    ]
    fig, axes = plt.subplots(1, 2)
    results.draw_rates(axes, rows)
    for line in axes[0].get_lines():
        assert list(line.get_xdata()) == [1e-4, 1e-3, 3e-3] == list(line.get_ydata())
    assert len(axes[0].get_lines()) == len(axes[1].get_lines()) == len(results.WAYS)
    plt.close(fig)


def test_the_picture_of_ends_has_a_dot_for_every_run():
    rows = [
        setting | {"stopped": setting["steps"] / 32, "valid": 1.0} for setting in ends.ENDS.grid
    ]
    fig, axes = plt.subplots(1, 2)
    results.draw_ends(axes, rows)
    dots = [line for line in axes[0].get_lines() if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [
        [0.25] * 3,
        [0.25] * 3,
        [1.0] * 3,
        [1.0] * 3,
    ]
    assert [label.get_text() for label in axes[0].get_yticklabels()][3] == "32 steps, by id"
    plt.close(fig)


def test_the_picture_of_examples_has_a_mean_at_every_number_of_examples():
    more = [
        tuned("SmolLM2", rank, seed, fields=count / 2000) | {"examples": count}
        for rank, counts in experiment.FEWER_AND_MORE.items()
        for count, seed in itertools.product(counts, experiment.SEEDS)
    ]
    fig, axes = plt.subplots(1, 2)
    results.draw_examples(axes, [*all_ways(), *more])
    lines = [line for line in axes[0].get_lines() if line.get_marker() != "o"]
    counts = {line.get_label(): list(line.get_xdata()) for line in lines}
    assert counts == {"full tuning": [16, 64, 256], "LoRA, rank 8": [16, 64, 256, 1024]}
    assert lines[1].get_ydata()[-1] == pytest.approx(0.512)
    assert [label.get_text() for label in axes[0].get_xticklabels()][-1] == "1,024"
    plt.close(fig)


def test_what_more_examples_gain_is_counted_seed_by_seed_and_for_one_rank():
    rows = [
        tuned("SmolLM2", rank, seed, fields=count * (1 + seed + rank) / 10000) | {"examples": count}
        for rank, count, seed in itertools.product((0, 8), (16, 256), experiment.SEEDS)
    ]
    rows.append(tuned("random weights", 0, 0, fields=1.0) | {"examples": 16})
    for rank in (0, 8):
        found = results.gained_by_more(rows, "fields", rank, 16, 256)
        assert found == pytest.approx([240 * (1 + seed + rank) / 10000 for seed in (0, 1, 2)])


def test_every_named_number_of_examples_is_in_a_sweep():
    counts = {(rank, count) for rank, some in experiment.FEWER_AND_MORE.items() for count in some}
    assert {(rank, count) for _, rank, count in results.EXAMPLES.values()} == counts
    counts |= {(0, experiment.USUAL), (8, experiment.USUAL)}
    for _, rank, fewer, more in results.MORE_EXAMPLES.values():
        assert fewer < more and {(rank, fewer), (rank, more)} <= counts
