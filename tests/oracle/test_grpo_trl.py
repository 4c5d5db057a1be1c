"""PPO's clipped objective and the group mean against TRL's GRPOTrainer, where both are defined.

GRPO gives every token of a response the same advantage; with the loss type "bnpo" TRL takes the
mean over all tokens.
"""

import pytest
import torch
from datasets import Dataset
from methods import ppo, rollouts, tokens
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
