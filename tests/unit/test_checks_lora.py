"""How well lab 02's checks tell right from wrong: a bank of wrong solutions and one of unusual but
correct ones.

Each wrong solution carries the words that its check must say.
"""

import math

import checks.lora
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from banks import by_heart, cases, points, public_calls
from course import find, run_checks
from methods import lora
from planning import parameters
from torch import nn

SEEDS = range(1, 21)  # 0 is the notebook's: who knows its answers by heart is right there


# The start ----------------------------------------------------------------------------------------


def both_zero(d_out, d_in, rank):
    return torch.zeros(rank, d_in), torch.zeros(d_out, rank)


def both_random(d_out, d_in, rank):
    return torch.randn(rank, d_in), torch.randn(d_out, rank)


def zeros_in_a(d_out, d_in, rank):
    return torch.zeros(rank, d_in), torch.randn(d_out, rank)


def changed_places(d_out, d_in, rank):
    return lora.initialise(d_out, d_in, rank)[::-1]


def both_transposed(d_out, d_in, rank):
    return tuple(matrix.T for matrix in lora.initialise(d_out, d_in, rank))


def a_transposed(d_out, d_in, rank):
    return torch.randn(d_in, rank), torch.zeros(d_out, rank)


def full_size_b(d_out, d_in, rank):
    return torch.randn(rank, d_in), torch.zeros(d_out, d_in)


def all_ones(d_out, d_in, rank):
    return torch.ones(rank, d_in), torch.zeros(d_out, rank)


def seeded(d_out, d_in, rank):
    return torch.randn(rank, d_in, generator=torch.Generator().manual_seed(0)), torch.zeros(
        d_out, rank
    )


def one_row(d_out, d_in, rank):
    return torch.randn(1, d_in).repeat(rank, 1), torch.zeros(d_out, rank)


def never_negative(d_out, d_in, rank):
    return torch.rand(rank, d_in), torch.zeros(d_out, rank)


def far_too_large(d_out, d_in, rank):
    return torch.randn(rank, d_in) * d_in, torch.zeros(d_out, rank)


def far_too_small(d_out, d_in, rank):
    return torch.randn(rank, d_in) * 1e-6, torch.zeros(d_out, rank)


def whole_numbers(d_out, d_in, rank):
    return torch.randint(-3, 4, (rank, d_in)), torch.zeros(d_out, rank, dtype=int)


def divided_by_nothing(d_out, d_in, rank):
    return torch.randn(rank, d_in) / 0, torch.zeros(d_out, rank)


def a_alone(d_out, d_in, rank):
    return torch.randn(rank, d_in)


def start_small(d_out, d_in, rank):
    return torch.randn(rank, d_in) * 0.01, torch.zeros(d_out, rank)


def start_over_rank(d_out, d_in, rank):
    return torch.randn(rank, d_in) / rank, torch.zeros(d_out, rank)


def start_standard(d_out, d_in, rank):
    return torch.randn(rank, d_in), torch.zeros((d_out, rank))


def start_kaiming(d_out, d_in, rank):
    A, B = nn.Parameter(torch.empty(rank, d_in)), nn.Parameter(torch.zeros(d_out, rank))
    nn.init.kaiming_uniform_(A, a=math.sqrt(5))
    return A, B


def start_orthogonal(d_out, d_in, rank):
    return [nn.init.orthogonal_(torch.empty(rank, d_in)), torch.zeros(d_out, rank)]


def start_through_layers(d_out, d_in, rank):
    down, up = nn.Linear(d_in, rank, bias=False), nn.Linear(rank, d_out, bias=False)
    nn.init.zeros_(up.weight)
    return down.weight, up.weight


def start_uniform(d_out, d_in, rank):
    return (torch.rand(rank, d_in) * 2 - 1) / rank**0.5, torch.randn(d_out, rank) * 0


def start_in_double(d_out, d_in, rank):
    return torch.randn(rank, d_in, dtype=torch.float64) * 0.02, torch.zeros(
        d_out, rank, dtype=torch.float64
    )


# The update ---------------------------------------------------------------------------------------


def no_factor(x, A, B, alpha):
    return x @ A.T @ B.T


def alpha_alone(x, A, B, alpha):
    return x @ A.T @ B.T * alpha


def rank_alone(x, A, B, alpha):
    return x @ A.T @ B.T / len(A)


def root_of_rank(x, A, B, alpha):
    return x @ A.T @ B.T * alpha / len(A) ** 0.5


def upside_down(x, A, B, alpha):
    return x @ A.T @ B.T * len(A) / alpha


def columns_of_a(x, A, B, alpha):
    return x @ A.T @ B.T * alpha / A.shape[1]


def rows_of_b(x, A, B, alpha):
    return x @ A.T @ B.T * alpha / len(B)


def b_first(x, A, B, alpha):
    return x @ B @ A * alpha / len(A)


def plus_x(x, A, B, alpha):
    return x + x @ A.T @ B.T * alpha / len(A)


def columns_only(x, A, B, alpha):
    return B @ A @ x * alpha / len(A)


def two_dimensions(x, A, B, alpha):
    return (B @ (A @ x.t())).t() * alpha / len(A)


def only_a_batch(x, A, B, alpha):
    return torch.mm(torch.mm(x, A.T), B.T) * alpha / len(A)


def alpha_of_the_notebook(x, A, B, alpha):
    return lora.lora_update(x, A, B, public_calls("lora.update")[0][3])


def negative(x, A, B, alpha):
    return -lora.lora_update(x, A, B, alpha)


def a_product_of_rows(x, A, B, alpha):
    return x @ A.T @ B.T * x.mean(-1, keepdim=True)


def detached(x, A, B, alpha):
    return lora.lora_update(x, A.detach(), B.detach(), alpha).detach()


def a_detached(x, A, B, alpha):
    return lora.lora_update(x, A.data, B, alpha)


def x_detached(x, A, B, alpha):
    return lora.lora_update(x.detach(), A, B, alpha)


def scaled_in_place(x, A, B, alpha):
    x *= alpha / len(A)
    return x @ A.T @ B.T


def b_scaled_in_place(x, A, B, alpha):
    with torch.no_grad():
        B *= alpha / len(A)
    return x @ A.T @ B.T


def update_by_linear(x, A, B, alpha):
    return F.linear(F.linear(x, A), B) * alpha / A.shape[0]


def update_by_the_product(x, A, B, alpha):
    delta = alpha / B.shape[1] * B @ A
    return x @ delta.T


def update_by_einsum(x, A, B, alpha):
    return torch.einsum("...d,rd,or->...o", x, A, B) * (alpha / A.size(0))


def update_scaled_first(x, A, B, alpha):
    scale = alpha / B.size(-1)
    hidden = torch.matmul(x * scale, A.transpose(0, 1))
    return torch.matmul(hidden, B.t())


def update_in_double(x, A, B, alpha):
    return (x.double() @ A.double().mT) @ B.double().mT * (alpha / len(A))


def update_row_by_row(x, A, B, alpha):
    flat = x.reshape(-1, x.shape[-1])
    return (
        torch.stack([B @ (A @ row) for row in flat])
        .reshape(*x.shape[:-1], len(B))
        .mul(alpha / len(A))
    )


# Counting -----------------------------------------------------------------------------------------


def count_product(d_out, d_in, rank):
    return rank * d_out * d_in


def count_both_products(d_out, d_in, rank):
    return (rank * d_in) * (d_out * rank)


def count_a(d_out, d_in, rank):
    return rank * d_in


def count_b(d_out, d_in, rank):
    return d_out * rank


def count_with_weight(d_out, d_in, rank):
    return d_out * d_in + rank * (d_out + d_in)


def count_weight(d_out, d_in, rank):
    return d_out * d_in


def count_without_rank(d_out, d_in, rank):
    return d_out + d_in


def count_twice_a(d_out, d_in, rank):
    return 2 * rank * d_in


def count_twice_b(d_out, d_in, rank):
    return 2 * rank * d_out


def count_as_float(d_out, d_in, rank):
    return rank * (d_out + d_in) / 1


def count_as_float_tensor(d_out, d_in, rank):
    return torch.tensor(float(rank * (d_out + d_in)))


def count_as_text(d_out, d_in, rank):
    return f"{rank * (d_out + d_in)} parameters"


def count_one_off(d_out, d_in, rank):
    return rank * (d_out + d_in) + 1


def count_separately(d_out, d_in, rank):
    a = rank * d_in
    b = d_out * rank
    return a + b


def count_by_tensors(d_out, d_in, rank):
    return sum(matrix.numel() for matrix in lora.initialise(d_out, d_in, rank))


def count_by_numpy(d_out, d_in, rank):
    return np.int64(rank) * np.add(d_out, d_in)


def count_as_tensor(d_out, d_in, rank):
    return torch.tensor([rank * d_in, rank * d_out]).sum()


def count_by_layers(d_out, d_in, rank):
    adapter = nn.Sequential(nn.Linear(d_in, rank, bias=False), nn.Linear(rank, d_out, bias=False))
    return sum(p.numel() for p in adapter.parameters())


# Merging ------------------------------------------------------------------------------------------


def merge_without_factor(weight, A, B, alpha):
    return weight + B @ A


def merge_alpha_alone(weight, A, B, alpha):
    return weight + alpha * B @ A


def merge_root(weight, A, B, alpha):
    return weight + alpha / math.sqrt(len(A)) * B @ A


def merge_columns_of_a(weight, A, B, alpha):
    return weight + alpha / A.shape[1] * B @ A


def merge_transposed(weight, A, B, alpha):
    return weight + A.T @ B.T * (alpha / len(A))


def merge_changed_places(weight, A, B, alpha):
    return weight + A @ B * (alpha / len(A))


def merge_in_place(weight, A, B, alpha):
    weight += B @ A * (alpha / len(A))
    return weight


def merge_into_data(weight, A, B, alpha):
    weight.data.add_(B @ A * (alpha / len(A)))
    return weight.clone()


def merge_alpha_of_the_notebook(weight, A, B, alpha):
    return lora.merged_weight(weight, A, B, public_calls("lora.merge")[0][3])


def merge_update_alone(weight, A, B, alpha):
    return B @ A * (alpha / len(A))


def merge_bare_product(weight, A, B, alpha):
    return B @ A


def merge_nothing(weight, A, B, alpha):
    return weight


def merge_copy(weight, A, B, alpha):
    return weight.clone()


def merge_no_return(weight, A, B, alpha):
    weight += B @ A * (alpha / len(A))


def merge_by_addmm(weight, A, B, alpha):
    return torch.addmm(weight, B, A, alpha=alpha / A.size(0))


def merge_a_copy(weight, A, B, alpha):
    merged = weight.detach().clone()
    merged += (alpha / B.shape[1]) * (B @ A)
    return merged


def merge_by_einsum(weight, A, B, alpha):
    return weight + alpha * torch.einsum("or,rd->od", B, A) / A.shape[0]


def merge_in_double(weight, A, B, alpha):
    return weight.double() + (alpha / len(A)) * B.double() @ A.double()


def merge_as_parameter(weight, A, B, alpha):
    return nn.Parameter(weight + (alpha / len(A) * B) @ A)


def merge_through_the_update(weight, A, B, alpha):
    return weight + lora.lora_update(torch.eye(weight.shape[1]), A, B, alpha).T


# What learns --------------------------------------------------------------------------------------


def freeze_nothing(model, name):
    for layer in lora.layers(model).values():
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


def freeze_everything(model, name):
    model.requires_grad_(False)


def freeze_weights_of_layers(model, name):
    for layer in lora.layers(model).values():
        layer.requires_grad_(False)
    freeze_nothing(model, name)


def freeze_all_but_biases(model, name):
    lora.freeze(model, name)
    for path, p in model.named_parameters():
        if path.endswith("bias"):
            p.requires_grad = True


def freeze_all_but_head(model, name):
    lora.freeze(model, name)
    model.head.requires_grad_(True)


def freeze_all_but_norm(model, name):
    lora.freeze(model, name)
    model.norm.requires_grad_(True)


def freeze_all_but_embedding(model, name):
    lora.freeze(model, name)
    model.embedding.weight.requires_grad = True


def freeze_without_thaw(model, name):
    for path, p in model.named_parameters():
        if not path.endswith((f".A.{name}", f".B.{name}")):
            p.requires_grad = False


def thaw_all_adapters(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        layer.A.requires_grad_(True)
        layer.B.requires_grad_(True)


def thaw_by_part_of_the_name(model, name):
    for path, p in model.named_parameters():
        p.requires_grad = name in path


def thaw_only_b(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        if name in layer.configs:
            layer.B[name].requires_grad_(True)


def thaw_only_a(model, name):
    model.requires_grad_(False)
    for path, p in model.named_parameters():
        p.requires_grad = path.endswith(f".A.{name}")


def thaw_first_layer(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        layer.A[name].requires_grad_(True)
        layer.B[name].requires_grad_(True)
        break


def thaw_the_active(model, name):
    lora.freeze(model, next(iter(lora.layers(model).values())).active)


def thaw_on_every_layer(model, name):
    model.requires_grad_(False)
    for layer in lora.layers(model).values():
        layer.A[name].requires_grad_(True)
        layer.B[name].requires_grad_(True)


def thaw_known_layers(model, name):
    model.requires_grad_(False)
    for layer in (model.up, model.down):
        if name in layer.configs:
            layer.A[name].requires_grad_(True)
            layer.B[name].requires_grad_(True)


def thaw_known_paths(model, name):
    known = {f"{layer}.{matrix}.{name}" for layer in ("up", "down") for matrix in "AB"}
    for path, p in model.named_parameters():
        p.requires_grad = path in known


def zero_the_base(model, name):
    lora.freeze(model, name)
    with torch.no_grad():
        model.up.base.weight.zero_()


def freeze_by_names(model, name):
    for path, p in model.named_parameters():
        p.requires_grad = path.endswith((f".A.{name}", f".B.{name}"))


def freeze_by_last_part(model, name):
    for path, p in model.named_parameters():
        p.requires_grad_(path.split(".")[-1] == name)


def freeze_by_modules(model, name):
    for p in model.parameters():
        p.requires_grad = False
    for module in model.modules():
        if isinstance(module, lora.LoRALinear):
            for matrices in (module.A, module.B):
                if name in matrices:
                    matrices[name].requires_grad = True


def freeze_by_identity(model, name):
    chosen = {
        id(m[name])
        for layer in lora.layers(model).values()
        for m in (layer.A, layer.B)
        if name in m
    }
    for p in model.parameters():
        p.requires_grad_(id(p) in chosen)
    return model


# The silent bug -----------------------------------------------------------------------------------


def unmerge_without_factor(weight, A, B, alpha):
    return weight - B @ A


def unmerge_adds(weight, A, B, alpha):
    return weight + B @ A * (alpha / len(A))


def unmerge_adds_bare(weight, A, B, alpha):
    return weight + B @ A


def unmerge_root(weight, A, B, alpha):
    return weight - B @ A * (alpha / math.sqrt(len(A)))


def unmerge_alpha_alone(weight, A, B, alpha):
    return weight - alpha * B @ A


def unmerge_alpha_of_the_notebook(weight, A, B, alpha):
    return lora.unmerged_weight(weight, A, B, public_calls("lora.silent_bug")[0][3])


def unmerge_in_place(weight, A, B, alpha):
    return weight.sub_(B @ A * (alpha / len(A)))


def unmerge_to_zeros(weight, A, B, alpha):
    return weight - weight


def unmerge_update_alone(weight, A, B, alpha):
    return -B @ A * (alpha / len(A))


def unmerge_nothing(weight, A, B, alpha):
    return weight.clone()


def unmerge_transposed(weight, A, B, alpha):
    return weight - A.T @ B.T * (alpha / len(A))


def unmerge_a_part(weight, A, B, alpha):
    return weight - B[:, :1] @ A[:1] * (alpha / len(A))


def unmerge_by_merging(weight, A, B, alpha):
    return lora.merged_weight(weight, -A, B, alpha)


def unmerge_negative_alpha(weight, A, B, alpha):
    return lora.merged_weight(weight, A, B, -alpha)


def unmerge_by_addmm(weight, A, B, alpha):
    return torch.addmm(weight, B, A, alpha=-alpha / len(A))


def unmerge_a_copy(weight, A, B, alpha):
    base = weight.clone()
    base -= (alpha / A.shape[0]) * torch.matmul(B, A)
    return base


def unmerge_in_double(weight, A, B, alpha):
    return (weight.double() - alpha / len(A) * (B.double() @ A.double())).float()


WRONG = {
    "lora.initialise": [
        (both_zero, "no gradient would ever reach either"),
        (both_random, "does not begin at the base"),
        (zeros_in_a, "other way round"),
        (changed_places, "changed places"),
        (both_transposed, "both transposed"),
        (a_transposed, "A (rank, d_in) must be"),
        (full_size_b, "B (d_out, rank) must be"),
        (all_ones, "all numbers of A are the same"),
        (seeded, "same on every call"),
        (one_row, "repeat each other"),
        (never_negative, "do not lie around 0"),
        (far_too_large, "too large"),
        (far_too_small, "too small"),
        (whole_numbers, "must hold floats"),
        (divided_by_nothing, "not finite"),
        (a_alone, "two tensors"),
        (by_heart("lora.initialise"), "must be a tensor"),
    ],
    "lora.update": [
        (no_factor, "alpha / rank is missing"),
        (alpha_alone, "never divided by the rank"),
        (rank_alone, "alpha is not used"),
        (root_of_rank, "rsLoRA"),
        (upside_down, "stands on its head"),
        (columns_of_a, "divided by d_in"),
        (rows_of_b, "divided by d_out"),
        (b_first, "changed places"),
        (plus_x, "x is added"),
        (columns_only, "shapes do not fit"),
        (two_dimensions, "x may also be (batch, time, d_in)"),
        (only_a_batch, "x may also be (batch, time, d_in)"),
        (negative, "sign is wrong"),
        (a_product_of_rows, "not (alpha / rank) B A x"),
        (detached, "no gradient flows"),
        (a_detached, "no gradient reaches A"),
        (x_detached, "no gradient reaches x"),
        (scaled_in_place, "x is changed in place"),
        (b_scaled_in_place, "B is changed in place"),
        (alpha_of_the_notebook, "taken to be the notebook's"),
        (by_heart("lora.update"), "not (alpha / rank) B A x"),
    ],
    "lora.parameters": [
        (count_product, "multiplied, not added"),
        (count_both_products, "sizes of A and B are multiplied"),
        (count_a, "A alone"),
        (count_b, "B alone"),
        (count_with_weight, "frozen weight is counted too"),
        (count_weight, "full tuning"),
        (count_without_rank, "rank is not used"),
        (count_twice_a, "as wide as A"),
        (count_twice_b, "as high as B"),
        (count_as_float, "this is a float"),
        (count_as_float_tensor, "this is a float"),
        (count_as_text, "one number"),
        (count_one_off, "does not take"),
        (by_heart("lora.parameters"), "does not take"),
    ],
    "lora.merge": [
        (merge_without_factor, "right only where alpha equals the rank"),
        (merge_alpha_alone, "never divided by the rank"),
        (merge_root, "rsLoRA"),
        (merge_columns_of_a, "divided by d_in"),
        (merge_transposed, "transposed"),
        (merge_changed_places, "shapes do not fit"),
        (merge_in_place, "changed in place"),
        (merge_into_data, "changed in place"),
        (merge_update_alone, "update alone"),
        (merge_bare_product, "update alone"),
        (merge_nothing, "same as before"),
        (merge_copy, "same as before"),
        (merge_no_return, "returns nothing"),
        (lora.unmerged_weight, "subtracted"),
        (merge_alpha_of_the_notebook, "taken to be the notebook's"),
        (by_heart("lora.merge"), "not W₀ + (alpha / rank) B A"),
    ],
    "lora.freeze": [
        (freeze_nothing, "whole base still trains"),
        (freeze_everything, "was frozen and still is"),
        (freeze_weights_of_layers, "embedding.weight"),
        (freeze_all_but_biases, "up.base.bias"),
        (freeze_all_but_head, "head.weight"),
        (freeze_all_but_norm, "norm.weight, norm.bias"),
        (freeze_all_but_embedding, "embedding.weight"),
        (freeze_without_thaw, "was frozen and still is"),
        (thaw_all_adapters, "trains as well"),
        (thaw_by_part_of_the_name, "'triage_old' trains as well"),
        (thaw_only_b, "only B of the adapter trains"),
        (thaw_only_a, "only A of the adapter trains"),
        (thaw_first_layer, "down.A.triage"),
        (thaw_the_active, "was frozen and still is"),
        (thaw_on_every_layer, "need not be on every layer"),
        (zero_the_base, "numbers of the model have changed"),
        (thaw_known_layers, "fits one model alone"),
        (thaw_known_paths, "was frozen and still is"),
        (by_heart("lora.freeze"), "whole base still trains"),
    ],
    "lora.silent_bug": [
        (unmerge_without_factor, "a part of the adapter stays behind"),
        (unmerge_adds, "added a second time"),
        (unmerge_adds_bare, "added a second time"),
        (unmerge_root, "rsLoRA"),
        (unmerge_alpha_alone, "never divided"),
        (unmerge_in_place, "changed in place"),
        (unmerge_to_zeros, "only zeros"),
        (unmerge_update_alone, "update alone"),
        (unmerge_nothing, "nothing has been taken out"),
        (unmerge_transposed, "transposed"),
        (unmerge_a_part, "not the weight before merging"),
        (merge_nothing, "nothing has been taken out"),
        (unmerge_alpha_of_the_notebook, "taken to be the notebook's"),
        (by_heart("lora.silent_bug"), "not the weight before merging"),
    ],
}
RIGHT = {
    "lora.initialise": [
        lora.initialise,
        start_small,
        start_over_rank,
        start_standard,
        start_kaiming,
        start_orthogonal,
        start_through_layers,
        start_uniform,
        start_in_double,
    ],
    "lora.update": [
        lora.lora_update,
        update_by_linear,
        update_by_the_product,
        update_by_einsum,
        update_scaled_first,
        update_in_double,
        update_row_by_row,
    ],
    "lora.parameters": [
        parameters.lora_parameters,
        count_separately,
        count_by_tensors,
        count_by_numpy,
        count_as_tensor,
        count_by_layers,
    ],
    "lora.merge": [
        lora.merged_weight,
        merge_by_addmm,
        merge_a_copy,
        merge_by_einsum,
        merge_in_double,
        merge_as_parameter,
        merge_through_the_update,
    ],
    "lora.freeze": [
        lora.freeze,
        freeze_by_names,
        freeze_by_last_part,
        freeze_by_modules,
        freeze_by_identity,
    ],
    "lora.silent_bug": [
        lora.unmerged_weight,
        unmerge_by_merging,
        unmerge_negative_alpha,
        unmerge_by_addmm,
        unmerge_a_copy,
        unmerge_in_double,
    ],
}


@pytest.mark.parametrize("id, function, said", cases(WRONG))
def test_wrong_solutions_lose_points_and_hear_why(id, function, said):
    for seed in SEEDS[:8]:
        earned, mistakes = points(id, function, seed)
        assert earned < find(id).points
        assert any(said in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize("id, function", cases(RIGHT))
def test_correct_solutions_get_full_marks_however_written(id, function):
    for seed in SEEDS:
        assert points(id, function, seed) == (find(id).points, [])


def test_every_exercise_has_its_banks_and_its_points():
    exercises = {
        exercise.id: exercise
        for exercise in vars(checks.lora).values()
        if hasattr(exercise, "checks")
    }
    assert set(exercises) == set(WRONG) == set(RIGHT)
    assert all(len(WRONG[id]) >= 5 and len(RIGHT[id]) >= 4 for id in exercises)
    assert {id: exercise.points for id, exercise in exercises.items()} == {
        "lora.initialise": 3,
        "lora.update": 4,
        "lora.parameters": 2,
        "lora.merge": 3,
        "lora.freeze": 3,
        "lora.silent_bug": 4,
    }


def test_the_colleagues_bug_copied_earns_nothing():
    assert points("lora.silent_bug", unmerge_without_factor, seed=0)[0] == 0


def test_an_empty_function_earns_nothing():
    for id in WRONG:
        assert points(id, lambda *_: None, seed=0)[0] == 0


def test_every_failure_names_the_next_thing_to_try():
    for id, entries in WRONG.items():
        for function, said in entries:
            found = [r for r in run_checks(find(id), function, 1) if said in r.mistake]
            assert found and all(r.next for r in found), (function.__name__, found)


def test_the_colleagues_bug_hides_where_alpha_is_the_rank():
    weight, A, B = checks.lora.random_matrices(0)
    merged = lora.merged_weight(weight, A, B, len(A))
    torch.testing.assert_close(unmerge_without_factor(merged, A, B, len(A)), weight)
