"""SFT on conversations against TRL's SFTTrainer, which applies the chat template itself: same rows,
same labels, same losses, same parameters."""

import chats
import pytest
import torch
from datasets import Dataset
from inbox import records
from inbox.messages import sample
from methods import chat, sft
from methods.optimize import warm_up_and_decay
from methods.tokens import IGNORE
from transformers import LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

STEPS, BATCH, RATE = 5, 4, 1e-3
MESSAGES = sample("train", STEPS * BATCH, 6)


def new_model(tokenizer):
    torch.manual_seed(2)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def trl_trainer(model, tokenizer, folder):
    """TRL on the same conversations in the same order, with our schedule."""
    data = Dataset.from_list(
        [
            {
                "prompt": records.turns(message),
                "completion": [{"role": "assistant", "content": records.as_json(message.record)}],
            }
            for message in MESSAGES
        ]
    )
    config = SFTConfig(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        completion_only_loss=True,
        train_sampling_strategy="sequential",
        max_grad_norm=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        eos_token=tokenizer.convert_ids_to_tokens(chat.end_of_turn(tokenizer)),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(STEPS))
    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
        optimizers=(optimizer, schedule),
    )


def our_rows(tokenizer):
    return [
        chat.tokens_of(tokenizer, records.turns(message), records.as_json(message.record))
        for message in MESSAGES
    ]


def their_rows(trainer):
    """Ids and labels of each row, without padding, in the trainer's order."""
    found = []
    for batch in trainer.get_train_dataloader():
        for ids, labels, real in zip(batch["input_ids"], batch["labels"], batch["attention_mask"]):
            found.append((ids[real.bool()].tolist(), labels[real.bool()].tolist()))
    return found


def test_rows_and_labels_are_trls(tmp_path):
    tokenizer = chats.headers()
    trainer = trl_trainer(new_model(tokenizer), tokenizer, tmp_path)
    assert their_rows(trainer) == our_rows(tokenizer)


def test_trl_also_counts_what_the_template_writes_behind_the_end_of_a_turn(tmp_path):
    tokenizer = chats.chatml()
    trainer = trl_trainer(new_model(tokenizer), tokenizer, tmp_path)
    break_ = chat.encoded(tokenizer, "\n")
    for (ids, labels), (our_ids, our_labels) in zip(
        their_rows(trainer), our_rows(tokenizer), strict=True
    ):
        assert ids == our_ids + break_ and labels == our_labels + break_


def test_losses_and_parameters_are_trls(tmp_path):
    tokenizer = chats.headers()
    ours, theirs = new_model(tokenizer), new_model(tokenizer)
    trainer = trl_trainer(theirs, tokenizer, tmp_path)
    trainer.train()
    their_losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    rows = our_rows(tokenizer)
    batches = (
        sft.collate(rows[start : start + BATCH], tokenizer.pad_token_id)
        for start in range(0, len(rows), BATCH)
    )
    our_losses = chat.tune(ours, batches, steps=STEPS, learning_rate=RATE)
    assert our_losses == pytest.approx(their_losses, abs=1e-5)
    assert our_losses[-1] < our_losses[0] - 0.1
    for (name, mine), their in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-5, msg=name)


def test_the_end_of_a_turn_is_among_what_counts():
    for tokenizer in (chats.headers(), chats.chatml(), chats.spaced()):
        turns = [{"role": "user", "content": "Hello"}]
        _, labels = chat.tokens_of(tokenizer, turns, "Hello there")
        assert labels[-1] == chat.end_of_turn(tokenizer) != IGNORE
