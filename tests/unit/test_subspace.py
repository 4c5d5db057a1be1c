"""What must hold for training in a random subspace, whatever the model, and what it refuses."""

import copy
import math

import pytest
import torch
from methods.sft import fine_tune, sft_loss
from methods.subspace import RandomSubspace
from transformers import LlamaConfig, LlamaForCausalLM

VOCAB = 13
IDS = torch.randint(0, VOCAB, (3, 7), generator=torch.Generator().manual_seed(0))


def new_model(tied=True):
    """A Llama of one layer."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            initializer_range=0.2,
            tie_word_embeddings=tied,
        )
    )


TOTAL = sum(p.numel() for p in new_model().parameters())
both = pytest.mark.parametrize("tied", [True, False])
every_dimension = pytest.mark.parametrize("dimension", [1, 7, 100, TOTAL - 1, TOTAL])


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def change(space, z):
    """P z, as one vector over all parameters."""
    with torch.no_grad():
        space.z.copy_(z)
        now = flat(space.parameters_now().values())
        return now - flat(space.model.parameters())


def matrix(space):
    """P, (parameters, dimension), one column for each unit vector; the base's parameters are set to
    zero."""
    for p in space.model.parameters():
        p.data.zero_()
    return torch.stack([change(space, unit) for unit in torch.eye(len(space.z))], dim=1)


def moved(tied=True, dimension=50, scale=3.0):
    """A subspace somewhere else than at its start."""
    space = RandomSubspace(new_model(tied), dimension, seed=0)
    space.z.data = scale * torch.randn(dimension, generator=torch.Generator().manual_seed(1))
    return space


@both
@every_dimension
def test_it_begins_at_the_base_to_the_last_bit(tied, dimension):
    space = RandomSubspace(new_model(tied), dimension, seed=0)
    assert torch.equal(space(input_ids=IDS).logits, new_model(tied)(input_ids=IDS).logits)


@every_dimension
def test_every_parameter_is_moved_by_one_entry_and_every_entry_moves_as_many(dimension):
    moves = matrix(RandomSubspace(new_model(), dimension, seed=0)) != 0
    assert (moves.sum(1) == 1).all()
    per_entry = moves.sum(0)
    assert per_entry.min() >= TOTAL // dimension and per_entry.max() <= math.ceil(TOTAL / dimension)


def test_signs_and_places_are_mixed_over_the_model():
    P = matrix(RandomSubspace(new_model(), 2, seed=0)).sum(1)
    assert abs((P > 0).float().mean().item() - 0.5) < 0.1
    first = matrix(RandomSubspace(new_model(), 2, seed=0))[:, 0] != 0
    assert all(abs(half.float().mean().item() - 0.5) < 0.1 for half in first.chunk(2))


@pytest.mark.parametrize("dimension", [d for d in range(1, TOTAL + 1) if TOTAL % d == 0])
def test_lengths_are_kept_where_the_entries_share_the_parameters_evenly(dimension):
    space = RandomSubspace(new_model(), dimension, seed=0)
    for p in space.model.parameters():
        p.data.zero_()
    z = torch.randn(dimension, generator=torch.Generator().manual_seed(1))
    assert change(space, z).norm().item() == pytest.approx(z.norm().item(), rel=1e-4)


@every_dimension
def test_lengths_are_kept_up_to_one_parameter_for_each_entry(dimension):
    lengths = matrix(RandomSubspace(new_model(), dimension, seed=0)).norm(dim=0)
    share = TOTAL / dimension
    assert lengths.min().item() >= math.sqrt(math.floor(share) / share) * (1 - 1e-4)
    assert lengths.max().item() <= math.sqrt(math.ceil(share) / share) * (1 + 1e-4)


def test_a_seed_names_the_subspace():
    one, same, other = (matrix(RandomSubspace(new_model(), 20, seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_only_z_trains():
    space = RandomSubspace(new_model(), 50, seed=0)
    assert [name for name, p in space.named_parameters() if p.requires_grad] == ["z"]
    labels = IDS.clone()
    losses = fine_tune(space, [(IDS, labels)] * 20, steps=20, learning_rate=0.1)
    assert losses[-1] < losses[0] and space.z.abs().min() > 0
    after, before = space.model.state_dict(), new_model().state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(p.grad is None for p in space.model.parameters())


@both
def test_it_computes_what_a_model_with_those_parameters_computes(tied):
    space, plain = moved(tied), new_model(tied)
    now = space.parameters_now()
    assert now.keys() == dict(plain.named_parameters()).keys()
    with torch.no_grad():
        for name, p in plain.named_parameters():
            p.copy_(now[name])
    assert (plain.lm_head.weight is plain.model.embed_tokens.weight) == tied
    assert torch.equal(space(input_ids=IDS).logits, plain(input_ids=IDS).logits)
    assert not torch.allclose(
        space(input_ids=IDS).logits, new_model(tied)(input_ids=IDS).logits, atol=0.1
    )


@both
@pytest.mark.parametrize("dimension", [50, "all"])
def test_the_gradient_of_z_is_the_full_gradient_seen_through_the_subspace(tied, dimension):
    plain = new_model(tied)
    total = sum(p.numel() for p in plain.parameters())
    space = RandomSubspace(copy.deepcopy(plain), total if dimension == "all" else dimension, seed=0)
    for model in (plain, space):
        sft_loss(model(input_ids=IDS).logits, IDS).backward()
    full = flat(p.grad for p in plain.parameters())
    P = matrix(space)
    torch.testing.assert_close(space.z.grad, P.T @ full, rtol=1e-4, atol=1e-6)
    if dimension == "all":  # nothing is lost: P turns the gradient of z back into the full gradient
        torch.testing.assert_close(P @ space.z.grad, full, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dimension", [-1, 0, TOTAL + 1, 1.5, True])
def test_a_dimension_that_does_not_exist_is_refused_and_the_model_left_alone(dimension):
    model = new_model()
    with pytest.raises(
        ValueError, match=f"^the dimension is {dimension} and the model has {TOTAL:,} parameters"
    ):
        RandomSubspace(model, dimension, seed=0)
    assert all(p.requires_grad for p in model.parameters())
