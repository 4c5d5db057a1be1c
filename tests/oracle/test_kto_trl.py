"""KTO against TRL's KTOTrainer on the same batches: losses, its zero, gradients, parameters.

TRL takes good and bad responses one by one and puts each beside the prompt of the row that follows it
in the batch, round the batch. Where a batch holds the chosen responses of its pairs and then, in the
same order, the rejected ones, that is the next pair's prompt, as here. Its weights of both kinds are 1.
"""

import random

import pytest
import torch
from datasets import Dataset
from methods import dpo, reward
from record_ppo import tiny_tokenizer
from tiny import PAD, STOP, new_policy
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import TrainerCallback
from trl import KTOConfig, KTOTrainer

STEPS, BATCH, RATE, BETA, SEED = 4, 3, 5e-3, 0.7, 5


class Recorder(TrainerCallback):
    """Keeps the gradients that the trainer is about to apply."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})


def some_pairs():
    """Prompts of 1 to 6 tokens, and responses of 2 to 7 with the stop token."""
    rng = random.Random(0)

    def words(least, most):
        # not w10 and w11: a tokenizer looks for special tokens first, and finds w1 in them
        return [rng.randrange(2, 10) for _ in range(rng.randint(least, most))]

    return [
        (words(1, 6), [words(1, 3) + [STOP], words(3, 6) + [STOP]][:: rng.choice((1, -1))])
        for _ in range(STEPS * BATCH)
    ]


def text(ids):
    return " ".join(f"w{token}" for token in ids)


def table_of(pairs):
    """In each batch the chosen responses of all pairs, and then the rejected ones."""
    return Dataset.from_list(
        [
            {
                "prompt": text(prompt),
                "completion": " " + text(responses[place]),
                "label": place == 0,
            }
            for start in range(0, len(pairs), BATCH)
            for place in (0, 1)
            for prompt, responses in pairs[start : start + BATCH]
        ]
    )


def tokenizer():
    """That of the other oracles, splitting a text at its spaces."""
    words = tiny_tokenizer()
    words.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    return words


def trained(pairs, spread, folder):
    """TRL's trainer after its training on the pairs, one after the other, at a rate that falls."""
    config = KTOConfig(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=2 * BATCH,
        learning_rate=RATE,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=0.0,
        beta=BETA,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    policy = new_policy()
    policy.config.pad_token_id = PAD
    trainer = KTOTrainer(
        policy,
        ref_model=new_policy(spread=spread),
        args=config,
        train_dataset=table_of(pairs),
        processing_class=tokenizer(),
        callbacks=[recorder := Recorder()],
    )
    trainer.train()
    return trainer, recorder.gradients


def gradients_of_steps(monkeypatch, model):
    """A list that fills with the gradients of each of our own steps, by the parameter's name."""
    seen, adamw = [], dpo.adamw

    def recording(*others):
        optimizer = adamw(*others)
        optimizer.register_step_pre_hook(
            lambda *_: seen.append({name: p.grad.clone() for name, p in model.named_parameters()})
        )
        return optimizer

    monkeypatch.setattr(dpo, "adamw", recording)
    return seen


@pytest.mark.parametrize("spread", [0.25, 0.36])
def test_training_is_trls(spread, tmp_path, monkeypatch):
    """spread: of the reference's weights; with one of them z is above 0, with the other it is held
    there"""
    pairs, policy = some_pairs(), new_policy()
    order = [
        pairs[row]
        for rows in reward.batches(range(len(pairs)), batch_size=BATCH, epochs=1, seed=SEED)
        for row in rows
    ]
    trainer, their_gradients = trained(order, spread, tmp_path)
    gradients, zeros = gradients_of_steps(monkeypatch, policy), []
    mismatched = dpo.mismatched
    monkeypatch.setattr(
        dpo, "mismatched", lambda *others: zeros.append(mismatched(*others)) or zeros[-1]
    )
    history = list(
        dpo.train(
            policy,
            pairs,
            pad_id=PAD,
            reference=new_policy(spread=spread),
            loss=dpo.kto_loss,
            beta=BETA,
            batch_size=BATCH,
            learning_rate=RATE,
            seed=SEED,
        )
    )
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [step["loss"] for step in history] == pytest.approx(
        [entry["loss"] for entry in logged], abs=1e-5
    )
    z = [max(0.0, ratios.mean().item()) for ratios in zeros]
    assert z == pytest.approx([entry["kl"] for entry in logged], abs=1e-4)
    assert 0.0 in z and max(z) > 0.05
    for ours, theirs in (("chosen", "rewards/chosen"), ("rejected", "rewards/rejected")):
        assert [BETA * step[ours] for step in history] == pytest.approx(
            [entry[theirs] for entry in logged], abs=1e-4
        )
    assert len(gradients) == len(their_gradients) == STEPS
    for mine, their in zip(gradients, their_gradients):
        assert mine.keys() == their.keys()
        assert max(gradient.abs().max() for gradient in mine.values()) > 0.05
        for name, gradient in mine.items():
            torch.testing.assert_close(gradient, their[name], rtol=1e-3, atol=1e-5)
    parameters = dict(trainer.model.named_parameters())
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter, parameters[name], rtol=0, atol=1e-5)
