"""PPO from scratch against tensors of TRL 1.12's PPO, recorded by tools/record_ppo.py from the
trainer's own loop.

In the case "cut" no response stops, so both put the score on the last token. In the case "stopped"
TRL pays it one place further, behind the stop token, and lets the critic speak there: `also_behind`
counts that place too.
"""

import json
from pathlib import Path

import pytest
import safetensors
import torch
from methods import ppo, rollouts, tokens
from methods.reward import ScalarModel
from transformers import LlamaConfig, LlamaForCausalLM

RECORD = Path(__file__).with_name("data") / "ppo_trl_1_12.safetensors"
CLOSE = dict(rtol=1e-4, atol=2e-5)
with safetensors.safe_open(RECORD, "pt") as file:
    TOLD = json.loads(file.metadata()["told"])
    TENSORS = {name: file.get_tensor(name) for name in file.keys()}
THEIRS = TOLD["settings"]
CONFIG = ppo.PPOConfig(
    beta=THEIRS["kl_coef"],
    gamma=THEIRS["gamma"],
    lam=THEIRS["lam"],
    clip=THEIRS["cliprange"],
    value_clip=THEIRS["cliprange_value"],
    passes=THEIRS["num_ppo_epochs"],
    minibatch=8,
    max_new_tokens=THEIRS["response_length"],
    temperature=THEIRS["temperature"],
)
CASES = pytest.mark.parametrize("case", ["cut", "stopped"])


def of(case, *names):
    return [TENSORS[f"{case}.{name}"] for name in names]


def masks(case):
    """Which places count, bool (batch, response): the response's tokens, and with the one behind a
    stop token."""
    return [~mask for mask in of(case, "padding_mask", "padding_mask_p1")]


def texts(case):
    """Prompts and responses as lists, their padding taken off."""
    queries, responses = of(case, "queries", "responses")
    counts, _ = masks(case)
    return (
        [row[row != TOLD["pad"]].tolist() for row in queries],
        [row[keep].tolist() for row, keep in zip(responses, counts)],
    )


def test_the_two_cases_are_what_they_are_called():
    assert masks("cut")[0].all()
    counts, also_behind = masks("stopped")
    assert not counts.all() and (also_behind.sum(-1) - counts.sum(-1)).sum() > 0
    assert TOLD["versions"]["trl"] == "1.12.0"


def test_rewards_are_trls_where_responses_are_cut():
    scores, log_probs, ref_log_probs, rewards = of(
        "cut", "scores", "logprobs", "ref_logprobs", "rewards"
    )
    ours = ppo.token_rewards(scores, log_probs, ref_log_probs, masks("cut")[0], CONFIG.beta)
    torch.testing.assert_close(ours, rewards, **CLOSE)


def test_penalties_are_trls_and_the_score_stands_one_place_earlier():
    scores, log_probs, ref_log_probs, rewards = of(
        "stopped", "scores", "logprobs", "ref_logprobs", "rewards"
    )
    counts, also_behind = masks("stopped")
    ours = ppo.token_rewards(scores, log_probs, ref_log_probs, counts, CONFIG.beta)
    torch.testing.assert_close(ours.sum(-1), (rewards * also_behind).sum(-1), **CLOSE)
    inner = counts & ~tokens.last_token(counts)
    torch.testing.assert_close(ours[inner], rewards[inner], **CLOSE)


@CASES
def test_advantages_and_returns_are_trls(case):
    rewards, values, advantages, returns = of(case, "rewards", "values", "advantages", "returns")
    counts, also_behind = masks(case)
    ours, our_returns = ppo.generalised(CONFIG.gamma, CONFIG.lam)(rewards, values, also_behind)
    torch.testing.assert_close(our_returns[also_behind], returns[also_behind], **CLOSE)
    # TRL whitens by the variance of a sample, with n - 1; here it is that of the batch itself, with
    # n.
    size = counts.sum()
    torch.testing.assert_close(
        tokens.whiten(ours, counts) * ((size - 1) / size).sqrt(), advantages, **CLOSE
    )


@CASES
@pytest.mark.parametrize("update", range(THEIRS["num_ppo_epochs"]))
def test_losses_are_trls(case, update):
    rows, new, values, policy_loss, value_loss = of(
        case,
        *(f"{update}.{name}" for name in ("rows", "new_logprobs", "vpred", "pg_loss", "vf_loss")),
    )
    old, advantages, returns, old_values = (
        table[rows] for table in of(case, "logprobs", "advantages", "returns", "values")
    )
    counts, also_behind = (mask[rows] for mask in masks(case))
    torch.testing.assert_close(
        ppo.clipped_surrogate(new, old, advantages, counts, CONFIG.clip), policy_loss, **CLOSE
    )
    torch.testing.assert_close(
        ppo.value_loss(values, old_values, returns, also_behind, CONFIG.value_clip),
        value_loss,
        **CLOSE,
    )
    if update:
        assert ppo.clip_fraction(new, old, counts, CONFIG.clip) > 0  # the clip was put to use


def model_from(case, part):
    """A recorded policy, or a recorded critic as a ScalarModel."""
    state = {
        name.removeprefix(f"{case}.{part}."): tensor
        for name, tensor in TENSORS.items()
        if name.startswith(f"{case}.{part}.")
    }
    model = LlamaForCausalLM(
        LlamaConfig(**TOLD["shape"], pad_token_id=TOLD["pad"], bos_token_id=None)
    )
    if "critic" not in part:
        model.load_state_dict(state)
        return model
    critic = ScalarModel(model)
    critic.load_state_dict(
        {
            name.replace("model.", "body.", 1).replace("score.", "head."): tensor
            for name, tensor in state.items()
        }
    )
    return critic


def our_rollout(case):
    """The recorded responses as our Rollout: log-probabilities and values are our own, the rest is
    TRL's."""
    prompts, responses = texts(case)
    ids, real, labels = tokens.join(prompts, responses, TOLD["pad"])
    counts = labels[:, 1:] != tokens.IGNORE
    policy, critic, reference = (
        model_from(case, part) for part in ("0.policy", "0.critic", "reference")
    )
    with torch.no_grad():
        log_probs, ref_log_probs = (
            rollouts.response_log_probs(model, ids, real, labels, CONFIG.temperature)
            for model in (policy, reference)
        )
        values = critic(ids, real)[:, :-1].where(counts, 0)
    keep, _ = masks(case)
    advantages, returns = (
        tokens.place([row[k].tolist() for row, k in zip(table, keep)], counts)
        for table in of(case, "advantages", "returns")
    )
    rollout = ppo.PPORollout(
        prompts=prompts,
        responses=responses,
        stopped=[False] * len(prompts),
        ids=ids,
        real=real,
        labels=labels,
        counts=counts,
        scores=of(case, "scores")[0],
        log_probs=log_probs,
        ref_log_probs=ref_log_probs,
        values=values,
        rewards=torch.zeros(counts.shape),
        advantages=advantages,
        returns=returns,
    )
    return rollout, policy, critic


@CASES
def test_log_probs_and_values_are_trls(case):
    rollout, _, _ = our_rollout(case)
    keep, _ = masks(case)
    for ours, name in (
        (rollout.log_probs, "logprobs"),
        (rollout.ref_log_probs, "ref_logprobs"),
        (rollout.values, "values"),
    ):
        (theirs,) = of(case, name)
        torch.testing.assert_close(ours[rollout.counts], theirs[keep], **CLOSE)


def test_a_whole_update_is_trls():
    rollout, policy, critic = our_rollout("cut")
    optimizer = torch.optim.AdamW(
        [*policy.parameters(), *critic.parameters()],
        lr=TOLD["rate"],
        eps=TOLD["epsilon"],
        weight_decay=0.0,
    )
    ppo.update(rollout, policy, critic, optimizer, CONFIG)
    for part, ours in (("policy", policy), ("critic", critic)):
        theirs, start = (model_from("cut", f"{update}.{part}") for update in (CONFIG.passes, 0))
        moved = max((a - b).abs().max() for a, b in zip(theirs.parameters(), start.parameters()))
        assert moved > TOLD["rate"]
        for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, their, rtol=0, atol=1e-4)
