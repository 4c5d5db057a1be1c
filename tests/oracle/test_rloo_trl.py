"""RLOO against TRL's RLOOTrainer on the same responses: advantages with the penalty inside, losses,
gradients, parameters.

Both take a response for one action, with one ratio, clipped like PPO's. In the paper there is one update
for each rollout, and so no ratio but 1.
"""

import pytest
import torch
from datasets import Dataset
from methods import grpo
from record_ppo import tiny_tokenizer
from tiny import PAD, PROMPTS, STOP, new_policy
from trl import RLOOConfig, RLOOTrainer

GROUP, CLIP, TEMPERATURE, STEPS, RATE = 4, 0.2, 0.7, 4, 5e-3


def worth(completion_ids):
    return [sum(response) / 10 - len(response) for response in completion_ids]


def score(prompts, responses):
    return torch.tensor(worth(responses))


def trainer_of(beta, folder, **more):
    """TRL's trainer of the same policy, with another model as its reference: it loads one from where
    the policy says that it comes from."""
    new_policy(spread=0.25).save_pretrained(folder)
    policy = new_policy()
    policy.config._name_or_path = str(folder)
    policy.config.eos_token_id = policy.generation_config.eos_token_id = STOP
    policy.config.pad_token_id = policy.generation_config.pad_token_id = PAD
    config = RLOOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        per_device_train_batch_size=GROUP * len(PROMPTS),
        num_generations=GROUP,
        max_completion_length=6,
        beta=beta,
        epsilon=CLIP,
        temperature=TEMPERATURE,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
        **more,
    )
    trainer = RLOOTrainer(
        policy,
        lambda completion_ids, **_: worth(completion_ids),
        config,
        train_dataset=Dataset.from_list([{"prompt": "w3"}] * GROUP * len(PROMPTS)),
        processing_class=tiny_tokenizer(),
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (dict(beta=0.0), {}),
        (dict(beta=0.4), {}),
        (dict(beta=0.4, clip_high=0.5), dict(epsilon_high=0.5)),
    ],
)
def test_several_updates_are_trls(ours, theirs, tmp_path, monkeypatch):
    config = grpo.GRPOConfig(
        size=GROUP,
        advantages=grpo.leave_one_out,
        whole_response=True,
        clip=CLIP,
        max_new_tokens=6,
        temperature=TEMPERATURE,
        **ours,
    )
    policy, reference = new_policy(), new_policy(spread=0.25)
    torch.manual_seed(2)
    rollout = grpo.roll_out(policy, reference, score, PROMPTS, config, stop_id=STOP, pad_id=PAD)
    assert len(set(map(len, rollout.responses))) > 2 and rollout.advantages.abs().min() > 1e-3

    trainer = trainer_of(config.beta, tmp_path, **theirs)
    drawn = rollout.prompts, rollout.responses, rollout.responses
    monkeypatch.setattr(trainer, "_generate", lambda prompts: drawn)
    told = trainer._generate_and_score_completions([{"prompt": "w3"}] * len(rollout.prompts))
    torch.testing.assert_close(rollout.advantages, told["advantages"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rollout.log_probs.sum(-1), told["old_logps"], rtol=1e-4, atol=1e-4)
    without = grpo.leave_one_out(rollout.scores, GROUP)
    moved = (rollout.advantages - without).abs().max()
    assert moved > 0.1 if config.beta else moved == 0

    optimizers = [
        # with a larger ε than usual, so that the rounding of a gradient near 0 makes no step
        torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, eps=1e-4)
        for model in (policy, trainer.model)
    ]
    outside = []
    for _ in range(STEPS):
        loss, metrics = grpo.minibatch_loss(rollout, torch.arange(len(rollout.ids)), policy, config)
        their_loss = trainer._compute_loss(trainer.model, told)
        torch.testing.assert_close(loss, their_loss, rtol=1e-4, atol=1e-4)
        outside.append(metrics["clip_fraction"])
        for value in (loss, their_loss):
            value.backward()
        for mine, their in zip(policy.parameters(), trainer.model.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, their.grad, rtol=1e-3, atol=1e-4)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert outside[0] == 0 and any(0 < share < 1 for share in outside)
    for mine, their, start in zip(
        policy.parameters(), trainer.model.parameters(), new_policy().parameters(), strict=True
    ):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-5)
        assert (mine - start).abs().max() > RATE


def test_a_group_that_fares_alike_has_no_advantage_in_either(tmp_path, monkeypatch):
    """TRL leaves the rounding, here none: the scores are halves."""
    trainer = trainer_of(0.0, tmp_path)
    responses = [[3, STOP], [4, STOP], [5, STOP], [6]] * len(PROMPTS)
    prompts = [prompt for prompt in PROMPTS for _ in range(GROUP)]
    monkeypatch.setattr(trainer, "_generate", lambda _: (prompts, responses, responses))
    trainer.reward_funcs = [lambda completion_ids, **_: [0.5] * len(completion_ids)]
    told = trainer._generate_and_score_completions([{"prompt": "w3"}] * len(prompts))
    assert not told["advantages"].any()
    assert not grpo.leave_one_out(torch.full((12,), 0.5), GROUP).any()
