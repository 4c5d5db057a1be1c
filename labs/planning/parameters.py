"""How many parameters LoRA trains in a real model: in closed form, and counted by the library PEFT.

    Σ over the targets of r · (d_out + d_in)        A (r, d_in) and B (d_out, r)
                                                    Hu et al. 2021, section 4.1

`count` and `total` only multiply and add. `count_with_peft` builds the whole model on PyTorch's
meta device, where a tensor has a shape and no memory, and lets PEFT wrap it. Nothing is downloaded:
ARCHITECTURES holds the published dimensions.

A share is of the base's parameters. PEFT's print_trainable_parameters divides by base and adapter
together, so it prints a little less. "all-linear" means what it means in PEFT: every linear layer
except the output layer.

Three decisions that change a count:
- RoBERTa and DeBERTa are the bare encoders, without pooler and without any head.
- GPT-2 and GPT-3 hold q, k and v in one fused matrix, which PEFT can only adapt as a whole. Hu et
  al. adapt q and v each by itself, so these models are listed twice: with separate matrices (built
  as OPT, whose layers have the same shapes) and fused (built as GPT-2). All linear layers together
  cost more when separate. The fused matrix alone happens to cost what q and v cost:
  r · (3d + d) = 2 · r · (d + d).
- The experts of Qwen3-30B-A3B are no linear layers but parameters with three dimensions, and its
  router is a parameter too. PEFT 0.21 still counts them in "all-linear". It gives each expert an
  adapter of its own, and because an expert's gate and up projections are fused, it gives the fused
  matrix twice the rank.

Left out on purpose: biases that train, adapters on embeddings or on the output layer, methods other
than LoRA.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Matrix:
    """One matrix (d_out, d_in) of a layer, or one for each expert."""

    module: str  # the end of its name in the built model, a regular expression
    d_out: int
    d_in: int
    experts: int = 1
    ranks: int = 1  # PEFT's rank for this matrix, as a multiple of the rank asked for


@dataclass(frozen=True)
class Architecture:
    """Where each parameter of a model sits. All layers are alike."""

    source: str
    layers: int
    matrices: dict[str, Matrix]  # of one layer
    vectors: int  # biases and norms of one layer
    # Embeddings, norms and what else is in no layer, with the output layer if its weights are its
    # own.
    outside: int
    build: Callable[[], "PreTrainedModel"]


# Counting -----------------------------------------------------------------------------------------


def lora_parameters(d_out: int, d_in: int, rank: int) -> int:
    """Parameters of A (rank, d_in) and B (d_out, rank) together.

    Raises ValueError for a rank below 1 or above the smaller side of the matrix.
    """
    if not 1 <= rank <= min(d_out, d_in):
        raise ValueError(
            f"a matrix of {d_out} × {d_in} takes a rank from 1 to {min(d_out, d_in)}, not {rank}"
        )
    return rank * (d_out + d_in)


def count(model: str, rank: int, targets: str | Sequence[str] = ALL_LINEAR) -> int:
    """Parameters that LoRA trains in a model of ARCHITECTURES.

    targets: names of its matrices, or "all-linear"

    Raises ValueError for a model, a target or a rank that does not exist, as do share and
    count_with_peft.
    """
    return _known(model).layers * sum(
        matrix.experts * lora_parameters(matrix.d_out, matrix.d_in, matrix.ranks * rank)
        for matrix in _chosen(model, targets)
    )


def total(model: str) -> int:
    """All parameters of the model itself.

    Raises ValueError for a model that is not in ARCHITECTURES.
    """
    dimensions = _known(model)
    weights = sum(
        matrix.experts * matrix.d_out * matrix.d_in for matrix in dimensions.matrices.values()
    )
    return dimensions.layers * (weights + dimensions.vectors) + dimensions.outside


def share(model: str, rank: int, targets: str | Sequence[str] = ALL_LINEAR) -> float:
    """Parameters that LoRA trains, as a share of the base's, from 0 upwards."""
    return count(model, rank, targets) / total(model)


def count_with_peft(model: str, rank: int, targets: str | Sequence[str] = ALL_LINEAR) -> int:
    """The number that count gives, but found: PEFT wraps the whole model, built without memory."""
    count(model, rank, targets)  # refuses what does not exist before anything is built
    import torch
    from peft import LoraConfig, get_peft_model

    modules = "|".join(matrix.module for matrix in _chosen(model, targets))
    config = LoraConfig(
        r=rank, target_modules=targets if targets == ALL_LINEAR else rf".*\.(?:{modules})"
    )
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on how PEFT stores fused matrices, which changes no count
        wrapped = get_peft_model(meta_model(model), config)
    return sum(p.numel() for p in wrapped.parameters() if p.requires_grad)


def meta_model(model: str) -> "PreTrainedModel":
    """The model, every parameter on the meta device.

    Raises ValueError for a model that is not in ARCHITECTURES.
    """
    build = _known(model).build
    import torch

    with torch.device("meta"):
        return build()


def _known(model: str) -> Architecture:
    if model not in ARCHITECTURES:
        raise ValueError(
            f"no dimensions are given for the model {model!r}: choose one of "
            f"{', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[model]


def _chosen(model: str, targets: str | Sequence[str]) -> list[Matrix]:
    matrices = _known(model).matrices
    if targets == ALL_LINEAR:
        return list(matrices.values())
    names = {targets} if isinstance(targets, str) else set(targets)
    if not names or names - set(matrices):
        raise ValueError(
            f"{targets!r} are no targets in {model}: give {ALL_LINEAR!r} or some of "
            f"{', '.join(matrices)}"
        )
    return [matrices[name] for name in matrices if name in names]


# Kinds of layer -----------------------------------------------------------------------------------


def _classic(
    source: str,
    width: int,
    layers: int,
    modules: str,
    outside: int,
    build: Callable[[], "PreTrainedModel"],
) -> Architecture:
    """Attention (q, k, v, o), feed-forward at 4 times the width (up, down), two LayerNorms.

    Every matrix and every LayerNorm has a bias.
    """
    q, k, v, o, up, down = modules.split()
    matrices = {
        "q": Matrix(q, width, width),
        "k": Matrix(k, width, width),
        "v": Matrix(v, width, width),
        "o": Matrix(o, width, width),
        "up": Matrix(up, 4 * width, width),
        "down": Matrix(down, width, 4 * width),
    }
    biases, norms = sum(matrix.d_out for matrix in matrices.values()), 2 * 2 * width
    return Architecture(source, layers, matrices, biases + norms, outside, build)


def _roberta(source: str, width: int, layers: int, heads: int) -> Architecture:
    def build():
        from transformers import RobertaConfig, RobertaModel

        return RobertaModel(
            RobertaConfig(
                vocab_size=50265,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * width,
                max_position_embeddings=514,
                type_vocab_size=1,
            ),
            add_pooling_layer=False,
        )

    outside = (50265 + 514 + 1 + 2) * width  # tokens, positions, one segment, a LayerNorm
    return _classic(
        source,
        width,
        layers,
        r"query key value attention\.output\.dense intermediate\.dense "
        r"\d+\.output\.dense",
        outside,
        build,
    )


def _deberta(source: str, width: int, layers: int, heads: int) -> Architecture:
    def build():
        from transformers import DebertaV2Config, DebertaV2Model

        return DebertaV2Model(
            DebertaV2Config(
                vocab_size=128100,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * width,
                type_vocab_size=0,
                relative_attention=True,
                position_buckets=256,
                position_biased_input=False,
                norm_rel_ebd="layer_norm",
                share_att_key=True,
                pos_att_type=["p2c", "c2p"],
                conv_kernel_size=3,
                conv_act="gelu",
            )
        )

    # Tokens with a LayerNorm, 2 × 256 relative positions with a LayerNorm (they go through the q
    # and k of each layer), a convolution over 3 tokens with a bias and a LayerNorm.
    outside = (128100 + 2 + 2 * 256 + 2 + 3 * width + 1 + 2) * width
    return _classic(
        source,
        width,
        layers,
        r"query_proj key_proj value_proj attention\.output\.dense "
        r"intermediate\.dense \d+\.output\.dense",
        outside,
        build,
    )


def _gpt(
    source: str, width: int, layers: int, heads: int, positions: int, *, fused: bool = False
) -> Architecture:
    def build_separate():
        from transformers import OPTConfig, OPTForCausalLM

        return OPTForCausalLM(
            OPTConfig(  # OPT adds two positions of its own
                vocab_size=50257,
                hidden_size=width,
                word_embed_proj_dim=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                ffn_dim=4 * width,
                max_position_embeddings=positions - 2,
            )
        )

    def build_fused():
        from transformers import GPT2Config, GPT2LMHeadModel

        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=50257, n_embd=width, n_layer=layers, n_head=heads, n_positions=positions
            )
        )

    # Tokens (the output layer is the same tensor), positions, a LayerNorm.
    outside = (50257 + positions + 2) * width
    separate = _classic(
        source, width, layers, "q_proj k_proj v_proj out_proj fc1 fc2", outside, build_separate
    )
    if not fused:
        return separate
    matrices = {
        "qkv": Matrix(r"attn\.c_attn", 3 * width, width),
        "o": Matrix(r"attn\.c_proj", width, width),
        "up": Matrix(r"mlp\.c_fc", 4 * width, width),
        "down": Matrix(r"mlp\.c_proj", width, 4 * width),
    }
    return replace(separate, matrices=matrices, build=build_fused)


def _llama(
    source: str,
    width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    inner: int,
    vocabulary: int,
    *,
    family: str = "Llama",
    head: int = 128,
    tied: bool = False,
    experts: int = 0,
) -> Architecture:
    """Grouped-query attention, gated feed-forward, two RMSNorms, no bias.

    k and v have `kv_heads` heads. A Qwen3 layer has two more RMSNorms, of one head's width each, on
    q and k. With `experts`, every layer has a router and that many feed-forward parts.
    """

    def build():
        import transformers

        config = {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": head,
            "intermediate_size": inner,
            "vocab_size": vocabulary,
            "tie_word_embeddings": tied,
        }
        if experts:
            config |= {"num_experts": experts, "moe_intermediate_size": inner}
        return getattr(transformers, f"{family}ForCausalLM")(
            getattr(transformers, f"{family}Config")(**config)
        )

    matrices = {
        "q": Matrix("q_proj", heads * head, width),
        "k": Matrix("k_proj", kv_heads * head, width),
        "v": Matrix("v_proj", kv_heads * head, width),
        "o": Matrix("o_proj", width, heads * head),
    }
    if experts:
        matrices |= {
            "router": Matrix("gate", experts, width),
            "gate_up": Matrix("gate_proj|up_proj", 2 * inner, width, experts, ranks=2),
            "down": Matrix("down_proj", width, inner, experts),
        }
    else:
        matrices |= {
            "gate": Matrix("gate_proj", inner, width),
            "up": Matrix("up_proj", inner, width),
            "down": Matrix("down_proj", width, inner),
        }
    norms = 2 * width + (2 * head if family.startswith("Qwen3") else 0)
    # Tokens, the output layer unless it is the same tensor, a norm.
    outside = (vocabulary if tied else 2 * vocabulary) * width + width
    return Architecture(source, layers, matrices, norms, outside, build)


# Published dimensions -----------------------------------------------------------------------------

GPTS = {  # width, layers, heads, positions
    "GPT-2 medium": ("config of openai-community/gpt2-medium", 1024, 24, 16, 1024),
    "GPT-2 large": ("config of openai-community/gpt2-large", 1280, 36, 20, 1024),
    "GPT-3 175B": (
        "Brown et al. 2020, section 2.1 and Table 2.1; vocabulary of GPT-2",
        12288,
        96,
        96,
        2048,
    ),
}
ARCHITECTURES = {
    "RoBERTa base": _roberta("config of FacebookAI/roberta-base", 768, 12, 12),
    "RoBERTa large": _roberta("config of FacebookAI/roberta-large", 1024, 24, 16),
    "DeBERTa XXL": _deberta("config of microsoft/deberta-v2-xxlarge", 1536, 48, 24),
    **{name: _gpt(*dimensions) for name, dimensions in GPTS.items()},
    **{f"{name}, fused": _gpt(*dimensions, fused=True) for name, dimensions in GPTS.items()},
    # width, layers, heads, heads of k and v, inner width, vocabulary
    "Llama-2-7B": _llama("config of meta-llama/Llama-2-7b-hf", 4096, 32, 32, 32, 11008, 32000),
    "Llama-3.1-8B": _llama("config of meta-llama/Llama-3.1-8B", 4096, 32, 32, 8, 14336, 128256),
    "Qwen3-0.6B": _llama(
        "config of Qwen/Qwen3-0.6B", 1024, 28, 16, 8, 3072, 151936, family="Qwen3", tied=True
    ),
    "Qwen3-8B": _llama("config of Qwen/Qwen3-8B", 4096, 36, 32, 8, 12288, 151936, family="Qwen3"),
    "Qwen3-30B-A3B": _llama(
        "config of Qwen/Qwen3-30B-A3B", 2048, 48, 32, 4, 768, 151936, family="Qwen3Moe", experts=128
    ),
}


class Published(NamedTuple):
    """A count as printed in Hu et al. 2021 (arXiv 2106.09685), and what it should follow from."""

    model: str
    targets: tuple[str, ...]
    rank: int
    printed: str  # in millions
    where: str  # where the figure stands; where the rank stands


PUBLISHED = [
    Published("RoBERTa base", ("q", "v"), 8, "0.3", "Table 2; appendix D.1"),
    Published("RoBERTa large", ("q", "v"), 8, "0.8", "Table 2; appendix D.1"),
    Published(
        "DeBERTa XXL", ("q", "v"), 16, "4.7", "Table 2; the scripts in the authors' repository"
    ),
    # Table 3 prints the next two figures for prefix tuning as well.
    Published("GPT-2 medium", ("q", "v"), 4, "0.35", "Table 3; appendix D.3"),
    Published("GPT-2 large", ("q", "v"), 4, "0.77", "Table 3; appendix D.3"),
    Published("GPT-3 175B", ("q", "v"), 1, "4.7", "Table 4; appendix D.4"),
    Published("GPT-3 175B", ("q", "v"), 8, "37.7", "Table 4; appendix D.4"),
]


def agrees(row: Published) -> bool:
    """Does the count of this row round to the printed figure, at the printed number of decimals?"""
    decimals = len(row.printed.partition(".")[2])
    return f"{count(row.model, row.rank, row.targets) / 1e6:.{decimals}f}" == row.printed
