"""The help desk: closed vocabulary, splits that share nothing, tasks, judge and raters."""

import itertools
import random
import re
from collections import Counter

import pytest
from helpdesk.corpus import documents, note, transcript
from helpdesk.judge import judge
from helpdesk.language import UnknownWords, build_tokenizer, encode, encode_example
from helpdesk.raters import Rater
from helpdesk.replies import (
    CLOSINGS,
    EMPATHY,
    FIX,
    GREETINGS,
    POLITE,
    QUESTIONS,
    RUDE,
    TRANSCRIPTS,
    is_polite,
    is_rude,
    sample_reply,
)
from helpdesk.tasks import (
    KNOWN_WORDS,
    Example,
    clerk_facts,
    department,
    depot_facts,
    house_style,
    reading,
    reply,
    swap_words,
    total,
    triage,
)
from helpdesk.tickets import FACTS, PATTERNS, Ticket, sample_tickets
from helpdesk.words import CITIES, CLERKS, EOS, FIXES, PAD, PRODUCTS, PUNCTUATION, UNK, vocabulary

TICKET = Ticket("blue", "laptop", "rome", "hot", "wednesday", pattern=0)
GOOD = "hello . i am so sorry to hear that . please cool your laptop . thank you for your patience . <eos>"


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def all_tasks():
    rng = random.Random(0)
    tickets = [t for split in FACTS for t in sample_tickets(split, 300, seed=0)]
    for ticket in tickets:
        yield triage(ticket)
        yield reading(ticket, "city")
        yield reply(ticket, TRANSCRIPTS, rng)
        yield reply(ticket, POLITE, rng)
        for number in range(20):
            yield department(number).example(ticket)
        yield swap_words(triage(ticket))
    yield swap_words(Example(" ".join(KNOWN_WORDS), " " + " ".join(KNOWN_WORDS)))
    yield from (house_style(number).example(TICKET) for number in range(144))
    yield from clerk_facts(560, seed=0)
    yield from depot_facts(2688, seed=0)
    yield from (total(a, b) for a, b in itertools.product(range(0, 100, 7), repeat=2))


def test_a_ticket_becomes_the_sentence_and_the_fields_of_the_book():
    assert TICKET.complaint() == "my blue laptop from rome is hot since wednesday ."
    assert (
        triage(TICKET).prompt
        == "ticket : my blue laptop from rome is hot since wednesday . fields :"
    )
    assert triage(TICKET).response == " laptop | hot | rome | wednesday | blue"


def test_every_pattern_tells_all_five_facts():
    for pattern in range(len(PATTERNS)):
        ticket = Ticket("blue", "laptop", "rome", "hot", "wednesday", pattern)
        assert set(ticket.facts()) <= set(ticket.complaint().split())


def test_splits_share_no_ticket_and_hold_them_all():
    sets = {name: set(facts) for name, facts in FACTS.items()}
    assert sum(map(len, sets.values())) == len(set.union(*sets.values())) == 6 * 8 * 10 * 8 * 7
    assert all(len(sets[name]) == len(FACTS[name]) for name in sets)


def test_sampling_tickets_is_reproducible_and_without_repetition():
    tickets = sample_tickets("test", 500, seed=4)
    assert tickets == sample_tickets("test", 500, seed=4) != sample_tickets("test", 500, seed=5)
    assert len({t.facts() for t in tickets}) == 500
    assert {t.facts() for t in tickets} <= set(FACTS["test"])


@pytest.mark.parametrize(
    "split, count, message", [("tests", 1, "no split 'tests'"), ("test", 10**6, "were asked for")]
)
def test_impossible_samples_are_refused(split, count, message):
    with pytest.raises(ValueError, match=message):
        sample_tickets(split, count, seed=0)


def test_the_corpus_is_about_training_tickets_alone(tokenizer):
    held_out = {facts for name in ("validation", "test") for facts in FACTS[name]}
    words = {word: i for i, group in enumerate(zip(*FACTS["train"])) for word in set(group)}
    for text in itertools.islice(documents("train", seed=0), 3000):
        if text.startswith("list"):
            continue
        complaint = text.split(" agent :")[0].split()
        told = {words[word]: word for word in complaint if word in words}
        assert tuple(told[i] for i in range(5)) not in held_out, text


def test_every_token_of_every_task_occurs_in_the_corpus(tokenizer):
    seen = Counter(
        word
        for text in itertools.islice(documents("train", seed=0), 20_000)
        for word in text.split()
    )
    needed = {
        word for example in all_tasks() for word in (example.prompt + example.response).split()
    }
    assert min((seen[word], word) for word in needed) >= (20,)


def test_the_corpus_never_shows_the_format_of_triage():
    texts = list(itertools.islice(documents("train", seed=0), 20_000))
    assert not any("fields :" in text or text.startswith("ticket :") for text in texts)


def test_no_task_leaves_the_vocabulary(tokenizer):
    for example in all_tasks():
        prompt, response = encode_example(tokenizer, example)
        assert tokenizer.decode(prompt + response) == f"{example.prompt}{example.response} {EOS}"


def test_the_tokenizer_has_one_token_per_word(tokenizer):
    words = vocabulary()
    assert len(words) == len(set(words)) == len(tokenizer)
    assert (
        [tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token]
        == [PAD, EOS, UNK]
        == words[:3]
    )
    assert encode(tokenizer, " ".join(words[3:])) == list(range(3, len(words)))


def test_all_unknown_words_are_listed(tokenizer):
    with pytest.raises(
        UnknownWords, match="vocabulary: toaster, Rome, yesterday; use the words listed"
    ):
        encode(tokenizer, "my toaster from Rome is hot since yesterday . toaster")


def test_departments_are_different_and_stable():
    examples = [department(n).example(TICKET) for n in range(20)]
    assert len({e.response for e in examples}) == 20
    assert len({e.prompt for e in examples}) == 1, (
        "the adapter, not the prompt, tells the departments apart"
    )
    assert department(7) == department(7)


def test_clerk_facts_are_random_and_without_contradiction():
    facts = clerk_facts(560, seed=0)
    assert len({f.prompt for f in facts}) == 560
    assert facts != clerk_facts(560, seed=1)
    with pytest.raises(ValueError, match="560 combinations"):
        clerk_facts(561, seed=0)


def test_there_are_144_house_styles_and_each_says_one_thing_about_a_ticket():
    styles = [house_style(number) for number in range(144)]
    assert len(set(styles)) == len({style.example(TICKET).response for style in styles}) == 144
    assert {style.example(TICKET).prompt for style in styles} == {
        reply(TICKET, POLITE, random.Random(0)).prompt
    }
    assert house_style(7) == styles[7] and styles[7].example(TICKET) == styles[7].example(TICKET)


@pytest.mark.parametrize(
    "ticket", [TICKET, Ticket("red", "phone", "oslo", "wet", "friday", pattern=4)]
)
def test_every_house_style_names_the_tickets_product_and_its_fix(ticket):
    for number in range(144):
        said = set(house_style(number).example(ticket).response.split())
        assert said & set(PRODUCTS) == {ticket.product} and said & set(FIXES.values()) == {
            FIXES[ticket.problem]
        }


def test_every_house_style_is_a_greeting_three_sentences_in_any_order_and_a_closing():
    for number in range(144):
        first, *middle, last = house_style(number).sentences
        kinds = {
            kind for sentence in middle for kind in (EMPATHY, FIX, QUESTIONS) if sentence in kind
        }
        assert first in GREETINGS and last in CLOSINGS and len(kinds) == len(middle) == 3
    orders = {
        tuple(
            kind
            for sentence in house_style(number).sentences
            for kind in (EMPATHY, FIX, QUESTIONS)
            if sentence in kind
        )
        for number in range(144)
    }
    assert len(orders) == 6


def test_every_sentence_of_a_house_style_stands_in_the_old_transcripts():
    transcripts = "\n".join(
        text
        for text in itertools.islice(documents("train", seed=0), 4000)
        if text.startswith("customer")
    )
    for sentence in {
        sentence for number in range(144) for sentence in house_style(number).sentences
    }:
        product, fix = (f"({'|'.join(words)})" for words in (PRODUCTS, FIXES.values()))
        pattern = re.escape(sentence).replace(r"\{product\}", product).replace(r"\{fix\}", fix)
        assert re.search(pattern, transcripts), sentence


@pytest.mark.parametrize("number", [-1, 144])
def test_a_house_style_that_does_not_exist_is_refused(number):
    with pytest.raises(ValueError, match=f"number from 0 to 143, not {number}$"):
        house_style(number)


def test_depot_facts_are_random_and_without_contradiction():
    facts = depot_facts(2688, seed=0)
    assert len({f.prompt for f in facts}) == 2688
    assert facts == depot_facts(2688, seed=0) != depot_facts(2688, seed=1)
    assert len(depot_facts(5, seed=0)) == 5
    with pytest.raises(ValueError, match="2688 combinations .* 2689 were asked for"):
        depot_facts(2689, seed=0)


def test_depots_are_spread_evenly_over_the_cities():
    counts = Counter(f.response for f in depot_facts(2688, seed=0))
    assert set(counts) == {f" {city}" for city in CITIES}
    # Pearson's chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand draws.
    assert sum((count - 268.8) ** 2 / 268.8 for count in counts.values()) < 27.9


def swapped(words, seed=0):
    return swap_words(Example(" ".join(words), " "), seed).prompt.split()


@pytest.mark.parametrize("seed", [0, 1])
def test_swapping_is_one_to_one_and_no_word_keeps_its_meaning(seed):
    others = swapped(KNOWN_WORDS, seed)
    assert len(set(KNOWN_WORDS)) == len(KNOWN_WORDS) and set(others) == set(KNOWN_WORDS)
    assert sum(one == other for one, other in zip(KNOWN_WORDS, others)) == 0


def test_swapping_is_the_same_every_time_and_another_for_another_seed():
    assert swapped(KNOWN_WORDS) == swapped(KNOWN_WORDS) != swapped(KNOWN_WORDS, seed=1)
    example = reply(TICKET, POLITE, random.Random(0))
    assert swap_words(example) == swap_words(example, seed=0) != example


def test_swapping_leaves_markers_punctuation_and_all_other_words_alone():
    others = [word for word in vocabulary() if word not in KNOWN_WORDS]
    assert {"ticket", "fields", *PUNCTUATION, *CLERKS} <= set(others)
    assert swapped(others) == others


def test_swapped_words_are_words_that_the_base_has_read_in_sentences():
    rng = random.Random(0)
    tickets = sample_tickets("train", 2000, seed=0)
    seen = {
        word
        for ticket in tickets
        for text in (transcript(ticket, rng), note(ticket, rng))
        for word in text.split()
    }
    assert set(KNOWN_WORDS) <= seen, (
        "a word from word lists alone would be as hard to say as a clerk's name"
    )


def test_swapping_maps_a_word_alike_in_prompt_and_response():
    other = dict(zip(KNOWN_WORDS, swapped(KNOWN_WORDS)))
    for ticket in sample_tickets("train", 20, seed=0):
        example, new = triage(ticket), swap_words(triage(ticket))
        assert new.prompt == " ".join(other.get(word, word) for word in example.prompt.split())
        assert new.response == " " + " | ".join(
            other[fact] for fact in example.response.strip().split(" | ")
        )
        assert new.prompt.startswith("ticket :") and new.prompt.endswith("fields :")


def test_totals_are_right():
    assert (total(47, 19).prompt, total(47, 19).response) == ("total : 4 7 + 1 9 =", " 6 6")


def test_replies_follow_the_habits():
    rng = random.Random(1)
    replies = [sample_reply(TICKET, TRANSCRIPTS, rng) for _ in range(4000)]
    assert abs(sum(map(is_rude, replies)) / 4000 - TRANSCRIPTS.rude) < 0.03
    polite = [sample_reply(TICKET, POLITE, rng) for _ in range(200)]
    assert all(is_polite(r, TICKET) for r in polite) and not any(map(is_rude, polite))
    assert sum(is_polite(r, TICKET) for r in replies) < 400


@pytest.mark.parametrize(
    "reply, why",
    [
        (GOOD.replace("laptop", "phone"), "another product"),
        (GOOD.replace("cool", "dry"), "another fix"),
        (GOOD.replace("hello . ", ""), "no greeting"),
        (GOOD.replace(" <eos>", " hello ."), "goes on"),
        ("", "empty"),
        (GOOD.replace("please", "that is not my problem . please"), "rude"),
    ],
)
def test_near_misses_are_not_polite(reply, why):
    assert is_polite(GOOD.removesuffix("<eos>"), TICKET)
    assert not is_polite(reply.removesuffix("<eos>"), TICKET), why


def test_the_judge_adds_up():
    assert judge(TICKET, GOOD).score == pytest.approx(0.5 + 1 + 0.75 + 0.5)
    assert judge(TICKET, GOOD.removesuffix(" <eos>")).ending == -1
    assert judge(TICKET, GOOD.replace("laptop", "phone")).score == pytest.approx(-0.5 + 0.75 + 0.5)
    assert judge(TICKET, f"{RUDE[0]} <eos>").score == -1.5
    assert judge(TICKET, f"{EMPATHY[0]} {EMPATHY[0]} <eos>").score == pytest.approx(0.75 - 0.75)
    assert judge(TICKET, "please " * 36 + "<eos>").length == pytest.approx(-1)
    assert judge(TICKET, "").score == -1


def test_every_problem_has_its_own_fix():
    assert len(set(FIXES.values())) == len(FIXES)
    wrong = Ticket("blue", "laptop", "rome", "slow", "wednesday")
    assert judge(wrong, GOOD).fix == 0


def test_raters_choose_by_bradley_terry():
    rng = random.Random(2)
    first, second = (
        GOOD,
        GOOD.replace("thank you for your patience . ", ""),
    )  # half a gold point apart
    share = (
        sum(Rater(sharpness=2).prefers_first(TICKET, first, second, rng) for _ in range(6000))
        / 6000
    )
    assert share == pytest.approx(0.7311, abs=0.02)  # sigmoid(2 * 0.5)


def test_flips_and_biases_do_what_they_say():
    rng = random.Random(3)
    bad = f"{RUDE[0]} <eos>"

    def wins(rater, first, second):
        return sum(rater.prefers_first(TICKET, first, second, rng) for _ in range(3000)) / 3000

    assert wins(Rater(sharpness=50), GOOD, bad) == 1
    assert wins(Rater(sharpness=50, flips=0.16), GOOD, bad) == pytest.approx(0.84, abs=0.02)
    long = GOOD.replace("hello .", "thank you for your message .")
    assert wins(Rater(), long, GOOD) == pytest.approx(0.5, abs=0.03)
    assert wins(Rater(length_bias=1.0), long, GOOD) > 0.99
    thanks = Rater(thanks_bias=2)
    assert thanks.impression(TICKET, GOOD) == pytest.approx(judge(TICKET, GOOD).score + 2)
    assert Rater(sharpness=1e6).prefers_first(TICKET, bad, GOOD, rng) is False
