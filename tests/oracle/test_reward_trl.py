"""The reward model from scratch against TRL's RewardTrainer: same losses, gradients, parameters and
rewards."""

import copy
import random

import pytest
import torch
from datasets import Dataset
from helpdesk import preferences, raters
from helpdesk.language import build_tokenizer, encode
from helpdesk.pretrain import new_model
from helpdesk.replies import TRANSCRIPTS, sample_reply
from helpdesk.tickets import sample_tickets
from methods import reward
from transformers import (
    AutoModelForSequenceClassification,
    LlamaForSequenceClassification,
    TrainerCallback,
)
from trl import RewardConfig, RewardTrainer

STEPS, BATCH, RATE = 4, 6, 1e-3
CLOSE = dict(rtol=1e-4, atol=1e-5)


class Recorder(TrainerCallback):
    """Keeps the gradients that the trainer is about to apply."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def pairs(tokenizer):
    """Choices between two transcripts; their rows differ in length, so that padding is in play."""
    rng, tickets = random.Random(0), sample_tickets("train", 40, seed=2)
    stop = tokenizer.eos_token_id
    drawn = [
        [encode(tokenizer, " " + sample_reply(ticket, TRANSCRIPTS, rng)) + [stop] for _ in range(2)]
        for ticket in tickets
    ]
    return preferences.rankings(tokenizer, tickets, drawn, raters.Rater(), seed=0)[: STEPS * BATCH]


@pytest.fixture(scope="module")
def start():
    torch.manual_seed(3)
    model = reward.ScalarModel(new_model())
    torch.nn.init.normal_(model.head.weight, std=0.05)
    return model


@pytest.fixture(scope="module")
def theirs(start, tokenizer, pairs, tmp_path_factory):
    """TRL's trainer after its training: it does its own tokenising and padding."""
    folder = tmp_path_factory.mktemp("trl")
    torch.manual_seed(3)
    new_model().save_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, pad_token_id=tokenizer.pad_token_id
    )
    model.score.weight.data.copy_(start.head.weight.data)
    table = Dataset.from_list(
        [
            {
                name: tokenizer.decode(prompt + response[:-1])
                for name, response in zip(("chosen", "rejected"), pair)
            }
            for prompt, pair in pairs
        ]
    )
    config = RewardConfig(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        logging_steps=1,
        train_sampling_strategy="sequential",
        max_grad_norm=0.0,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = RewardTrainer(
        model,
        config,
        train_dataset=table,
        processing_class=tokenizer,
        optimizers=(optimizer, constant),
        callbacks=[recorder := Recorder()],
    )
    trainer.train()
    return trainer, recorder


def test_training_is_trls(start, theirs, pairs, tokenizer):
    trainer, recorder = theirs
    ours, losses, first = copy.deepcopy(start), [], None
    optimizer = torch.optim.AdamW(ours.parameters(), lr=RATE, weight_decay=0.0)
    for begin in range(0, STEPS * BATCH, BATCH):
        loss = reward.ranking_loss(
            reward.batch_rewards(ours, pairs[begin : begin + BATCH], tokenizer.pad_token_id)
        )
        loss.backward()
        first = first or {name: p.grad.clone() for name, p in ours.named_parameters()}
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses == pytest.approx(
        [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], abs=1e-5
    )
    their_name = {
        name: name.replace("body.", "model.", 1).replace("head.", "score.") for name in first
    }
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, recorder.gradients[0][their_name[name]], **CLOSE)
    parameters = dict(trainer.model.named_parameters())
    assert len(parameters) == len(first)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, parameters[their_name[name]], rtol=0, atol=1e-4)


def test_rewards_of_the_same_model_are_those_of_transformers(start, tokenizer, pairs):
    """The classifier of transformers pools at the last token that is not padding."""
    torch.manual_seed(3)
    config = copy.deepcopy(new_model().config)
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    model = LlamaForSequenceClassification(config)
    model.model.load_state_dict(start.body.state_dict())
    model.score.weight.data.copy_(start.head.weight.data)
    rows = [prompt + response for prompt, pair in pairs for response in pair]
    expected = torch.stack([model(torch.tensor([row])).logits[0, 0] for row in rows])
    prompts, responses = zip(*((prompt, response) for prompt, pair in pairs for response in pair))
    torch.testing.assert_close(
        reward.rewards(start, prompts, responses, pad_id=tokenizer.pad_token_id), expected, **CLOSE
    )
