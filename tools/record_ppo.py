"""TRL's last PPO, of version 1.12, as a witness: what it computes from fixed inputs, and how long a
step takes.

    python tools/record_ppo.py              record tests/oracle/data/ppo_trl_1_12.safetensors again
    python tools/record_ppo.py --time 4     run so many steps on the course's base model, print seconds as JSON

TRL removed its PPO trainer after 1.12. This script makes an environment with it, .trl-1.12/ in the
repository's root, which takes some minutes once, and runs the trainer's own loop there. Nothing of
the loop is copied: an optimizer looks at the variables of the running `train` each time it is asked
to step.
"""

import argparse
import functools
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".trl-1.12"
PINS = [
    "torch==2.13.0",
    "trl==1.12.0",
    "transformers==5.24.0",
    "accelerate==1.15.0",
    "datasets==5.2.0",
]
RECORD = ROOT / "tests" / "oracle" / "data" / "ppo_trl_1_12.safetensors"

PROMPTS = [[3, 4, 5], [6, 7], [8, 9, 10, 11, 3], [4], [5, 5, 6], [10, 2], [7, 7, 7, 2], [11, 9]]
SETTINGS = {
    "kl_coef": 0.3,
    "gamma": 0.9,
    "lam": 0.7,
    "cliprange": 0.2,
    "cliprange_value": 0.2,
    "vf_coef": 1.0,
    "temperature": 0.7,
    "response_length": 5,
    "num_ppo_epochs": 3,
    "kl_estimator": "k1",
}
SHAPE = {
    "vocab_size": 12,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 24,
    "initializer_range": 0.3,
}
PAD, STOP = 0, 1
RATE, EPSILON = 3e-3, 1e-4
# The variables of PPOTrainer.train that are kept at every step of the optimizer.
KEPT = (
    "queries",
    "responses",
    "scores",
    "logprobs",
    "ref_logprobs",
    "values",
    "rewards",
    "advantages",
    "returns",
    "padding_mask",
    "padding_mask_p1",
    "new_logprobs",
    "vpred",
    "pg_loss",
    "vf_loss",
    "pg_clipfrac_stats",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--time",
        type=int,
        metavar="STEPS",
        help="time so many steps, at least 2, instead of recording",
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.time is not None and arguments.time < 2:
        parser.error("--time needs at least 2 steps: the first one is a warm-up")
    if not arguments.inside:
        make_environment()
        raise SystemExit(subprocess.run([python(), __file__, "--inside", *sys.argv[1:]]).returncode)
    if arguments.time:
        print(json.dumps({"seconds": seconds_per_step(arguments.time), "versions": versions()}))
    else:
        record()


def python() -> str:
    return str(ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))


def make_environment() -> None:
    """Install TRL 1.12, unless it was installed completely before."""
    done = ENVIRONMENT / ".ready"
    if done.exists() and done.read_text() == "\n".join(PINS):
        return
    print(
        f"Making {ENVIRONMENT.name}/ with TRL 1.12: this takes some minutes, once.", file=sys.stderr
    )
    venv.create(ENVIRONMENT, with_pip=True)
    subprocess.run([python(), "-m", "pip", "install", "-q", *PINS], check=True, stdout=sys.stderr)
    done.write_text("\n".join(PINS))


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("trl", "transformers", "torch")}


def make_trainer(
    policy, reference, reward_model, value_model, tokenizer, prompts, optimizer, folder, **settings
):
    """TRL's trainer, on the CPU, that stores, logs and draws nothing."""
    import torch
    from datasets import Dataset
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    config = PPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        num_sample_generations=0,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        **settings,
    )
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = PPOTrainer(
        config,
        tokenizer,
        policy,
        reference,
        reward_model,
        Dataset.from_dict({"input_ids": prompts}),
        value_model,
        optimizers=(optimizer, constant),
    )
    trainer.callback_handler.callbacks = [
        c for c in trainer.callback_handler.callbacks if "Printer" not in type(c).__name__
    ]
    return trainer


# Recording ----------------------------------------------------------------------------------------


def record() -> None:
    """Write what one step of TRL's PPO computes: responses that are cut, and responses that
    stop."""
    import safetensors.torch

    tensors = {}
    for case, eos in (("cut", None), ("stopped", STOP)):
        kept = next(
            kept
            for kept in map(functools.partial(one_step, eos), itertools.count())
            if without_padding(kept["responses"].tolist(), eos)
        )
        tensors |= {f"{case}.{name}": tensor.contiguous() for name, tensor in kept.items()}
    RECORD.parent.mkdir(exist_ok=True)
    versions_and_settings = {
        "settings": SETTINGS,
        "shape": SHAPE,
        "pad": PAD,
        "stop": STOP,
        "rate": RATE,
        "epsilon": EPSILON,
        "versions": versions(),
    }
    safetensors.torch.save_file(tensors, RECORD, {"told": json.dumps(versions_and_settings)})
    print(
        f"{RECORD.relative_to(ROOT)}: {len(tensors)} tensors, {RECORD.stat().st_size / 1024:.0f} KiB"
    )


def one_step(eos: int | None, seed: int) -> dict:
    """The variables of one step, by name and number of the update; parameters before and after each
    update."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    torch.manual_seed(seed)
    config = LlamaConfig(
        **SHAPE, pad_token_id=PAD, eos_token_id=eos, bos_token_id=None, num_labels=1
    )
    policy, reference = LlamaForCausalLM(config), LlamaForCausalLM(config)
    value_model, reward_model = (
        LlamaForSequenceClassification(config),
        LlamaForSequenceClassification(config),
    )
    optimizer = recording_optimizer(policy, value_model)
    kept = {f"reference.{name}": tensor.clone() for name, tensor in reference.state_dict().items()}
    optimizer.kept = kept
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            policy,
            reference,
            reward_model,
            value_model,
            tiny_tokenizer(),
            PROMPTS,
            optimizer,
            folder,
            **SETTINGS,
            stop_token_id=eos,
            total_episodes=len(PROMPTS),
            num_mini_batches=1,
            per_device_train_batch_size=len(PROMPTS),
            seed=seed,
        )
        trainer.train()
    optimizer.keep_parameters(optimizer.updates)
    return kept


def without_padding(responses: list[list[int]], eos: int | None) -> bool:
    """Whether no response holds the padding's token: nothing forbids to draw it, and TRL takes it
    for an end."""
    return all(PAD not in (row[: row.index(eos)] if eos in row else row) for row in responses)


def recording_optimizer(policy, value_model):
    """AdamW that keeps, whenever it steps, the variables of the running `train` and all
    parameters."""
    import torch

    class Recorder(torch.optim.AdamW):
        updates = 0

        def keep_parameters(self, update):
            for part, model in (("policy", policy), ("critic", value_model)):
                self.kept |= {
                    f"{update}.{part}.{name}": tensor.clone()
                    for name, tensor in model.state_dict().items()
                }

        def step(self, closure=None):
            frame = sys._getframe()
            while frame.f_code.co_name != "train" or "query_responses" not in frame.f_locals:
                frame = frame.f_back
            for name in KEPT:
                value = frame.f_locals[name].detach().clone()
                changes = name in (
                    "new_logprobs",
                    "vpred",
                    "pg_loss",
                    "vf_loss",
                    "pg_clipfrac_stats",
                )
                self.kept[f"{self.updates}.{name}" if changes else name] = value
            self.kept[f"{self.updates}.rows"] = torch.tensor(frame.f_locals["micro_batch_inds"])
            self.keep_parameters(self.updates)
            self.updates += 1
            return super().step(closure)

    return Recorder(
        [*policy.parameters(), *value_model.parameters()], lr=RATE, eps=EPSILON, weight_decay=0.0
    )


def tiny_tokenizer():
    """A tokenizer of twelve words, since the trainer wants one."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(
        models.WordLevel({f"w{i}": i for i in range(SHAPE["vocab_size"])}, unk_token="w2")
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=f"w{PAD}", eos_token=f"w{STOP}", padding_side="left"
    )


# Timing -------------------------------------------------------------------------------------------


def seconds_per_step(steps: int) -> float:
    """Median seconds of a step after the first: 128 responses of up to 40 tokens, two passes of two
    minibatches.

    At a learning rate of 0, so that the responses stay as long as the base's.
    """
    sys.path.insert(0, str(ROOT / "labs"))
    import torch
    from helpdesk import preferences
    from helpdesk.base import load_base
    from helpdesk.tickets import sample_tickets
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    policy, tokenizer = load_base()
    reference = load_base()[0]
    tokenizer.padding_side = "left"
    with tempfile.TemporaryDirectory() as folder:
        policy.save_pretrained(folder)
        scored = [
            AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
            for _ in range(2)
        ]
    prompts = preferences.prompts(tokenizer, sample_tickets("train", 128 * steps, seed=0))
    optimizer = torch.optim.AdamW(
        [*policy.parameters(), *scored[0].parameters()], lr=0.0, weight_decay=0.0, fused=True
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            policy,
            reference,
            scored[1],
            scored[0],
            tokenizer,
            prompts,
            optimizer,
            folder,
            response_length=40,
            temperature=1.0,
            num_ppo_epochs=2,
            num_mini_batches=2,
            per_device_train_batch_size=128,
            local_rollout_forward_batch_size=128,
            lam=0.95,
            gamma=1.0,
            stop_token_id=tokenizer.eos_token_id,
            total_episodes=128 * steps,
        )
        ends = [time.perf_counter()]
        trainer.log = lambda *_: ends.append(time.perf_counter())
        trainer.train()
    return statistics.median(after - before for before, after in zip(ends[1:], ends[2:]))


if __name__ == "__main__":
    main()
