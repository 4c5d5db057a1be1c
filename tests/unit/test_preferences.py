"""Preferences: which responses a rater is shown, and how often each order comes out."""

import itertools
import math
import random
from collections import Counter

import pytest
from helpdesk import preferences
from helpdesk.judge import judge
from helpdesk.language import build_tokenizer, encode
from helpdesk.raters import Rater
from helpdesk.replies import POLITE, RUDE, TRANSCRIPTS, sample_reply
from helpdesk.tickets import sample_tickets
from methods.reward import check_rankings


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def tickets():
    return sample_tickets("train", 12, seed=3)


@pytest.fixture(scope="module")
def responses(tokenizer, tickets):
    """Four different replies to each ticket, in token ids."""
    rng, drawn = random.Random(0), []
    for ticket in tickets:
        texts = set()
        while len(texts) < 4:
            texts.add(sample_reply(ticket, rng.choice([POLITE, TRANSCRIPTS]), rng))
        drawn.append([encode(tokenizer, text) for text in sorted(texts)])
    return drawn


def test_a_ranking_has_the_prompt_and_each_response_once(tokenizer, tickets, responses):
    ranked = preferences.rankings(tokenizer, tickets, responses, Rater(), seed=0)
    check_rankings(ranked)
    assert [prompt for prompt, _ in ranked] == preferences.prompts(tokenizer, tickets)
    assert [sorted(row) for _, row in ranked] == [sorted(row) for row in responses]


def test_equal_responses_are_shown_once_and_a_single_one_is_dropped(tokenizer, tickets, responses):
    first, second = responses[0][:2]
    shown = [[first, first, second], [first] * 3, [second, first, second, first]]
    ranked = preferences.rankings(tokenizer, tickets[:3], shown, Rater(), seed=0)
    prompts = preferences.prompts(tokenizer, tickets[:3])
    assert [prompt for prompt, _ in ranked] == [prompts[0], prompts[2]]
    assert all(sorted(row) == sorted([first, second]) for _, row in ranked)


def test_the_seed_decides(tokenizer, tickets, responses):
    one, again, other = (
        preferences.rankings(tokenizer, tickets, responses, Rater(sharpness=0.1), seed)
        for seed in (0, 0, 1)
    )
    assert one == again != other


def test_a_decisive_rater_ranks_as_the_judge_does(tokenizer, tickets, responses):
    ranked = preferences.rankings(tokenizer, tickets, responses, Rater(sharpness=1e6), seed=0)
    for ticket, (_, row) in zip(tickets, ranked, strict=True):
        scores = preferences.gold_scores(tokenizer, [ticket] * 4, row)
        assert scores == sorted(scores, reverse=True)
        assert scores == [judge(ticket, tokenizer.decode(response)).score for response in row]


def test_lists_of_different_length_are_refused(tokenizer, tickets, responses):
    with pytest.raises(ValueError):
        preferences.rankings(tokenizer, tickets, responses[1:], Rater(), seed=0)
    with pytest.raises(ValueError):
        preferences.gold_scores(tokenizer, tickets, responses[0][:2])


def test_rankings_follow_plackett_and_luce(tokenizer, tickets, responses):
    """P(y_1 ≻ y_2 ≻ y_3) is a product of choices of the first among those that are left."""
    ticket, replies, rater = (
        tickets[0],
        [tokenizer.decode(row) for row in responses[0][:2]],
        Rater(sharpness=0.8),
    )
    replies.append(f"{RUDE[0]} <eos>")
    weight = {reply: math.exp(0.8 * judge(ticket, reply).score) for reply in replies}
    assert len(set(weight.values())) == 3
    rng, draws = random.Random(0), 20_000
    seen = Counter(tuple(rater.rank(ticket, replies, rng)) for _ in range(draws))
    for order in itertools.permutations(replies):
        expected = math.prod(
            weight[order[i]] / sum(weight[reply] for reply in order[i:]) for i in range(3)
        )
        assert seen[order] / draws == pytest.approx(expected, abs=4 * math.sqrt(expected / draws))


def test_two_replies_are_a_choice_and_flips_are_for_choices_only(tokenizer, tickets, responses):
    ticket, (first, second, third, _) = tickets[0], [tokenizer.decode(row) for row in responses[0]]
    rng, one, other = random.Random(0), random.Random(7), random.Random(7)
    for _ in range(50):
        ranked = Rater(sharpness=1.0).rank(ticket, [first, second], one)
        assert (ranked == [first, second]) == Rater(sharpness=1.0).prefers_first(
            ticket, first, second, other
        )
        assert sorted(ranked) == sorted([first, second])
    assert sorted(Rater(flips=0.3).rank(ticket, [first, second], rng)) == sorted([first, second])
    with pytest.raises(ValueError, match="flips"):
        Rater(flips=0.3).rank(ticket, [first, second, third], rng)
