"""A start for the capstone: train one adapter, save it where it is handed in, and examine it.

    .venv/bin/python mine/capstone_start.py

Change your own copy, mine/capstone_start.py, which make lab puts there. The numbers that it prints
are those of the tickets for practice.
"""

import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BOOK / "labs"))  # where the course's packages lie

import torch
from course.machine import quieten
from experiments import capstone
from experiments.shared import fresh, tune
from methods import adapter_files, lora

ATTEMPT = BOOK / "mine" / "capstone" / "first"  # a folder for each attempt
SEED = 0


def train(policy, records):
    """Tune the adapter on the policy, in place.

    records: transcripts and written, lists of a prompt and a response ·
    choices, a list of a prompt and two replies in token ids, the
    preferred one first
    """
    tune(policy, records.transcripts, steps=60, rate=3e-3, seed=SEED)


def main(folder=ATTEMPT):
    quieten()
    torch.manual_seed(SEED)
    policy = fresh()
    lora.inject(policy, rank=4, alpha=32)
    train(policy, capstone.records())
    adapter_files.save(policy, folder)
    print(capstone.told(capstone.examine(folder)))


if __name__ == "__main__":
    main()
