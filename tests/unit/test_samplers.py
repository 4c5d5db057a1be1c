"""Samplers that are not the model: who draws, what both say of it, and the weights, against exact sums
where every response can be listed. vLLM is played by a module that keeps to its documentation."""

import copy
import dataclasses
import math
import sys
import types
from dataclasses import replace

import pytest
import torch
from experiments import outgrow_sampler as experiment
from experiments import shared
from matplotlib.figure import Figure
from methods import enumeration, grpo, lora, rollouts, samplers, tokens
from methods.optimize import adamw
from tiny import (
    CONTEXT,
    PAD,
    PROMPTS,
    STOP,
    new_policy,
    parameters,
    plain_log_probs,
    same_parameters,
    some_tables,
)
from transformers import AutoModelForCausalLM

SPECIAL = {"stop_id": STOP, "pad_id": PAD}
SETTINGS = {"max_new_tokens": 6, "temperature": 0.7} | SPECIAL
CONFIG = grpo.GRPOConfig(
    size=3, beta=0.3, minibatch=4, max_new_tokens=6, temperature=0.7, learning_rate=1e-2, clip=0.15
)
RECIPES = {
    name: replace(recipe, size=3, minibatch=4, max_new_tokens=6, temperature=0.7, clip=0.15)
    for name, recipe in grpo.RECIPES.items()
} | {"penalised": CONFIG}


def score(prompts, responses):
    return torch.tensor(
        [sum(prompt) / 10 - sum(response) / 20 for prompt, response in zip(prompts, responses)]
    )


def coarse(policy):
    """A sampler that is far from its policy."""
    return samplers.Rounded(policy, samplers.few_bits(2, group=8))


def roll_out(sampler, policy, config=CONFIG, score=score, **settings):
    torch.manual_seed(1)
    reference = new_policy(spread=0.25)
    return samplers.roll_out(
        sampler, policy, reference, score, PROMPTS, config, **SPECIAL, **settings
    )


# Who draws ----------------------------------------------------------------------------------------


def test_the_model_itself_draws_as_ever():
    policy = new_policy()
    torch.manual_seed(5)
    expected = rollouts.sample(policy, PROMPTS, **SETTINGS)
    torch.manual_seed(5)
    assert samplers.Own(policy)(PROMPTS, **SETTINGS) == expected


def test_the_model_itself_follows_another_one():
    first, second = new_policy(), new_policy(spread=0.5)
    sampler = samplers.Own(first)
    sampler.follow(second)
    torch.manual_seed(5)
    expected = rollouts.sample(second, PROMPTS, **SETTINGS)
    torch.manual_seed(5)
    assert sampler(PROMPTS, **SETTINGS) == expected


@pytest.mark.parametrize("how", [samplers.bfloat16, samplers.few_bits(2, group=8)])
def test_a_rounded_copy_draws_by_its_own_probabilities_until_it_follows(how):
    policy = new_policy()
    before = parameters(policy)
    sampler = samplers.Rounded(policy, how)
    assert same_parameters(policy, before) and all(
        part.requires_grad for part in policy.parameters()
    )
    assert not any(part.requires_grad for part in sampler.model.parameters())

    def drawn(sampler):
        torch.manual_seed(5)
        return sampler(PROMPTS, **SETTINGS)

    first = drawn(sampler)
    for prompt, response, told in zip(PROMPTS, first.responses, first.log_probs):
        own = plain_log_probs(sampler.model, prompt, response, 0.7)
        assert own.dtype == torch.float32
        torch.testing.assert_close(torch.tensor(told), own, rtol=0.02, atol=0.02)
        theirs = plain_log_probs(policy, prompt, response, 0.7)
        assert (own - theirs).abs().max() > 1e-4
    with torch.no_grad():
        for part in policy.parameters():
            part += 0.1 * torch.randn(part.shape, generator=torch.Generator().manual_seed(9))
    assert drawn(sampler) == first
    sampler.follow(policy)
    assert drawn(sampler) != first and drawn(sampler) == drawn(samplers.Rounded(policy, how))


def test_bfloat16_is_what_it_says_and_its_probabilities_are_not_rounded():
    sampler = samplers.Rounded(new_policy(), samplers.bfloat16)
    assert {part.dtype for part in sampler.model.parameters()} == {torch.bfloat16}
    torch.manual_seed(5)
    told = sum(sampler(PROMPTS, **SETTINGS).log_probs, [])
    rounded = torch.tensor(told).bfloat16().float().tolist()
    assert sum(one != other for one, other in zip(told, rounded)) > len(told) / 2


def test_rounding_to_the_nearest_by_hand():
    weights = torch.tensor([[7.0, -3.4, 0.6, 0.4], [0.7, 0.3, -0.7, 0.04], [0, 0, 0, 0]])
    expected = torch.tensor([[7.0, -3.0, 1.0, 0.0], [0.7, 0.3, -0.7, 0.0], [0, 0, 0, 0]])
    torch.testing.assert_close(samplers.nearest(weights, 4), expected)
    expected = torch.tensor([[7.0, 0.0, 0.0, 0.0], [0.7, 0.0, -0.7, 0.0], [0, 0, 0, 0]])
    torch.testing.assert_close(samplers.nearest(weights, 2), expected)


@pytest.mark.parametrize(("bits", "group"), [(2, 8), (3, 5), (4, 16), (4, 100)])
def test_each_group_of_a_row_has_a_scale_of_its_own(bits, group):
    policy = new_policy()
    model = samplers.few_bits(bits, group)(copy.deepcopy(policy))
    untouched = {"lm_head", "model.embed_tokens"}
    for (name, old), new in zip(policy.named_modules(), model.modules(), strict=True):
        if name in untouched:
            assert torch.equal(old.weight, new.weight)
        elif isinstance(old, torch.nn.Linear):
            assert not torch.equal(old.weight, new.weight)
            pairs = zip(old.weight.split(group, 1), new.weight.split(group, 1), strict=True)
            for before, after in pairs:
                step = before.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)
                assert ((before - after).abs() <= step / 2 + 1e-6).all()
                assert max(len(row.unique()) for row in after) <= 2**bits - 1
                whole = after / step
                torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-4)


# What both say ------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
def test_a_rollout_has_the_trainers_log_probabilities_and_the_samplers(whole):
    policy, sampler = new_policy(), coarse(new_policy())
    rollout = roll_out(sampler, policy, ceiling=1.2, whole=whole)
    assert rollout.prompts == [prompt for prompt in PROMPTS for _ in range(3)]
    cut = 0
    for row, (prompt, response) in enumerate(zip(rollout.prompts, rollout.responses)):
        counts = rollout.counts[row]
        mine, theirs = (
            plain_log_probs(model, prompt, response, 0.7).detach()
            for model in (policy, sampler.model)
        )
        torch.testing.assert_close(rollout.log_probs[row][counts], mine, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            rollout.sampler_log_probs[row][counts], theirs, rtol=1e-4, atol=1e-4
        )
        ratios = (mine - theirs).sum().exp().expand_as(mine) if whole else (mine - theirs).exp()
        cut += (ratios > 1.2).sum().item()
        torch.testing.assert_close(
            rollout.weights[row][counts], ratios.clamp(max=1.2), rtol=1e-3, atol=1e-3
        )
        assert (rollout.weights[row][~counts] == 1).all()
        known = plain_log_probs(new_policy(spread=0.25), prompt, response, 0.7).detach()
        torch.testing.assert_close(rollout.ref_log_probs[row][counts], known, rtol=1e-4, atol=1e-4)
    assert cut
    torch.testing.assert_close(rollout.scores, score(rollout.prompts, rollout.responses))
    torch.testing.assert_close(rollout.advantages, grpo.standardised(rollout.scores, 3))


def test_a_response_that_is_one_action_pays_for_the_trainers_distance():
    policy, config = new_policy(), replace(RECIPES["RLOO"], beta=0.3)
    rollout = roll_out(coarse(policy), policy, config)
    paid = 0.3 * (rollout.log_probs - rollout.ref_log_probs).sum(-1)
    expected = grpo.leave_one_out(rollout.scores - paid, 3)
    torch.testing.assert_close(rollout.advantages, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_with_the_model_itself_a_rollout_is_grpos(name):
    policy, config = new_policy(), RECIPES[name]
    rollout = roll_out(samplers.Own(policy), policy, config)
    torch.manual_seed(1)
    expected = grpo.roll_out(policy, new_policy(spread=0.25), score, PROMPTS, config, **SPECIAL)
    for field in dataclasses.fields(expected):
        mine, theirs = getattr(rollout, field.name), getattr(expected, field.name)
        if isinstance(theirs, list):
            assert mine == theirs
        else:
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rollout.weights, torch.ones_like(rollout.weights), rtol=0, atol=1e-5)
    assert samplers.summary(rollout)["mismatch"] < 1e-5
    assert samplers.summary(rollout)["weight"] == pytest.approx(1, abs=1e-5)


def test_the_summary_of_a_rollout_from_afar():
    policy = new_policy()
    rollout = roll_out(coarse(policy), policy)
    counts = rollout.counts
    logs = rollout.log_probs[counts] - rollout.sampler_log_probs[counts]
    told = samplers.summary(rollout)
    assert told["mismatch"] == pytest.approx(logs.abs().mean().item(), rel=1e-5)
    assert told["weight"] == pytest.approx(logs.exp().clamp(max=2).mean().item(), rel=1e-5)
    assert told["score"] == pytest.approx(rollout.scores.mean().item())


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        (lambda p, r: [0.0] * len(p), TypeError, "tensor"),
        (lambda p, r: torch.zeros(len(p), 1), ValueError, "shape"),
        (lambda p, r: torch.full((len(p),), math.inf), FloatingPointError, "not finite"),
    ],
)
def test_a_reward_that_is_none_is_refused(wrong, error, match):
    policy = new_policy()
    with pytest.raises(error, match=match):
        roll_out(samplers.Own(policy), policy, score=wrong)


# The weights --------------------------------------------------------------------------------------


def test_equal_policies_weigh_1():
    (log_probs,), counts = some_tables(1)
    for whole in (False, True):
        weights = samplers.importance(log_probs, log_probs.clone(), counts, 1.0, whole)
        assert torch.equal(weights, torch.ones_like(log_probs))


def test_weights_by_hand():
    sampler = torch.tensor([[0.5, 0.2, 0.1, 9.0], [0.4, 0.5, 9.0, 9.0]]).log().requires_grad_()
    trainer = torch.tensor([[0.25, 0.3, 0.9, 7.0], [0.2, 0.25, 7.0, 3.0]]).log().requires_grad_()
    counts = torch.tensor([[True, True, True, False], [True, True, False, False]])
    cases = {
        (2.0, False): [[0.5, 1.5, 2.0, 1.0], [0.5, 0.5, 1.0, 1.0]],
        (math.inf, False): [[0.5, 1.5, 9.0, 1.0], [0.5, 0.5, 1.0, 1.0]],
        (2.0, True): [[2.0, 2.0, 2.0, 1.0], [0.25, 0.25, 1.0, 1.0]],  # cut once, not each
        (math.inf, True): [[6.75, 6.75, 6.75, 1.0], [0.25, 0.25, 1.0, 1.0]],
    }
    for (ceiling, whole), expected in cases.items():
        weights = samplers.importance(sampler, trainer, counts, ceiling, whole)
        torch.testing.assert_close(weights, torch.tensor(expected))
        assert not weights.requires_grad
    default = samplers.importance(sampler, trainer, counts)
    torch.testing.assert_close(default, torch.tensor(cases[2.0, False]))


def test_what_stands_where_nothing_counts_has_no_weight():
    (sampler, trainer), counts = some_tables(2)
    expected = samplers.importance(sampler, trainer, counts, whole=True)
    spoilt = trainer.where(counts, math.nan)
    assert torch.equal(samplers.importance(sampler, spoilt, counts, whole=True), expected)


@pytest.mark.parametrize("ceiling", [0.5, 0.0, -1.0, math.nan])
def test_a_ceiling_below_1_is_refused(ceiling):
    (sampler, trainer), counts = some_tables(2)
    with pytest.raises(ValueError, match="at least 1"):
        samplers.importance(sampler, trainer, counts, ceiling)


def test_tables_that_do_not_fit_and_log_probabilities_that_are_none_are_refused():
    (sampler, trainer), counts = some_tables(2)
    with pytest.raises(ValueError, match="one shape"):
        samplers.importance(sampler[:, :1], trainer, counts)
    with pytest.raises(ValueError, match="one shape"):
        samplers.importance(sampler, trainer[:1], counts)
    with pytest.raises(TypeError, match="bool"):
        samplers.importance(sampler, trainer, counts.float())
    with pytest.raises(FloatingPointError, match="no log-probability"):
        samplers.importance(sampler * math.nan, trainer, counts)


@pytest.mark.parametrize(("bits", "group"), [(1, 8), (0, 8), (2.5, 8), (4, 0), (4, None)])
def test_a_rounding_that_is_none_is_refused(bits, group):
    with pytest.raises(ValueError, match="whole number"):
        samplers.few_bits(bits, group)


# Where every response can be listed ---------------------------------------------------------------


def listed(prompt=(2, 3)):
    """All 21 responses of a toy and of its coarse sampler: tables, and a value for each response."""
    policy, responses = new_policy(vocab=5), enumeration.responses(5, STOP, 2)
    sampler = coarse(policy)
    ids, real, labels = tokens.join([list(prompt)] * len(responses), responses, PAD)
    mine, theirs = (
        rollouts.response_log_probs(model, ids, real, labels, 1.0)
        for model in (policy, sampler.model)
    )
    counts = labels[:, 1:] != tokens.IGNORE
    values = torch.randn(len(responses), generator=torch.Generator().manual_seed(6))
    return policy, mine, theirs.detach(), counts, values


def expected(theirs, weights, counts, values):
    """Σ_y π_s(y) w(y) f(y)"""
    whole = weights.where(counts, 0).amax(-1)
    return (theirs.sum(-1).exp() * whole * values).sum().item()


def test_whole_responses_without_a_ceiling_give_the_trainers_expectation():
    _, mine, theirs, counts, values = listed()
    for log_probs in (mine, theirs):
        assert log_probs.sum(-1).exp().sum().item() == pytest.approx(1, abs=1e-5)
    truth = (mine.sum(-1).exp() * values).sum().item()
    weights = samplers.importance(theirs, mine, counts, math.inf, whole=True)
    assert expected(theirs, weights, counts, values) == pytest.approx(truth, abs=1e-5)
    plain = expected(theirs, torch.ones_like(mine), counts, values)
    cut = samplers.importance(theirs, mine, counts, 1.2, whole=True)
    assert abs(plain - truth) > 0.05
    assert abs(expected(theirs, cut, counts, values) - truth) > 0.01  # a ceiling has its price


def test_the_ratios_of_tokens_leave_the_expected_length_as_it_was():
    """Each of them is 1 on average, whatever came before: so the responses stay the sampler's."""
    _, mine, theirs, counts, _ = listed()
    chance = theirs.sum(-1).exp()
    ours, others = ((logs.sum(-1).exp() * counts.sum(-1)).sum() for logs in (mine, theirs))
    weights = samplers.importance(theirs, mine, counts, math.inf)
    told = (chance * weights.where(counts, 0).sum(-1)).sum()
    assert told.item() == pytest.approx(others.item(), abs=1e-5)
    assert abs(ours - others).item() > 0.01


def test_the_weighted_gain_has_the_gradient_of_the_trainers_expectation():
    policy, mine, theirs, counts, values = listed()
    truth = torch.autograd.grad(
        (mine.sum(-1).exp() * values).sum(), list(policy.parameters()), retain_graph=True
    )
    chance = theirs.sum(-1).exp()
    wrong = 0.0
    for ceiling in (math.inf, 1.0001):
        weights = samplers.importance(theirs, mine.detach(), counts, ceiling, whole=True)
        gain = grpo.clipped_gain(
            mine, mine.detach(), values.unsqueeze(-1).expand_as(mine), clip=0.2
        )

        def sum_of(gains, counts, longest):
            return (chance * gains.where(counts, 0).sum(-1)).sum()

        total = samplers.weighted(sum_of, weights)(gain, counts, 2)
        grads = torch.autograd.grad(total, list(policy.parameters()), retain_graph=True)
        gaps = [(one - two).abs().max().item() for one, two in zip(grads, truth, strict=True)]
        if ceiling == math.inf:
            assert max(gaps) < 1e-5 < 0.1 < max(one.abs().max() for one in truth)
        else:
            wrong = max(gaps)
    assert wrong > 1e-3


# The loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("whole", [False, True])
def test_with_equal_policies_the_loss_is_grpos(name, whole):
    config, policy = RECIPES[name], new_policy()
    rollout = roll_out(coarse(policy), policy, config, whole=whole)
    exactly = rollout.log_probs.clone(), rollout.log_probs, rollout.counts
    rollout.weights = samplers.importance(*exactly, whole=whole)
    moved = new_policy(spread=0.32)
    rows = torch.tensor([4, 0, 7])
    found = []
    for method in (samplers, grpo):
        loss, metrics = method.minibatch_loss(rollout, rows, moved, config)
        found.append((loss, torch.autograd.grad(loss, list(moved.parameters())), metrics))
    (mine, grads, told), (theirs, others, expected) = found
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
    for one, other in zip(grads, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    assert told == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("whole", [False, True])
def test_the_weighted_loss_against_a_plain_recount(name, whole):
    config, policy, moved = RECIPES[name], new_policy(), new_policy(spread=0.32)
    sampler = coarse(policy)
    rollout = roll_out(sampler, policy, config, ceiling=1.3, whole=whole)
    rows = [4, 0, 7]
    sums, numbers = [], []
    for row in rows:
        pair = rollout.prompts[row], rollout.responses[row]
        now, old, drawn, known = (
            plain_log_probs(model, *pair, 0.7).detach()
            for model in (moved, policy, sampler.model, new_policy(spread=0.25))
        )
        advantage = rollout.advantages[row].item()
        ratios, weights = (now - old).exp(), (old - drawn).exp()
        penalty = config.beta * ((known - now).exp() - 1 - (known - now))
        if config.whole_response:
            ratios, penalty = (now - old).sum().exp().view(1), torch.zeros(1)
        if whole or config.whole_response:
            weights = (old - drawn).sum().exp().expand_as(ratios)
        high = config.clip if config.clip_high is None else config.clip_high
        gains = torch.minimum(
            ratios * advantage, ratios.clamp(1 - config.clip, 1 + high) * advantage
        )
        sums.append((weights.clamp(max=1.3) * (gains - penalty)).sum().item())
        numbers.append(len(gains))
    plain = {
        grpo.response_mean: sum(one / count for one, count in zip(sums, numbers)) / len(rows),
        grpo.token_mean: sum(sums) / sum(numbers),
        grpo.constant_mean: sum(sums) / (len(rows) * 6),
    }
    loss, _ = samplers.minibatch_loss(rollout, torch.tensor(rows), moved, config)
    assert loss.item() == pytest.approx(-plain[config.aggregate], rel=1e-3, abs=1e-5)
    unweighted, _ = grpo.minibatch_loss(rollout, torch.tensor(rows), moved, config)
    assert abs(loss - unweighted).item() > 1e-4


def test_values_and_weights_of_other_shapes_are_refused():
    (values, weights), counts = some_tables(2)
    with pytest.raises(ValueError, match="one shape"):
        samplers.weighted(grpo.token_mean, weights[:, :1])(values, counts, 8)


def test_with_equal_policies_an_update_is_grpos():
    found = []
    for method in (samplers, grpo):
        policy = new_policy()
        rollout = roll_out(samplers.Own(policy), policy)
        optimizer = adamw(policy.parameters(), CONFIG.learning_rate)
        torch.manual_seed(3)
        found.append((method.update(rollout, policy, optimizer, CONFIG), parameters(policy)))
    (told, mine), (expected, theirs) = found
    assert told == pytest.approx(expected, abs=1e-4)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert not same_parameters(new_policy(), mine)


def test_an_update_that_is_not_finite_is_not_made():
    policy = new_policy()
    rollout = roll_out(samplers.Own(policy), policy)
    rollout.weights[:] = math.inf
    before = parameters(policy)
    with pytest.raises(FloatingPointError, match="learning rate"):
        samplers.update(rollout, policy, adamw(policy.parameters(), 1e-2), CONFIG)
    assert same_parameters(policy, before)


# The experiment of lab 12 --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    """What the experiment finds of a few responses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "PROMPTS", 2)
        patch.setattr(experiment, "LONGEST", 12)
        yield experiment.compare(shared.fresh(), seeds=(0, 1))


def test_a_coarser_sampler_is_farther_away(found):
    gaps = [[one.mismatch["mean"] for one in found[name]] for name in experiment.SAMPLERS]
    assert max(gaps[0]) < 1e-5 < 1e-4 < min(gaps[1])
    assert max(gaps[1]) < min(gaps[2]) and max(gaps[2]) < min(gaps[3])
    for one in found[experiment.OWN]:
        assert one.mismatch["outside"] == 0
        assert one.mismatch["effective"] == pytest.approx(1, abs=1e-5)


def test_the_mismatch_by_hand():
    mine = torch.tensor([[0.5, 0.2, 9.0], [0.4, 9.0, 9.0]]).log()
    theirs = torch.tensor([[0.25, 0.3, 7.0], [0.4, 5.0, 7.0]]).log()
    counts = torch.tensor([[True, True, False], [True, False, False]])
    some = samplers.Drawn(None, None, None, None, counts, mine, theirs)
    told = experiment.mismatch(some)
    half, more = math.log(2), math.log(1.5)
    assert told == pytest.approx(
        {
            "mean": (half + more) / 3,
            "largest": half,
            "outside": 2 / 3,
            "kl": (0.5 - 1 + half + 1.5 - 1 - more) / 3,
            "effective": (0.75 + 1) ** 2 / (0.75**2 + 1) / 2,
        },
        abs=1e-5,
    )


def test_a_gradient_is_that_of_the_weighted_gain(monkeypatch):
    monkeypatch.setattr(experiment, "PROMPTS", 2)
    model = shared.fresh()
    some = experiment.drawn(experiment.sampler_of("2 bits", model), model, 0)
    told, weights = experiment.gradients(model, some), experiment.weights_of(some)
    assert told.keys() == weights.keys() == set(experiment.WAYS)
    earned = -some.counts.sum(-1).float().view(-1, experiment.SIZE)
    others = (earned.sum(-1, keepdim=True) - earned) / (experiment.SIZE - 1)
    advantages = (earned - others).flatten()
    for way in (experiment.TOKEN, experiment.UNCUT):
        now = rollouts.response_log_probs(model, some.ids, some.real, some.labels, 1.0)
        gain = ((weights[way] * now).sum(-1) * advantages).mean()
        expected = torch.autograd.grad(gain, list(model.parameters()))
        expected = torch.cat([part.flatten() for part in expected])
        torch.testing.assert_close(told[way], expected, rtol=1e-3, atol=1e-3)
    apart = [(one - other).norm().item() for one in told.values() for other in told.values()]
    assert sum(gap == 0 for gap in apart) == len(told)


def test_every_number_has_its_name_and_the_picture_its_rows(found):
    numbers = experiment.numbers(found)
    assert all(name.startswith("outgrow.sampler_") for name in numbers)
    assert all(len(values) == 2 for values, _ in numbers.values() if isinstance(values, list))
    own = experiment.angles(found, experiment.OWN)
    assert own[0] == pytest.approx(own[1])  # of two seeds, each is compared with the other
    for one, other, tilt in zip(
        own,
        *(
            call(found, "2 bits", experiment.TOKEN)
            for call in (experiment.angles, experiment.tilts)
        ),
    ):
        assert other - one == pytest.approx(tilt)
    ax = Figure().subplots()
    experiment.draw_angles(ax, found)
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert rows[0] == "own" and len(rows) == 6 == len(set(rows))


# vLLM ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclasses.dataclass
class CompletionOutput:
    token_ids: tuple
    logprobs: list | None
    finish_reason: str


class SamplingParams:
    def __init__(self, **settings):
        defaults = {"temperature": 1.0, "max_tokens": 16, "stop_token_ids": (), "logprobs": None}
        defaults |= {"ignore_eos": False, "detokenize": True, "top_p": 1.0, "top_k": 0}
        assert settings.keys() <= defaults.keys()
        vars(self).update(defaults | settings)
        self.temperature = max(self.temperature, 0.01)


class LLM:
    """Reads a folder; draws by itself; keeps of prompts what it computed; reads a path only once."""

    last = None

    def __init__(self, *, model, dtype="auto", seed=0, logprobs_mode="raw_logprobs", **options):
        self.options = {"dtype": dtype, "logprobs_mode": logprobs_mode} | options
        self.known, self.calls, self.asked = {}, [], None
        self.model, self.cached = self.read(model), None
        self.generator = torch.Generator().manual_seed(seed)
        LLM.last = self

    def read(self, path):
        if path not in self.known:
            self.known[path] = AutoModelForCausalLM.from_pretrained(path)
        return self.known[path]

    def collective_rpc(self, method, kwargs=None):
        assert method == "reload_weights"
        self.calls.append(method)
        self.cached, self.model = self.model, self.read((kwargs or {})["weights_path"])

    def reset_prefix_cache(self):
        self.calls.append("reset_prefix_cache")
        self.cached = None
        return True

    def generate(self, prompts, settings, *, use_tqdm=True):
        assert not settings.detokenize and self.options["skip_tokenizer_init"]
        self.asked = settings
        return [
            types.SimpleNamespace(outputs=[self.draw(prompt["prompt_token_ids"], settings)])
            for prompt in prompts
        ]

    @torch.no_grad()
    def draw(self, prompt, settings):
        ids, drawn, found, reason = list(prompt), [], [], "length"
        while len(drawn) < settings.max_tokens and len(ids) < CONTEXT:
            raw = (self.cached or self.model)(input_ids=torch.tensor([ids])).logits[0, -1]
            choices = (raw / settings.temperature).log_softmax(-1)
            token = torch.multinomial(choices.exp(), 1, generator=self.generator).item()
            processed = self.options["logprobs_mode"] == "processed_logprobs"
            told = choices if processed else raw.log_softmax(-1)
            likely = told.topk(settings.logprobs or 0).indices.tolist()
            found.append({one: Logprob(told[one].item(), 1) for one in [*likely, token]})
            drawn.append(token)
            ids.append(token)
            eos = self.model.config.eos_token_id
            if token in settings.stop_token_ids or token == eos and not settings.ignore_eos:
                reason = "stop"
                break
        found = None if settings.logprobs is None else found
        return CompletionOutput(tuple(drawn), found, reason)


@pytest.fixture
def vllm(monkeypatch):
    """A module vllm with the classes that are used, as documented."""
    fake = types.ModuleType("vllm")
    fake.LLM, fake.SamplingParams = LLM, SamplingParams
    fake.inputs = types.ModuleType("vllm.inputs")
    fake.inputs.TokensPrompt = dict
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setitem(sys.modules, "vllm.inputs", fake.inputs)
    return fake


def other_eos(policy):
    """A policy whose own end token is not the stop token: it must not end a response."""
    policy.config.eos_token_id = policy.generation_config.eos_token_id = 4
    return policy


def test_vllm_gives_samples_with_the_stop_token_and_at_the_temperature(vllm):
    policy = other_eos(new_policy())
    sampler = samplers.VLLM(policy, dtype="float32", seed=3)
    asked = PROMPTS * 8
    samples = sampler(asked, **SETTINGS)
    assert len(samples.responses) == len(asked) and {True, False} == set(samples.stopped)
    for prompt, response, told, stopped in zip(
        asked, samples.responses, samples.log_probs, samples.stopped
    ):
        own = plain_log_probs(policy, prompt, response, 0.7)
        torch.testing.assert_close(torch.tensor(told), own, rtol=1e-4, atol=1e-4)
        assert stopped == (response[-1] == STOP) and STOP not in response[:-1]
        assert stopped or len(response) == 6
    assert any(4 in response[:-1] for response in samples.responses)
    rows = samplers.draw(samplers.VLLM(policy), policy, PROMPTS, **SETTINGS)
    assert (rows.sampler_log_probs - rows.trainer_log_probs).abs().max() < 1e-4


def test_vllm_is_asked_for_all_tokens_and_none_of_the_models_habits(vllm):
    policy = new_policy()
    sampler = samplers.VLLM(policy, gpu_memory_utilization=0.3)
    sampler(PROMPTS, **SETTINGS)
    settings, options = LLM.last.asked, LLM.last.options
    assert (settings.top_p, settings.top_k, settings.temperature) == (1.0, 0, 0.7)
    assert settings.stop_token_ids == [STOP] and settings.ignore_eos and settings.max_tokens == 6
    assert options["generation_config"] == "vllm" and options["dtype"] == "bfloat16"
    assert options["gpu_memory_utilization"] == 0.3


def test_vllm_reads_a_folder(vllm, tmp_path):
    policy = new_policy()
    policy.save_pretrained(tmp_path / "model")
    sampler = samplers.VLLM(tmp_path / "model")
    rows = samplers.draw(sampler, policy, PROMPTS, **SETTINGS)
    assert (rows.sampler_log_probs - rows.trainer_log_probs).abs().max() < 1e-4
    sampler.follow(policy)
    assert (tmp_path / "model").is_dir()  # what it was given stays


def test_vllm_follows_every_time_and_keeps_one_folder(vllm):
    policy = new_policy()
    sampler = samplers.VLLM(policy)
    for step in range(3):
        with torch.no_grad():
            for part in policy.parameters():
                part += 0.1 * torch.randn(part.shape, generator=torch.Generator().manual_seed(step))
        stale = samplers.draw(sampler, policy, PROMPTS, **SETTINGS)
        assert (stale.sampler_log_probs - stale.trainer_log_probs).abs().max() > 1e-2
        sampler.follow(policy)
        rows = samplers.draw(sampler, policy, PROMPTS, **SETTINGS)
        assert (rows.sampler_log_probs - rows.trainer_log_probs).abs().max() < 1e-4
        assert LLM.last.calls[-2:] == ["reload_weights", "reset_prefix_cache"]
    assert len(list(samplers.Path(sampler.place.name).iterdir())) == 1


@pytest.mark.parametrize("active", [True, False])
def test_vllm_gets_a_model_with_its_adapter_merged(vllm, active):
    policy = new_policy()
    lora.inject(policy, rank=2, alpha=8)
    with torch.no_grad():
        for layer in lora.layers(policy).values():
            layer.B[layer.active] += 0.3
    if not active:
        lora.activate(policy, None)
    before = parameters(policy)
    rows = samplers.draw(samplers.VLLM(policy), policy, PROMPTS, **SETTINGS)
    assert (rows.sampler_log_probs - rows.trainer_log_probs).abs().max() < 1e-3
    assert same_parameters(policy, before) and lora.layers(policy)


def test_vllm_that_is_missing_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(samplers.SamplerError, match="not installed"):
        samplers.VLLM("some/model")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"temperature": 0.001}, "at least that"),
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": math.nan}, "above 0"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_new_tokens": CONTEXT}, "max_model_len"),
    ],
)
def test_vllm_refuses_what_it_would_change_without_a_word(vllm, settings, match):
    with pytest.raises(ValueError, match=match):
        samplers.VLLM(new_policy())(PROMPTS, **SETTINGS | {"stop_id": 999} | settings)


def test_a_response_that_lacks_something_is_refused():
    found = [{7: Logprob(-0.5), 3: Logprob(-1.0)}, {STOP: Logprob(-2.0)}]  # 7 was likelier
    right = CompletionOutput((3, STOP), found, "stop")
    assert samplers.response_of(right, STOP, 6) == ([3, STOP], [-1.0, -2.0], True)
    with pytest.raises(samplers.SamplerError, match="belongs to"):
        samplers.response_of(CompletionOutput((3,), found[:1], "stop"), STOP, 6)
    with pytest.raises(samplers.SamplerError, match="no log-probability"):
        samplers.response_of(CompletionOutput((3, STOP), None, "stop"), STOP, 6)
    with pytest.raises(samplers.SamplerError, match="no log-probability"):
        samplers.response_of(CompletionOutput((3, STOP), found[:1], "stop"), STOP, 6)


def test_a_model_that_cannot_write_itself_is_refused(vllm):
    with pytest.raises(ValueError, match="save_pretrained"):
        samplers.VLLM(torch.nn.Linear(2, 2))
