"""GRPO and its relatives: advantages, gain and means against plain recounts, the gradient against the
true one where every response can be listed, and training against a plain loop."""

import copy
import dataclasses
import math
import statistics
from dataclasses import replace

import pytest
import torch
from methods import enumeration, grpo, kl, ppo, rollouts, tokens, verifiers
from tiny import (
    PAD,
    PROMPTS,
    STOP,
    new_policy,
    parameters,
    plain_log_probs,
    same_parameters,
    some_tables,
)

SIZE, LONGEST = 3, 6
CONFIG = grpo.GRPOConfig(
    size=SIZE,
    beta=0.3,
    minibatch=4,
    max_new_tokens=LONGEST,
    temperature=0.7,
    learning_rate=1e-2,
    clip=0.15,
)
RECIPES = {
    name: replace(recipe, **{
        field: getattr(CONFIG, field)
        for field in ("size", "minibatch", "max_new_tokens", "temperature", "learning_rate")
    })
    for name, recipe in grpo.RECIPES.items()
} | {
    "GRPO, two-sided": replace(CONFIG, clip_high=0.4, ceiling=1.6),
    "Dr. GRPO, penalised": replace(
        CONFIG, advantages=grpo.centred, aggregate=grpo.constant_mean, clip_high=0.0
    ),
    "RLOO, penalised": replace(
        CONFIG, advantages=grpo.leave_one_out, whole_response=True, clip_high=0.5
    ),
}  # fmt: skip


def score(prompts, responses):
    """A reward that differs from response to response: float (batch,)"""
    return torch.tensor(
        [sum(prompt) / 10 - sum(response) / 20 for prompt, response in zip(prompts, responses)]
    )


def moved_policy():
    """As after some updates."""
    return new_policy(spread=0.32)


def roll_out(config=CONFIG, policy=None, prompts=PROMPTS, score=score):
    torch.manual_seed(1)
    return grpo.roll_out(
        policy or new_policy(),
        new_policy(spread=0.25),
        score,
        prompts,
        config,
        stop_id=STOP,
        pad_id=PAD,
    )


def run(policy, config=CONFIG, score=score, batches=(PROMPTS,), seed=4):
    torch.manual_seed(seed)
    return list(grpo.train(policy, score, batches, config, stop_id=STOP, pad_id=PAD))


def some_scores(number):
    return 3 * torch.randn(number, generator=torch.Generator().manual_seed(number))


# Advantages ---------------------------------------------------------------------------------------


GROUPS = [(2, 1), (2, 5), (3, 2), (4, 3), (8, 2)]  # responses in a group, groups


@pytest.mark.parametrize(("size", "groups"), GROUPS)
def test_an_advantage_is_counted_from_the_group(size, groups):
    scores = some_scores(size * groups)
    plain = {grpo.centred: [], grpo.standardised: [], grpo.leave_one_out: []}
    for start in range(0, len(scores), size):
        group = scores[start : start + size].tolist()
        average, spread = statistics.mean(group), statistics.stdev(group)
        for place, own in enumerate(group):
            others = group[:place] + group[place + 1 :]
            plain[grpo.centred].append(own - average)
            plain[grpo.standardised].append((own - average) / (spread + 1e-4))
            plain[grpo.leave_one_out].append(own - statistics.mean(others))
    for estimator, expected in plain.items():
        advantages = estimator(scores, size)
        assert advantages.shape == scores.shape
        assert advantages.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)
        # What all of a group earn alike is no advantage.
        raised = scores + torch.arange(groups).repeat_interleave(size)
        torch.testing.assert_close(estimator(raised, size), advantages, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "groups"), GROUPS)
def test_centred_is_ppos_group_mean(size, groups):
    scores, counts = some_scores(size * groups), torch.ones(size * groups, 1, dtype=torch.bool)
    expected, _ = ppo.group_mean(size)(scores.unsqueeze(-1), torch.zeros(len(scores), 1), counts)
    torch.testing.assert_close(grpo.centred(scores, size), expected.squeeze(-1))


@pytest.mark.parametrize(("size", "groups"), GROUPS)
def test_leaving_one_out_stretches_the_centred_advantage(size, groups):
    scores = some_scores(size * groups)
    torch.testing.assert_close(
        grpo.leave_one_out(scores, size), size / (size - 1) * grpo.centred(scores, size)
    )


def test_the_standard_deviation_of_a_group_is_1_unless_its_scores_hardly_differ():
    scores = torch.tensor([0.0, 5.0, 1.0, 0.0, 1e-4, 2e-4])
    first, second = grpo.standardised(scores, 3).split(3)
    assert first.std().item() == pytest.approx(1, abs=1e-3)
    assert second.tolist() == pytest.approx([-0.5, 0, 0.5], abs=1e-3)


ADVANTAGES = [grpo.centred, grpo.standardised, grpo.leave_one_out]


@pytest.mark.parametrize("estimator", ADVANTAGES)
@pytest.mark.parametrize("size", [2, 3, 5, 6, 7, 8, 16])
def test_a_group_in_which_all_fare_alike_gets_exactly_0(estimator, size):
    """Rounding would do as well, but AdamW makes a whole step of it."""
    for value in (0.1, 1 / 3, 7.7, -0.3, 100.1, 0.0):
        assert not estimator(torch.full((2 * size,), value), size).any()


@pytest.mark.parametrize("estimator", [*ADVANTAGES, grpo.in_groups])
@pytest.mark.parametrize(
    ("scores", "size", "match"),
    [
        (torch.zeros(6), 1, "from 2 up"),
        (torch.zeros(6), 0, "from 2 up"),
        (torch.zeros(6), 1.5, "whole number"),
        (torch.zeros(6), 4, "no groups of 4"),
        (torch.zeros(3, 2), 2, "shape"),
    ],
)
def test_what_makes_no_groups_is_refused(estimator, scores, size, match):
    with pytest.raises(ValueError, match=match):
        estimator(scores, size)


# The gradient where every response can be listed --------------------------------------------------


def listed(prompt=(2, 3)):
    """A toy policy's 21 responses, with their log-probabilities and a reward for each."""
    policy, responses = new_policy(vocab=5), enumeration.responses(5, STOP, 2)
    ids, real, labels = tokens.join([list(prompt)] * 21, responses, PAD)
    log_probs = rollouts.response_log_probs(policy, ids, real, labels, 1.0).sum(-1)
    rewards = torch.randn(21, generator=torch.Generator().manual_seed(6))
    return policy, log_probs, rewards


@pytest.mark.parametrize(("estimator", "share"), [(grpo.leave_one_out, 1.0), (grpo.centred, 1 / 2)])
@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_leaving_one_out_is_unbiased_and_the_groups_own_mean_takes_a_share(estimator, share, beta):
    """The expectation over all 441 groups of two, for a reward with the penalty inside."""
    policy, log_probs, rewards = listed()
    known = (0.7 * log_probs.detach()).log_softmax(-1)  # a reference that is not the policy
    earned = rewards - beta * (log_probs - known)
    truth = torch.autograd.grad(
        (log_probs.exp() * earned).sum(), list(policy.parameters()), retain_graph=True
    )
    one, other = (
        index.flatten() for index in torch.meshgrid(*[torch.arange(21)] * 2, indexing="ij")
    )
    chance = (log_probs[one] + log_probs[other]).detach().exp()
    assert chance.sum().item() == pytest.approx(1, abs=1e-5)
    group = torch.stack([one, other], 1).flatten()
    gain = grpo.clipped_gain(
        log_probs[group], log_probs[group].detach(), estimator(earned[group].detach(), 2), clip=0.2
    )
    expected = (chance * gain.view(-1, 2).mean(-1)).sum()
    assert max(gradient.abs().max() for gradient in truth) > 0.1
    for mine, gradient in zip(
        torch.autograd.grad(expected, list(policy.parameters())), truth, strict=True
    ):
        torch.testing.assert_close(mine, share * gradient, rtol=1e-3, atol=1e-5)


# The gain -----------------------------------------------------------------------------------------


# ratio, advantage, clip_high, ceiling → gain, whether a gradient is left; the clip is 0.2
CASES = [
    (1.0, 2.0, None, math.inf, 2.0, True),
    (1.1, 2.0, None, math.inf, 2.2, True),
    (1.5, 2.0, None, math.inf, 2.4, False),
    (1.5, -2.0, None, math.inf, -3.0, True),  # where it goes the wrong way, nothing holds it
    (0.5, 2.0, None, math.inf, 1.0, True),
    (0.5, -2.0, None, math.inf, -1.6, False),
    (9.0, 2.0, None, math.inf, 2.4, False),
    (9.0, -2.0, None, math.inf, -18.0, True),
    # a higher clip
    (1.25, 2.0, 0.28, math.inf, 2.5, True),
    (1.5, 2.0, 0.28, math.inf, 2.56, False),
    (0.75, -2.0, 0.28, math.inf, -1.6, False),
    (1.05, 2.0, 0.0, math.inf, 2.0, False),  # 0 is a clip, not the lack of one
    # two-sided
    (9.0, -2.0, None, 3.0, -6.0, False),
    (2.9, -2.0, None, 3.0, -5.8, True),
    (9.0, 2.0, None, 3.0, 2.4, False),
    (9.0, 2.0, 0.28, 3.0, 2.56, False),
    (0.5, -2.0, None, 3.0, -1.6, False),
    (1.15, 2.0, None, 1.1, 2.2, False),  # a ceiling below the clip holds first
    (5.0, 0.0, None, math.inf, 0.0, True),
]


@pytest.mark.parametrize("shape", [(len(CASES),), (1, len(CASES)), (len(CASES), 1)])
def test_the_gain_and_its_gradient_case_by_case(shape):
    for high in {case[2] for case in CASES}:
        for ceiling in {case[3] for case in CASES}:
            chosen = [high == case[2] and ceiling == case[3] for case in CASES]
            ratio, advantages, gain = (
                torch.tensor([float(case[field]) for case in CASES]).view(shape)
                for field in (0, 1, 4)
            )
            old = torch.linspace(-3, -1, len(CASES)).view(shape)
            new = (old + ratio.log()).requires_grad_()
            told = grpo.clipped_gain(
                new, old, advantages, clip=0.2, clip_high=high, ceiling=ceiling
            )
            told.sum().backward()
            assert told.shape == shape
            for case, take, mine, slope in zip(
                CASES, chosen, told.flatten().tolist(), new.grad.flatten().tolist()
            ):
                if take:
                    assert mine == pytest.approx(case[4], rel=1e-4)
                    expected = case[0] * case[1] if case[5] else 0
                    assert slope == pytest.approx(expected, rel=1e-4)
    assert gain.shape == shape


def test_the_gain_with_one_clip_is_ppos():
    (new, old, advantages), counts = some_tables(3)
    gain = grpo.clipped_gain(new, old, advantages, clip=0.3)
    expected = ppo.clipped_surrogate(new, old, advantages, counts, 0.3)
    torch.testing.assert_close(-tokens.masked_mean(gain, counts), expected)


# The means ----------------------------------------------------------------------------------------


def test_three_ways_from_tokens_to_one_number():
    (values,), counts = some_tables(1)
    values = values.where(counts, math.nan)  # what does not count is not looked at
    rows = [row[keep].tolist() for row, keep in zip(values, counts)]
    assert len({len(row) for row in rows}) > 3
    everything = sum(rows, [])
    for longest in (9, 40):
        assert grpo.response_mean(values, counts, longest).item() == pytest.approx(
            sum(sum(row) / len(row) for row in rows) / len(rows), abs=1e-5
        )
        assert grpo.token_mean(values, counts, longest).item() == pytest.approx(
            sum(everything) / len(everything), abs=1e-5
        )
        assert grpo.constant_mean(values, counts, longest).item() == pytest.approx(
            sum(everything) / (len(rows) * longest), abs=1e-5
        )


def test_the_three_means_weigh_a_long_response_differently():
    counts = torch.zeros(2, 8, dtype=torch.bool)
    counts[0, :2], counts[1, :8] = True, True
    shares = {}
    for mean in (grpo.response_mean, grpo.token_mean, grpo.constant_mean):
        values = torch.zeros(2, 8, requires_grad=True)
        mean(values, counts, 10).backward()
        shares[mean] = values.grad.sum(-1).tolist()
    assert shares[grpo.response_mean] == pytest.approx([1 / 2, 1 / 2])
    assert shares[grpo.token_mean] == pytest.approx([2 / 10, 8 / 10])
    assert shares[grpo.constant_mean] == pytest.approx([2 / 20, 8 / 20])


@pytest.mark.parametrize("mean", [grpo.response_mean, grpo.token_mean, grpo.constant_mean])
def test_a_mean_of_other_shapes_is_refused(mean):
    with pytest.raises(ValueError, match="one shape"):
        mean(torch.ones(3, 1), torch.ones(3, 4, dtype=torch.bool), 8)
    with pytest.raises(TypeError, match="bool"):
        mean(torch.ones(3, 4), torch.ones(3, 4), 8)


def test_a_response_without_a_token_has_no_mean():
    counts = torch.ones(3, 4, dtype=torch.bool)
    counts[1] = False
    with pytest.raises(ValueError, match="row 1"):
        grpo.response_mean(torch.ones(3, 4), counts, 8)


# The config ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("size", [1, 0, 2.5, True]),
        ("passes", [0, 1.5]),
        ("minibatch", [0, -4]),
        ("max_new_tokens", [0, 2.5]),
        ("temperature", [0.0, -1.0, math.nan, math.inf]),
        ("clip", [-0.1, math.nan, math.inf]),
        ("clip_high", [-0.1, math.nan, math.inf]),
        ("beta", [-0.1, math.nan, math.inf]),
        ("learning_rate", [-0.1, math.nan, math.inf]),
        ("ceiling", [1.0, 0.5, -2.0, math.nan]),
    ],
)
def test_a_config_refuses_what_it_cannot_be(field, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{field} is"):
            grpo.GRPOConfig(**{field: value})


def test_a_config_takes_what_it_can_be():
    grpo.GRPOConfig(size=2, clip=0.0, clip_high=0.0, beta=0.0, learning_rate=0.0, ceiling=1.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        grpo.GRPOConfig().size = 4


def test_the_recipes():
    def differences(name):
        return {
            field.name: getattr(grpo.RECIPES[name], field.name)
            for field in dataclasses.fields(grpo.GRPOConfig)
            if getattr(grpo.RECIPES[name], field.name) != field.default
        }

    assert {name: differences(name) for name in grpo.RECIPES} == {
        "GRPO": {},
        "DAPO": {"aggregate": grpo.token_mean, "clip_high": 0.28, "beta": 0.0},
        "Dr. GRPO": {"advantages": grpo.centred, "aggregate": grpo.constant_mean, "beta": 0.0},
        "RLOO": {"advantages": grpo.leave_one_out, "whole_response": True},
    }
    default = grpo.GRPOConfig()
    assert default.advantages is grpo.standardised and default.aggregate is grpo.response_mean
    assert not default.whole_response and default.clip_high is None
    assert default.ceiling == math.inf and default.beta > 0


# The rollout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 5])
def test_each_prompt_is_repeated_next_to_itself(size):
    seen = []

    def spy(prompts, responses):
        seen.append((list(prompts), list(responses)))
        return score(prompts, responses)

    rollout = roll_out(replace(CONFIG, size=size), score=spy)
    expected = [prompt for prompt in PROMPTS for _ in range(size)]
    assert rollout.prompts == expected and seen == [(expected, rollout.responses)]
    assert len(rollout.advantages) == len(expected) == 3 * size
    first = rollout.responses[:size]
    assert any(response != first[0] for response in first)  # drawn one by one


@pytest.mark.parametrize("estimator", ADVANTAGES)
@pytest.mark.parametrize("whole", [False, True])
def test_a_rollout_compares_what_was_earned_in_the_group(estimator, whole):
    """Where a response is one action, it pays for its distance from the reference."""
    rollout = roll_out(replace(CONFIG, advantages=estimator, whole_response=whole))
    policy, reference = new_policy(), new_policy(spread=0.25)
    earned = score(rollout.prompts, rollout.responses)
    for row, pair in enumerate(zip(rollout.prompts, rollout.responses)):
        mine, known = (plain_log_probs(model, *pair, 0.7) for model in (policy, reference))
        torch.testing.assert_close(
            rollout.log_probs[row][rollout.counts[row]], mine, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(
            rollout.ref_log_probs[row][rollout.counts[row]], known, rtol=1e-4, atol=1e-4
        )
        if whole:
            earned[row] -= 0.3 * (mine.sum() - known.sum()).item()
    torch.testing.assert_close(rollout.advantages, estimator(earned, SIZE), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(rollout.scores, score(rollout.prompts, rollout.responses))
    assert rollout.advantages.abs().min() > 1e-3 and not rollout.advantages.requires_grad


def test_flat_groups_are_those_whose_scores_are_the_same():
    rollout = roll_out()
    for scores, size, share in [
        ([1.0, 1, 1, 2, 2, 2, 3, 3, 3], 3, 1.0),
        ([1.0, 1, 1, 2, 2, 5, 3, 3, 3], 3, 2 / 3),
        ([1.0, 1, 2, 2, 1, 2, 3, 4, 4], 3, 0.0),
        ([1.0, 1, 0, 1, 2, 2, 3, 4], 2, 1 / 2),
    ]:
        rollout.scores = torch.tensor(scores)
        assert grpo.flat_groups(rollout, size) == pytest.approx(share)


# The loss -----------------------------------------------------------------------------------------


def plain_loss(rollout, rows, policy, config):
    """The loss of some rows, each of them run alone and each token by itself, and the share of ratios
    that have left the clip's interval."""
    responses, outside = [], []
    for row in rows:
        pair, keep = (rollout.prompts[row], rollout.responses[row]), rollout.counts[row]
        new = plain_log_probs(policy, *pair, config.temperature)
        old, known = rollout.log_probs[row][keep], rollout.ref_log_probs[row][keep]
        if config.whole_response:
            new, old, known = new.sum()[None], old.sum()[None], known.sum()[None]
        gains = []
        for mine, before, reference in zip(new, old, known):
            ratio, advantage = (mine - before).exp(), rollout.advantages[row]
            high = config.clip if config.clip_high is None else config.clip_high
            held = min(max(ratio, torch.tensor(1 - config.clip)), torch.tensor(1 + high))
            gain = min(min(ratio, torch.tensor(config.ceiling)) * advantage, held * advantage)
            if not config.whole_response:
                gain = gain - config.beta * ((reference - mine).exp() - 1 - (reference - mine))
            gains.append(gain)
            high = config.clip if config.clip_high is None else config.clip_high
            outside.append(not 1 - config.clip <= ratio.item() <= 1 + high)
        responses.append(torch.stack(gains))
    aggregates = {
        grpo.response_mean: lambda: torch.stack([gains.mean() for gains in responses]).mean(),
        grpo.token_mean: lambda: torch.cat(responses).mean(),
        grpo.constant_mean: lambda: (
            torch.cat(responses).sum() / (len(rows) * config.max_new_tokens)
        ),
    }
    return -aggregates[config.aggregate](), sum(outside) / len(outside)


@pytest.mark.parametrize("rows", [list(range(9)), [7, 2], [1]])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_loss_of_rows_is_that_of_each_row_alone(recipe, rows):
    config, policy = RECIPES[recipe], moved_policy()
    rollout = roll_out(config)
    expected, outside = plain_loss(rollout, rows, policy, config)
    loss, metrics = grpo.minibatch_loss(rollout, torch.tensor(rows), policy, config)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert metrics == pytest.approx(
        {"loss": expected.item(), "clip_fraction": outside}, rel=1e-4, abs=1e-5
    )
    assert outside > 0 or len(rows) < 9
    mine, theirs = (
        torch.autograd.grad(value, list(policy.parameters())) for value in (loss, expected)
    )
    for gradient, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-4)


def test_the_longest_of_dr_grpo_is_the_configs_and_not_the_batchs():
    config = RECIPES["Dr. GRPO"]
    rollout = roll_out(config)
    rows = torch.arange(9)
    one, two = (
        grpo.minibatch_loss(rollout, rows, moved_policy(), replace(config, max_new_tokens=longest))
        for longest in (6, 12)
    )
    torch.testing.assert_close(one[0], 2 * two[0])


@pytest.mark.parametrize("recipe", RECIPES)
def test_on_the_first_pass_every_ratio_is_1(recipe):
    """So the loss is the advantages' mean, and its gradient the policy gradient."""
    config, policy = replace(RECIPES[recipe], beta=0.0, clip=1e-3, clip_high=1e-3), new_policy()
    rollout = roll_out(config)
    loss, metrics = grpo.minibatch_loss(rollout, torch.arange(9), policy, config)
    counts = rollout.counts
    advantages = rollout.advantages
    if config.whole_response:
        plain = -advantages.mean()
    else:
        plain = -config.aggregate(advantages.unsqueeze(-1) * counts, counts, LONGEST)
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=1e-4)
    assert metrics["clip_fraction"] == 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_without_a_penalty_the_reference_is_not_asked(recipe):
    config = replace(RECIPES[recipe], beta=0.0)
    rollout = roll_out(config)
    losses = []
    for known in (rollout.ref_log_probs, torch.full_like(rollout.ref_log_probs, math.nan)):
        rollout.ref_log_probs = known
        losses.append(
            grpo.minibatch_loss(rollout, torch.arange(9), moved_policy(), config)[0].item()
        )
    assert losses[0] == losses[1]


def test_a_penalty_holds_every_token_at_the_reference():
    """With equal scores nothing else is left, and the gradient leads back."""
    rollout = roll_out(score=lambda prompts, _: torch.zeros(len(prompts)))
    policy = moved_policy()
    loss, _ = grpo.minibatch_loss(rollout, torch.arange(9), policy, CONFIG)
    now = rollouts.response_log_probs(policy, rollout.ids, rollout.real, rollout.labels, 0.7)
    expected = 0.3 * grpo.response_mean(kl.k3(now, rollout.ref_log_probs), rollout.counts, LONGEST)
    torch.testing.assert_close(loss, expected)
    assert loss > 0


# The update ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_update_is_one_step_down_the_gradient_for_each_minibatch(recipe):
    config = replace(RECIPES[recipe], passes=2, minibatch=9)
    rollout, ours, theirs = roll_out(config), new_policy(), new_policy()
    metrics = grpo.update(rollout, ours, torch.optim.SGD(ours.parameters(), lr=0.05), config)
    steps = []
    for _ in range(2):
        loss, outside = plain_loss(rollout, range(9), theirs, config)
        steps.append((loss.item(), outside))
        gradients = torch.autograd.grad(loss, list(theirs.parameters()))
        for parameter, gradient in zip(theirs.parameters(), gradients):
            parameter.data -= 0.05 * gradient
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-3, atol=1e-4)
    losses, outside = zip(*steps)
    assert metrics == pytest.approx(
        {"loss": sum(losses) / 2, "clip_fraction": sum(outside) / 2}, rel=1e-3, abs=1e-4
    )
    assert losses[0] != losses[1] and all(parameter.grad is None for parameter in ours.parameters())


def test_a_pass_uses_every_row_once(monkeypatch):
    used, minibatch_loss = [], grpo.minibatch_loss

    def spy(rollout, rows, *others):
        used.append(rows.tolist())
        return minibatch_loss(rollout, rows, *others)

    monkeypatch.setattr(grpo, "minibatch_loss", spy)
    policy = new_policy()
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    grpo.update(roll_out(), policy, optimizer, replace(CONFIG, passes=3))
    assert [len(rows) for rows in used] == [4, 4, 1] * 3
    passes = [sum(used[i : i + 3], []) for i in (0, 3, 6)]
    assert all(sorted(rows) == list(range(9)) for rows in passes) and passes[0] != passes[1]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_reaches_no_parameter(value):
    policy, rollout = new_policy(), roll_out()
    before = parameters(policy)
    rollout.advantages[3] = value
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1.0)
    with pytest.raises(FloatingPointError, match=r"lower the learning rate \(0.01\)"):
        grpo.update(rollout, policy, optimizer, replace(CONFIG, minibatch=9))
    assert same_parameters(policy, before)


def test_dropout_is_off_in_an_update():
    policy = new_policy()
    policy.train()
    for layer in policy.model.layers:
        layer.self_attn.attention_dropout = 0.5
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    metrics = grpo.update(roll_out(), policy, optimizer, replace(CONFIG, clip=1e-3))
    assert metrics["clip_fraction"] == 0 and policy.training


# The loop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_training_is_adamw_against_a_reference_that_stays(recipe):
    """Against a plain loop with one optimizer for all steps, which nothing decays."""
    config = replace(RECIPES[recipe], passes=2)
    policy, plain = new_policy(), new_policy()
    # as many prompts as one likes, and not as many in every step
    batches = [PROMPTS, PROMPTS[1:], PROMPTS[:1]]
    history = run(policy, config, batches=batches)
    original, optimizer = (
        copy.deepcopy(plain),
        torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.0, fused=True),
    )
    torch.manual_seed(4)
    for (drawn, metrics), batch in zip(history, batches, strict=True):
        rollout = grpo.roll_out(plain, original, score, batch, config, stop_id=STOP, pad_id=PAD)
        expected = grpo.update(rollout, plain, optimizer, config)
        assert drawn.responses == rollout.responses and len(drawn.prompts) == SIZE * len(batch)
        assert metrics["loss"] == pytest.approx(expected["loss"], abs=1e-4)
    for parameter, expected in zip(policy.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-4)


def test_the_reference_is_the_policy_at_the_first_step():
    policy = new_policy()
    original = parameters(policy)
    history = run(policy, batches=[PROMPTS] * 4)
    assert history[0][1]["kl"] == pytest.approx(0, abs=1e-4) and history[-1][1]["kl"] > 0.01
    last = history[-1][0]
    for row, pair in enumerate(zip(last.prompts, last.responses)):
        torch.testing.assert_close(
            last.ref_log_probs[row][last.counts[row]],
            plain_log_probs(new_policy(), *pair, 0.7),
            rtol=1e-4,
            atol=1e-4,
        )
    assert same_parameters(new_policy(), original) and not same_parameters(policy, original)
    assert all(parameter.requires_grad for parameter in policy.parameters())


def test_the_metrics_of_a_step():
    rollout, metrics = run(new_policy(), batches=[PROMPTS] * 2)[1]
    sums = [
        (new - old)[keep].sum().item()
        for new, old, keep in zip(rollout.log_probs, rollout.ref_log_probs, rollout.counts)
    ]
    assert set(metrics) == {
        "loss", "clip_fraction", "score", "kl", "length", "stopped", "flat_groups",
    }  # fmt: skip
    assert metrics["kl"] == pytest.approx(sum(sums) / 9, abs=1e-4)
    assert metrics["length"] == pytest.approx(sum(map(len, rollout.responses)) / 9)
    assert metrics["stopped"] == pytest.approx(
        sum(response[-1] == STOP for response in rollout.responses) / 9
    )
    expected = score(rollout.prompts, rollout.responses).mean().item()
    assert metrics["score"] == pytest.approx(expected, abs=1e-5)
    assert metrics["flat_groups"] == grpo.flat_groups(rollout, SIZE)


def test_flat_groups_are_told_by_the_scores_and_not_by_the_penalty():
    for _, metrics in run(
        new_policy(),
        RECIPES["RLOO, penalised"],
        lambda prompts, _: torch.tensor([float(len(prompt) == 2) for prompt in prompts]),
        batches=[PROMPTS] * 2,
    ):
        assert metrics["flat_groups"] == 1


@pytest.mark.parametrize("recipe", ["DAPO", "Dr. GRPO"])
@pytest.mark.parametrize("size", [3, 8])
def test_groups_of_equal_scores_move_nothing(recipe, size):
    policy = new_policy()
    before = parameters(policy)
    config = replace(RECIPES[recipe], size=size, minibatch=64)
    for value in (0.1, 7.7):
        ((_, metrics),) = run(
            policy, config, lambda prompts, _, v=value: torch.full((len(prompts),), v)
        )
        assert metrics["flat_groups"] == 1
        assert same_parameters(policy, before)


@pytest.mark.parametrize("recipe", ["GRPO", "DAPO", "Dr. GRPO", "RLOO"])
def test_a_policy_learns_what_is_paid(recipe):
    policy = new_policy()
    config = replace(grpo.RECIPES[recipe], max_new_tokens=3, learning_rate=3e-3, minibatch=96)
    verify = verifiers.as_score(
        lambda _, text: "5" in text.split(), lambda ids: " ".join(map(str, ids))
    )
    history = [metrics for _, metrics in run(policy, config, verify, batches=[PROMPTS * 4] * 25)]
    assert history[-1]["score"] > history[0]["score"] + 0.3


def raising(prompt, response):
    raise KeyError("no answer")


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (lambda x, y: torch.zeros(len(x), 1), ValueError, "shape"),
        (lambda x, y: torch.zeros(len(x) + 1), ValueError, "shape"),
        (lambda x, y: torch.tensor(1.0), ValueError, "shape"),
        (lambda x, y: [1.0] * len(x), TypeError, "give a tensor"),
        (lambda x, y: torch.full((len(x),), math.nan), FloatingPointError, "not finite"),
        (lambda x, y: torch.full((len(x),), -math.inf), FloatingPointError, "not finite"),
        (verifiers.as_score(raising, str), ValueError, "raised KeyError"),
        (verifiers.as_score(lambda x, y: None, str), TypeError, "returned None"),
        (verifiers.as_score(lambda x, y: math.nan, str), FloatingPointError, "returned nan"),
    ],
)
def test_a_score_that_is_none_changes_nothing(bad, error, match):
    policy = new_policy()
    before = parameters(policy)
    with pytest.raises(error, match=match):
        run(policy, score=bad)
    assert same_parameters(policy, before)


@pytest.mark.parametrize("prompts", [[[3, 12]], [[2] * 30], [[]], []])
def test_prompts_that_cannot_be_read_change_nothing(prompts):
    policy = new_policy()
    before = parameters(policy)
    with pytest.raises(ValueError):
        run(policy, batches=[prompts])
    assert same_parameters(policy, before)


def test_a_frozen_policy_is_refused():
    with pytest.raises(ValueError, match="requires a gradient"):
        run(new_policy().requires_grad_(False))


def test_a_step_is_yielded_after_its_update():
    policy = new_policy()
    before = parameters(policy)
    next(grpo.train(policy, score, [PROMPTS], CONFIG, stop_id=STOP, pad_id=PAD))
    assert not same_parameters(policy, before)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_gain_needs_equal_shapes(place):
    tables = [torch.zeros(2, 3) for _ in range(3)]
    tables[place] = torch.zeros(2, 1)
    with pytest.raises(ValueError, match="one shape"):
        grpo.clipped_gain(*tables, clip=0.2)
