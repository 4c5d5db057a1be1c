"""Performance, as ratios measured in one run: `make bench`.

Everything is measured in turns, round after round, and reported as a median, so that a busy machine
slows all sides alike.
"""

import contextlib
import copy
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "labs"))

import bench_after_ppo  # noqa: E402
import bench_real_model  # noqa: E402
import nbformat  # noqa: E402  (labs/ must be on the path first)
import torch  # noqa: E402
from course import machine  # noqa: E402
from datasets import Dataset  # noqa: E402
from helpdesk import preferences  # noqa: E402
from helpdesk.base import load_base  # noqa: E402
from helpdesk.language import encode_example  # noqa: E402
from helpdesk.tasks import Example, triage  # noqa: E402
from helpdesk.tickets import sample_tickets  # noqa: E402
from methods import lora, ppo, reward  # noqa: E402
from methods.optimize import warm_up_and_decay  # noqa: E402
from methods.sft import fine_tune, sft_loss  # noqa: E402
from methods.tokens import Tokens, collate, mask_prompt  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import PreTrainedModel, PreTrainedTokenizerBase  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

ROUNDS = 5
STEPS, BATCH, RATE = 20, 64, 2e-3
RANK = 8
SIZE = 1024
PPO_STEPS, PPO_BATCH, PPO_ROUNDS = 4, 128, 3
TRL_PPO = [sys.executable, str(ROOT / "tools" / "record_ppo.py"), "--time", str(PPO_STEPS)]
FIRST_MODEL = "first-model"  # tag of the lab's cell after which a model has been trained


def main() -> None:
    machine.set_threads()
    machine.quieten()
    model, tokenizer = load_base()
    examples = [triage(ticket) for ticket in sample_tickets("train", STEPS * BATCH, seed=0)]
    tokens = [mask_prompt(*encode_example(tokenizer, example)) for example in examples]
    flops = 6 * model.num_parameters() * sum(len(ids) for ids, _ in tokens)

    rates, shares, ratios, losses = [], [], [], []
    for round in range(ROUNDS):
        ours, theirs = copy.deepcopy(model), copy.deepcopy(model)
        peak = matrix_product_rate()
        our_seconds = our_loop(ours, tokens, tokenizer.pad_token_id)
        peak = (peak + matrix_product_rate()) / 2
        their_seconds = trl_loop(theirs, tokenizer, examples)
        rates.append(flops / our_seconds / 1e9)
        shares.append(rates[-1] * 1e9 / peak)
        ratios.append(their_seconds / our_seconds)
        losses.append(
            tuple(loss_on(m, tokens[:256], tokenizer.pad_token_id) for m in (ours, theirs))
        )
        print(
            f"round {round + 1}: matrix product {peak / 1e9:.0f} GFLOP/s, SFT loop {rates[-1]:.0f} GFLOP/s, "
            f"SFTTrainer takes {ratios[-1]:.2f} times as long",
            flush=True,
        )
    report(rates, shares, ratios, losses)
    report_lora(model, tokens, tokenizer.pad_token_id)
    report_ppo(model, tokenizer)
    bench_after_ppo.report(model, tokenizer)
    bench_real_model.report(matrix_product_rate)
    server, kernel = jupyter_start(), first_model()
    print(
        f"from `make lab` to the first trained model: {server + kernel:.0f} s "
        f"(server ready after {server:.0f} s, then imports, cells and training {kernel:.0f} s)"
    )


def report(
    rates: list[float], shares: list[float], ratios: list[float], losses: list[tuple[float, float]]
) -> None:
    """Print the medians over the rounds."""
    print(
        f"\nSFT loop, {STEPS} steps of {BATCH} examples, {machine.THREADS} threads, medians of {ROUNDS} rounds"
    )
    print(f"  6 x parameters x real tokens / time     {statistics.median(rates):8.1f} GFLOP/s")
    print(
        f"  share of a {SIZE} x {SIZE} fp32 product      {statistics.median(shares):8.2f}   (target: at least 0.50)"
    )
    print(
        f"  speed relative to TRL's SFTTrainer      {statistics.median(ratios):8.2f}   (target: at least 1.30)"
    )
    print(f"  final loss, ours and TRL's              {losses[-1][0]:.5f} {losses[-1][1]:.5f}\n")


def report_lora(model: PreTrainedModel, tokens: list[Tokens], pad_id: int) -> None:
    """Print how long a step of LoRA takes, as a multiple of full tuning's and of a step of the
    library PEFT."""
    to_full, to_peft = [], []
    for _ in range(ROUNDS):
        full, ours, theirs = copy.deepcopy(model), copy.deepcopy(model), copy.deepcopy(model)
        lora.inject(ours, rank=RANK, alpha=2 * RANK)
        theirs = get_peft_model(
            theirs, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
        )
        full_seconds, our_seconds, their_seconds = (
            our_loop(m, tokens, pad_id) for m in (full, ours, theirs)
        )
        to_full.append(our_seconds / full_seconds)
        to_peft.append(their_seconds / our_seconds)
    print(f"LoRA at rank {RANK} on all linear layers, the same batches, medians of {ROUNDS} rounds")
    print(f"  time relative to full tuning            {statistics.median(to_full):8.2f}")
    print(f"  speed relative to the library PEFT      {statistics.median(to_peft):8.2f}\n")


def report_ppo(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Print the time of a PPO step, its share of the matrix product, and TRL 1.12's time, if its
    environment is there."""
    seconds, shares, ratios = [], [], []
    for _ in range(PPO_ROUNDS):
        peak = matrix_product_rate()
        step, flops = ppo_step(model, tokenizer)
        seconds.append(step)
        shares.append(flops / step / ((peak + matrix_product_rate()) / 2))
        if (ROOT / ".trl-1.12").exists():
            printed = subprocess.run(
                TRL_PPO,
                check=True,
                capture_output=True,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": str(machine.THREADS)},
            ).stdout
            ratios.append(json.loads(printed.splitlines()[-1])["seconds"] / step)
    print(
        f"PPO, a step of {PPO_BATCH} responses of up to 40 tokens: sampling, scoring, two passes; medians"
    )
    print(
        f"  seconds for a step                      {statistics.median(seconds):8.2f}   (target: at most 2)"
    )
    print(f"  share of a {SIZE} x {SIZE} fp32 product      {statistics.median(shares):8.2f}")
    if ratios:
        print(
            f"  speed relative to TRL 1.12's PPO        {statistics.median(ratios):8.2f}   (target: at least 2)\n"
        )
    else:
        print(
            "  TRL 1.12's PPO: not timed; `python tools/record_ppo.py --time 4` makes its environment first\n"
        )


def ppo_step(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[float, float]:
    """Median seconds of a step, the first left out, and the floating-point operations of a step in
    the matrices.

    A real token costs 2 operations a parameter in a forward pass and 6 in training: sampling,
    reference, critic and reward model read every token once, policy and critic train on it in each
    pass.
    """
    torch.manual_seed(0)
    judge = reward.ScalarModel(model).requires_grad_(False)
    torch.nn.init.normal_(judge.head.weight, std=0.1)
    critic = copy.deepcopy(judge).requires_grad_(True)
    pad_id, policy = tokenizer.pad_token_id, copy.deepcopy(model)
    config = ppo.PPOConfig(learning_rate=0.0)
    asked = [
        preferences.prompts(tokenizer, sample_tickets("train", PPO_BATCH, seed))
        for seed in range(PPO_STEPS)
    ]
    training = ppo.train(
        policy,
        critic,
        lambda *texts: reward.rewards(judge, *texts, pad_id=pad_id),
        asked,
        config,
        stop_id=tokenizer.eos_token_id,
        pad_id=pad_id,
    )
    times, tokens = [time.perf_counter()], []
    for rollout, _ in training:
        times.append(time.perf_counter())
        tokens.append(int(rollout.real.sum()))
    steps = [after - before for before, after in zip(times, times[1:])]
    flops = statistics.fmean(tokens) * model.num_parameters() * (4 * 2 + config.passes * 2 * 6)
    return statistics.median(steps[1:]), flops


@torch.no_grad()
def loss_on(model: PreTrainedModel, tokens: list[Tokens], pad_id: int) -> float:
    """The model's loss on the given examples, in nats per token."""
    ids, labels = collate(tokens, pad_id)
    return sft_loss(model(input_ids=ids).logits, labels).item()


def matrix_product_rate(repeats: int = 20) -> float:
    """Floating-point operations per second of a large fp32 matrix product."""
    left, right = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    left @ right
    began = time.perf_counter()
    for _ in range(repeats):
        left @ right
    return 2 * SIZE**3 * repeats / (time.perf_counter() - began)


def our_loop(model: PreTrainedModel, tokens: list[Tokens], pad_id: int) -> float:
    """Seconds of the loop of methods.sft, making its batches included."""
    began = time.perf_counter()
    data = (
        collate(tokens[start : start + BATCH], pad_id) for start in range(0, len(tokens), BATCH)
    )
    fine_tune(model, data, steps=STEPS, learning_rate=RATE)
    return time.perf_counter() - began


def trl_loop(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: list[Example]
) -> float:
    """Seconds of `SFTTrainer.train`, its set-up and tokenising left out."""
    data = Dataset.from_list([{"prompt": e.prompt, "completion": e.response} for e in examples])
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            completion_only_loss=True,
            train_sampling_strategy="sequential",
            max_grad_norm=0.0,
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            logging_steps=STEPS,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm_up_and_decay(STEPS))
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = SFTTrainer(
                model,
                config,
                train_dataset=data,
                processing_class=tokenizer,
                optimizers=(optimizer, schedule),
            )
            began = time.perf_counter()
            trainer.train()
            return time.perf_counter() - began


def jupyter_start(patience: float = 120) -> float:
    """Seconds until a fresh JupyterLab answers, on this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        f"--ServerApp.port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.allow_root=True",
        "--IdentityProvider.token=bench",
        f"--ServerApp.root_dir={ROOT}",
    ]
    began = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - began < patience:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/lab?token=bench", timeout=5).read()
                return time.perf_counter() - began
            time.sleep(0.2)
        raise RuntimeError(
            f"JupyterLab did not answer within {patience:.0f} s: start it by hand with `make lab` to see why"
        )
    finally:
        server.terminate()
        server.wait()


def first_model() -> float:
    """Seconds of a fresh kernel until the lab's first model is trained."""
    notebook = nbformat.read(ROOT / "labs" / "01_sft.ipynb", as_version=4)
    last = next(
        i for i, cell in enumerate(notebook.cells) if FIRST_MODEL in cell.metadata.get("tags", [])
    )
    notebook.cells = notebook.cells[: last + 1]
    os.environ["COURSE_STORED"] = "1"
    began = time.perf_counter()
    NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(ROOT / "labs")}}
    ).execute()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
