"""On-policy distillation against TRL's DistillationTrainer on the same responses: losses, gradients,
parameters.

TRL's β of 1 is the reverse divergence, its 0 the forward one. It takes the mean over all tokens that
were sampled for the update, as here.
"""

import pytest
import torch
from datasets import Dataset
from methods import distill, rollouts, tokens
from record_ppo import tiny_tokenizer
from tiny import CONTEXT, PAD, PROMPTS, STOP, new_policy
from transformers import LlamaConfig, LlamaForCausalLM
from trl import DistillationConfig, DistillationTrainer

STEPS, RATE, LONGEST = 4, 5e-3, 6
DRAWN = PROMPTS * 3


def new_teacher():
    """Of another size: only the vocabulary has to be the same."""
    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=12,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=1,
            num_attention_heads=3,
            max_position_embeddings=CONTEXT,
            initializer_range=0.3,
        )
    )


def trainer_of(beta, folder):
    student = new_policy()
    student.config.eos_token_id = student.generation_config.eos_token_id = STOP
    student.config.pad_token_id = student.generation_config.pad_token_id = PAD
    config = DistillationConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        per_device_train_batch_size=len(DRAWN),
        max_completion_length=LONGEST,
        beta=beta,
        temperature=1.0,
        activation_checkpointing=False,
        dataloader_pin_memory=False,
    )
    trainer = DistillationTrainer(
        student,
        new_teacher(),
        config,
        train_dataset=Dataset.from_list([{"prompt": "w3"}] * len(DRAWN)),
        processing_class=tiny_tokenizer(),
    )
    trainer.model.train()
    return trainer


def their_loss_of(trainer, responses, monkeypatch):
    """What TRL's trainer says of responses that were drawn elsewhere."""
    drawn = (DRAWN, responses, None, None, [])
    monkeypatch.setattr(trainer, "_generate", lambda prompts: drawn)
    told = trainer._generate_and_score_completions([{"prompt": "w3"}] * len(DRAWN))
    return trainer.compute_loss(trainer.model, told)


def draw(student):
    return rollouts.sample(
        student, DRAWN, max_new_tokens=LONGEST, stop_id=STOP, pad_id=PAD
    ).responses


@pytest.mark.parametrize(
    ("beta", "divergence"), [(1.0, distill.reverse_kl), (0.0, distill.forward_kl)]
)
def test_the_loss_and_its_gradient_are_trls(beta, divergence, tmp_path, monkeypatch):
    student, teacher, trainer = new_policy(), new_teacher(), trainer_of(beta, tmp_path)
    torch.manual_seed(0)
    responses = draw(student)
    assert len(set(map(len, responses))) > 2
    ids, _, labels = tokens.join(DRAWN, responses, PAD)
    loss = divergence(student(input_ids=ids).logits, teacher(input_ids=ids).logits.detach(), labels)
    their_loss = their_loss_of(trainer, responses, monkeypatch)
    assert loss > 0.1
    torch.testing.assert_close(loss, their_loss, rtol=1e-5, atol=1e-6)
    for mine, their in zip(
        torch.autograd.grad(loss, list(student.parameters())),
        torch.autograd.grad(their_loss, list(trainer.model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, their, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("beta", "divergence"), [(1.0, distill.reverse_kl), (0.0, distill.forward_kl)]
)
def test_several_updates_are_trls(beta, divergence, tmp_path, monkeypatch):
    """Ours draws, and TRL learns from the same responses; so that both students can be compared after
    every step, both draw alike."""
    student, teacher, trainer = new_policy(), new_teacher(), trainer_of(beta, tmp_path)
    before = [parameter.clone() for parameter in teacher.parameters()]
    theirs = torch.optim.AdamW(trainer.model.parameters(), lr=RATE, weight_decay=0.0)
    seen, sample = [], rollouts.sample

    def spy(*others, **more):
        seen.append(sample(*others, **more))
        return seen[-1]

    monkeypatch.setattr(rollouts, "sample", spy)
    torch.manual_seed(0)
    history = distill.train(
        student,
        teacher,
        [DRAWN] * STEPS,
        max_new_tokens=LONGEST,
        stop_id=STOP,
        pad_id=PAD,
        learning_rate=RATE,
        divergence=divergence,
    )
    losses = []
    for metrics in history:
        their_loss = their_loss_of(trainer, seen[-1].responses, monkeypatch)
        assert metrics["divergence"] == pytest.approx(their_loss.item(), rel=1e-4)
        theirs.zero_grad()
        their_loss.backward()
        theirs.step()
        losses.append(metrics["divergence"])
        for mine, their in zip(student.parameters(), trainer.model.parameters(), strict=True):
            torch.testing.assert_close(mine, their, rtol=0, atol=5e-5)
    assert len(losses) == STEPS and losses[-1] < losses[0] - 0.05
    for model in (teacher, trainer.teacher_model):
        assert all(torch.equal(new, old) for new, old in zip(model.parameters(), before))
