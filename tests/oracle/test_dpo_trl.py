"""DPO, IPO and SimPO against TRL's trainers on the same batches: losses, gradients, parameters.

TRL's DPOTrainer takes the mean of a token for IPO, as here. SimPO is a loss of its CPOTrainer, which
writes β (Δ − γ/β) for βΔ − γ.
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
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer

STEPS, BATCH, RATE, BETA, SEED = 4, 3, 5e-3, 0.7, 5
LOSSES = {"sigmoid": dpo.sigmoid_loss, "ipo": dpo.ipo_loss, "simpo": dpo.simpo_loss}
CLOSE = dict(rtol=1e-4, atol=1e-5)


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
    return Dataset.from_list(
        [
            {"prompt": text(prompt), "chosen": " " + text(chosen), "rejected": " " + text(rejected)}
            for prompt, (chosen, rejected) in pairs
        ]
    )


def tokenizer():
    """That of the other oracles, splitting a text at its spaces."""
    words = tiny_tokenizer()
    words.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    return words


def trained(kind, pairs, folder):
    """TRL's trainer after its training on the pairs, one after the other, at a rate that falls."""
    settings = dict(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=0.0,
        beta=BETA,
        logging_steps=1,
        train_sampling_strategy="sequential",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    common = dict(
        train_dataset=table_of(pairs),
        processing_class=tokenizer(),
        callbacks=[recorder := Recorder()],
    )
    policy = new_policy()
    policy.config.pad_token_id = PAD
    if kind == "simpo":
        config = CPOConfig(
            loss_type="simpo", cpo_alpha=0.0, simpo_gamma=0.5, max_length=64, **settings
        )
        trainer = CPOTrainer(policy, args=config, **common)
    else:
        settings |= dict(activation_checkpointing=False)
        config = DPOConfig(loss_type=[kind], **settings)
        trainer = DPOTrainer(policy, ref_model=new_policy(spread=0.25), args=config, **common)
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


@pytest.mark.parametrize("kind", LOSSES)
def test_training_is_trls(kind, tmp_path, monkeypatch):
    pairs, policy = some_pairs(), new_policy()
    order = [
        pairs[row]
        for rows in reward.batches(range(len(pairs)), batch_size=BATCH, epochs=1, seed=SEED)
        for row in rows
    ]
    trainer, their_gradients = trained(kind, order, tmp_path)
    gradients = gradients_of_steps(monkeypatch, policy)
    history = list(
        dpo.train(
            policy,
            pairs,
            pad_id=PAD,
            reference=new_policy(spread=0.25),
            loss=LOSSES[kind],
            beta=BETA,
            batch_size=BATCH,
            learning_rate=RATE,
            seed=SEED,
        )
    )
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["learning_rate"] for entry in logged] == pytest.approx(
        [RATE * (1 - step / STEPS) for step in range(STEPS)]
    )
    assert [step["loss"] for step in history] == pytest.approx(
        [entry["loss"] for entry in logged], abs=1e-5
    )
    if kind != "simpo":  # its trainer has no reference to tell a reward by
        for ours, theirs in (("margin", "rewards/margins"), ("accuracy", "rewards/accuracies")):
            assert [step[ours] for step in history] == pytest.approx(
                [entry[theirs] for entry in logged], abs=1e-4
            )
        assert max(abs(step["margin"]) for step in history) > 0.2
        assert len({step["accuracy"] for step in history}) > 1
    assert len(gradients) == len(their_gradients) == STEPS
    for mine, their in zip(gradients, their_gradients):
        assert mine.keys() == their.keys()
        assert max(gradient.abs().max() for gradient in mine.values()) > 0.1
        for name, gradient in mine.items():
            torch.testing.assert_close(gradient, their[name], rtol=1e-3, atol=1e-4)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, their_gradients[0][name], **CLOSE)
    parameters = dict(trainer.model.named_parameters())
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter, parameters[name], rtol=0, atol=1e-5)
