"""Sampling: padding, the cache, the stop token, and that what is drawn follows the model."""
import pytest
import torch

from methods import sampling
from tiny import PAD, PROMPTS, STOP, new_policy


@pytest.fixture()
def policy():
    return new_policy()


def draw(policy, prompts=PROMPTS, longest=8, **more):
    torch.manual_seed(1)
    return sampling.sample(policy, prompts, max_new_tokens=longest, stop_id=STOP, pad_id=PAD, **more)


@torch.no_grad()
def next_log_probs(policy, ids, temperature=1.0):
    """The model's next-token distribution after one row, without cache or padding: float (vocab,)"""
    return (policy(torch.tensor([ids])).logits[0, -1] / temperature).log_softmax(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_each_log_prob_is_the_models_without_cache_or_padding(policy, temperature):
    drawn = draw(policy, temperature=temperature)
    for prompt, response, log_probs in zip(PROMPTS, drawn.responses, drawn.log_probs, strict=True):
        assert len(response) == len(log_probs)
        for t, token in enumerate(response):
            expected = next_log_probs(policy, prompt + response[:t], temperature)[token]
            assert log_probs[t] == pytest.approx(expected.item(), abs=1e-5)


def test_tokens_are_drawn_as_often_as_the_model_says(policy):
    count = 4000
    drawn = draw(policy, [PROMPTS[0]] * count, longest=1)
    seen = torch.bincount(torch.tensor([response[0] for response in drawn.responses]), minlength=12)
    expected = next_log_probs(policy, PROMPTS[0]).exp() * count
    assert ((seen - expected) ** 2 / expected).sum() < 31.3  # chi-square with 11 degrees of freedom, p = 0.001


def test_the_stop_token_belongs_to_the_response_and_nothing_follows():
    cut = sampling.cut_at_stop([[5, 1, 7, 1], [5, 6, 7, 8], [1, 1, 1, 1]], [[-1.0, -2.0, -3.0, -4.0]] * 3, STOP)
    assert cut.responses == [[5, 1], [5, 6, 7, 8], [1]]
    assert cut.log_probs == [[-1.0, -2.0], [-1.0, -2.0, -3.0, -4.0], [-1.0]]
    assert cut.stopped == [True, False, True]


def test_a_response_that_never_stops_is_cut_and_told(policy):
    for response, stopped in zip((drawn := draw(policy, longest=5)).responses, drawn.stopped):
        assert len(response) <= 5 and stopped == (response[-1] == STOP)


def test_sampling_ends_when_every_response_has(policy):
    calls = []
    policy.register_forward_pre_hook(lambda *_: calls.append(1))
    drawn = draw(policy, longest=19)
    assert all(drawn.stopped) == (len(calls) < 19) and len(calls) == max(map(len, drawn.responses))


def test_padding_on_the_left_changes_nothing(policy):
    ids, real = sampling.pad(PROMPTS, PAD, side="left")
    assert ids[1].tolist() == [PAD] * 3 + [6, 7] and real[1].tolist() == [False] * 3 + [True] * 2
    with torch.no_grad():
        together = policy(**sampling.inputs(ids, real)).logits
    for row, prompt in enumerate(PROMPTS):
        alone = policy(torch.tensor([prompt])).logits[0]
        torch.testing.assert_close(together[row, -len(prompt):], alone, rtol=0, atol=1e-5)


def test_padding_on_the_right_needs_no_mask(policy):
    ids, real = sampling.pad(PROMPTS, PAD)
    assert ids[1].tolist() == [6, 7] + [PAD] * 3 and list(sampling.inputs(ids, real)) == ["input_ids"]


@pytest.mark.parametrize("prompts, longest, words", [
    ([], 4, "at least one prompt"), ([[3], []], 4, "no empty prompt"), ([[3]], 0, "at least one new token"),
    ([[3] * 20], 8, "20 tokens and 8 new ones exceed the model's context of 24"),
    ([[3] * 20], 5, "exceed the model's context")])
def test_what_cannot_be_sampled_is_refused(policy, prompts, longest, words):
    with pytest.raises(ValueError, match=words):
        draw(policy, prompts, longest)


def test_a_prompt_that_just_fits_is_not_refused(policy):
    assert len(draw(policy, [[3] * 20], longest=4).responses) == 1


def test_a_spoilt_policy_is_named(policy):
    policy.lm_head.weight.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="logits are NaN"):
        draw(policy)
