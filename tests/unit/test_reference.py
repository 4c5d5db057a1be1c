"""The reference: the base with a fresh adapter off, or a frozen copy; and training beside it."""

import copy
import itertools

import pytest
import torch
from methods import dpo, grpo, lora, models, ppo, reference, tokens
from methods.reward import ScalarModel
from tiny import CONTEXT, PAD, PROMPTS, STOP, new_policy, parameters, same_parameters

IDS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 10, 11, 2]])


def adapted(name="default", targets="all-linear", rank=2, policy=None):
    policy = policy or new_policy()
    torch.manual_seed(3)
    lora.inject(policy, rank=rank, alpha=4.0 * rank, targets=targets, name=name)
    return policy


def teach(policy, names=("default",), layers=None):
    """As after some training: B is no longer 0."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for path, layer in lora.layers(policy).items():
            for name in layer.configs.keys() & set(names):
                if layers is None or path in layers:
                    layer.B[name].copy_(torch.randn(layer.B[name].shape, generator=generator))
    return policy


def says(model):
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def base_of(policy):
    """The weights below the adapters."""
    return {
        name: value.clone()
        for name, value in policy.state_dict().items()
        if ".A." not in name and ".B." not in name
    }


def states(policy):
    """What must be as before: what is active, what trains, what is in training mode."""
    return (
        [layer.active for layer in lora.layers(policy).values()],
        [parameter.requires_grad for parameter in policy.parameters()],
        [part.training for part in policy.modules()],
    )


# A fresh adapter ----------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"], "down_proj"])
def test_a_fresh_adapter_switched_off_is_the_reference_and_takes_no_memory(targets):
    policy = adapted(targets=targets)
    held = reference.reference_of(policy)
    assert isinstance(held, reference.AdapterOff)
    assert {p.data_ptr() for p in held.parameters()} == {p.data_ptr() for p in policy.parameters()}
    assert len(list(held.parameters())) == len(list(policy.parameters()))
    assert not list(held.buffers(recurse=False)) and held.device == policy.device


def test_it_says_what_the_base_says_and_goes_on_saying_it():
    policy = adapted()
    held = reference.reference_of(policy)
    base = says(new_policy())
    assert torch.equal(says(held), base)
    teach(policy)
    assert torch.equal(says(held), base)
    assert not torch.allclose(says(policy), base, atol=1e-2)


def test_it_gives_no_gradient():
    policy = teach(adapted())
    policy.lm_head.weight.requires_grad_(True)  # so that even the base's answer would have one
    held = reference.AdapterOff(policy)
    assert not held(input_ids=IDS, use_cache=False).logits.requires_grad
    assert policy(input_ids=IDS, use_cache=False).logits.requires_grad


@pytest.mark.parametrize("learned", [False, True])
def test_its_logits_can_be_asked_for_without_it(learned):
    policy = teach(adapted()) if learned else adapted()
    policy.lm_head.weight.requires_grad_(True)
    before = states(policy)
    logits = reference.reference_logits(policy, IDS)
    assert torch.equal(logits, says(new_policy())) and not logits.requires_grad
    assert states(policy) == before


def test_padding_on_the_left_reaches_the_model_below():
    policy = adapted()
    held = reference.reference_of(policy)
    ids, real = tokens.pad(PROMPTS, PAD, side="left")
    told = held(**models.inputs(held, ids, real), use_cache=False).logits
    base = new_policy()
    torch.testing.assert_close(
        told[real], base(**models.inputs(base, ids, real), use_cache=False).logits[real]
    )


def test_it_refuses_what_the_model_below_cannot_read():
    held = reference.reference_of(adapted())
    for row in ([2] * (CONTEXT + 1), [12], [-1]):
        with pytest.raises(ValueError):
            models.check_tokens(held, torch.tensor([row]))
    models.check_tokens(held, torch.tensor([[2] * CONTEXT]))


@pytest.mark.parametrize("mode", [True, False])
def test_after_it_was_asked_the_policy_is_as_it_was(mode):
    policy = teach(adapted()).train(mode)
    before, numbers, told = states(policy), parameters(policy), says(policy)
    held = reference.AdapterOff(policy)
    for _ in range(2):
        says(held)
    with models.evaluating(held):
        says(held)
    assert states(policy) == before and same_parameters(policy, numbers)
    assert torch.equal(says(policy), told)


def test_after_an_error_the_adapter_is_back():
    policy = teach(adapted())
    before = states(policy)
    held = reference.AdapterOff(policy)
    with pytest.raises(IndexError):
        held(input_ids=torch.tensor([[12]]))
    assert states(policy) == before
    with pytest.raises(KeyError), reference.adapter_off(policy):
        assert {layer.active for layer in lora.layers(policy).values()} == {None}
        raise KeyError
    assert states(policy) == before


def test_each_layer_gets_its_own_adapter_back():
    policy = adapted("one", ["q_proj", "v_proj"])
    adapted("two", ["v_proj", "down_proj"], rank=1, policy=policy)
    teach(policy, ("one", "two"))
    names = itertools.cycle(["one", "two", None])
    for layer in lora.layers(policy).values():
        layer.active = next(names)
    before, told = states(policy), says(policy)
    assert len(set(before[0])) == 3
    assert torch.equal(says(reference.AdapterOff(policy)), says(new_policy()))
    assert states(policy) == before and torch.equal(says(policy), told)


def test_an_adapter_beside_the_active_one_does_not_matter():
    """It does not answer, so the policy is the base whatever the other has learned."""
    policy = teach(adapted("old"), ("old",))
    adapted("new", rank=1, policy=policy)
    held = reference.reference_of(policy)
    assert isinstance(held, reference.AdapterOff)
    assert torch.equal(says(held), says(new_policy()))
    assert torch.equal(says(policy), says(new_policy()))
    assert {layer.active for layer in lora.layers(policy).values()} == {"new"}


# A frozen copy ------------------------------------------------------------------------------------


def is_a_frozen_copy(held, policy):
    """Equal now, and whatever happens to the policy later."""
    before = says(policy)
    assert not isinstance(held, reference.AdapterOff)
    assert torch.equal(says(held), before)
    assert not any(parameter.requires_grad for parameter in held.parameters())
    mine = {parameter.data_ptr() for parameter in policy.parameters()}
    assert mine.isdisjoint(parameter.data_ptr() for parameter in held.parameters())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1
    assert torch.equal(says(held), before) and not torch.equal(says(policy), before)


def test_a_full_model_is_copied():
    policy = new_policy()
    held = reference.reference_of(policy)
    assert all(parameter.requires_grad for parameter in policy.parameters())
    is_a_frozen_copy(held, policy)


def test_an_adapter_that_has_learned_is_part_of_the_reference():
    policy = teach(adapted())
    before = states(policy)
    held = reference.reference_of(policy)
    assert states(policy) == before
    assert not torch.allclose(says(held), says(new_policy()), atol=1e-2)
    is_a_frozen_copy(held, policy)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_one_layer_that_has_learned_is_enough(place):
    policy = adapted()
    path = list(lora.layers(policy))[place]
    teach(policy, layers=[path])
    is_a_frozen_copy(reference.reference_of(policy), policy)


def test_one_number_that_has_learned_is_enough():
    policy = adapted()
    with torch.no_grad():
        next(iter(lora.layers(policy).values())).B["default"][3, 1] = 1e-6
    assert not isinstance(reference.reference_of(policy), reference.AdapterOff)


def test_a_merged_adapter_is_part_of_the_reference():
    policy = teach(adapted())
    lora.merge(policy)
    is_a_frozen_copy(reference.reference_of(policy), policy)
    fresh = adapted()  # nothing to tell, but the base's weights may still be unmerged one day
    lora.merge(fresh)
    is_a_frozen_copy(reference.reference_of(fresh), fresh)


def test_a_policy_without_an_active_adapter_is_copied():
    policy = adapted()
    lora.activate(policy, None)
    policy.requires_grad_(True)
    is_a_frozen_copy(reference.reference_of(policy), policy)


def test_what_trains_beside_the_adapter_is_copied():
    """Switched off, the adapter would leave a base that has moved."""
    policy = adapted()
    policy.lm_head.weight.requires_grad_(True)
    is_a_frozen_copy(reference.reference_of(policy), policy)
    policy = adapted("one", ["q_proj"])
    adapted("two", ["v_proj"], policy=policy)
    lora.layers(policy)["model.layers.0.self_attn.q_proj"].base.weight.requires_grad_(True)
    is_a_frozen_copy(reference.reference_of(policy), policy)


# Training beside it -------------------------------------------------------------------------------


PAIRS = [
    ([3, 4, 5], [[6, 7, STOP], [8, STOP]]),
    ([6, 7], [[2, STOP], [9, 10, 11, 3, STOP]]),
    ([2], [[10, STOP], [5]]),
    ([9, 8, 3, 2], [[4, 4, STOP], [11, STOP]]),
]


def score(prompts, responses):
    return torch.tensor(
        [sum(prompt) / 10 - sum(response) / 20 for prompt, response in zip(prompts, responses)]
    )


def by_dpo(policy, loss=dpo.sigmoid_loss):
    settings = dict(loss=loss, beta=0.7, epochs=3, batch_size=2, learning_rate=0.01)
    return list(dpo.train(policy, PAIRS, pad_id=PAD, **settings))


def by_kto(policy):
    return by_dpo(policy, dpo.kto_loss)


def by_grpo(policy):
    config = grpo.GRPOConfig(size=3, beta=0.3, max_new_tokens=5, learning_rate=0.01)
    run = grpo.train(policy, score, [PROMPTS] * 4, config, stop_id=STOP, pad_id=PAD)
    return [metrics for _, metrics in run]


def by_ppo(policy):
    config = ppo.PPOConfig(beta=0.3, max_new_tokens=5, learning_rate=0.01)
    critic, batches = ScalarModel(policy), [PROMPTS * 3] * 4
    run = ppo.train(policy, critic, score, batches, config, stop_id=STOP, pad_id=PAD)
    return [
        {name: value for name, value in metrics.items() if name != "explained_variance"}
        for _, metrics in run
    ]


METHODS = {by_dpo: dpo, by_kto: dpo, by_grpo: grpo, by_ppo: ppo}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("learned", [False, True])
def test_training_an_adapter_leaves_the_base_alone_and_is_held_to_the_start(
    method, learned, monkeypatch
):
    """Whether the reference is the adapter switched off or a copy, the training is the same."""
    policy, plain = adapted(), adapted()
    if learned:
        teach(policy), teach(plain)
    before, start = base_of(policy), parameters(policy)
    torch.manual_seed(2)
    history = method(policy)
    monkeypatch.setattr(
        METHODS[method], "reference_of", lambda own: copy.deepcopy(own).requires_grad_(False)
    )
    torch.manual_seed(2)
    expected = method(plain)
    assert len(history) == len(expected)
    for mine, other in zip(history, expected):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-5)
    for parameter, other in zip(policy.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=0, atol=1e-5)
    after = base_of(policy)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not same_parameters(policy, start)
    far = "margin" if "margin" in history[0] else "kl"
    assert abs(history[0][far]) < 1e-4 < abs(history[-1][far])


@pytest.mark.parametrize("method", METHODS)
def test_a_fresh_adapter_is_trained_without_a_second_model(method, monkeypatch):
    seen, reference_of = [], METHODS[method].reference_of

    def spy(policy):
        seen.append(reference_of(policy))
        return seen[-1]

    monkeypatch.setattr(METHODS[method], "reference_of", spy)
    policy = adapted()
    trained = [parameter.requires_grad for parameter in policy.parameters()]
    method(policy)
    # DPO asks the policy itself, before its first step, and nothing afterwards
    assert [type(held) for held in seen] == [reference.AdapterOff] * (method is not by_dpo)
    assert all(held.policy is policy for held in seen)
    assert [parameter.requires_grad for parameter in policy.parameters()] == trained
    assert {layer.active for layer in lora.layers(policy).values()} == {"default"}
    assert all(torch.equal(says(held), says(new_policy())) for held in seen)


@pytest.mark.parametrize(
    "pair", [([2] * (CONTEXT - 2), [[3, STOP], [4, 5, STOP]]), ([3], [[4, STOP], [12, STOP]])]
)
def test_pairs_that_cannot_be_read_change_no_adapter_either(pair):
    """Not even by a step on the pairs before them, whichever come first."""
    for seed in range(6):
        policy = adapted()
        before = parameters(policy)
        with pytest.raises(ValueError, match="context|knows"):
            list(
                dpo.train(
                    policy, [*PAIRS, pair], pad_id=PAD, batch_size=1, learning_rate=0.1, seed=seed
                )
            )
        assert same_parameters(policy, before)
