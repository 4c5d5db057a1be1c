"""What the methods ask of a causal language model, whichever it is."""

import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from methods.arguments import check_shapes
from torch import Tensor, nn


def inputs(model: nn.Module, ids: Tensor, real: Tensor) -> dict[str, Tensor]:
    """A causal model's arguments for rows padded on either side; padding changes no result.

    Raises ValueError for padding on the left where the model counts positions by itself, such as
    BART: it would count the padding too.
    """
    check_shapes(ids=ids, real=real)
    if real[:, 0].all():  # all padding is on the right, where causal attention never looks
        return {"input_ids": ids}
    if "position_ids" not in _arguments(model):
        raise ValueError(
            f"{type(model).__name__} takes no position_ids, so padding on the left would shift its "
            "positions: pad the rows on the right"
        )
    return {
        "input_ids": ids,
        "attention_mask": real.long(),
        "position_ids": (real.cumsum(-1) - 1).clamp(min=0),
    }


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """The models in evaluation mode, without dropout; afterwards each part is as it was."""
    training = [part for model in models for part in model.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def width(model: nn.Module) -> int:
    """How many numbers the body gives the head for each token.

    The size of the hidden state, but for models that project it once more, as some OPT models do.
    """
    output = model.get_output_embeddings()
    output = getattr(output, "base", output)  # an adapter may be on it
    return model.config.hidden_size if output is None else output.weight.shape[1]


def check_tokens(model: nn.Module, ids: Tensor, *, room: int = 0) -> None:
    """Refuse rows that the model cannot read.

    ids: int (batch, time) · room: tokens that are to follow. Raises ValueError for rows beyond the
    model's context and for ids outside its vocabulary; on a GPU, such an id would take the whole
    process down.
    """
    context = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if context and ids.shape[1] + room > context:
        raise ValueError(
            f"a row of {ids.shape[1]} tokens{f' and {room} new ones' if room else ''} is more than "
            f"the model's context of {context}: shorten it"
        )
    embeddings = _embeddings(model)
    if embeddings is not None and not 0 <= ids.min() <= ids.max() < len(embeddings.weight):
        raise ValueError(
            f"the ids go from {ids.min()} to {ids.max()} and the model knows 0 to "
            f"{len(embeddings.weight) - 1}: use the tokenizer that belongs to the model"
        )


def _embeddings(model: nn.Module) -> nn.Module | None:
    try:
        return model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # a toy, or a body that does not say
        return None


def check_cache(model: nn.Module) -> None:
    """Raises ValueError for a model that cannot go on from what it has read, such as Mamba."""
    known = _arguments(model)
    if lacking := [name for name in ("past_key_values", "position_ids") if name not in known]:
        raise ValueError(
            f"{type(model).__name__} takes no {' and no '.join(lacking)}, so nothing can be "
            "sampled from it here: choose a transformer with a key–value cache and positions"
        )


def takes(model: nn.Module, argument: str) -> bool:
    """Whether the model's forward pass knows an argument of that name."""
    return argument in _arguments(model)


def _arguments(model: nn.Module) -> Collection[str]:
    if hasattr(model, "get_base_model"):  # PEFT's wrapper takes whatever its base takes
        model = model.get_base_model()
    return inspect.signature(model.forward).parameters
