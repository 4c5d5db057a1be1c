"""The checks of lab 04's exercises: what each function must do, and the mistake that each failure
points to."""

import torch
from checks.models import PAD, VOCAB, small_model
from checks.reward import (
    call,
    diagnose,
    needs_gradients,
    needs_parameter_gradients,
    needs_untouched,
    number,
    numbers,
)
from checks.shared import close, random_batch, randoms, some_number, twice
from course import Exercise, Mistake
from course.learner import NOTEBOOK_SEED
from methods import kl, ppo, rollouts, tokens
from methods.tokens import IGNORE
from torch import Tensor


def some_clip(seed: int) -> float:
    return some_number(seed, 0.18, 0.32)


def counting(seed: int) -> Tensor:
    """Which tokens count, bool (4, 9): prompts and responses differ in length, the last response
    has no padding."""
    _, labels = random_batch(seed, rows=4, time=10)
    labels[3, 5:] = 2
    return labels[:, 1:] != IGNORE


def needs_table(value, counts: Tensor) -> Tensor:
    return numbers(
        value, tuple(counts.shape), "the result", next="one number for each token: (batch, time)"
    )


# An estimate of the divergence --------------------------------------------------------------------

k3 = Exercise("ppo.k3", reference=kl.k3, minutes=5, difficulty=1)
U = "u = log_q − log_p: the samples come from p"


def two_policies(seed: int) -> dict[str, Tensor]:
    return {
        "log_p": randoms(seed, 4, 6).log_softmax(-1),
        "log_q": randoms(seed + 100, 4, 6).log_softmax(-1),
    }


def estimates(student, policies: dict[str, Tensor]) -> Tensor:
    shape = tuple(policies["log_p"].shape)
    return numbers(
        call(student, policies),
        shape,
        "the result",
        next="one value for each element: no sum, no mean",
    )


@k3.check(points=2)
def is_the_third_estimate(student, seed):
    policies = two_policies(seed)
    value, u = estimates(student, policies), policies["log_q"] - policies["log_p"]
    if not close(value, kl.k3(*policies.values())):
        diagnose(
            value,
            {
                "this is k1: unbiased, but negative at times": (
                    -u,
                    "add the control variate, exp(u) − 1",
                ),
                "this is k2: never negative, but biased": (u.square() / 2, "k3 is exp(u) − 1 − u"),
                "p and q have changed places": ((-u).exp() - 1 + u, U),
                "−u is missing": (u.exp() - 1, "k3 is exp(u) − 1 − u"),
                "−1 is missing: equal policies must give 0": (u.exp() - u, "k3 is exp(u) − 1 − u"),
                "u is added, not subtracted": (u.exp() - 1 + u, "k3 is exp(u) − 1 − u"),
                "the sign is wrong": (-kl.k3(*policies.values()), "k3 is exp(u) − 1 − u"),
                "the values are already weighted by p": (
                    kl.k3(*policies.values()) * policies["log_p"].exp(),
                    "the samples come from p: that is the weight",
                ),
            },
        )
        raise Mistake("this is not exp(u) − 1 − u", next=U)
    needs_untouched(student, policies)


@k3.check(points=1)
def has_the_divergence_as_its_mean(student, seed):
    policies = two_policies(seed)
    p = policies["log_p"].exp().double()
    mean, divergence = (p * estimates(student, policies)).sum(-1), kl.full(*policies.values())
    if not close(mean, divergence):
        raise Mistake(
            f"on average over p it gives {mean[0]:.3f} where the divergence is {divergence[0]:.3f}",
            next="k1 and k3 have the right mean, k2 has not",
        )


@k3.check(points=1)
def is_never_negative(student, seed):
    policies = two_policies(seed)
    value = estimates(student, policies)
    if (value < -1e-5).any():
        raise Mistake(
            f"one of its values is {value.min():.3f}",
            next="a divergence is at least 0, and k3 is, too, in each sample",
        )
    if (value < 1e-9).all():
        raise Mistake("all values are 0, and the policies differ", next=U)
    same = estimates(student, {"log_p": policies["log_p"], "log_q": policies["log_p"]})
    if not close(same, torch.zeros(4, 6)):
        raise Mistake("equal policies must give 0", next="k3 is exp(u) − 1 − u")


# The rewards of the tokens ------------------------------------------------------------------------

token_rewards = Exercise("ppo.token_rewards", reference=ppo.token_rewards, minutes=15, difficulty=2)


def some_beta(seed: int) -> float:
    return some_number(seed, 0.2, 0.6)


def paid(seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """The function's tensors, the log-probabilities 0 where nothing counts, and counts by
    itself."""
    counts = counting(seed)
    log_probs, ref_log_probs = (-randoms(seed + i, *counts.shape).exp() * counts for i in (1, 2))
    given = {
        "scores": randoms(seed, 4) + 3,
        "log_probs": log_probs,
        "ref_log_probs": ref_log_probs,
        "counts": counts,
    }
    return given, counts


@token_rewards.check(points=2)
def pays_for_leaving_the_reference(student, seed):
    (given, counts), beta = paid(seed), some_beta(seed)
    given["scores"] = torch.zeros(4)
    value = needs_table(call(student, given, beta), counts)
    ratio = given["log_probs"] - given["ref_log_probs"]
    if close(value[counts], -beta * ratio[counts]):
        return
    at_end = tokens.last_token(counts) * ratio.sum(-1, keepdim=True)
    signs = "R_t = −β (log π − log π_ref)_t: a token that the reference finds less likely costs"
    diagnose(
        value[counts],
        {
            "the penalty is paid out: leaving the reference earns": (beta * ratio[counts], signs),
            "beta is taken to be the notebook's": (
                -some_beta(NOTEBOOK_SEED) * ratio[counts],
                "beta is an argument: use it",
            ),
            "beta is not used": (-ratio[counts], "the penalty is β times the log-ratio"),
            "beta is not used, and the sign is wrong": (ratio[counts], signs),
            "there is no penalty": (0 * ratio[counts], signs),
            "the whole penalty stands at the last token": (
                -beta * at_end[counts],
                "each token pays for its own log-ratio",
            ),
            "the penalty is k3, not the log-ratio": (
                -beta * kl.k3(given["log_probs"], given["ref_log_probs"])[counts],
                "R_t takes the log-ratio itself; it may be negative",
            ),
            "the penalty is |log-ratio|": (
                -beta * ratio.abs()[counts],
                "R_t takes the log-ratio itself; it may be negative",
            ),
            "the penalty is k2, not the log-ratio": (
                -beta * ratio.square()[counts] / 2,
                "R_t takes the log-ratio itself",
            ),
            "the policy is not compared with the reference": (
                -beta * given["log_probs"][counts],
                signs,
            ),
            "ratios are subtracted, not their logarithms": (
                -beta * ratio.exp()[counts],
                "no exp: R_t takes the log-ratio",
            ),
        },
    )
    raise Mistake("with all scores 0, this is not −β (log π − log π_ref) of each token", next=signs)


@token_rewards.check(points=1)
def pays_the_score_at_the_last_token(student, seed):
    (given, counts), beta = paid(seed), some_beta(seed)
    given["ref_log_probs"] = given["log_probs"]
    value, scores = needs_table(call(student, given, beta), counts), given["scores"].unsqueeze(-1)
    expected = tokens.last_token(counts) * scores
    if close(value, expected):
        return
    first = counts & (counts.cumsum(-1) == 1)
    in_last_column, in_columns_of_lengths, before = (
        *torch.zeros(2, *counts.shape),
        expected.roll(-1, 1),
    )
    in_last_column[:, -1] = given["scores"]
    in_columns_of_lengths[torch.arange(4), counts.sum(-1) - 1] = given["scores"]
    end = "the last True of each row of counts; the rows differ"
    diagnose(
        value,
        {
            "the score is paid nowhere": (torch.zeros(counts.shape), end),
            "every token of the response earns the whole score": (
                counts * scores,
                "only the last one does",
            ),
            "the score stands in the last column, which is padding in the shorter rows": (
                in_last_column,
                end,
            ),
            "the score stands in the last column, and where that is padding it is lost": (
                in_last_column * counts,
                end,
            ),
            "the place is counted from the start of the row, as if there were no prompt": (
                in_columns_of_lengths,
                end,
            ),
            "the place is counted from the start of the row, and where that is no response the score is lost": (
                in_columns_of_lengths * counts,
                end,
            ),
            "the score is paid at the first token of the response": (first * scores, end),
            "the score is paid one token too early": (before, end),
            "the score is paid one token too early, or not at all": (before * counts, end),
            "the score is spread over the response": (
                counts * scores / counts.sum(-1, keepdim=True),
                "the last token earns all of it",
            ),
            "the score is multiplied by beta": (beta * expected, "only the penalty is"),
            "the sign of the score is wrong": (
                -expected,
                "the score is earned, the penalty is paid",
            ),
            "prompt and padding earn the score, too": (scores.expand(counts.shape), end),
        },
    )
    raise Mistake("with no penalty, not the last response token alone earns the score", next=end)


@token_rewards.check(points=1)
@twice
def leaves_prompt_and_padding_at_0(student, seed):
    given, counts = paid(seed)
    given["log_probs"] = given["log_probs"].where(
        counts, -5
    )  # the log-probabilities of a prompt are not 0 by nature
    value = needs_table(call(student, given, some_beta(seed)), counts)
    if (value[counts] == 0).all():
        raise Mistake(
            "all rewards are 0",
            next="the tokens that count pay the penalty; the last one earns the score",
        )
    if not (value[~counts] == 0).all():
        raise Mistake("prompt or padding gets a reward", next="put 0 where counts is false")
    needs_untouched(student, given, some_beta(seed))


# The advantages -----------------------------------------------------------------------------------

gae = Exercise("ppo.gae", reference=ppo.gae, minutes=25, difficulty=3)
BACKWARDS = "go backwards: Â_t = δ_t + γλ Â_{t+1}, with δ_t = R_t + γ V_{t+1} − V_t"


def some_discounts(seed: int) -> tuple[float, float]:
    """γ and λ."""
    return some_number(seed, 0.8, 0.95), some_number(seed + 1, 0.5, 0.75)


def episode(seed: int) -> tuple[dict[str, Tensor], Tensor]:
    counts = counting(seed)
    return {
        "rewards": randoms(seed + 1, *counts.shape) * counts,
        "values": randoms(seed + 2, *counts.shape) * counts,
        "counts": counts,
    }, counts


def recursion(rewards: Tensor, values: Tensor, discount: float, decay: float) -> Tensor:
    """Â_t = R_t + discount · V_{t+1} − V_t + decay · Â_{t+1}; rewards and values must be 0 where
    nothing counts."""
    following = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    advantages = rewards + discount * following - values
    for t in reversed(range(rewards.shape[1] - 1)):
        advantages[:, t] += decay * advantages[:, t + 1]
    return advantages


@gae.check(points=2)
def adds_up_what_follows(student, seed):
    (given, counts), (gamma, lam) = episode(seed), some_discounts(seed)
    value = needs_table(call(student, given, gamma, lam), counts)
    rewards, values, _ = given.values()
    expected = ppo.gae(rewards, values, counts, gamma, lam)
    if close(value[counts], expected[counts]):
        return
    known_gamma, known_lam = some_discounts(NOTEBOOK_SEED)
    deltas = recursion(rewards, values, gamma, 0)
    forwards, so_far = torch.zeros_like(deltas), 0
    for t in range(deltas.shape[1]):
        forwards[:, t] = so_far = (deltas[:, t] + gamma * lam * so_far) * counts[:, t]
    wrong = {
        "the sum runs over what came before, not over what follows": (forwards, BACKWARDS),
        "this is δ alone": (deltas, BACKWARDS),
        "λ is not used": (recursion(rewards, values, gamma, gamma), "Â_{t+1} is multiplied by γλ"),
        "Â_{t+1} is multiplied by λ alone": (recursion(rewards, values, gamma, lam), "by γλ"),
        "Â_{t+1} is not multiplied by γλ": (recursion(rewards, values, gamma, 1), BACKWARDS),
        "the next value is not discounted": (
            recursion(rewards, values, 1, gamma * lam),
            "δ_t = R_t + γ V_{t+1} − V_t",
        ),
        "γ is not used": (recursion(rewards, values, 1, lam), BACKWARDS),
        "the next value is discounted by γλ": (
            recursion(rewards, values, gamma * lam, gamma * lam),
            "δ_t = R_t + γ V_{t+1} − V_t",
        ),
        "the next value is missing from δ": (
            recursion(rewards, values, 0, gamma * lam),
            "δ_t = R_t + γ V_{t+1} − V_t",
        ),
        "the value is not subtracted: there is no baseline": (
            recursion(rewards, values, gamma, gamma * lam)
            + recursion(values, 0 * values, 0, gamma * lam),
            "δ_t = R_t + γ V_{t+1} − V_t",
        ),
        "the critic is not asked": (
            recursion(rewards, 0 * values, 0, gamma * lam),
            "δ_t = R_t + γ V_{t+1} − V_t",
        ),
        "γ is taken to be the notebook's": (
            recursion(rewards, values, known_gamma, known_gamma * lam),
            "γ is an argument: use it",
        ),
        "λ is taken to be the notebook's": (
            recursion(rewards, values, gamma, gamma * known_lam),
            "λ is an argument: use it",
        ),
        "these are the returns, Â + V": (expected + values, "return Â alone"),
        "the sign is wrong": (-expected, "δ_t = R_t + γ V_{t+1} − V_t"),
        "the advantages are whitened already": (
            tokens.whiten(expected, counts),
            "return them as they are; whitening comes later",
        ),
        "the advantages are whitened and the sign is wrong": (
            -tokens.whiten(expected, counts),
            BACKWARDS,
        ),
    }
    diagnose(
        value[counts],
        {message: (result[counts], next) for message, (result, next) in wrong.items()},
    )
    raise Mistake(
        "this is not the sum of the δ that follow, each multiplied by γλ once more", next=BACKWARDS
    )


@gae.check(points=1)
@twice
def lets_nothing_follow_the_end(student, seed):
    (given, counts), discounts = episode(seed), some_discounts(seed)
    clean = needs_table(call(student, given, *discounts), counts)
    if (clean[counts] == 0).all():
        raise Mistake("all advantages are 0", next=BACKWARDS)
    # A critic has a number for prompt and padding as well.
    noisy = given | {
        "values": given["values"].where(counts, 7),
        "rewards": given["rewards"].where(counts, -4),
    }
    value = needs_table(call(student, noisy, *discounts), counts)
    if not close(value[counts], clean[counts]):
        raise Mistake(
            "what stands in the padding reaches the response",
            next="after the last token, the next value and the next advantage are 0, whatever stands there",
        )
    if not (value[~counts] == 0).all():
        raise Mistake("prompt or padding gets an advantage", next="put 0 where counts is false")


@gae.check(points=1)
def leaves_rewards_and_values_alone(student, seed):
    (given, _), (gamma, decay) = episode(seed), some_discounts(seed)
    needs_untouched(student, given, gamma, decay)
    for lam, told in (
        (1.0, "with λ = 1, Â is the discounted sum of the rewards minus V"),
        (0.0, "with λ = 0, Â is δ"),
    ):
        value = needs_table(call(student, given, gamma, lam), given["counts"])
        if not close(value[given["counts"]], ppo.gae(*given.values(), gamma, lam)[given["counts"]]):
            raise Mistake(told, next=BACKWARDS)


# The policy's loss --------------------------------------------------------------------------------


def needs_what_counts_alone(student, given: dict[str, Tensor], clip: float) -> None:
    """The loss stays the same when other numbers stand on prompt and padding, and its arguments
    stay as they were."""
    needs_untouched(student, given, clip)
    counts = given["counts"]
    noisy = {
        name: tensor.where(counts, filler)
        for filler, (name, tensor) in enumerate(given.items(), start=1)
        if name != "counts"
    }
    clean, value = (
        number(call(student, some, clip)) for some in (given, noisy | {"counts": counts})
    )
    if not close(value, clean):
        raise Mistake(
            "what stands on prompt and padding reaches the loss",
            next="sum only the tokens that count: multiply by counts, or index with it",
        )


clipped_surrogate = Exercise(
    "ppo.clipped_surrogate", reference=ppo.clipped_surrogate, minutes=20, difficulty=3
)
SMALLER = "of ratio · Â and clipped ratio · Â, the smaller one counts"


def after_an_update(seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Ratios above, below and within the clip interval, each with advantages of both signs."""
    counts = counting(seed)
    places = torch.arange(int(counts.sum()))
    old = -randoms(seed, *counts.shape).exp() * counts
    moved, advantages = torch.zeros(counts.shape), torch.zeros(counts.shape)
    moved[counts] = torch.tensor([0.5, -0.5, 0.1])[places % 3] + 0.05 * randoms(
        seed + 1, len(places)
    ).clamp(-1, 1)
    advantages[counts] = torch.tensor([1.0, -1.0])[places // 3 % 2] * (
        0.3 + randoms(seed + 2, len(places)).abs()
    )
    return {
        "log_probs": old + moved,
        "old_log_probs": old,
        "advantages": advantages,
        "counts": counts,
    }, counts


@clipped_surrogate.check(points=2)
@twice
def is_the_mean_of_the_smaller_gain(student, seed):
    (given, counts), clip = after_an_update(seed), some_clip(seed)
    value = call(student, given, clip)
    if isinstance(value, Tensor) and value.shape == counts.shape:
        raise Mistake(
            "this is one loss for each token", next="take the mean over the tokens that count"
        )
    value, expected = number(value), ppo.clipped_surrogate(*given.values(), clip)
    if close(value, expected):
        return
    log_probs, old, advantages, _ = given.values()
    ratio = (log_probs - old).exp()
    held = ratio.clamp(1 - clip, 1 + clip)
    gain, clipped = ratio * advantages, held * advantages
    smaller = torch.minimum(gain, clipped)

    def loss(gains: Tensor) -> Tensor:
        return -tokens.masked_mean(gains, counts)

    upside_down = torch.minimum(
        advantages / ratio, (1 / ratio).clamp(1 - clip, 1 + clip) * advantages
    )
    diagnose(
        value,
        {
            "the sign is wrong: minimising this makes good tokens less likely": (
                -expected,
                "L^CLIP is to be maximised: the loss is its negative",
            ),
            "the ratio is not clipped": (loss(gain), SMALLER),
            "clip is taken to be the notebook's": (
                ppo.clipped_surrogate(*given.values(), some_clip(NOTEBOOK_SEED)),
                "clip is an argument: use it",
            ),
            "the clipped ratio always counts: a policy that went astray gets no gradient back": (
                loss(clipped),
                SMALLER,
            ),
            "the larger gain counts": (loss(torch.maximum(gain, clipped)), SMALLER),
            "the ratio stands on its head": (
                loss(upside_down),
                "new over old: exp(log_probs − old_log_probs)",
            ),
            "the ratio is still a logarithm": (
                loss(
                    torch.minimum(
                        (log_probs - old) * advantages,
                        (log_probs - old).clamp(1 - clip, 1 + clip) * advantages,
                    )
                ),
                "take the exp of the difference",
            ),
            "the difference is clipped at ±ε, not the ratio at 1 ± ε": (
                loss(torch.minimum(gain, ratio.clamp(-clip, clip) * advantages)),
                "clamp(1 − clip, 1 + clip)",
            ),
            "the gain is clipped, not the ratio": (
                loss(torch.minimum(gain, gain.clamp(1 - clip, 1 + clip))),
                "first clip the ratio, then multiply by the advantage",
            ),
            "the ratio is only clipped from above": (
                loss(torch.minimum(gain, ratio.clamp(max=1 + clip) * advantages)),
                "clamp(1 − clip, 1 + clip)",
            ),
            "the ratio is only clipped from below": (
                loss(torch.minimum(gain, ratio.clamp(min=1 - clip) * advantages)),
                "clamp(1 − clip, 1 + clip)",
            ),
            "there is no ratio: this is log π times the advantage": (
                loss(log_probs * advantages),
                "exp(log_probs − old_log_probs) is the ratio",
            ),
            "the mean runs over prompt and padding too": (
                -smaller.mean(),
                "divide by the number of tokens that count",
            ),
            "the tokens are summed, not averaged": (
                -smaller.sum(),
                "divide by the number of tokens that count",
            ),
            "the tokens are averaged within each response first": (
                -(smaller.sum(-1) / counts.sum(-1)).mean(),
                "sum and count over the whole batch",
            ),
            "the responses are summed, then averaged": (
                -smaller.sum(-1).mean(),
                "divide by the number of tokens that count",
            ),
        },
    )
    raise Mistake("this is not the negative mean of min(ρ Â, clip(ρ) Â)", next=SMALLER)


@clipped_surrogate.check(points=1)
def stops_where_the_clip_holds(student, seed):
    (given, _), clip = after_an_update(seed), some_clip(seed)
    needs_what_counts_alone(student, given, clip)
    learned = {"log_probs": given.pop("log_probs")}
    others = [tensor.clone() for tensor in given.values()]
    needs_gradients(
        student,
        ppo.clipped_surrogate,
        learned,
        *others,
        clip,
        next="zero where the ratio has left the interval in the direction of the advantage, and only there",
    )


@clipped_surrogate.check(points=1)
def can_do_without_the_clip(student, seed):
    given, _ = after_an_update(seed)
    try:
        value = number(call(student, given, None))
    except TypeError:
        raise Mistake(
            "clip may be None, and then your function stops",
            next="if clip is None, the ratio is not clipped",
        ) from None
    if not close(value, ppo.clipped_surrogate(*given.values(), None)):
        raise Mistake(
            "with clip None, the loss must be −mean(ρ Â)",
            next="if clip is None, the ratio is not clipped",
        )


# The critic's loss --------------------------------------------------------------------------------

value_loss = Exercise("ppo.value_loss", reference=ppo.value_loss, minutes=10, difficulty=2)
LARGER = "of the error of the value and of that of the held value, the larger one counts"


def after_a_critics_update(seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Values that have moved up, down and hardly, each with returns above and below them."""
    counts = counting(seed)
    places = torch.arange(int(counts.sum()))
    old = randoms(seed, *counts.shape) * counts
    moved, returns = torch.zeros(counts.shape), torch.zeros(counts.shape)
    moved[counts] = torch.tensor([0.5, -0.5, 0.1])[places % 3] + 0.05 * randoms(
        seed + 1, len(places)
    ).clamp(-1, 1)
    away = torch.tensor([1.0, -1.0])[places // 3 % 2] * (0.8 + randoms(seed + 2, len(places)).abs())
    returns[counts] = old[counts] + away
    return {"values": old + moved, "old_values": old, "returns": returns, "counts": counts}, counts


@value_loss.check(points=2)
@twice
def is_half_the_mean_of_the_larger_error(student, seed):
    (given, counts), clip = after_a_critics_update(seed), some_clip(seed)
    value = call(student, given, clip)
    if isinstance(value, Tensor) and value.shape == counts.shape:
        raise Mistake(
            "this is one loss for each token", next="take the mean over the tokens that count"
        )
    value, expected = number(value), ppo.value_loss(*given.values(), clip)
    if close(value, expected):
        return
    values, old, returns, _ = given.values()
    held = old + (values - old).clamp(-clip, clip)
    errors = (values - returns).square(), (held - returns).square()
    larger = torch.maximum(*errors)
    around_1 = old * (values / old.where(counts, 1)).clamp(1 - clip, 1 + clip)

    def loss(squares: Tensor) -> Tensor:
        return tokens.masked_mean(squares, counts) / 2

    diagnose(
        value,
        {
            "clip is taken to be the notebook's": (
                ppo.value_loss(*given.values(), some_clip(NOTEBOOK_SEED)),
                "clip is an argument: use it",
            ),
            "the half is missing": (2 * expected, "half the squared error: divide by 2"),
            "the smaller error counts": (loss(torch.minimum(*errors)), LARGER),
            "the value is not held": (loss(errors[0]), LARGER),
            "the value is not held, and the half is missing": (2 * loss(errors[0]), LARGER),
            "the held value always counts": (loss(errors[1]), LARGER),
            "the value itself is clipped, not its move": (
                loss(torch.maximum(errors[0], (values.clamp(-clip, clip) - returns).square())),
                "old_values + (values − old_values).clamp(−clip, clip)",
            ),
            "the move is clipped and not added to the old value": (
                loss(
                    torch.maximum(errors[0], ((values - old).clamp(-clip, clip) - returns).square())
                ),
                "old_values + (values − old_values).clamp(−clip, clip)",
            ),
            "the value is held to a ratio, as a policy is": (
                loss(torch.maximum(errors[0], (around_1 - returns).square())),
                "values may be negative: hold their difference within ±clip",
            ),
            "the errors are not squared": (
                loss(torch.maximum((values - returns).abs(), (held - returns).abs())),
                "the squared error",
            ),
            "the sign is wrong": (-expected, "an error is to be minimised as it stands"),
            "the mean runs over prompt and padding too": (
                larger.mean() / 2,
                "divide by the number of tokens that count",
            ),
            "the mean runs over prompt and padding too, and the half is missing": (
                larger.mean(),
                "divide by the number of tokens that count",
            ),
            "the tokens are summed, not averaged": (
                larger.sum() / 2,
                "divide by the number of tokens that count",
            ),
            "the tokens are averaged within each response first": (
                (larger.sum(-1) / counts.sum(-1)).mean() / 2,
                "sum and count over the whole batch",
            ),
            "the two errors are added": (loss(sum(errors)), LARGER),
            "the two errors are averaged": (loss(sum(errors)) / 2, LARGER),
        },
    )
    raise Mistake("this is not half the mean of the larger squared error", next=LARGER)


@value_loss.check(points=1)
def stops_where_the_value_is_held(student, seed):
    (given, _), clip = after_a_critics_update(seed), some_clip(seed)
    needs_what_counts_alone(student, given, clip)
    learned = {"values": given.pop("values")}
    others = [tensor.clone() for tensor in given.values()]
    needs_gradients(
        student,
        ppo.value_loss,
        learned,
        *others,
        clip,
        next="zero where the held value has the larger error, and only there",
    )


# Find the silent bug ------------------------------------------------------------------------------

response_log_probs = Exercise(
    "ppo.silent_bug", reference=rollouts.response_log_probs, minutes=20, difficulty=3
)
SHIFT = "the logits at t have read token t: they predict token t + 1"


def read_and_scored(seed: int) -> dict[str, Tensor]:
    """ids, real and labels, (3, 9): a prompt, a response that alone has labels, padding on the
    right."""
    _, labels = random_batch(seed)
    prompts = torch.randint(2, VOCAB, labels.shape, generator=torch.Generator().manual_seed(seed))
    lasts = (labels != IGNORE).long() * torch.arange(labels.shape[1])
    real = torch.arange(labels.shape[1]) <= lasts.amax(-1, keepdim=True)
    return {
        "ids": labels.where(labels != IGNORE, prompts).where(real, PAD),
        "real": real,
        "labels": labels,
    }


def some_temperature(seed: int) -> float:
    return some_number(seed, 1.4, 2.2)


def log_probs_of(student, model, batch: dict[str, Tensor], temperature: float) -> Tensor:
    given = {name: tensor.clone() for name, tensor in batch.items()}
    value = student(model, *given.values(), temperature)
    for name, tensor in given.items():
        if not torch.equal(tensor, batch[name]):
            raise Mistake(
                f"{name} is changed in place", next="make a new tensor: where and masked_fill do"
            )
    rows, time = batch["labels"].shape
    return numbers(
        value,
        (rows, time - 1),
        "the result",
        next="the first token is predicted by nothing: (batch, time - 1)",
    )


@response_log_probs.check(points=2)
def predicts_each_token_before_it_is_read(student, seed):
    model, batch, temperature = small_model(), read_and_scored(seed), some_temperature(seed)
    value, counts = (
        log_probs_of(student, model, batch, temperature),
        batch["labels"][:, 1:] != IGNORE,
    )
    expected = rollouts.response_log_probs(model, *batch.values(), temperature).detach()
    if close(value, expected):
        return
    if close(value[counts], expected[counts]):
        raise Mistake(
            "tokens of the prompt or of the padding are scored",
            next=f"put 0 where the label is {IGNORE}",
        )
    with torch.no_grad():
        logits = model(batch["ids"]).logits
    index = batch["ids"][:, 1:].unsqueeze(-1)

    def of(table: Tensor) -> Tensor:
        return table.gather(-1, index).squeeze(-1)[counts]

    diagnose(
        value[counts],
        {
            "each token is scored after the model has read it: it sees what it should predict": (
                of((logits[:, 1:] / temperature).log_softmax(-1)),
                SHIFT,
            ),
            "each token is scored after the model has read it, and the temperature is not used": (
                of(logits[:, 1:].log_softmax(-1)),
                SHIFT,
            ),
            "each token is predicted from one token too few": (
                of((logits.roll(1, 1)[:, :-1] / temperature).log_softmax(-1)),
                SHIFT,
            ),
            "the temperature is not used": (
                of(logits[:, :-1].log_softmax(-1)),
                "divide the logits by it, before the softmax",
            ),
            "the temperature is taken to be the notebook's": (
                of((logits[:, :-1] / some_temperature(NOTEBOOK_SEED)).log_softmax(-1)),
                "it is an argument: use it",
            ),
            "the logits are multiplied by the temperature": (
                of((logits[:, :-1] * temperature).log_softmax(-1)),
                "divide them by it",
            ),
            "the log-probabilities are divided by the temperature": (
                of(logits[:, :-1].log_softmax(-1) / temperature),
                "divide the logits by it, before the softmax",
            ),
            "these are logits, not log-probabilities": (
                of(logits[:, :-1] / temperature),
                "normalise over the vocabulary: log_softmax(-1)",
            ),
            "these are probabilities, not their logarithms": (
                of((logits[:, :-1] / temperature).softmax(-1)),
                "log_softmax(-1)",
            ),
            "the sign is wrong: log-probabilities are at most 0": (
                -expected[counts],
                "return them as they are",
            ),
        },
    )
    raise Mistake("these are not the log-probabilities of the response's tokens", next=SHIFT)


@response_log_probs.check(points=1)
def shares_one_probability_among_all_candidates(student, seed):
    model, batch = small_model(), read_and_scored(seed)
    place = int(
        (batch["labels"][2] != IGNORE).nonzero()[-1]
    )  # the last token of the longest response
    every = {name: tensor[2:3].repeat(VOCAB, 1) for name, tensor in batch.items()}
    every["ids"][:, place] = every["labels"][:, place] = torch.arange(VOCAB)
    value = log_probs_of(student, model, every, some_temperature(seed))
    total = value[:, place - 1].exp().sum()
    if not close(total, torch.tensor(1.0)):
        raise Mistake(
            f"the probabilities of all candidates for one token add up to {total:.2f}, not to 1",
            next="the logits that score a token must be the same whichever token it is",
        )


@response_log_probs.check(points=1)
def teaches_the_policy(student, seed):
    model, batch = small_model(), read_and_scored(seed)
    weights = randoms(seed, batch["labels"].shape[0], batch["labels"].shape[1] - 1)
    needs_parameter_gradients(
        student,
        rollouts.response_log_probs,
        model,
        weights,
        *batch.values(),
        some_temperature(seed),
    )
