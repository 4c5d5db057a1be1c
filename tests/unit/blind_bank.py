"""Answers by eyes that had seen neither checks nor banks: only each exercise's text and docstring.

tests/unit/blind/<topic>_<exercise>.py holds them, right_1, wrong_1 and so on, with a comment that
says what is meant. What they found in the checks is mended, and stands in ACCEPTED_AT_FIRST.
EXCUSED are answers that their author took for wrong, or for right, and the docstring does not.

To have answers written for another exercise: give somebody who has not seen labs/checks the text of
the exercise alone, put the file there, and run tools/strength.py before anything is mended.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from course.registry import all_ids, find
from methods import lora, models, rollouts, tokens

FOLDER = Path(__file__).parent / "blind"
# What an answer may use by its name: what the exercises' texts name.
NAMED = {
    "IGNORE": tokens.IGNORE,
    "inputs": models.inputs,
    "join": tokens.join,
    "last_token": tokens.last_token,
    "lora": lora,
    "masked_mean": tokens.masked_mean,
    "pad": tokens.pad,
    "response_log_probs": rollouts.response_log_probs,
    "token_log_probs": tokens.token_log_probs,
}
EXCUSED = {
    ("after.reference_logits", "wrong_8"): "a model left in evaluation mode: no check looks at it",
    ("choose.holes", "wrong_2"): "a row whose answer is None: rows have answers",
    ("cost.token_flops", "wrong_5"): "frozen given as 1: the docstring says whether",
    (
        "failures.cautious",
        "wrong_5",
    ): "float32 loses digits where scores are a thousand times their spread: the precision of the "
    "result is left open",
    ("lora.initialise", "right_4"): "A zero and B random fits the docstring as it was; now it says "
    "that A is drawn at random",
    ("lora.parameters", "wrong_6"): "what becomes of a rank above both sides is left open",
    ("lora.silent_bug", "wrong_6"): "the precision of the result is left open",
    (
        "outgrow.diagnosed",
        "wrong_49",
    ): "changes a list that it was given: the docstring does not forbid it",
    (
        "outgrow.silent_bug",
        "wrong_9",
    ): "adds a millionth to the length, as torch's clip_grad_norm_ does",
    ("outgrow.silent_bug", "wrong_18"): "the precision of the result is left open",
    ("outgrow.silent_bug", "wrong_35"): "the precision of the result is left open",
    ("outgrow.to_minimise", "wrong_15"): "a tensor of one number counts as a number in all labs",
    (
        "pipelines.begin_stage",
        "wrong_15",
    ): "B kept and A zero: what becomes of a B that is zero already is left open, as it is for A",
    (
        "pipelines.begin_stage",
        "wrong_17",
    ): "whether the weight that is returned may carry a gradient's history is left open",
    (
        "pipelines.begin_stage",
        "wrong_18",
    ): "an expanded tensor has the numbers; it fails in an optimiser, and no check has one",
    (
        "pipelines.begin_stage",
        "wrong_20",
    ): "inference tensors have the numbers; they fail in an optimiser, and no check has one",
    (
        "pipelines.paired_interval",
        "right_1",
    ): "shortens the longer list: the docstring forbids it since",
    (
        "pipelines.paired_interval",
        "right_3",
    ): "shortens the longer list: the docstring forbids it since",
    (
        "pipelines.paired_interval",
        "right_4",
    ): "shortens the longer list: the docstring forbids it since",
    (
        "pipelines.paired_interval",
        "right_6",
    ): "shortens the longer list: the docstring forbids it since",
    ("pipelines.paired_interval", "wrong_25"): "float32: the precision of the result is left open",
    ("ppo.clipped_surrogate", "wrong_5"): "log-probabilities that overflow on padding: PPO has 0 "
    "there",
    ("ppo.k3", "wrong_5"): "no gradient is asked of an estimate",
    ("ppo.silent_bug", "wrong_6"): "a model left in evaluation mode: no check looks at the mode",
    ("real.counted", "wrong_20"): "a rank above a matrix's side: no adapter has one",
    (
        "real.read_values",
        "wrong_19",
    ): "an object within one whose key comes twice: whether it counts is left open",
    (
        "real.read_values",
        "wrong_20",
    ): "an object within one that holds NaN: whether it counts is left open",
    ("reward.at_end", "wrong_7"): "padding on both sides of one row: pad puts it on one",
    ("reward.silent_bug", "wrong_5"): "with padding on the right no result differs",
    ("sft.sequence_loss", "wrong_2"): "whether a row without a response belongs to the average is "
    "left open",
}
ACCEPTED_AT_FIRST = {
    "after.constant_mean": ["wrong_6"],
    "after.leave_one_out": ["wrong_8"],
    "after.reference_logits": ["wrong_8"],
    "after.silent_bug": ["wrong_7"],
    "choose.first_row": ["wrong_1", "wrong_4"],
    "choose.holes": ["wrong_2", "wrong_7", "wrong_8"],
    "choose.uncovered": ["wrong_5", "wrong_7", "wrong_8"],
    "cost.token_flops": ["wrong_5"],
    "data.line": ["wrong_2"],
    "data.most_uncertain": ["wrong_2", "wrong_3", "wrong_8"],
    "lora.initialise": ["wrong_7"],
    "lora.merge": ["wrong_4"],
    "lora.parameters": ["wrong_4", "wrong_6"],
    "lora.silent_bug": ["wrong_5", "wrong_6"],
    "lora.update": ["wrong_2"],
    "outgrow.diagnosed": ["wrong_34", "wrong_46", "wrong_47", "wrong_49", "wrong_56"],
    "outgrow.silent_bug": ["wrong_9", "wrong_18", "wrong_24", "wrong_35"],
    "outgrow.to_minimise": ["wrong_15", "wrong_26", "wrong_29"],
    "ppo.clipped_surrogate": ["wrong_5", "wrong_6"],
    "ppo.gae": ["wrong_2"],
    "ppo.k3": ["wrong_3", "wrong_4", "wrong_5", "wrong_8"],
    "ppo.silent_bug": ["wrong_4", "wrong_6"],
    "ppo.token_rewards": ["wrong_7"],
    "real.conversation": ["wrong_13", "wrong_14", "wrong_16", "wrong_21", "wrong_22"],
    "real.counted": ["wrong_20", "wrong_22"],
    "real.rate": ["wrong_4", "wrong_21", "wrong_24"],
    "real.read_values": [
        "wrong_7",
        "wrong_12",
        "wrong_13",
        "wrong_14",
        "wrong_15",
        "wrong_18",
        "wrong_19",
        "wrong_20",
        "wrong_22",
        "wrong_23",
        "wrong_24",
        "wrong_25",
        "wrong_27",
    ],
    "real.silent_bug": ["wrong_14", "wrong_19"],
    "real.why_endless": [
        "wrong_1",
        "wrong_4",
        "wrong_6",
        "wrong_7",
        "wrong_8",
        "wrong_13",
        "wrong_14",
        "wrong_19",
    ],
    "reward.at_end": ["wrong_6", "wrong_7"],
    "reward.best_of_n": ["wrong_5", "wrong_6", "wrong_7"],
    "reward.ranking_loss": ["wrong_5", "wrong_6"],
    "reward.silent_bug": ["wrong_5"],
    "sft.loss": ["wrong_3", "wrong_5", "wrong_6"],
    "sft.mask_prompt": ["wrong_5", "wrong_7"],
    "sft.sequence_loss": ["wrong_2", "wrong_3", "wrong_5", "wrong_6", "wrong_7"],
    "sft.silent_bug": ["wrong_2", "wrong_6"],
}


class Blind(NamedTuple):
    name: str
    function: Callable
    note: str  # what its author says of it

    @property
    def is_right(self) -> bool:
        return self.name.startswith("right")


def blind_answers(id: str) -> list[Blind]:
    """All answers to an exercise, those that are excused left out; none where none was written."""
    path = FOLDER / f"{id.replace('.', '_')}.py"
    if not path.exists():
        return []
    source = path.read_text(encoding="utf-8")
    names = NAMED | names_of_the_lab(id)
    exec(compile(source, str(path), "exec"), names)
    notes = re.findall(
        r"^# ((?:right|wrong): [^\n]*)(?:\n#[^\n]*)*\ndef (\w+)\(", source, re.MULTILINE
    )
    return [Blind(name, names[name], note) for note, name in notes if (id, name) not in EXCUSED]


def names_of_the_lab(id: str) -> dict[str, Callable]:
    """The functions of the other exercises of the same lab."""
    topic = id.partition(".")[0]
    others = (find(other).reference for other in all_ids() if other.partition(".")[0] == topic)
    return {other.__name__: other for other in others if other is not find(id).reference}
