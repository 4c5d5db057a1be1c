"""SFT from scratch against TRL's SFTTrainer: same labels, same loss, same gradients, same
parameters after tuning."""

import copy

import pytest
import torch
from datasets import Dataset
from helpdesk.language import build_tokenizer, encode_example
from helpdesk.pretrain import new_model
from helpdesk.tasks import triage
from helpdesk.tickets import sample_tickets
from methods.optimize import warm_up_and_decay
from methods.sft import fine_tune, sft_loss
from methods.tokens import collate, mask_prompt
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

STEPS, BATCH, RATE = 6, 8, 1e-3
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def examples():
    return [triage(ticket) for ticket in sample_tickets("train", STEPS * BATCH, seed=1)]


@pytest.fixture()
def model():
    torch.manual_seed(3)
    return new_model()


class Recorder(TrainerCallback):
    """Keeps the gradients that the trainer is about to apply."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})


def trl_trainer(model, tokenizer, examples, folder, steps=STEPS):
    """TRL on the same texts in the same order, with our schedule; TRL does its own tokenising,
    masking and padding."""
    data = Dataset.from_list([{"prompt": e.prompt, "completion": e.response} for e in examples])
    config = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        completion_only_loss=True,
        train_sampling_strategy="sequential",
        max_grad_norm=0.0,
        weight_decay=0.0,
        optim="adamw_torch",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(steps))
    recorder = Recorder()
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        optimizers=(optimizer, schedule),
        callbacks=[recorder],
    )
    return trainer, recorder


def our_batches(tokenizer, examples):
    tokens = [mask_prompt(*encode_example(tokenizer, example)) for example in examples]
    return [
        collate(tokens[i : i + BATCH], tokenizer.pad_token_id) for i in range(0, len(tokens), BATCH)
    ]


def test_labels_are_trls(model, tokenizer, examples, tmp_path):
    trainer, _ = trl_trainer(model, tokenizer, examples, tmp_path)
    for theirs, (ids, labels) in zip(
        trainer.get_train_dataloader(), our_batches(tokenizer, examples), strict=True
    ):
        assert torch.equal(theirs["labels"], labels)
        real = theirs["attention_mask"].bool()
        assert torch.equal(theirs["input_ids"][real], ids[real])


def test_loss_gradients_and_parameters_are_trls(model, tokenizer, examples, tmp_path):
    ours = copy.deepcopy(model)
    trainer, recorder = trl_trainer(model, tokenizer, examples, tmp_path)
    trainer.train()
    their_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    batches = our_batches(tokenizer, examples)
    first = copy.deepcopy(ours)
    sft_loss(first(input_ids=batches[0][0]).logits, batches[0][1]).backward()
    for name, parameter in first.named_parameters():
        torch.testing.assert_close(
            parameter.grad, recorder.gradients[0][name], rtol=0, atol=TOLERANCE, msg=name
        )

    our_losses = fine_tune(ours, batches, steps=STEPS, learning_rate=RATE)
    assert our_losses == pytest.approx(their_losses, abs=TOLERANCE)
    assert our_losses[-1] < our_losses[0] - 0.1, (
        "nothing was learned, so equality would prove little"
    )
    for (name, mine), theirs in zip(ours.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=TOLERANCE, msg=name)
