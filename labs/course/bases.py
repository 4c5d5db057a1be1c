"""Which base a lab runs on, and what each lab does on another one than its own."""

import os
import textwrap

from . import smollm2

SHIPPED = "the shipped base"
REAL = "11_real_model"  # the one lab whose own base is the real model
ON_ANOTHER = {
    "01_sft": "this lab runs on it; what it prints of single tokens is pieces of words.",
    "02_lora": "this lab runs up to its pictures of an update, which ask for square matrices, and "
    "its bound on an adapter's bytes is one of the small base.",
    "03_reward_model": "this lab stops at its comparison with TRL where the model pads with the token "
    "that ends a response.",
    "04_ppo": "this lab needs a base that answers customers in the help desk's words: where all "
    "replies are worth the same, it stops.",
    "05_after_ppo": "this lab runs, but its judge waits for the help desk's own stop token, so that it "
    "rewards too little.",
    "06_data": "this lab needs a base that answers customers in the help desk's words: where all "
    "replies are worth the same, it stops.",
    "07_choose": "this lab asks no model, so it is the same.",
    "08_cost": "this lab asks no model, so it is the same.",
    "09_pipelines": "this lab runs, but its judge waits for the help desk's own stop token, so that it "
    "rewards too little.",
    "10_failure_modes": "this lab stops at its first exercise: it needs one token for each city.",
    REAL: "this lab runs on any chat model.",
    "12_outgrow": "this lab runs, but on the CPU alone, in three processes with a copy each: SmolLM2 "
    "would take more than 10 GB.",
}
NOT_ITS_OWN = (
    "Stored rows, and every number that is read from them, are those of the lab's own base."
)


def base_of(lab: str) -> str:
    """The base model of a lab's run: the lab's own, which is SHIPPED, or what COURSE_BASE names."""
    named = os.environ.get("COURSE_BASE") or SHIPPED
    if named == str(smollm2.place()):
        return SHIPPED if lab == REAL else smollm2.NAME
    return named


def notice(lab: str) -> str:
    """What a reader should know who runs a lab on another base than its own; else no text."""
    base = base_of(lab)
    if base == SHIPPED:
        return ""
    said = f"On another base, {base}: {ON_ANOTHER.get(lab, '')} {NOT_ITS_OWN}"
    return textwrap.fill(" ".join(said.split()), 100)
