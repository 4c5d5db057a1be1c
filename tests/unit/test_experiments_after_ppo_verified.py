"""Lab 05's experiments with verifiers and a teacher, at a tiny size."""

import pytest
from course import session
from experiments import after_ppo_verified as experiment
from experiments.shared import fresh
from helpdesk import tasks
from methods import distill, grpo
from stored_sweeps import rows_in_file
from transformers import AutoModelForCausalLM

TRIAGE = tasks.Example("ticket : x fields :", " laptop | hot | rome | monday | blue")


@pytest.fixture
def tiny(monkeypatch):
    """One step of four prompts, and a teacher that has learned nothing."""
    monkeypatch.setattr(experiment, "PROMPTS", 4)
    monkeypatch.setattr(experiment, "CHOICES", 2)
    monkeypatch.setattr(experiment, "VERIFIED_STEPS", 1)
    monkeypatch.setattr(experiment, "TOTAL_STEPS", 1)
    monkeypatch.setattr(experiment, "SFT_STEPS", 1)
    monkeypatch.setattr(experiment, "DEMONSTRATED", 256)
    monkeypatch.setattr(
        experiment, "teacher", lambda: AutoModelForCausalLM.from_config(fresh().config)
    )


def full_batch(demonstrations):
    """The same, repeated: a teacher that has learned nothing ends few of its answers."""

    def repeated(*args, **options):
        rows = demonstrations(*args, **options)
        assert rows
        return (rows * 256)[:256]

    return repeated


@pytest.mark.parametrize(
    "declared, settings",
    [
        (experiment.COLD_START, {"sft_steps": 2, "recipe": "GRPO", "rate": 1e-4, "seed": 0}),
        (experiment.COLD_START, {"sft_steps": 2, "recipe": "RLOO", "rate": 1e-4, "seed": 0}),
        (experiment.ANSWERS, {"sft_steps": 2, "operations": 1e9, "seed": 0}),
        (experiment.CHEAT, {"verifier": "the look of fields", "rate": 1e-4, "seed": 0}),
        (experiment.CHEAT, {"verifier": "the right fields", "rate": 1e-4, "seed": 0}),
        (experiment.CHEAT, {"verifier": "a coin", "rate": 1e-4, "seed": 0}),
        (experiment.TOTALS, {"way": "more SFT", "rate": 1e-4, "seed": 0}),
        (experiment.TOTALS, {"way": "verifier", "rate": 1e-4, "seed": 0}),
        (experiment.TOTALS, {"way": "teacher's answers", "rate": 1e-4, "seed": 0}),
        (experiment.TOTALS, {"way": "teacher, on-policy", "rate": 1e-4, "seed": 0}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_run_gives_results_with_the_stored_names(tiny, monkeypatch, declared, settings):
    if settings.get("way") == "teacher's answers":  # which come in batches of 256
        monkeypatch.setattr(experiment, "PROMPTS", 128)
        monkeypatch.setattr(distill, "demonstrations", full_batch(distill.demonstrations))
    row = declared.run(**settings)
    assert row.keys() == rows_in_file(declared.name)[0].keys() - {*settings, "seconds", "code"}


@pytest.mark.parametrize(
    "response, right, form",
    [
        (" laptop | hot | rome | monday | blue <eos>", 1, 1),
        (" laptop | hot | rome | monday | red <eos>", 0, 1),
        (" the | the | the | the | the <eos>", 0, 1),
        (" laptop | hot | rome | monday | blue", 0, 0),
        (" laptop | hot | rome | monday <eos>", 0, 0),
        (" laptop hot rome monday blue <eos>", 0, 0),
        ("", 0, 0),
    ],
)
def test_one_verifier_reads_the_fields_the_other_their_form(response, right, form):
    assert experiment.right_fields([TRIAGE])(TRIAGE.prompt, response) == right
    assert experiment.like_fields(TRIAGE.prompt, response) == form


def test_sums_have_the_lengths_that_were_asked_for():
    some = experiment.totals(200, ((1, 1), (2, 3)), "a seed")
    lengths = set()
    for example in some:
        left, right = example.prompt.removeprefix("total :").removesuffix("=").split("+")
        lengths.add((len(left.split()), len(right.split())))
        total = int(left.replace(" ", "")) + int(right.replace(" ", ""))
        assert example.response == " " + " ".join(str(total))
    assert lengths == {(1, 1), (2, 3)}
    assert (
        some
        == experiment.totals(200, ((1, 1), (2, 3)), "a seed")
        != experiment.totals(200, ((1, 1), (2, 3)), "another")
    )
    assert not set(experiment.LENGTHS) & set(experiment.HELD_OUT_LENGTHS)


def test_further_sft_costs_what_the_verifier_did():
    model, shown = fresh(), experiment.triage_examples("train", 32, 0)
    compute = experiment.Compute(model)
    experiment.tune(model, shown, steps=1, rate=1e-3, seed=0)
    compute.stop()
    assert experiment.spend(model, shown, 5 * compute.operations, 0) in (4, 5, 6)
    assert experiment.spend(model, shown, 0, 0) == 1


def test_every_run_has_the_rate_that_was_best_for_it(monkeypatch):
    monkeypatch.setattr(session, "_lab", session.Lab("05_after_ppo", "cpu", "small"))
    for grid, tried, key in (
        (experiment.cold_grid(), "after.cold_rates", "recipe"),
        (experiment.totals_grid(), "after.total_rates", "way"),
    ):
        for row in grid:
            mine = [each for each in rows_in_file(tried) if each[key] == row[key]]
            best = max(each["exact_end"] for each in mine)
            assert best == next(e["exact_end"] for e in mine if e["rate"] == row["rate"])
    assert experiment.live_cold() in experiment.cold_grid()


def test_the_lab_repeats_the_beginning_of_a_run(tiny, monkeypatch):
    monkeypatch.setattr(session, "_lab", session.Lab("05_after_ppo", "cpu", "small"))
    settings = experiment.live_cold() | {"sft_steps": 2}
    monkeypatch.setattr(experiment, "live_cold", lambda: settings)
    monkeypatch.setattr(experiment, "VERIFIED_STEPS", 3)
    row = experiment.run_cold_start(**settings)
    assert experiment.first_steps(2, grpo.standardised) == row["score"][:2]


def test_the_learners_functions_are_used(tiny):
    called = []

    def noted(function):
        return lambda *arguments: called.append(function.__name__) or function(*arguments)

    experiment.run_cold_start(2, "GRPO", 1e-4, 0, standardised=noted(grpo.standardised))
    experiment.run_totals("teacher, on-policy", 1e-4, 0, reverse_kl=noted(distill.reverse_kl))
    assert set(called) == {"standardised", "reverse_kl"}


def test_gains_are_counted_in_points():
    totals = [{"way": "verifier", "exact_start": 0.5, "exact_end": end} for end in (0.6, 0.8)]
    assert experiment.gained(totals, "verifier") == pytest.approx(20)
    cold = [{"sft_steps": 100, "exact_end": 0.5, "exact_more_sft": 0.25}]
    assert experiment.over_more_sft(cold + [cold[0] | {"sft_steps": 30}], 100) == pytest.approx(25)
    assert experiment.verifier_gain(cold[0] | {"exact_start": 0.125}) == 37.5
    assert experiment.work({"operations": 3e12}) == 3
