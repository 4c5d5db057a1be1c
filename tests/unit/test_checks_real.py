"""What only lab 11's checks have to be tested for."""

import inspect
import json
import math

import pytest
import torch
from banks import points, right_solutions
from checks import real
from course import find, run_checks
from course.learner import NOTEBOOK_SEED
from methods import chat, verifiers
from methods.tokens import IGNORE
from planning import rates, shapes

SEEDS = range(6)
POINTS = {
    "conversation": 4,
    "read_values": 4,
    "counted": 3,
    "rate": 3,
    "why_endless": 3,
    "silent_bug": 4,
}
IDS = [f"real.{name}" for name in POINTS]

every_exercise = pytest.mark.parametrize("id", IDS)


def given_in(id, seed):
    """With what the checks call the function: its arguments by name, for each call."""
    reference, calls = find(id).reference, []
    names = list(inspect.signature(reference).parameters)

    def listening(*arguments):
        calls.append(dict(zip(names, arguments)))
        return reference(*arguments)

    assert not any(result.mistake for result in run_checks(find(id), listening, seed))
    return calls


def earned(id, function, seed=1):
    return sum(result.earned for result in run_checks(find(id), function, seed))


def heard(id, function, seed=1):
    return [result.mistake for result in run_checks(find(id), function, seed) if result.mistake]


def test_the_points_are_those_of_the_lab():
    told = {name: find(f"real.{name}").points for name in POINTS}
    assert told == POINTS and sum(told.values()) == 21


@pytest.mark.parametrize(
    "id, function",
    [
        pytest.param(id, function, id=function.__name__)
        for id in IDS
        for function in right_solutions(id)
    ],
)
def test_a_right_solution_gets_full_marks(id, function):
    for seed in SEEDS:
        assert points(id, function, seed) == (find(id).points, []), f"seed {seed}"


@pytest.mark.parametrize(
    "id, wrong",
    [
        pytest.param(id, wrong, id=f"{id}-{wrong.function.__name__}")
        for id in IDS
        for wrong in find(id).wrong_solutions
    ],
)
def test_a_wrong_solution_hears_its_own_words(id, wrong):
    by_chance_right = wrong.function.__name__.endswith("_of_the_notebook")
    for seed in SEEDS:
        if by_chance_right and seed == NOTEBOOK_SEED:
            continue
        results = run_checks(find(id), wrong.function, seed)
        assert any(
            result.mistake.startswith(wrong.message) and result.next == wrong.next
            for result in results
        ), f"seed {seed}: {results}"


@every_exercise
def test_seven_mistakes_have_names_at_least(id):
    assert len({wrong.message for wrong in find(id).wrong_solutions}) >= 7


@every_exercise
def test_what_is_asked_first_is_not_the_same_for_two_seeds(id):
    first = [str(given_in(id, seed)[0]) for seed in SEEDS]
    assert len(set(first)) == len(first)


# A conversation in tokens -------------------------------------------------------------------------


def test_no_token_of_a_conversation_is_the_same_for_all_seeds():
    calls = [given for seed in SEEDS for given in given_in("real.conversation", seed)]
    for name in ("start", "line", "end"):
        assert len({given[name] for given in calls}) > len(SEEDS)
    assert len({str(given["assistant"]) for given in calls}) > len(SEEDS)


def test_conversations_have_one_turn_and_several_and_parts_of_every_length():
    for seed in SEEDS:
        calls = given_in("real.conversation", seed)
        assert {len(given["turns"]) for given in calls} >= {1, 2, 3, 4}
        turns = [turn for given in calls for turn in given["turns"]]
        assert {len(role) for role, _ in turns} == {1, 2}
        assert len({len(content) for _, content in turns}) > 2
        lengths = {len(given["answer"]) for given in calls}
        assert 0 in lengths and len(lengths) > 3


def test_what_opens_and_ends_a_turn_stands_nowhere_else_but_in_some_answers():
    for seed in SEEDS:
        inside = []
        for given in given_in("real.conversation", seed):
            marks = {given["start"], given["line"], given["end"]}
            parts = [given["assistant"], *(part for turn in given["turns"] for part in turn)]
            assert len(marks) == 3 and not marks & set(sum(parts, []))
            inside.append(marks & set(given["answer"]) == {given["line"], given["end"]})
        assert any(inside) and not all(inside)


def test_an_earlier_turn_is_the_assistants_and_another_says_what_the_answer_says():
    for seed in SEEDS:
        calls = given_in("real.conversation", seed)
        is_own = {role == given["assistant"] for given in calls for role, _ in given["turns"][:-1]}
        assert is_own == {True, False}
        assert any(given["answer"] in [said for _, said in given["turns"]] for given in calls)


def test_right_ids_without_labels_that_count_earn_nothing():
    def nothing_counts(turns, answer, assistant, start, line, end):
        ids, _ = chat.chatml(turns, answer, assistant, start, line, end)
        return ids, [IGNORE] * len(ids)

    assert earned("real.conversation", nothing_counts) == 0


def test_a_conversation_is_read_from_whatever_holds_two_lists():
    def tensors(*given):
        return tuple(map(torch.tensor, chat.chatml(*given)))

    def one_shorter(*given):
        ids, labels = chat.chatml(*given)
        return ids, labels[1:]

    assert earned("real.conversation", tensors) == find("real.conversation").points
    assert all("ids and" in words for words in heard("real.conversation", one_shorter))


# JSON ---------------------------------------------------------------------------------------------


def test_some_texts_hold_an_answer_and_some_hold_none():
    for seed in SEEDS:
        calls = given_in("real.read_values", seed)
        read = [verifiers.read_values(**given) is not None for given in calls]
        assert 14 <= sum(read) <= len(read) - 30


def test_braces_stand_in_values_and_around_the_object_and_fences_too():
    for seed in SEEDS:
        texts = real.texts(seed)
        inside = ["{" in str(verifiers.read_values(*given)) for given in texts]
        assert any(inside) and not all(inside)
        # One brace opens the object and one its value; what is more stands around it.
        extra = [text.count("{") - braces for (text, _), braces in zip(texts, inside)]
        assert 2 in extra and 1 in extra
        assert any(text.startswith("```json\n") for text, _ in texts)
        assert {"\n" in text for text, _ in texts} == {True, False}


def test_keys_come_in_the_order_of_the_text_and_in_another():
    for seed in SEEDS:
        in_order = {list(verifiers._objects(text)[0]) == keys for text, keys in real.texts(seed)}
        assert in_order == {True, False}


def test_neither_keys_nor_values_are_the_same_for_all_seeds():
    texts = [given for seed in SEEDS for given in real.texts(seed)]
    assert len({frozenset(keys) for _, keys in texts}) > len(SEEDS)
    values = [value for given in texts for value in verifiers.read_values(*given)]
    assert {type(value) for value in values} == {str, int, bool, type(None), dict, list}
    assert {value for value in values if isinstance(value, bool)} == {True, False}
    assert len({value for value in values if isinstance(value, str)}) > 2 * len(SEEDS)


def test_what_holds_no_answer_holds_none():
    for seed in SEEDS:
        given = real.no_answers(seed)
        assert not any(verifiers.read_values(*one) for one in given)
        objects = {len(verifiers._objects(text)) for text, _ in given}
        assert objects == {0, 1, 2}


def test_nan_or_a_key_that_comes_twice_costs_the_second_check_alone():
    def reading(**hooks):
        def read(text, keys):
            found, place = [], text.find("{")
            while place >= 0:
                try:
                    one, place = json.JSONDecoder(**hooks).raw_decode(text, place)
                    found.append(one)
                except ValueError:
                    place += 1
                except RecursionError:
                    return None
                place = text.find("{", place)
            if len(found) != 1 or found[0].keys() != set(keys):
                return None
            return [found[0][key] for key in keys]

        return read

    once, refuse = verifiers._once_each, verifiers._refuse
    assert earned("real.read_values", reading(object_pairs_hook=once)) == 2
    assert earned("real.read_values", reading(parse_constant=refuse)) == 2
    assert earned("real.read_values", reading(object_pairs_hook=once, parse_constant=refuse)) == 4


def test_a_function_that_raises_for_an_unreadable_text_hears_so():
    def careless(text, keys):
        found = json.loads(text)
        return [found[key] for key in keys]

    assert heard("real.read_values", careless)[1].startswith("your function raised JSONDecodeError")


# What LoRA trains ---------------------------------------------------------------------------------


def test_sizes_tell_every_argument_from_every_other():
    for seed in SEEDS:
        calls = given_in("real.counted", seed)
        assert {given["tied"] for given in calls[:4]} == {True, False}
        for given in calls[:4]:
            queries, keys = (given[name] * given["head"] for name in ("heads", "kv_heads"))
            assert 1 < given["kv_heads"] < given["heads"]
            assert len({queries, keys, *(given[name] for name in ("width", "inner"))}) == 4
            assert given["head"] != given["width"] // given["heads"]
            assert given["layers"] > 1 and given["rank"] > 1


@pytest.mark.parametrize(
    "name", ["layers", "width", "inner", "heads", "kv_heads", "head", "vocabulary", "rank"]
)
def test_no_size_is_the_same_for_all_seeds_and_each_is_used(name):
    calls = [given for seed in SEEDS for given in given_in("real.counted", seed)[:4]]
    assert len({given[name] for given in calls}) > 2

    def always_the_first(*arguments):
        given = dict(zip(calls[0], arguments))
        return shapes.trained_and_held(**given | {name: calls[0][name]})

    assert all(earned("real.counted", always_the_first, seed) < 3 for seed in SEEDS[1:])


def test_real_models_are_among_them_with_their_published_numbers():
    for seed in SEEDS:
        held = [shapes.trained_and_held(**given)[1] for given in given_in("real.counted", seed)]
        assert {134_515_008, 8_030_261_248} <= set(held)


def test_some_numbers_are_too_large_for_a_float_of_32_bits():
    def rounded(*given):
        return tuple(torch.tensor(shapes.trained_and_held(*given)).float().long().tolist())

    assert earned("real.counted", rounded) == 2


def test_who_takes_the_queries_to_be_as_wide_as_the_model_earns_nothing():
    def square(layers, width, inner, heads, kv_heads, head, vocabulary, tied, rank):
        keys = kv_heads * head
        matrices = [(width, width)] * 2 + [(width, keys)] * 2 + [(width, inner)] * 3
        held = sum(a * b for a, b in matrices) + 2 * width
        outside = vocabulary * width * (2 - tied) + width
        return layers * rank * sum(map(sum, matrices)), layers * held + outside

    assert all(earned("real.counted", square, seed) == 0 for seed in SEEDS)


# A rate from a sweep ------------------------------------------------------------------------------


def kept(given):
    """The mean loss of each rate at which no run diverged."""
    return {
        rate: sum(some) / len(some)
        for rate, some in zip(given["rates"], given["losses"])
        if all(map(math.isfinite, some))
    }


def test_sweeps_are_out_of_order_of_several_lengths_and_some_diverge():
    for seed in SEEDS:
        calls = given_in("real.rate", seed)
        first = calls[:12]
        assert sum(given["rates"] != sorted(given["rates"]) for given in first) > 8
        assert {len(given["rates"]) for given in calls} >= {1, 3, 6}
        assert len({len(given["losses"][0]) for given in first}) > 1
        diverged = [len(kept(given)) < len(given["rates"]) for given in first]
        assert any(diverged) and not all(diverged)
        assert any(not kept(given) for given in calls)
        assert any(len(given["losses"][0]) == 1 for given in calls)
        assert all(len(set(given["rates"])) == len(given["rates"]) for given in calls)


def test_runs_diverge_in_both_ways_and_not_at_every_seed_of_their_rate():
    for seed in SEEDS:
        runs = [some for given in given_in("real.rate", seed) for some in given["losses"]]
        assert {str(loss) for some in runs for loss in some if not math.isfinite(loss)} == {
            "nan",
            "inf",
        }
        assert any(0 < sum(map(math.isfinite, some)) < len(some) for some in runs)


def test_the_best_rate_is_the_lowest_or_the_highest_in_some_sweeps_and_not_in_most():
    places = []
    for seed in SEEDS:
        for given in given_in("real.rate", seed)[:12]:
            means = kept(given)
            best = min(means, key=means.get)
            places.append((best == min(given["rates"]), best == max(given["rates"])))
    assert min(places.count((True, False)), places.count((False, True))) > 3
    assert places.count((False, False)) > len(places) / 2


def test_the_gentlest_rate_is_the_best_in_some_sweeps_and_a_gentler_one_in_others():
    for seed in SEEDS:
        chosen = []
        for given in given_in("real.rate", seed)[:12]:
            means = kept(given)
            chosen.append(rates.gentlest_rate(**given)[0] == min(means, key=means.get))
        assert {True, False} == set(chosen)


def test_neither_rates_nor_losses_lie_so_close_that_rounding_decides():
    for seed in range(200):
        for table in real.sweeps(seed):
            means = kept(dict(zip(("rates", "losses"), table)))
            best = min(means, key=means.get)
            some = table[1][table[0].index(best)]
            error = torch.tensor(some, dtype=torch.double).std().item() / math.sqrt(len(some))
            for rate, mean in means.items():
                gap = (mean - means[best]) / error
                assert rate == best or gap > 0.1 and abs(gap - 1) > 0.04, f"seed {seed}: {gap}"


# Why a model never stops --------------------------------------------------------------------------


def rows_in(seed):
    """All rows of the first check, each with its end."""
    tables = given_in("real.why_endless", seed)[:3]
    return [(ids, labels, given["end"]) for given in tables for ids, labels in given["rows"]]


def test_every_word_occurs_in_every_table_and_the_tables_are_in_other_orders():
    for seed in SEEDS:
        tables = given_in("real.why_endless", seed)[:3]
        words = [chat.ends(**given) for given in tables]
        assert all(set(some) == {"learned", "masked", "missing"} for some in words)
        assert len({tuple(some) for some in words}) > 1


def test_the_end_stands_in_all_prompts_but_one_and_is_the_padding_too():
    for seed in SEEDS:
        padded, without = [], []
        for ids, labels, end in rows_in(seed):
            first = next(place for place, label in enumerate(labels) if label != IGNORE)
            last = max(place for place, label in enumerate(labels) if label != IGNORE)
            without += [ids] * (end not in ids[:first])
            padded.append((ids[last + 1 :].count(end) > 1, last + 1 == len(ids)))
        assert any(more for more, _ in padded) and any(edge for _, edge in padded)
        assert len(without) < len(padded) / 4 and all(end not in ids for ids in without)


def test_the_end_and_the_length_of_rows_are_not_the_same_for_all_seeds():
    rows = [row for seed in SEEDS for row in rows_in(seed)]
    assert len({end for *_, end in rows}) > len(SEEDS) / 2
    assert len({len(ids) for ids, *_ in rows}) > 4


def test_rows_of_every_word_end_with_the_end_and_with_another_token():
    for seed in SEEDS:
        last = {(chat.ends([row], end)[0], row[0][-1] == end) for *row, end in rows_in(seed)}
        assert last >= {("learned", False), ("learned", True), ("masked", True)}
        assert last >= {("missing", False), ("missing", True)}


def test_nothing_at_all_and_a_row_in_which_nothing_counts_are_asked_for():
    for seed in SEEDS:
        calls = given_in("real.why_endless", seed)
        assert any(not given["rows"] for given in calls)
        labels = [labels for given in calls for _, labels in given["rows"]]
        assert any(set(some) == {IGNORE} for some in labels)


# The silent bug -----------------------------------------------------------------------------------


def test_the_paddings_id_stands_inside_prompts_and_answers_too():
    for seed in SEEDS:
        calls = given_in("real.silent_bug", seed)
        inside, cut = [], []
        for given in calls:
            pad = int(given["ids"][0, -1])
            for ids, prompt, length in zip(*given.values()):
                assert pad in ids[:prompt]
                inside.append(pad in ids[prompt : length - 1])
                cut.append(length > prompt and bool(ids[length - 1] != pad))
        assert any(cut) and sum(cut) < len(cut) / 2
        assert any(inside) and not all(inside)


def test_one_row_has_no_padding_one_has_no_answer_and_the_others_have_both():
    for seed in SEEDS:
        calls = given_in("real.silent_bug", seed)
        spaces = {int(given["ids"].shape[1] - given["lengths"].max()) for given in calls}
        assert 0 in spaces
        answers = [given["lengths"] - given["prompts"] for given in calls]
        assert any((some == 0).any() for some in answers)
        assert all((some > 0).any() for some in answers)
        assert all((given["lengths"] < given["ids"].shape[1]).any() for given in calls)


def test_the_padding_and_the_lengths_are_not_the_same_for_all_seeds():
    calls = [given for seed in SEEDS for given in given_in("real.silent_bug", seed)]
    assert len({int(given["ids"][0, -1]) for given in calls}) > len(SEEDS)
    assert len({str(given["prompts"]) for given in calls}) > len(SEEDS)
    assert len({str(given["lengths"]) for given in calls}) > len(SEEDS)
    assert {len(given["ids"]) for given in calls} == {2, 4}
    assert all(len(set(given["prompts"].tolist())) > 1 for given in calls if len(given["ids"]) > 2)


def test_the_bug_itself_drops_every_end_and_the_end_of_no_answer_that_was_cut():
    for seed in SEEDS:
        ids, prompts, lengths = real.some_padded(seed)
        buggy = ids.masked_fill(ids == ids[0, -1], IGNORE)
        right = chat.labels_by_position(ids, prompts, lengths)
        last = torch.arange(len(ids)), lengths - 1
        assert (right[last] == ids[0, -1]).tolist() == [True, True, False, True]
        assert (buggy[last] == IGNORE).tolist() == [True, True, False, True]


def test_labels_are_whole_numbers_in_whatever_holds_them():
    def lists(*given):
        return chat.labels_by_position(*given).tolist()

    def short(*given):
        return chat.labels_by_position(*given).short()

    def floats(*given):
        return chat.labels_by_position(*given).float()

    assert earned("real.silent_bug", lists) == earned("real.silent_bug", short) == 4
    words = heard("real.silent_bug", floats)
    assert len(words) == 2 and all(one.startswith("labels are whole numbers") for one in words)
