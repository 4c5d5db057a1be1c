"""Lab 09's experiments at a tiny size."""

import copy
import math

import pytest
import torch
from experiments import after_ppo
from experiments import pipelines as experiment
from experiments import pipelines_compared as compared
from experiments.shared import fresh
from methods import lora
from methods.reference import AdapterOff, reference_of
from test_experiments_pipelines_compared import tiny  # noqa: F401 (a fixture)


@pytest.fixture
def small(tiny, monkeypatch):  # noqa: F811 (the same fixture)
    monkeypatch.setattr(experiment, "DEMONSTRATIONS", 32)
    monkeypatch.setattr(experiment, "CHOICES", 20)
    monkeypatch.setattr(experiment, "rates", lambda: dict.fromkeys(compared.METHODS, 1e-3))
    monkeypatch.setattr(experiment, "TEAMS", 2)
    monkeypatch.setattr(experiment, "SHOWN", 32)
    monkeypatch.setattr(experiment, "TEST", 4)
    monkeypatch.setattr(experiment, "TEAM_STEPS", 1)
    monkeypatch.setattr(experiment, "general", lambda seed: fresh())


@pytest.mark.parametrize(
    ("pipeline", "parameters"),
    [
        *((pipeline, "full") for pipeline in experiment.PIPELINES),
        (experiment.WITH_ADAPTERS, "r = 1"),
    ],
)
def test_a_pipeline_tells_of_every_stage(small, pipeline, parameters):
    row = experiment.run_pipeline(pipeline, parameters, 0)
    stages = pipeline.split(" → ")
    assert all(len(values) == len(stages) + 1 for values in row.values())
    assert row["kl"][0] == pytest.approx(0, abs=1e-5) and row["forgotten"][0] == 0
    assert row["labels"][-1] == sum(experiment.READS[stage] for stage in stages)
    assert all(spent > 0 for spent in row["operations"][1:])
    assert all(map(math.isfinite, row["gold"]))


def test_a_renewed_adapter_begins_where_the_last_one_ended():
    policy = after_ppo.policy_of("r = 8", 0)
    with torch.no_grad():
        for layer in lora.layers(policy).values():
            layer.B["default"].normal_(std=0.1)
    ids = torch.randint(3, 100, (2, 9), generator=torch.Generator().manual_seed(1))
    before = policy(input_ids=ids).logits
    assert not isinstance(reference_of(policy), AdapterOff), "switched off, it would be the base"
    trained = lora.count(policy)
    experiment.renew(policy, "r = 8")
    torch.testing.assert_close(policy(input_ids=ids).logits, before, rtol=1e-4, atol=1e-4)
    assert lora.count(policy) == trained
    assert isinstance(reference_of(policy), AdapterOff)
    torch.testing.assert_close(
        reference_of(policy)(input_ids=ids).logits, before, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("arm", experiment.ARMS)
def test_teams_are_tuned_in_four_ways(small, arm):
    row = experiment.run_teams(arm, 1e-3, 0)
    assert len(row["exact"]) == 2 and 0 <= row["triage"] <= 1
    weights = sum(each.nbytes for each in fresh().parameters())
    adapter = 4 * lora.count(after_ppo.policy_of("r = 8", 0))[0]
    one = adapter if "adapter" in arm else weights
    assert row["artefact_bytes"] == one * (2 if arm.endswith("each") else 1)


def test_teams_ask_for_themselves(small):
    first, second = (experiment.of_team(n, "test", 3, 0) for n in range(2))
    assert len({each.prompt.split()[-2] for each in first + second}) == 2
    assert all(each.prompt.endswith(" :") for each in first)


@pytest.mark.parametrize("start", experiment.STARTS)
def test_a_run_without_sft_is_watched(small, start):
    row = experiment.run_without_sft(start, 1e-3, 0)
    assert len(row["score"]) == 1 and not row["broke"]
    if start == "random weights":
        assert row["flat_groups"] == [1.0]


def test_a_run_that_breaks_is_told(small, monkeypatch):
    def breaks(policy, rate, seed):
        yield None, {"score": 0.5, "flat_groups": 0.0, "kl": 0.1}
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr(compared, "by_program", breaks)
    row = experiment.run_without_sft("base", 1e-3, 0)
    assert row["broke"] and row["score"] == [0.5]


def test_choices_are_between_the_policys_own_replies(small):
    policy = fresh()
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    assert experiment.own_choices(policy, 0) == experiment.own_choices(policy, 0)
    assert experiment.own_choices(policy, 0) != experiment.own_choices(other, 0)
