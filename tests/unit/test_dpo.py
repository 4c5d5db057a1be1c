"""DPO and its alternatives: each loss against its formula, log-probabilities against plain rows, and
training against a plain loop."""

import copy
import itertools
import math

import pytest
import torch
from methods import dpo, enumeration, reward
from tiny import (
    CONTEXT,
    PAD,
    STOP,
    new_policy,
    parameters,
    plain_log_probs,
    same_parameters,
    some_tables,
)

# Prompts and responses of different lengths; one response was cut, and so has no stop token.
PAIRS = [
    ([3, 4, 5], [[6, 7, STOP], [8, STOP]]),
    ([6, 7], [[2, STOP], [9, 10, 11, 3, STOP]]),
    ([8, 9, 10, 11, 3], [[4, 5, 6, 7, STOP], [5, 5]]),
    ([2], [[10, STOP], [11, 2, 2, STOP]]),
    ([5, 4, 3, 2], [[3, STOP], [STOP]]),
]
LOSSES = [dpo.sigmoid_loss, dpo.ipo_loss, dpo.kto_loss, dpo.simpo_loss]


def other_policy():
    """A reference that is not the policy."""
    return new_policy(spread=0.25)


def some_pairs(number=5, shift=0.0):
    """Log-probabilities of no model, and lengths that differ. shift: of the mismatched ones' mean"""
    generator = torch.Generator().manual_seed(number)
    policy, reference = (-5 * torch.rand(number, 2, generator=generator) for _ in range(2))
    lengths = torch.arange(1, 2 * number + 1).view(number, 2)
    mismatched = torch.randn(number, generator=generator) + shift
    return dpo.PairLogProbs(policy.requires_grad_(), reference, lengths, mismatched)


def rows_of(pairs):
    """Of each pair (policy, reference, length) of the chosen and of the rejected response."""
    table = zip(pairs.policy.tolist(), pairs.reference.tolist(), pairs.lengths.tolist())
    return [list(zip(*row)) for row in table]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def plain_pair(model, pair):
    """log π of the chosen and of the rejected response, each run alone."""
    prompt, responses = pair
    return torch.stack([plain_log_probs(model, prompt, response).sum() for response in responses])


def run(policy, pairs=PAIRS, **more):
    return list(dpo.train(policy, pairs, pad_id=PAD, **more))


# The losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
@pytest.mark.parametrize("number", [1, 5])
def test_dpos_loss_is_equation_7(beta, number):
    pairs = some_pairs(number)
    expected = mean(
        -math.log(sigmoid(beta * (w - w_ref) - beta * (r - r_ref)))
        for (w, w_ref, _), (r, r_ref, _) in rows_of(pairs)
    )
    assert dpo.sigmoid_loss(pairs, beta).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
def test_ipos_loss_is_equation_17_with_means_over_tokens(beta):
    pairs = some_pairs()
    expected = mean(
        ((w - w_ref) / w_long - (r - r_ref) / r_long - 1 / (2 * beta)) ** 2
        for (w, w_ref, w_long), (r, r_ref, r_long) in rows_of(pairs)
    )
    assert dpo.ipo_loss(pairs, beta).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
@pytest.mark.parametrize("shift", [2.0, 0.4, -0.4, -2.0])
def test_ktos_loss_is_equation_7_with_every_response_by_itself(beta, shift):
    pairs = some_pairs(shift=shift)
    z = max(0.0, pairs.mismatched.mean().item())
    assert (z > 0) == (shift > 0)
    assert abs(shift) > 1 or pairs.mismatched.min() < 0 < pairs.mismatched.max()
    expected = mean(
        number
        for (w, w_ref, _), (r, r_ref, _) in rows_of(pairs)
        for number in (1 - sigmoid(beta * (w - w_ref - z)), 1 - sigmoid(beta * (z - (r - r_ref))))
    )
    assert dpo.kto_loss(pairs, beta).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
@pytest.mark.parametrize("margin", [None, 0.0, 1.4])
def test_simpos_loss_is_equation_6(beta, margin):
    pairs = some_pairs()
    gamma = 0.5 if margin is None else margin
    expected = mean(
        -math.log(sigmoid(beta / w_long * w - beta / r_long * r - gamma))
        for (w, _, w_long), (r, _, r_long) in rows_of(pairs)
    )
    more = {} if margin is None else {"margin": margin}
    assert dpo.simpo_loss(pairs, beta, **more).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
def test_where_policy_and_reference_are_one_dpo_starts_at_log_2_and_pushes_by_half_of_beta(beta):
    start = some_pairs().policy.detach()
    policy = start.clone().requires_grad_()
    loss = dpo.sigmoid_loss(dpo.PairLogProbs(policy, start, torch.ones(5, 2)), beta)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    torch.testing.assert_close(policy.grad, torch.tensor([[-beta / 2, beta / 2]] * 5) / 5)


def test_what_both_responses_gain_together_moves_nothing():
    pairs, both = some_pairs(), torch.zeros(5, 1, requires_grad=True)
    shifted = dpo.PairLogProbs(pairs.policy + both, pairs.reference, pairs.lengths)
    dpo.sigmoid_loss(shifted, 0.7).backward()
    torch.testing.assert_close(both.grad, torch.zeros(5, 1), rtol=0, atol=1e-7)
    assert pairs.policy.grad.abs().min() > 1e-4


@pytest.mark.parametrize("beta", [0.1, 0.7, 3.0])
def test_ipo_wants_its_margin_and_no_more(beta):
    lengths = torch.tensor([[2, 5]])
    chosen_and_rejected = torch.tensor([[2 * (1 / (2 * beta) + 0.3), 5 * 0.3]])
    losses = []
    for extra in (-0.5, 0.0, 0.5):
        policy = (chosen_and_rejected + torch.tensor([[2 * extra, 0]])).requires_grad_()
        loss = dpo.ipo_loss(dpo.PairLogProbs(policy, torch.zeros(1, 2), lengths), beta)
        loss.backward()
        losses.append(loss.item())
        torch.testing.assert_close(
            policy.grad, torch.tensor([[extra, -extra * 0.4]]), atol=1e-5, rtol=0
        )
    assert losses == pytest.approx([0.25, 0.0, 0.25], abs=1e-5)


@pytest.mark.parametrize("shift", [2.0, -2.0])
def test_ktos_zero_carries_no_gradient(shift):
    pairs = some_pairs(shift=shift)
    mismatched = pairs.mismatched.requires_grad_()
    dpo.kto_loss(pairs, 0.7).backward()
    assert mismatched.grad is None and pairs.policy.grad.any()


def test_simpo_asks_no_reference_and_the_others_do():
    pairs = some_pairs(shift=2.0)
    blind = dpo.PairLogProbs(pairs.policy, pairs.reference - 1, pairs.lengths, pairs.mismatched)
    skewed = dpo.PairLogProbs(pairs.policy, pairs.reference * 1.3, pairs.lengths, pairs.mismatched)
    assert dpo.simpo_loss(pairs, 0.7) == dpo.simpo_loss(blind, 0.7) == dpo.simpo_loss(skewed, 0.7)
    for loss in LOSSES[:3]:
        assert loss(pairs, 0.7).item() != pytest.approx(loss(skewed, 0.7).item(), abs=1e-3)


def test_the_implicit_reward_of_the_optimum_is_the_reward_up_to_a_number_of_the_prompt():
    policy, beta = new_policy(vocab=5), 0.6
    responses = enumeration.responses(5, STOP, 2)
    for prompt in ([2, 3], [4]):
        known = enumeration.log_probs(policy, prompt, responses, PAD)
        rewards = torch.randn(len(responses), generator=torch.Generator().manual_seed(4))
        best = enumeration.optimum(known, rewards, beta)
        constant = dpo.implicit_reward(best, known, beta) - rewards
        partition = (known + rewards / beta).logsumexp(-1)
        torch.testing.assert_close(constant, (-beta * partition).expand(21), rtol=0, atol=1e-5)
        # ... and any other policy's is not.
        assert (dpo.implicit_reward(known, known, beta) - rewards).std() > 0.5


def test_the_optimum_of_the_reward_is_the_optimum_of_dpo():
    """Over all pairs of responses, each chosen as often as its reward says, and over all policies: a
    free table of 21 numbers."""
    policy, beta = new_policy(vocab=5), 0.6
    responses = enumeration.responses(5, STOP, 2)
    known = enumeration.log_probs(policy, [2, 3], responses, PAD)
    rewards = torch.randn(len(responses), generator=torch.Generator().manual_seed(4))
    pairs = torch.tensor(list(itertools.permutations(range(len(responses)), 2)))
    share = (rewards[pairs[:, 0]] - rewards[pairs[:, 1]]).sigmoid()

    def gradient(log_probs):
        logits = log_probs.clone().requires_grad_()
        now = logits.log_softmax(-1)
        losses = [
            dpo.sigmoid_loss(
                dpo.PairLogProbs(now[pair][None], known[pair][None], torch.ones(1, 2)), beta
            )
            for pair in pairs
        ]
        return torch.autograd.grad((share * torch.stack(losses)).sum(), logits)[0].abs().max()

    assert gradient(enumeration.optimum(known, rewards, beta)) < 1e-4
    assert gradient(known) > 0.1
    assert gradient(enumeration.optimum(known, rewards, 2 * beta)) > 0.1


def test_training_on_choices_ends_at_the_rewards_that_made_them():
    """Every pair of three responses is chosen 2 : 1 for each log 2 by which the rewards differ."""
    responses, beta = [[6, STOP], [7, 8, STOP], [9]], 0.5
    choices = [(0, 1, 10), (1, 0, 5), (1, 2, 10), (2, 1, 5), (0, 2, 12), (2, 0, 3)]
    pairs = [
        ([3, 4], [responses[better], responses[worse]])
        for better, worse, times in choices
        for _ in range(times)
    ]
    policy = new_policy()
    history = run(policy, pairs, beta=beta, epochs=60, batch_size=45, learning_rate=0.03)
    now, before = (
        enumeration.log_probs(model, [3, 4], responses, PAD) for model in (policy, new_policy())
    )
    learned = dpo.implicit_reward(now, before, beta)
    expected = torch.tensor([2.0, 1.0, 0.0]) * math.log(2)
    torch.testing.assert_close(learned - learned[2], expected, rtol=0, atol=0.05)
    assert history[-1]["loss"] < history[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize(
    "tables",
    [
        dict(policy=torch.zeros(4), reference=torch.zeros(4), lengths=torch.ones(4)),
        dict(policy=torch.zeros(4, 3), reference=torch.zeros(4, 3), lengths=torch.ones(4, 3)),
        dict(policy=torch.zeros(4, 2), reference=torch.zeros(1, 2), lengths=torch.ones(4, 2)),
        dict(policy=torch.zeros(4, 2), reference=torch.zeros(4, 2), lengths=torch.ones(4, 1)),
    ],
)
def test_tables_of_other_shapes_are_refused(tables):
    with pytest.raises(ValueError, match="shape"):
        dpo.PairLogProbs(**tables)


def test_dpos_loss_needs_equal_shapes_and_a_beta():
    now, before = some_pairs().policy, some_pairs().reference
    assert dpo.dpo_loss(now, before, 0.7) == dpo.sigmoid_loss(some_pairs(), 0.7)
    with pytest.raises(ValueError, match="shape"):
        dpo.dpo_loss(now, before[:1], 0.7)
    with pytest.raises(ValueError, match="beta"):
        dpo.dpo_loss(now, before, 0.0)


def test_an_implicit_reward_needs_equal_shapes_and_a_beta():
    (now, before), _ = some_tables(2)
    torch.testing.assert_close(dpo.implicit_reward(now, before, 0.3), 0.3 * now - 0.3 * before)
    with pytest.raises(ValueError, match="shape"):
        dpo.implicit_reward(now, before[0], 0.3)
    for beta in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="beta"):
            dpo.implicit_reward(now, before, beta)


# Log-probabilities --------------------------------------------------------------------------------


def test_log_probabilities_of_pairs_are_those_of_each_row_alone():
    policy = new_policy()
    log_probs = dpo.pair_log_probs(policy, PAIRS, PAD)
    expected = torch.stack([plain_pair(policy, pair) for pair in PAIRS])
    torch.testing.assert_close(log_probs, expected, rtol=1e-5, atol=1e-4)
    weights = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    mine, theirs = (
        torch.autograd.grad((weights * table).sum(), list(policy.parameters()))
        for table in (log_probs, expected)
    )
    for gradient, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pad_id", [PAD, STOP, 7])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0], [1], [3, 3, 1]])
def test_neither_padding_nor_the_company_in_a_batch_changes_a_pair(pad_id, order):
    policy = new_policy()
    expected = dpo.pair_log_probs(policy, PAIRS, PAD)
    mine = dpo.pair_log_probs(policy, [PAIRS[row] for row in order], pad_id)
    torch.testing.assert_close(mine, expected[order], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 128])
def test_all_pairs_in_batches_are_all_pairs(batch_size):
    policy = new_policy()
    table = dpo.log_probs_of_all(policy, PAIRS, PAD, batch_size)
    torch.testing.assert_close(table, dpo.pair_log_probs(policy, PAIRS, PAD), rtol=1e-5, atol=1e-4)
    assert not table.requires_grad


def test_a_mismatched_response_stands_beside_another_pairs_prompt():
    shifted = dpo.mismatch(PAIRS)
    assert [responses for _, responses in shifted] == [responses for _, responses in PAIRS]
    prompts = [prompt for prompt, _ in PAIRS]
    assert [prompt for prompt, _ in shifted] == prompts[1:] + prompts[:1]
    assert all(new != old for (new, _), (old, _) in zip(shifted, PAIRS))


def test_mismatched_log_ratios_are_those_of_each_row_alone():
    policy, reference = new_policy(), other_policy()
    ratios = dpo.mismatched(policy, reference, PAIRS, PAD)
    expected = torch.cat(
        [
            plain_pair(policy, (prompt, responses)) - plain_pair(reference, (prompt, responses))
            for (prompt, _), (_, responses) in zip(PAIRS[1:] + PAIRS[:1], PAIRS)
        ]
    )
    torch.testing.assert_close(ratios, expected, rtol=1e-4, atol=1e-4)
    assert not ratios.requires_grad


# Training -----------------------------------------------------------------------------------------


def plain_training(policy, reference, loss, *, beta, epochs, batch_size, learning_rate, seed):
    """Every row alone, and a learning rate that is set by hand; returns each step's metrics."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=learning_rate, weight_decay=0.0)
    batches = list(reward.batches(PAIRS, batch_size=batch_size, epochs=epochs, seed=seed))
    history = []
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / len(batches))
        now = torch.stack([plain_pair(policy, pair) for pair in batch])
        with torch.no_grad():
            before = torch.stack([plain_pair(reference, pair) for pair in batch])
            beside = [
                (prompt, responses)
                for (prompt, _), (_, responses) in zip(batch[1:] + batch[:1], batch)
            ]
            mismatched = torch.cat(
                [plain_pair(policy, pair) - plain_pair(reference, pair) for pair in beside]
            )
        lengths = torch.tensor([[len(response) for response in both] for _, both in batch])
        value = loss(dpo.PairLogProbs(now, before, lengths, mismatched), beta)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        gained = (now - before).tolist()
        history.append(
            {
                "loss": value.item(),
                "margin": mean(beta * (chosen - rejected) for chosen, rejected in gained),
                "accuracy": mean(float(chosen > rejected) for chosen, rejected in gained),
                "chosen": mean(chosen for chosen, _ in gained),
                "rejected": mean(rejected for _, rejected in gained),
            }
        )
    return history


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("own", [True, False])
def test_training_is_a_plain_loop(loss, own):
    """own: the policy itself, as it stands at the first step, is the reference"""
    policy, plain = new_policy(), new_policy()
    reference = None if own else other_policy()
    settings = dict(beta=0.7, epochs=2, batch_size=3, learning_rate=5e-3, seed=3)
    history = run(policy, reference=reference, loss=loss, **settings)
    expected = plain_training(plain, new_policy() if own else other_policy(), loss, **settings)
    assert len(history) == len(expected) == 4  # each epoch ends with a batch of two pairs
    if own:  # both responses have gained nothing yet, and rounding says which one leads
        del history[0]["accuracy"], expected[0]["accuracy"]
    for mine, theirs in zip(history, expected):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=1e-4)
    for parameter, other in zip(policy.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=0, atol=2e-4)
    if not own:
        assert same_parameters(reference, parameters(other_policy()))
        assert all(parameter.grad is None for parameter in reference.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_reference_is_the_policy_before_the_first_step(loss):
    """A reference that learned along would keep the margin at 0."""
    policy = new_policy()
    history = run(policy, loss=loss, beta=0.7, epochs=8, batch_size=5, learning_rate=5e-3)
    assert history[0]["margin"] == history[0]["chosen"] == pytest.approx(0, abs=1e-5)
    assert history[0]["rejected"] == pytest.approx(0, abs=1e-5)
    assert history[-1]["margin"] > 0.3 and history[-1]["accuracy"] >= 0.8


def test_the_reference_is_taken_at_the_first_step_and_not_before():
    policy = new_policy()
    steps = dpo.train(policy, PAIRS, pad_id=PAD)
    policy.load_state_dict(other_policy().state_dict())
    assert next(steps)["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_the_defaults_are_dpo_at_a_beta_of_a_tenth():
    policy, named = new_policy(), new_policy()
    history = run(policy, reference=other_policy())
    expected = run(
        named,
        reference=other_policy(),
        loss=dpo.sigmoid_loss,
        beta=0.1,
        epochs=1,
        batch_size=32,
        learning_rate=1e-4,
        seed=0,
    )
    assert history == expected and same_parameters(policy, parameters(named))


@pytest.mark.parametrize(("epochs", "batch_size", "steps"), [(1, 5, 1), (3, 2, 9), (2, 4, 4)])
def test_there_is_one_step_for_each_batch(epochs, batch_size, steps):
    policy = new_policy()
    assert len(run(policy, epochs=epochs, batch_size=batch_size)) == steps


def test_the_seed_decides_the_order():
    policies = [new_policy() for _ in range(3)]
    for policy, seed in zip(policies, (0, 0, 1)):
        run(policy, batch_size=1, learning_rate=1e-2, seed=seed)
    assert same_parameters(policies[0], parameters(policies[1]))
    assert not same_parameters(policies[0], parameters(policies[2]))


def test_the_learning_rate_falls_in_a_straight_line(monkeypatch):
    seen, adamw = [], dpo.adamw

    def spy(trained, learning_rate):
        optimizer = adamw(trained, learning_rate)
        optimizer.register_step_pre_hook(lambda own, *_: seen.append(own.param_groups[0]["lr"]))
        return optimizer

    monkeypatch.setattr(dpo, "adamw", spy)
    run(new_policy(), epochs=2, batch_size=2, learning_rate=6e-3)
    assert seen == pytest.approx([6e-3, 5e-3, 4e-3, 3e-3, 2e-3, 1e-3])


def test_a_step_is_yielded_after_its_update():
    policy = new_policy()
    before = parameters(policy)
    next(dpo.train(policy, PAIRS, pad_id=PAD))
    assert not same_parameters(policy, before)


def with_dropout(policy):
    policy.train()
    for layer in policy.model.layers:
        layer.self_attn.attention_dropout = 0.5
    return policy


@pytest.mark.parametrize("own", [True, False])
def test_dropout_is_off_in_ktos_zero(own, monkeypatch):
    """Before the first step a response gains nothing anywhere."""
    seen, mismatched = [], dpo.mismatched
    monkeypatch.setattr(
        dpo, "mismatched", lambda *others: seen.append(mismatched(*others)) or seen[-1]
    )
    reference = None if own else with_dropout(new_policy())
    policy = with_dropout(new_policy())
    run(policy, reference=reference, loss=dpo.kto_loss, batch_size=5)
    torch.testing.assert_close(seen[0], torch.zeros(10), rtol=0, atol=1e-5)
    assert policy.training and (own or reference.training)


@pytest.mark.parametrize("loss", [dpo.sigmoid_loss, dpo.kto_loss])
def test_dropout_is_off_in_training_and_comes_back(loss):
    """With dropout the policy would not be the reference, not even before the first step."""
    policy = with_dropout(new_policy())
    first = run(policy, loss=loss, beta=0.7, batch_size=5)[0]
    start = {dpo.sigmoid_loss: math.log(2), dpo.kto_loss: 0.5}[loss]
    assert first["loss"] == pytest.approx(start, abs=1e-5) and first["margin"] == 0
    assert policy.training and policy.model.layers[0].self_attn.training


def test_metrics_tell_what_has_been_gained():
    pairs = some_pairs()
    gained = [(w - w_ref, r - r_ref) for (w, w_ref, _), (r, r_ref, _) in rows_of(pairs)]
    assert dpo.metrics(pairs, 0.7) == pytest.approx(
        {
            "margin": mean(0.7 * (w - r) for w, r in gained),
            "accuracy": mean(w > r for w, r in gained),
            "chosen": mean(w for w, _ in gained),
            "rejected": mean(r for _, r in gained),
        },
        abs=1e-5,
    )
    assert 0 < dpo.metrics(pairs, 0.7)["accuracy"] < 1
    equal = dpo.PairLogProbs(torch.ones(2, 2), torch.zeros(2, 2), torch.ones(2, 2))
    assert dpo.metrics(equal, 0.7)["accuracy"] == 0  # neither response leads


# What is refused ----------------------------------------------------------------------------------


def far(pairs=PAIRS):
    return [*pairs, ([2] * (CONTEXT - 2), [[3, STOP], [4, 5, STOP]])]


@pytest.mark.parametrize(
    ("pairs", "more", "match"),
    [
        ([], {}, "at least one pair"),
        ([*PAIRS, ([3], [[4, STOP], [4, STOP]])], {}, "same response twice"),
        ([([3], [[4], [5], [6]])], {}, "rankings of 3"),
        ([*PAIRS, ([3], [[4], [5], [6]])], {}, "one K"),
        ([([3], [[4]])], {}, "at least 2"),
        ([*PAIRS, ([3], [[4], [12]])], {}, "vocabulary|knows"),
        ([*PAIRS, ([-1], [[4], [5]])], {}, "knows"),
        (far(), {}, "context"),
        ([*PAIRS, ([], [[4], [5]])], {}, "pair 5 has an empty"),
        ([*PAIRS, ([3], [[4], []])], {}, "pair 5 has an empty"),
        (PAIRS, {"loss": dpo.kto_loss, "batch_size": 1}, "left alone"),
        (PAIRS, {"loss": dpo.kto_loss, "batch_size": 2}, "left alone"),
        (PAIRS, {"loss": dpo.kto_loss, "batch_size": 4}, "left alone"),
        (PAIRS, {"beta": 0.0}, "beta"),
        (PAIRS, {"beta": -1.0}, "beta"),
        (PAIRS, {"beta": math.nan}, "beta"),
        (PAIRS, {"beta": 0.0, "loss": dpo.simpo_loss}, "beta"),
        (PAIRS, {"epochs": 0}, "epochs"),
        (PAIRS, {"epochs": 1.5}, "epochs"),
        (PAIRS, {"batch_size": 0}, "batch_size"),
    ],
)
def test_what_nothing_can_be_learned_from_changes_nothing(pairs, more, match):
    """Neither does a batch before the one that cannot be read."""
    policy = new_policy()
    before = parameters(policy)
    with pytest.raises(ValueError, match=match):
        run(policy, pairs, **{"batch_size": 1, "learning_rate": 0.1} | more)
    assert same_parameters(policy, before)


def test_a_row_may_fill_the_context():
    full = [([2] * (CONTEXT - 3), [[3, STOP], [4, 5, STOP]])]
    assert len(run(new_policy(), full)) == 1


def test_a_frozen_policy_is_refused():
    policy = new_policy().requires_grad_(False)
    before = parameters(policy)
    with pytest.raises(ValueError, match="requires a gradient"):
        run(policy)
    assert same_parameters(policy, before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("step", [1, 2])
def test_a_loss_that_is_not_finite_is_refused_before_its_update(value, step):
    calls = itertools.count(1)

    def loss(pairs, beta):
        return dpo.sigmoid_loss(pairs, beta) * (value if next(calls) == step else 1)

    policy, plain = new_policy(), new_policy()
    steps = dpo.train(policy, PAIRS, pad_id=PAD, loss=loss, batch_size=2, learning_rate=0.01)
    for _ in range(step - 1):
        next(steps)
    with pytest.raises(FloatingPointError, match=rf"step {step}: lower the learning rate \(0.01\)"):
        next(steps)
    done = dpo.train(plain, PAIRS, pad_id=PAD, batch_size=2, learning_rate=0.01)
    for _ in range(step - 1):
        next(done)
    assert same_parameters(policy, parameters(plain))


def test_a_gradient_that_is_not_finite_is_refused_before_its_update():
    policy = new_policy()
    before = parameters(policy)
    with pytest.raises(FloatingPointError, match="gradient's norm"):
        run(policy, loss=lambda pairs, beta: (pairs.log_ratios - pairs.log_ratios).sqrt().sum())
    assert same_parameters(policy, before)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_given_reference_is_asked_and_never_changed(loss, monkeypatch):
    def refused(*_):
        raise AssertionError("a reference was made, and one was given")

    monkeypatch.setattr(dpo, "reference_of", refused)
    reference = other_policy()
    before = copy.deepcopy(reference.state_dict())
    run(new_policy(), reference=reference, loss=loss, learning_rate=0.01)
    assert all(torch.equal(before[name], value) for name, value in reference.state_dict().items())
