"""Targets: the linear layers that an adapter adapts, found by the last parts of their names.

    "q_proj"    model.layers.0.self_attn.q_proj, model.layers.1.self_attn.q_proj, ...

A name counts as it is in the bare base, whether the layer is adapted already or not. What cannot be
done is refused before anything is changed.

Left out on purpose: layers that are not `nn.Linear`, among them the experts of most mixtures, which
are single parameters with three dimensions; another rank for each layer.
"""

import difflib
import re
from collections.abc import Iterator, Sequence

from torch import nn


class AdapterError(ValueError):
    """Something that cannot be done with an adapter; the message says why and what to do.

    The model is unchanged.
    """


class AdaptedLinear(nn.Module):
    """What stands in a linear layer's place once it is adapted; the layer itself is its `base`."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base


def linear_targets(model: nn.Module) -> tuple[str, ...]:
    """What "all-linear" means, as in PEFT: every linear layer but the output layer.

    returns the last parts of their names, sorted

    Raises AdapterError for a model that keeps matrices elsewhere too: PEFT would adapt those as
    well, and an adapter of the linear layers alone would be another adapter of the same name.
    """
    if experts := expert_parameters(model):
        raise AdapterError(
            f'"all-linear" would also mean {experts[0]}, which is an nn.Parameter with three '
            "dimensions (a matrix for each expert), and only nn.Linear layers can be adapted here: "
            'name the layers, as in targets=["q_proj", "v_proj"]'
        )
    output = _output_layer(model)
    paths = [path for path, linear in bare_linears(model) if linear is not output]
    return tuple(sorted({path.rpartition(".")[2] for path in paths}))


def expert_parameters(model: nn.Module) -> list[str]:
    """The names of the parameters that hold one matrix for each expert; a convolution's are none."""
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if not isinstance(module, nn.Conv1d)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3
    ]


def _output_layer(model: nn.Module) -> nn.Module | None:
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return output.base if isinstance(output, AdaptedLinear) else output


def named(model: nn.Module, target: str) -> dict[str, nn.Linear]:
    """The linear layers whose name is the target or ends with it, by name."""
    return {
        path: linear
        for path, linear in bare_linears(model)
        if path == target or path.endswith(f".{target}")
    }


def matching(model: nn.Module, expression: str) -> tuple[str, ...]:
    """The linear layers whose whole name matches a regular expression, as PEFT reads one.

    Raises AdapterError for an expression that is none, or matches no linear layer.
    """
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise AdapterError(
            f"the targets are {expression!r}, which is no regular expression ({error})"
        ) from None
    paths = tuple(path for path, _ in bare_linears(model) if pattern.fullmatch(path))
    if not paths:
        raise AdapterError(
            f"the regular expression {expression!r} matches no nn.Linear layer of this model: load "
            "the base that the adapter was trained on"
        )
    return paths


def bare_linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Every linear layer by its name in the bare base, whether it is adapted already or not."""
    for path, module in model.named_modules():
        parent = model.get_submodule(path.rpartition(".")[0])
        if isinstance(module, AdaptedLinear):
            yield path, module.base
        # Of exactly this class, because a subclass may never be called.
        elif type(module) is nn.Linear and not isinstance(parent, AdaptedLinear):
            yield path, module


def find(model: nn.Module, rank: int, alpha: float, targets: Sequence[str]) -> dict[str, nn.Linear]:
    """The linear layers that an adapter belongs on, by name, in the model's order.

    Raises AdapterError for a model, rank, alpha or target that cannot be. A rank above the smaller
    side of a layer is none of them: it is a waste, and files of other tools have it.
    """
    if hasattr(model, "peft_config"):
        raise AdapterError(
            "the model is wrapped by the library PEFT: give its bare base, model.unload()"
        )
    linears = dict(bare_linears(model))
    refuse_no_layers(model, linears)
    if not targets or not all(isinstance(target, str) for target in targets):
        raise AdapterError('no target was named: name layers, as in targets=["q_proj", "v_proj"]')
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise AdapterError(f"the rank is {rank!r}: it must be a whole number from 1 up")
    if (
        not isinstance(alpha, (int, float))
        or isinstance(alpha, bool)
        or not 0 < abs(alpha) < float("inf")
    ):
        raise AdapterError(
            f"alpha is {alpha!r}: it must be a plain finite number other than 0, such as twice "
            "the rank"
        )
    found, experts = {}, expert_parameters(model)
    for target in targets:
        if same := [path for path in experts if path.endswith(f".{target}")]:
            raise AdapterError(
                f"the target {target!r} also names {same[0]}, an nn.Parameter with a matrix for each "
                "expert, and only nn.Linear layers can be adapted here: name other layers"
            )
        matches = named(model, target)
        if not matches:
            raise AdapterError(_no_match(model, target, linears))
        found |= matches
    return {path: found[path] for path in linears if path in found}


def refuse_no_layers(model: nn.Module, linears: dict[str, nn.Linear]) -> None:
    """Raises AdapterError for a model without a layer that could be adapted."""
    output = _output_layer(model)
    if any(linear is not output for linear in linears.values()):
        return
    kinds = sorted(
        {type(m).__name__ for m in model.modules() if getattr(m, "weight", None) is not None}
        - {"Embedding", "Linear"}
    )
    raise AdapterError(
        f"{type(model).__name__} has no nn.Linear layer but its output ({', '.join(kinds)} in "
        "their place), and only nn.Linear can be adapted here: choose another base"
    )


def refuse_rank(found: dict[str, nn.Linear], rank: int) -> None:
    """Raises AdapterError for a rank that a layer's weight cannot have."""
    for path, linear in found.items():
        if rank > min(linear.weight.shape):
            raise AdapterError(
                f"the rank is {rank} and {path} is a matrix of {tuple(linear.weight.shape)}: "
                f"choose a rank of at most {min(linear.weight.shape)}"
            )


def _no_match(model: nn.Module, target: str, linears: dict[str, nn.Linear]) -> str:
    for path, module in model.named_modules():
        if path and (path == target or path.endswith(f".{target}")):
            return (
                f"the target {target!r} is a {type(module).__name__}: only nn.Linear layers can be "
                "adapted here"
            )
    names = sorted({path.rpartition(".")[2] for path in linears})
    close = difflib.get_close_matches(target, names, n=3, cutoff=0.4) or names
    return f"no layer is named {target!r}: the closest names are {', '.join(close)}"


def as_tuple(targets: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (targets,) if isinstance(targets, str) else tuple(targets)
