"""Verifiers: programs that say what a response is worth, where an answer can be checked.

    r(x, y) = verify(x, y)                 in place of a reward model (Lambert et al. 2024)

A verifier reads text. `as_score` turns it into what the methods ask for: scores of prompts and
responses in token ids.
"""

import json
import math
from collections.abc import Callable, Sequence

import torch
from methods.rollouts import Score
from torch import Tensor

Verifier = Callable[[str, str], float]  # prompt, response → what the response is worth


def as_score(verify: Verifier, decode: Callable[[list[int]], str]) -> Score:
    """The score that PPO and GRPO take, float (batch,).

    decode: token ids to text. The score raises ValueError where the verifier raises, TypeError where
    it returns no number, and FloatingPointError for one that is not finite.
    """

    def score(prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> Tensor:
        texts = [(decode(x), decode(y)) for x, y in zip(prompts, responses, strict=True)]
        return torch.tensor([checked(verify, *pair) for pair in texts])

    return score


def checked(verify: Verifier, prompt: str, response: str) -> float:
    """What the verifier says of one response; raises as as_score's score does."""
    try:
        worth = verify(prompt, response)
    except Exception as error:
        raise ValueError(
            f"the verifier raised {type(error).__name__} ({error}) for the response {response!r}: "
            "let it return a number for any text, 0 for one that it cannot read; nothing was updated"
        ) from error
    try:
        worth = float(None if isinstance(worth, str) else worth)
    except (TypeError, ValueError):
        raise TypeError(
            f"the verifier returned {worth!r} for the response {response!r}: return a number; "
            "nothing was updated"
        ) from None
    if not math.isfinite(worth):
        raise FloatingPointError(
            f"the verifier returned {worth} for the response {response!r}: return a finite number; "
            "nothing was updated"
        )
    return worth


def right_total(prompt: str, response: str) -> float:
    """1 for the right total, digit by digit, and nothing else; otherwise 0. An example.

    prompt: such as "total : 4 7 + 1 9 =", and response " 6 6 <eos>": the stop token is asked for.
    What the prompt asks is computed from the prompt; anything that it cannot read is worth 0.
    """
    try:
        left, right = prompt.removeprefix("total :").removesuffix("=").split("+")
        total = int("".join(left.split())) + int("".join(right.split()))
    except ValueError:
        return 0.0
    return float(response.split() == [*str(total), "<eos>"])


def read_values(text: str, keys: Sequence[str]) -> list | None:
    """The values of the one JSON object in a text, in the order of `keys`; None for anything else.

    There may be words and code fences around it. The object has exactly these keys, in any order and
    each once; NaN and Infinity are no JSON.
    """
    found = _objects(text)
    if len(found) != 1 or found[0].keys() != set(keys):
        return None
    return [found[0][key] for key in keys]


def _objects(text: str) -> list[dict]:
    """The JSON objects that stand in a text, one behind the other."""
    decoder = json.JSONDecoder(object_pairs_hook=_once_each, parse_constant=_refuse)
    found, place = [], text.find("{")
    while place >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
            found.append(value)
        except ValueError:
            place += 1
        except RecursionError:  # a text that opens a thousand objects holds no answer
            return []
        place = text.find("{", place)
    return found


def _once_each(pairs: list[tuple[str, object]]) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
