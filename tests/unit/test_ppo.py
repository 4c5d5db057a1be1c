"""PPO and what it stands on: sampling, reward at the end, advantages, the clip, the KL estimators."""
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from methods import kl, ppo, sampling
from methods.reward import ScalarModel, bradley_terry_loss, check_rankings, ranking_loss, reward_at_end
from methods.sft import IGNORE, mask_prompt

STOP, PAD = 1, 0
PROMPTS = [[3, 4, 5], [6, 7], [8, 9, 10, 11, 3]]


@pytest.fixture()
def policy():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=12, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                                        num_attention_heads=2, max_position_embeddings=24)).requires_grad_(True)


def random_counts(rows=6, time=9):
    """Response masks: after a prompt of random length, a run of random length."""
    counts = torch.zeros(rows, time, dtype=torch.bool)
    for row in range(rows):
        start, length = 1 + row % 3, 1 + (2 * row) % 5
        counts[row, start:start + length] = True
    return counts


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_recomputed_log_probs_are_those_of_sampling(policy, temperature):
    torch.manual_seed(1)
    drawn = sampling.sample(policy, PROMPTS, max_new_tokens=8, stop_id=STOP, pad_id=PAD, temperature=temperature)
    examples = [mask_prompt(p, r) for p, r in zip(PROMPTS, drawn.responses)]
    ids, real = sampling.pad([e[0] for e in examples], PAD)
    labels = sampling.pad([e[1] for e in examples], IGNORE)[0]
    counts = labels[:, 1:] != IGNORE
    again = ppo.response_log_probs(policy, ids, real, labels, temperature)
    torch.testing.assert_close(again, ppo.place(drawn.log_probs, counts), rtol=0, atol=1e-5)
    assert (again[counts] < 0).all()


def test_nothing_follows_the_stop_token():
    cut = sampling.cut_at_stop([[5, 1, 7, 1], [5, 6, 7, 8]], [[-1.0, -2.0, -3.0, -4.0]] * 2, STOP)
    assert cut.responses == [[5, 1], [5, 6, 7, 8]]
    assert cut.log_probs == [[-1.0, -2.0], [-1.0, -2.0, -3.0, -4.0]]
    assert cut.stopped == [True, False]


def test_a_prompt_beyond_the_context_is_refused(policy):
    with pytest.raises(ValueError, match="context of 24"):
        sampling.sample(policy, [[3] * 20], max_new_tokens=8, stop_id=STOP, pad_id=PAD)


def test_padding_on_either_side_changes_no_reward(policy):
    model = ScalarModel(policy)
    torch.nn.init.normal_(model.head.weight)
    left, right = (sampling.pad(PROMPTS, PAD, side=side) for side in ("left", "right"))
    torch.testing.assert_close(reward_at_end(model(*left), left[1]), reward_at_end(model(*right), right[1]))
    alone = torch.stack([model(torch.tensor([p]), torch.ones(1, len(p), dtype=torch.bool))[0, -1] for p in PROMPTS])
    torch.testing.assert_close(reward_at_end(model(*right), right[1]), alone)


def test_a_ranking_is_all_its_pairs():
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    expected = torch.stack([bradley_terry_loss(scores[:, i], scores[:, j]) for i, j in pairs]).mean()
    torch.testing.assert_close(ranking_loss(scores), expected)
    torch.testing.assert_close(ranking_loss(scores + torch.randn(3, 1)), ranking_loss(scores))


def test_pairs_that_teach_nothing_are_refused():
    with pytest.raises(ValueError, match="no pair"):
        bradley_terry_loss(torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="same response twice"):
        check_rankings([([3], [[4], [4]])])
    with pytest.raises(ValueError, match="at least one pair"):
        check_rankings([])


def test_gae_at_its_two_ends():
    counts, generator = random_counts(), torch.Generator().manual_seed(2)
    rewards, values = (torch.randn(counts.shape, generator=generator) * counts for _ in range(2))
    to_go = rewards.flip(-1).cumsum(-1).flip(-1)
    torch.testing.assert_close(ppo.gae(rewards, values, counts, 1.0, 1.0), (to_go - values) * counts)
    after = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    torch.testing.assert_close(ppo.gae(rewards, values, counts, 0.9, 0.0), (rewards + 0.9 * after - values) * counts)


def test_the_documents_advantage_is_a_special_case():
    counts = random_counts()
    scores, value = torch.randn(len(counts)), torch.randn(len(counts), 1)
    rewards = ppo.token_rewards(scores, torch.zeros(counts.shape), torch.ones(counts.shape), counts, beta=0.0)
    assert rewards.sum(-1).tolist() == pytest.approx(scores.tolist())
    expected = (scores.unsqueeze(-1) - value) * counts
    torch.testing.assert_close(ppo.gae(rewards, value * counts, counts, 1.0, 1.0), expected)
    torch.testing.assert_close(ppo.sequence_level(rewards, value * counts, counts)[0], expected)


def test_the_clip_stops_the_gradient_on_one_side_only():
    ratio = torch.tensor([[1.3, 0.7, 1.3, 0.7, 1.1]])
    advantages = torch.tensor([[1.0, -1.0, -1.0, 1.0, 1.0]])
    log_probs = ratio.log().requires_grad_()
    ppo.clipped_surrogate(log_probs, torch.zeros(1, 5), advantages, torch.ones(1, 5, dtype=torch.bool), 0.2).backward()
    expected = torch.tensor([[0.0, 0.0, 1.3, -0.7, -1.1]]) / 5
    torch.testing.assert_close(log_probs.grad, expected)


def test_kl_estimators_by_enumeration():
    p, q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    exact = kl.full(p.log(), q.log())
    for estimate in (kl.k1, kl.k3):
        torch.testing.assert_close((p * estimate(p.log(), q.log())).sum(), exact)
    assert (kl.k3(p.log(), q.log()) >= 0).all()
    torch.testing.assert_close(kl.k2(p.log(), q.log()), (p / q).log().square() / 2)


def test_a_step_moves_the_policy_and_keeps_the_reference(policy):
    torch.manual_seed(3)
    critic, seen = ScalarModel(policy), []

    def score(prompts, responses):
        return torch.tensor([float(5 in response) for response in responses])

    settings = ppo.Settings(beta=0.0, minibatch=32, max_new_tokens=3, learning_rate=3e-3)
    for rollout, told in ppo.train(policy, critic, score, [PROMPTS * 32] * 25, settings, stop_id=STOP, pad_id=PAD):
        seen.append((told["score"], rollout.ref_log_probs, rollout.log_probs))
    torch.testing.assert_close(seen[0][1], seen[0][2], rtol=0, atol=1e-5)
    assert not torch.allclose(seen[-1][1], seen[-1][2], atol=0.1)
    assert seen[-1][0] > seen[0][0] + 0.4


def test_a_score_that_is_not_finite_changes_nothing(policy):
    before = [p.clone() for p in policy.parameters()]
    run = ppo.train(policy, ScalarModel(policy), lambda prompts, responses: torch.full((len(prompts),), torch.nan),
                    [PROMPTS], ppo.Settings(max_new_tokens=3), stop_id=STOP, pad_id=PAD)
    with pytest.raises(FloatingPointError, match="not finite"):
        next(run)
    assert all(torch.equal(old, new) for old, new in zip(before, policy.parameters()))
