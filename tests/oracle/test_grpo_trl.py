"""GRPO and its relatives against TRL's GRPOTrainer on the same responses: advantages, losses,
gradients, parameters. And PPO's clipped objective and group mean, where both are defined.

GRPO gives every token of a response the same advantage; with the loss type "bnpo" TRL takes the
mean over all tokens. Its "dapo" takes the same mean over all that the step samples; that is one
minibatch here. By its own default it multiplies the penalty by the ratio (DeepSeek-V3.2, 2025), which
is 1 at first but has a gradient; Shao et al. do not, and the option use_bias_correction_kl turns it off.
"""

import pytest
import torch
from datasets import Dataset
from methods import grpo, ppo, rollouts, tokens
from record_ppo import tiny_tokenizer
from tiny import PAD, PROMPTS, STOP, new_policy
from trl import GRPOConfig, GRPOTrainer

GROUP, CLIP, TEMPERATURE = 4, 0.2, 0.7


def worth(completion_ids):
    return [sum(response) / 10 - len(response) for response in completion_ids]


@pytest.fixture()
def trainer(tmp_path):
    tokenizer = tiny_tokenizer()
    config = GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        per_device_train_batch_size=GROUP,
        num_generations=GROUP,
        max_completion_length=6,
        beta=0.0,
        epsilon=CLIP,
        loss_type="bnpo",
        scale_rewards="none",
        temperature=TEMPERATURE,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
    )
    table = Dataset.from_list([{"prompt": "w3 w4 w5"}] * GROUP)
    policy = new_policy()
    policy.config.eos_token_id = policy.generation_config.eos_token_id = STOP
    policy.config.pad_token_id = policy.generation_config.pad_token_id = PAD
    return GRPOTrainer(
        policy,
        lambda completion_ids, **_: worth(completion_ids),
        config,
        train_dataset=table,
        processing_class=tokenizer,
    )


@pytest.fixture()
def drawn():
    """Responses with the log-probabilities of the policy that drew them, and an advantage for each
    response."""
    torch.manual_seed(2)
    samples = rollouts.sample(
        new_policy(),
        PROMPTS * 4,
        max_new_tokens=6,
        stop_id=STOP,
        pad_id=PAD,
        temperature=TEMPERATURE,
    )
    return samples, torch.randn(len(PROMPTS) * 4)


def test_the_clipped_objective_is_grpos(trainer, drawn):
    samples, advantages = drawn
    with torch.no_grad():
        for (
            parameter
        ) in trainer.model.parameters():  # as after some updates, so that ratios leave the interval
            parameter += 0.05 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1)
            )
    prompts, prompt_mask = tokens.pad(PROMPTS * 4, PAD, side="left")
    responses, mask = tokens.pad(samples.responses, PAD)
    inputs = {
        "prompt_ids": prompts,
        "prompt_mask": prompt_mask.long(),
        "completion_ids": responses,
        "completion_mask": mask.long(),
        "advantages": advantages,
        "old_per_token_logps": tokens.place(samples.log_probs, mask),
        "num_items_in_batch": mask.sum(),
    }
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    their_loss = trainer._compute_loss(trainer.model, inputs)
    their_gradients = torch.autograd.grad(their_loss, list(trainer.model.parameters()))

    ids, real, labels = tokens.join(PROMPTS * 4, samples.responses, PAD)
    counts = labels[:, 1:] != tokens.IGNORE
    log_probs = rollouts.response_log_probs(trainer.model, ids, real, labels, TEMPERATURE)
    old = tokens.place(samples.log_probs, counts)
    loss = ppo.clipped_surrogate(log_probs, old, advantages.unsqueeze(-1) * counts, counts, CLIP)
    assert 0.05 < ppo.clip_fraction(log_probs, old, counts, CLIP) < 0.95
    torch.testing.assert_close(loss, their_loss, rtol=1e-4, atol=1e-6)
    for mine, their in zip(
        torch.autograd.grad(loss, list(trainer.model.parameters())), their_gradients, strict=True
    ):
        torch.testing.assert_close(mine, their, rtol=1e-3, atol=1e-5)


def test_the_group_mean_is_grpos(trainer):
    trainer.model.train()
    told = trainer._generate_and_score_completions([{"prompt": "w3 w4 w5"}] * GROUP)
    counts = told["completion_mask"].bool()
    scores = torch.tensor(
        worth([row[keep].tolist() for row, keep in zip(told["completion_ids"], counts)])
    )
    assert scores.std() > 0
    rewards = ppo.token_rewards(
        scores, torch.zeros(counts.shape), torch.zeros(counts.shape), counts, beta=0.0
    )
    ours, _ = ppo.group_mean(GROUP)(rewards, torch.zeros(counts.shape), counts)
    torch.testing.assert_close(
        ours, told["advantages"].unsqueeze(-1) * counts, rtol=1e-4, atol=1e-5
    )


# GRPO ---------------------------------------------------------------------------------------------


def score(prompts, responses):
    return torch.tensor(worth(responses))


STEPS, RATE = 4, 5e-3
SHARED = dict(
    size=GROUP,
    max_new_tokens=6,
    temperature=TEMPERATURE,
    minibatch=GROUP * len(PROMPTS),
    learning_rate=RATE,
)
# ours, and how TRL names the same
CASES = {
    "grpo": (dict(beta=0.3), dict(loss_type="grpo", scale_rewards="group")),
    "grpo, no penalty": (
        dict(beta=0.0, ceiling=1.5),
        dict(loss_type="grpo", scale_rewards="group", delta=1.5),
    ),
    "token mean, two-sided, higher clip": (
        dict(beta=0.3, aggregate=grpo.token_mean, clip_high=0.28, ceiling=1.5),
        dict(loss_type="bnpo", scale_rewards="group", epsilon_high=0.28, delta=1.5),
    ),
    "dapo": (
        dict(beta=0.0, aggregate=grpo.token_mean, clip_high=0.28),
        dict(loss_type="dapo", scale_rewards="group", epsilon_high=0.28),
    ),
    "dr. grpo": (
        dict(beta=0.0, aggregate=grpo.constant_mean, advantages=grpo.centred),
        dict(loss_type="dr_grpo", scale_rewards="none"),
    ),
    "dr. grpo, penalised, lower clip": (
        dict(beta=0.3, aggregate=grpo.constant_mean, advantages=grpo.centred, clip=0.1),
        dict(loss_type="dr_grpo", scale_rewards="none", epsilon=0.1),
    ),
}


def trainer_of(theirs, beta, folder):
    """TRL's trainer of the same policy, with another model as its reference: it loads one from where
    the policy says that it comes from."""
    new_policy(spread=0.25).save_pretrained(folder)
    policy = new_policy()
    policy.config._name_or_path = str(folder)
    policy.config.eos_token_id = policy.generation_config.eos_token_id = STOP
    policy.config.pad_token_id = policy.generation_config.pad_token_id = PAD
    config = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        per_device_train_batch_size=GROUP * len(PROMPTS),
        num_generations=GROUP,
        max_completion_length=6,
        beta=beta,
        temperature=TEMPERATURE,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        **{"epsilon": CLIP, "use_bias_correction_kl": False} | theirs,
    )
    trainer = GRPOTrainer(
        policy,
        lambda completion_ids, **_: worth(completion_ids),
        config,
        train_dataset=Dataset.from_list([{"prompt": "w3"}] * GROUP * len(PROMPTS)),
        processing_class=tiny_tokenizer(),
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def drawn_by_both(config, theirs, folder, monkeypatch):
    """The policy, its rollout, and TRL's trainer with what it makes of the same responses."""
    policy, reference = new_policy(), new_policy(spread=0.25)
    torch.manual_seed(2)
    rollout = grpo.roll_out(policy, reference, score, PROMPTS, config, stop_id=STOP, pad_id=PAD)
    assert len(set(map(len, rollout.responses))) > 2 and rollout.advantages.abs().max() > 0.5
    trainer = trainer_of(theirs, config.beta, folder)
    drawn = (rollout.prompts, rollout.responses, None, rollout.responses, None, {}, None, None)
    monkeypatch.setattr(trainer, "_generate", lambda prompts: drawn)
    told = trainer._generate_and_score_completions([{"prompt": "w3"}] * len(rollout.prompts))
    told["old_per_token_logps"] = tokens.place(
        [row[keep].tolist() for row, keep in zip(rollout.log_probs, rollout.counts)],
        told["completion_mask"].bool(),
    )
    return policy, rollout, trainer, told


@pytest.mark.parametrize("case", CASES)
def test_several_updates_are_trls(case, tmp_path, monkeypatch):
    ours, theirs = CASES[case]
    config = grpo.GRPOConfig(**SHARED | {"clip": CLIP} | ours)
    policy, rollout, trainer, told = drawn_by_both(config, theirs, tmp_path, monkeypatch)
    torch.testing.assert_close(rollout.advantages, told["advantages"], rtol=1e-4, atol=1e-5)
    if config.beta:
        torch.testing.assert_close(
            rollout.ref_log_probs[rollout.counts],
            told["ref_per_token_logps"][told["completion_mask"].bool()],
            rtol=1e-4,
            atol=1e-5,
        )
        assert (rollout.log_probs - rollout.ref_log_probs).abs().max() > 0.1

    optimizers = [
        # with a larger ε than usual, so that the rounding of a gradient near 0 makes no step
        torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, eps=1e-4)
        for model in (policy, trainer.model)
    ]
    outside = []
    for _ in range(STEPS):
        loss, metrics = grpo.minibatch_loss(rollout, torch.arange(len(rollout.ids)), policy, config)
        their_loss = trainer._compute_loss(trainer.model, told)
        torch.testing.assert_close(loss, their_loss, rtol=1e-4, atol=1e-5)
        outside.append(metrics["clip_fraction"])
        for value in (loss, their_loss):
            value.backward()
        for mine, their in zip(policy.parameters(), trainer.model.parameters(), strict=True):
            # rounding: on some processors, sums of other lengths round otherwise
            torch.testing.assert_close(mine.grad, their.grad, rtol=1e-3, atol=5e-5)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert outside[0] == 0 and 0.05 < outside[-1] < 0.95
    for mine, their, start in zip(
        policy.parameters(), trainer.model.parameters(), new_policy().parameters(), strict=True
    ):
        torch.testing.assert_close(mine, their, rtol=0, atol=2e-5)
        assert (mine - start).abs().max() > RATE


def test_by_default_trls_penalty_has_another_gradient(tmp_path, monkeypatch):
    ours, theirs = CASES["grpo"]
    config = grpo.GRPOConfig(**SHARED | {"clip": CLIP} | ours)
    policy, rollout, trainer, told = drawn_by_both(
        config, theirs | {"use_bias_correction_kl": True}, tmp_path, monkeypatch
    )
    loss, _ = grpo.minibatch_loss(rollout, torch.arange(len(rollout.ids)), policy, config)
    their_loss = trainer._compute_loss(trainer.model, told)
    torch.testing.assert_close(loss, their_loss, rtol=1e-4, atol=1e-5)
    differences = [
        (mine - their).abs().max()
        for mine, their in zip(
            torch.autograd.grad(loss, list(policy.parameters())),
            torch.autograd.grad(their_loss, list(trainer.model.parameters())),
        )
    ]
    assert max(differences) > 0.01
