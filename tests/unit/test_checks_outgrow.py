"""What only lab 12's checks have to be tested for."""

import inspect
import itertools
import math
from fractions import Fraction

import pytest
import torch
from banks import points, right_solutions
from checks import outgrow as checks
from course import find, run_checks
from course.learner import NOTEBOOK_SEED
from methods import teamwork

SEEDS = range(6)
POINTS = {"rows_of": 3, "to_minimise": 4, "part_weights": 4, "silent_bug": 4, "diagnosed": 5}
IDS = [f"outgrow.{name}" for name in POINTS]

every_exercise = pytest.mark.parametrize("id", IDS)


def given_in(id, seed, check=None):
    """With what the checks call the function: its arguments by name, for each call.

    check: the number of a check, if not all of them are meant
    """
    reference, calls = find(id).reference, []
    names = list(inspect.signature(reference).parameters)

    def listening(*arguments):
        calls.append((dict(zip(names, arguments)), at[0]))
        return reference(*arguments)

    at = [0]
    for at[0], one in enumerate(find(id).checks):
        one.test(listening, seed)
    return [given for given, place in calls if check in (None, place)]


def earned(id, function, seed=1):
    return [result.earned for result in run_checks(find(id), function, seed)]


def heard(id, function, seed=1):
    return [result.mistake for result in run_checks(find(id), function, seed) if result.mistake]


def test_the_points_are_those_of_the_lab():
    told = {name: find(f"outgrow.{name}").points for name in POINTS}
    assert told == POINTS and sum(told.values()) == 20


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
def test_a_wrong_solution_hears_its_own_words_and_gets_the_same_points_for_every_seed(id, wrong):
    by_chance_right = wrong.function.__name__.endswith("_of_the_notebook")
    told = set()
    for seed in SEEDS:
        if by_chance_right and seed == NOTEBOOK_SEED:
            continue
        results = run_checks(find(id), wrong.function, seed)
        assert any(
            result.mistake.startswith(wrong.message) and result.next == wrong.next
            for result in results
        ), f"seed {seed}: {results}"
        told.add(tuple(result.earned for result in results))
    assert len(told) == 1, told


@every_exercise
def test_eight_mistakes_have_names_at_least(id):
    assert len({wrong.message for wrong in find(id).wrong_solutions}) >= 8


@every_exercise
def test_what_is_asked_first_is_not_the_same_for_two_seeds(id):
    first = [str(given_in(id, seed)[0]) for seed in SEEDS]
    assert len(set(first)) == len(first)


# Dealing out rows ---------------------------------------------------------------------------------


def test_teams_have_one_to_five_processes_and_every_process_is_asked():
    sizes = set()
    for seed in SEEDS:
        calls = given_in("outgrow.rows_of", seed)
        asked = {given["size"] for given in calls}
        for size in asked:
            assert {given["rank"] for given in calls if given["size"] == size} == set(range(size))
        assert 1 in asked and len(asked) > 3
        sizes |= asked
    assert sizes == {1, 2, 3, 4, 5}


def test_batches_deal_out_evenly_and_rows_are_shuffled_numbers_from_anywhere():
    for seed in SEEDS:
        for given in given_in("outgrow.rows_of", seed):
            order = given["order"]
            assert given["batch"] % given["size"] == 0
            assert len(set(order)) == len(order)
            assert order != sorted(order) or len(order) < 4
            assert set(order) != set(range(len(order)))


def test_a_rest_is_of_one_row_of_nearly_a_batch_and_of_none():
    for seed in SEEDS:
        first, edges = (given_in("outgrow.rows_of", seed, check) for check in (0, 1))
        assert all(len(given["order"]) % given["batch"] == 0 for given in first)
        assert all(given["batch"] > given["size"] for given in first)
        rests = {(len(g["order"]) % g["batch"], len(g["order"]) // g["batch"]) for g in edges}
        assert any(rest == 1 and steps > 1 for rest, steps in rests)
        assert any(rest > 1 and steps == 0 for rest, steps in rests)
        assert any(rest == 0 and steps == 1 for rest, steps in rests)
        shares = {given["batch"] // given["size"] for given in edges}
        assert 1 in shares and max(shares) > 1
        whole = [g for g in edges if len(g["order"]) % g["batch"] == g["batch"] - 1 > 1]
        assert any(len(given["order"]) > given["batch"] for given in whole)


def test_rows_may_come_in_any_kind_of_list():
    def tensor(*given):
        return torch.tensor(teamwork.rows_of(*given))

    def arrays(*given):
        return tuple(torch.tensor(rows).numpy() for rows in teamwork.rows_of(*given))

    def floats(*given):
        return [[float(row) for row in rows] for rows in teamwork.rows_of(*given)]

    for function in (tensor, arrays, floats):
        assert earned("outgrow.rows_of", function) == [2, 1]


def test_what_holds_no_rows_is_told_so():
    def texts(*given):
        return [list(map(str, rows)) for rows in teamwork.rows_of(*given)]

    def halves(*given):
        return [[row + 0.5 for row in rows] for rows in teamwork.rows_of(*given)]

    def nested(*given):
        return [teamwork.rows_of(*given)]

    for function in (texts, halves, nested):
        assert heard("outgrow.rows_of", function) == [checks.LISTS_OF_ROWS[0]] * 2


# What a process minimises -------------------------------------------------------------------------


def test_teams_are_asked_as_a_whole_and_counts_differ_and_are_out_of_order():
    sizes, kinds = set(), set()
    for seed in SEEDS:
        for check in (0, 1):
            calls = given_in("outgrow.to_minimise", seed, check)
            for given in calls:
                counts = given["counts"]
                assert len(set(counts)) == len(counts) > 1 and counts != sorted(counts)
                assert sum(counts) % len(counts)
                sizes.add(len(counts))
            kinds |= {given["losses"].dtype for given in calls}
            own = {(tuple(given["counts"]), len(given["losses"])) for given in calls}
            teams = {counts for counts, _ in own}
            assert own == {(counts, count) for counts in teams for count in counts}
    assert sizes == {2, 3, 4, 5} and kinds == {torch.float32, torch.float64}


def test_losses_have_a_gradient_and_are_as_many_as_one_of_the_counts_says():
    for seed in SEEDS:
        for given in given_in("outgrow.to_minimise", seed):
            assert given["losses"].requires_grad and given["losses"].is_leaf
            assert len(given["losses"]) in given["counts"] and sum(given["counts"])


def test_some_processes_have_no_token_some_have_equal_counts_and_one_is_alone():
    for seed in SEEDS:
        calls = given_in("outgrow.to_minimise", seed, 2)
        empty = [given for given in calls if not len(given["losses"])]
        assert any(given["counts"][0] == 0 for given in empty)
        assert any(given["counts"][-1] == 0 for given in empty)
        assert any(given["counts"].count(0) > 1 for given in empty)
        assert any(len(given["counts"]) == 1 for given in calls)
        assert any(len(set(given["counts"])) == 1 < len(given["counts"]) for given in calls)


def test_the_average_of_what_is_minimised_is_the_mean_over_all_tokens():
    for seed in SEEDS:
        calls = given_in("outgrow.to_minimise", seed, 0)
        for _, given in itertools.groupby(calls, key=lambda given: given["counts"]):
            team = list(given)
            assert len(team) == len(team[0]["counts"])
            parts = [teamwork.to_minimise(**one).item() for one in team]
            everything = torch.cat([one["losses"].detach() for one in team])
            assert math.isclose(sum(parts) / len(team), everything.mean(), rel_tol=1e-5)


def test_what_a_loss_is_worth_when_one_thing_is_wrong():
    def own_mean(losses, counts):
        return losses.mean()

    def new_leaf(losses, counts):
        return torch.tensor(teamwork.to_minimise(losses, counts).item(), requires_grad=True)

    def half_the_gradient(losses, counts):
        right = teamwork.to_minimise(losses, counts)
        return (right + right.detach()) / 2

    def zero_of_its_own(losses, counts):
        if not len(losses):
            return torch.zeros((), requires_grad=True)
        return teamwork.to_minimise(losses, counts)

    told = {
        function.__name__: earned("outgrow.to_minimise", function)
        for function in (own_mean, new_leaf, half_the_gradient, zero_of_its_own)
    }
    assert told == {
        "own_mean": [0, 0, 0],
        "new_leaf": [2, 0, 0],
        "half_the_gradient": [2, 0, 1],
        "zero_of_its_own": [2, 1, 0],
    }


def test_the_mean_of_no_losses_is_named():
    def guarded_too_late(losses, counts):
        return losses.mean() * len(losses) * len(counts) / sum(counts)

    assert heard("outgrow.to_minimise", guarded_too_late) == [checks.MEAN_OF_NOTHING[0]]


@pytest.mark.parametrize(
    "zero",
    [
        lambda losses: 0.0,
        lambda losses: torch.zeros(()),
        lambda losses: torch.zeros((), requires_grad=True),
        lambda losses: losses.detach().sum().requires_grad_(),
        lambda losses: torch.zeros((), requires_grad=True) * 2,
    ],
)
def test_a_zero_without_tokens_has_to_come_from_losses(zero):
    def otherwise_right(losses, counts):
        return teamwork.to_minimise(losses, counts) if len(losses) else zero(losses)

    assert earned("outgrow.to_minimise", otherwise_right) == [2, 1, 0]
    assert heard("outgrow.to_minimise", otherwise_right) == [checks.LEADS_NOWHERE[0]]


def test_any_zero_that_comes_from_losses_will_do():
    def empty_sum(losses, counts):
        return teamwork.to_minimise(losses, counts) if len(losses) else -3 * losses.sum()

    assert earned("outgrow.to_minimise", empty_sum) == [2, 1, 1]


# Gradients that add up ----------------------------------------------------------------------------


def test_processes_have_different_numbers_of_parts_and_all_counts_differ():
    sizes = set()
    for seed in SEEDS:
        for given in given_in("outgrow.part_weights", seed, 0):
            counts = given["counts"]
            assert len({len(parts) for parts in counts}) > 1
            assert len(set(sum(counts, []))) == sum(map(len, counts))
            sizes.add(len(counts))
    assert sizes == {2, 3, 4, 5}


def test_parts_are_empty_at_both_ends_and_so_are_whole_processes():
    for seed in SEEDS:
        calls = [given["counts"] for given in given_in("outgrow.part_weights", seed, 1)]
        assert any(parts[0] == 0 != sum(parts) for counts in calls for parts in counts)
        assert any(parts[-1] == 0 != sum(parts) for counts in calls for parts in counts)
        assert any(not sum(counts[0]) for counts in calls)
        assert any(not sum(counts[-1]) for counts in calls)


def test_every_process_has_a_part_and_some_token_counts():
    for seed in SEEDS:
        for given in given_in("outgrow.part_weights", seed):
            assert all(given["counts"]) and any(map(sum, given["counts"]))


def test_a_process_is_alone_parts_are_single_and_counts_are_equal():
    for seed in SEEDS:
        calls = [given["counts"] for given in given_in("outgrow.part_weights", seed, 2)]
        assert any(len(counts) == 1 < len(counts[0]) for counts in calls)
        assert any(len(counts) == 1 == len(counts[0]) for counts in calls)
        single = [counts for counts in calls if {len(parts) for parts in counts} == {1}]
        assert any(len(counts) > 1 for counts in single)
        equal = [counts for counts in calls if len(set(sum(counts, []))) == 1 < len(counts)]
        assert {len({len(parts) for parts in counts}) > 1 for counts in equal} == {True, False}


def test_weights_make_the_gradient_that_of_the_mean_over_all_tokens():
    for seed in SEEDS:
        for given in given_in("outgrow.part_weights", seed):
            counts = given["counts"]
            weights = teamwork.part_weights(counts)
            total = sum(map(sum, counts))
            for weight, count in zip(sum(weights, []), sum(counts, [])):
                of_each_token = weight / count / len(counts) if count else 1 / total
                assert math.isclose(of_each_token, 1 / total)


def test_weights_may_be_of_any_kind_that_a_worker_can_send():
    def tensors(counts):
        return [torch.tensor(parts) for parts in teamwork.part_weights(counts)]

    def single_tensors(counts):
        return [[torch.tensor(one) for one in parts] for parts in teamwork.part_weights(counts)]

    def whole_zeros(counts):
        return [[one or 0 for one in parts] for parts in teamwork.part_weights(counts)]

    def fractions(counts):
        total = Fraction(sum(map(sum, counts)), len(counts))
        return [[n / total for n in parts] for parts in counts]

    for function in (tensors, single_tensors, whole_zeros):
        assert earned("outgrow.part_weights", function) == [2, 1, 1]
    told = heard("outgrow.part_weights", fractions)
    assert len(told) == 3 and all(words.startswith("a weight is a number") for words in told)


def test_weights_in_other_lists_are_told_so():
    def one_less(counts):
        return [parts[1:] for parts in teamwork.part_weights(counts)]

    def of_the_first(counts):
        return teamwork.part_weights(counts)[:1]

    assert all(words.startswith(checks.EACH_PART[0]) for words in heard(IDS[2], one_less))
    assert heard(IDS[2], of_the_first)[0] == checks.A_LIST_EACH[0]


def test_nan_for_an_empty_part_costs_one_check():
    def nan(counts):
        weights = teamwork.part_weights(counts)
        return [[one or math.nan for one in parts] for parts in weights]

    assert earned("outgrow.part_weights", nan) == [2, 0, 1]


# The length of a gradient in shards ---------------------------------------------------------------


def lengths(given):
    """The lengths of the shards and of the whole, as multiples of the limit."""
    own = [checks.length_of([shard]) / given["limit"] for shard in given["shards"]]
    return own, checks.length_of(given["shards"]) / given["limit"]


def test_gradients_are_too_long_in_one_shard_or_only_together():
    for seed in SEEDS:
        told = [lengths(given) for given in given_in("outgrow.silent_bug", seed, 0)]
        assert all(whole > 1.1 for _, whole in told)
        assert any(len(own) == 1 for own, _ in told)
        together = [own for own, _ in told if max(own) < 1]
        some = [own for own, _ in told if len(own) > 1 and max(own) > 1 > min(own)]
        assert together and some


def test_gradients_are_short_though_their_shards_lengths_add_up_to_more():
    for seed in SEEDS:
        calls = given_in("outgrow.silent_bug", seed, 1)
        told = [lengths(given) for given in calls]
        assert all(whole <= 1 for _, whole in told)
        assert any(sum(own) > 1 and whole < 1 for own, whole in told)
        assert any(0 < whole < 0.1 for _, whole in told)
        assert any(whole == 1 for _, whole in told)
        assert any(whole == 0 for _, whole in told)
        assert any(len(own) == 1 for own, _ in told)
        assert {type(given["limit"]) for given in calls} == {int, float}


def test_rounding_does_not_decide_whether_a_gradient_is_too_long():
    for seed in range(200):
        for given in given_in("outgrow.silent_bug", seed):
            _, whole = lengths(given)
            assert whole == 1 or abs(whole - 1) > 0.03, f"seed {seed}: {whole}"


def test_lengths_are_so_large_that_the_small_number_of_torchs_own_clipping_is_no_fault():
    """clip_grad_norm_ adds 1e-6 to the length; the docstring leaves open how exact the result is."""
    for seed in SEEDS:
        for given in given_in("outgrow.silent_bug", seed):
            length = checks.length_of(given["shards"])
            assert length == 0 or length > 0.4


def test_shards_have_any_shape_and_kind_and_are_one_to_five():
    counts, kinds = set(), set()
    for seed in SEEDS:
        calls = given_in("outgrow.silent_bug", seed)
        shards = [shard for given in calls for shard in given["shards"]]
        assert {shard.ndim for shard in shards} >= {1, 2, 4}
        assert any(shard.numel() == 0 for shard in shards)
        counts |= {len(given["shards"]) for given in calls}
        kinds |= {shard.dtype for shard in shards}
    assert counts >= {1, 2, 3, 4, 5} and kinds == {torch.float32, torch.float64}
    everywhere = [shard for seed in range(20) for shard in checks.some_shards(seed, [1, 1])]
    assert any(shard.ndim == 0 for shard in everywhere)


def test_the_bug_turns_the_direction_of_every_gradient_that_is_too_long_in_one_shard():
    for seed in SEEDS:
        shards = checks.longer_in_some(seed, 3, 1.0)
        buggy = torch.cat([(shard * min(1, 1 / shard.norm())).flatten() for shard in shards])
        whole = torch.cat([shard.flatten() for shard in shards])
        assert torch.cosine_similarity(buggy, whole, dim=0) < 0.95


def test_what_a_gradient_is_worth_when_one_thing_is_wrong():
    def the_bug(shards, limit):
        return [shard * min(1, limit / shard.norm()) for shard in shards]

    def views_where_short(shards, limit):
        if checks.length_of(shards) <= limit:
            return [shard.view_as(shard) for shard in shards]
        return teamwork.clipped(shards, limit)

    def zeros_as_they_are(shards, limit):
        return teamwork.clipped(shards, limit) if checks.length_of(shards) else shards

    def in_half_precision(shards, limit):
        return [shard.half() for shard in teamwork.clipped(shards, limit)]

    def in_single_precision(shards, limit):
        return [shard.float() for shard in teamwork.clipped(shards, limit)]

    told = {
        function.__name__: earned("outgrow.silent_bug", function)
        for function in (the_bug, views_where_short, zeros_as_they_are, in_single_precision)
    }
    assert told == {
        "the_bug": [0, 1, 0],
        "views_where_short": [2, 1, 0],
        "zeros_as_they_are": [2, 1, 0],
        "in_single_precision": [2, 1, 1],
    }
    assert sum(earned("outgrow.silent_bug", in_half_precision)) < 4


# What went wrong ----------------------------------------------------------------------------------


def teams_in(seed, *chosen):
    """The teams of the checks with these numbers, or of all of them."""
    return [
        checks.Team(**given)
        for check in chosen or range(3)
        for given in given_in("outgrow.diagnosed", seed, check)
    ]


def test_every_word_is_right_for_some_teams_and_every_sign_says_the_same_as_the_reference():
    for seed in SEEDS:
        for check in range(3):
            teams = teams_in(seed, check)
            words = [teamwork.diagnosed(*team) for team in teams]
            assert set(words) >= set(checks.OF_TWO)
            assert [checks.first_sign(checks.SIGNS, team) for team in teams] == words
            assert check == 1 or set(words) == set(checks.WORDS)


def test_teams_have_one_to_five_processes_that_vary_in_all_that_they_report():
    sizes = set()
    for seed in SEEDS:
        teams = teams_in(seed)
        for team in teams:
            assert len({len(each) for each in team[:-1]}) == 1 and min(team.counts) > 0
        sizes |= {len(team.rows) for team in teams}
        for name, enough in (("seeds", 20), ("parameters", 40), ("loss_sums", 40), ("counts", 10)):
            assert len({getattr(team, name)[0] for team in teams}) > enough, name
        assert len({team.loss for team in teams}) > 40
        lists = [rows for team in teams for rows in team.rows]
        assert all(lists) and any(rows != sorted(rows) for rows in lists)
        assert any(len({len(rows) for rows in team.rows}) > 1 for team in teams)
    assert sizes == {1, 2, 3, 4, 5}


def test_a_team_can_be_sent_to_a_worker():
    for team in teams_in(1):
        assert all(type(each) is list for each in [*team[:-1], *team.rows])
        assert all(type(row) is int for rows in team.rows for row in rows)
        assert {type(each) for each in team.seeds + team.counts} == {int}
        assert {type(each) for each in [*team.parameters, *team.loss_sums, team.loss]} == {float}


def signs_of(team):
    return tuple(word for word, sign in checks.SIGNS.items() if sign(team))


def test_every_set_of_mistakes_occurs_and_no_team_has_others_than_it_should():
    for seed in SEEDS:
        single = set(map(signs_of, teams_in(seed, 0)))
        assert single == {(), *((word,) for word in checks.SIGNS)}
        several = set(map(signs_of, teams_in(seed, 1)))
        assert several == {
            (checks.APART,),
            *(
                words
                for count in (2, 3, 4)
                for words in itertools.combinations(checks.SIGNS, count)
            ),
        }
        assert all(len(signs_of(team)) <= 1 for team in teams_in(seed, 2))


def pairs_with(word, team):
    """Which two processes have this sign, by their places."""
    name, wrong = checks.OF_TWO[word]
    places = enumerate(getattr(team, name))
    return {(i, j) for (i, one), (j, other) in checks.pairs(places) if wrong(one, other)}


def test_any_two_processes_may_be_the_ones_and_those_two_alone():
    for seed in SEEDS:
        large = [team for team in teams_in(seed, 2) if len(team.rows) > 2]
        for word in (checks.SAME_ROWS, checks.ONE_SEED):
            found = [(pairs_with(word, team), len(team.rows) - 1) for team in large]
            assert {(0, 1)} in [pairs for pairs, _ in found]
            assert any(pairs == {(last - 1, last)} for pairs, last in found)
            assert any(pairs == {(0, last)} for pairs, last in found)
        apart = [pairs_with(checks.APART, team) for team in large]
        assert any(pairs and (0, 1) not in pairs for pairs in apart)


def test_large_seeds_lie_within_a_millionth_and_are_not_the_same():
    for seed in SEEDS:
        large = [team for team in teams_in(seed, 2) if min(team.seeds) >= 10**8]
        assert all(not checks.differ(*two) for team in large for two in checks.pairs(team.seeds))
        assert [teamwork.diagnosed(*team) for team in large] == [checks.RIGHT, checks.ONE_SEED]


def test_sums_are_the_same_as_the_first_or_as_their_neighbours_and_yet_apart():
    """So are 1, 1 + 9e-7 and 1 - 9e-7."""
    assert not checks.differ(1, 1 + 9e-7) and checks.differ(1 - 9e-7, 1 + 9e-7)
    for seed in SEEDS:
        apart = [pairs_with(checks.APART, team) for team in teams_in(seed, 2)]
        # large and small sums, above and below 0
        assert apart.count({(1, 2)}) >= 4 and apart.count({(0, 2)}) >= 4


def test_sums_lie_on_both_sides_of_a_millionth_and_never_so_close_that_a_reading_decides():
    """A part of what, of the larger or of the smaller sum: no matter."""
    for seed in range(60):
        scales = set()
        for team in teams_in(seed):
            sums = team.parameters
            parts = [abs(a - b) / abs(a) * 1e6 for a in sums for b in sums]
            assert all(part < 0.95 or part > 1.25 for part in parts)
            if 0 < max(parts) < 3:
                scales.add((sums[0] > 0, abs(sums[0]) > 1, max(parts) > 1))
        assert len(scales) == 8, scales


def test_rows_in_common_stand_at_one_place_and_at_others():
    for seed in SEEDS:
        places = []
        for team in teams_in(seed, 0):
            for i, j in pairs_with(checks.SAME_ROWS, team):
                one, other = team.rows[i], team.rows[j]
                shared = set(one) & set(other)
                places.append((len(shared), {one.index(row) - other.index(row) for row in shared}))
        assert any(count == 1 and gaps == {0} for count, gaps in places)
        assert any(count == 1 and 0 not in gaps for count, gaps in places)
        assert any(count > 1 and gaps == {0} for count, gaps in places)


def test_a_process_lists_a_row_twice_alone_in_a_right_team_and_in_a_wrong_one():
    for seed in SEEDS:
        twice = [
            team for team in teams_in(seed) if any(len(set(rows)) < len(rows) for rows in team.rows)
        ]
        assert [teamwork.diagnosed(*team) for team in twice] == [
            checks.RIGHT,
            checks.RIGHT,
            checks.SAME_ROWS,
        ]
        assert [len(team.rows) > 1 for team in twice] == [False, True, True]


def distance(one, other):
    return abs(one - other) / max(one, other)


def test_a_loss_is_a_mean_or_none_and_never_so_nearly_that_a_reading_decides():
    """A part of what, and how a mean is rounded: no matter. In the first two checks the loss is exactly
    a mean, and the mean of means is the same in whatever order it is computed."""
    for seed in range(60):
        for check in range(3):
            for team in teams_in(seed, check):
                means, everything = checks.mean_of_means(team), checks.mean_of_all(team)
                gaps = [
                    distance(one, other)
                    for one, other in checks.pairs((team.loss, means, everything))
                ]
                assert all(gap < 0.75e-6 or gap > 1.25e-6 for gap in gaps)
                if check < 2:
                    own = [Fraction(s) / n for s, n in zip(team.loss_sums, team.counts)]
                    assert Fraction(means) == sum(own) / len(own)
                    assert team.loss in (means, everything) and distance(means, everything) > 4e-3


def test_the_loss_is_neither_mean_between_them_and_on_both_sides_nearer_to_one_or_to_the_other():
    for seed in SEEDS:
        places = []
        for team in teams_in(seed, 2):
            means, everything = checks.mean_of_means(team), checks.mean_of_all(team)
            place = (team.loss - everything) / (means - everything) if means != everything else 0
            if distance(means, everything) > 4e-3 and min(abs(place), abs(place - 1)) > 0.01:
                assert teamwork.diagnosed(*team) == checks.RIGHT
                places.append(place)
        assert places == pytest.approx([-1, 0.25, 0.75, 1.5])


def test_the_loss_lies_some_parts_of_a_millionth_beside_a_mean_on_both_sides():
    for seed in SEEDS:
        beside = set()
        for team in teams_in(seed, 2):
            means, everything = checks.mean_of_means(team), checks.mean_of_all(team)
            part = (team.loss / means - 1) * 1e6
            if 1e-3 < abs(part) < 2 and distance(means, everything) > 4e-3:
                beside.add((round(part, 2), teamwork.diagnosed(*team)))
        words = {0.7: checks.MEAN_OF_MEANS, 1.5: checks.RIGHT}
        assert beside == {(sign * part, word) for part, word in words.items() for sign in (-1, 1)}


def test_both_means_are_one_where_counts_are_equal_or_own_means_are():
    for seed in SEEDS:
        teams = [
            team
            for team in teams_in(seed, 2)
            if len(team.rows) > 1
            and checks.mean_of_means(team) == checks.mean_of_all(team) == team.loss
        ]
        assert {len(set(team.counts)) > 1 for team in teams} == {True, False}
        assert {teamwork.diagnosed(*team) for team in teams} == {checks.RIGHT}


def test_equal_counts_give_two_means_by_rounding_alone_and_the_loss_is_the_mean_of_means():
    for seed in SEEDS:
        rounded = [
            team
            for team in teams_in(seed, 2)
            if team.loss == checks.mean_of_means(team) != checks.mean_of_all(team)
            and len(set(team.counts)) == 1
        ]
        assert [teamwork.diagnosed(*team) for team in rounded] == [checks.RIGHT]


def test_what_the_text_says_of_its_edges():
    right = checks.Team([[1], [2], [3]], [1, 2, 3], [1.0] * 3, [2.0, 4.0, 9.0], [2, 4, 6], 1.25)
    told = {
        "a row twice": right._replace(rows=[[1, 1], [2], [3]]),
        "near the first": right._replace(parameters=[1, 1 + 9e-7, 1 - 9e-7]),
        "mean of means": right._replace(loss=3.5 / 3),
        "neither": right._replace(loss=1.2),
        "equal counts": right._replace(counts=[6] * 3, loss=sum((2 / 6, 4 / 6, 9 / 6)) / 3),
    }
    assert {name: teamwork.diagnosed(*team) for name, team in told.items()} == {
        "a row twice": checks.RIGHT,
        "near the first": checks.APART,
        "mean of means": checks.MEAN_OF_MEANS,
        "neither": checks.RIGHT,
        "equal counts": checks.RIGHT,
    }
    for team in told.values():
        assert checks.first_sign(checks.SIGNS, team) == teamwork.diagnosed(*team)


def test_a_diagnosis_of_another_kind_is_told_so():
    def capital(*given):
        return teamwork.diagnosed(*given).capitalize()

    def number(*given):
        return checks.WORDS.index(teamwork.diagnosed(*given))

    assert all(words.endswith("is none of the words") for words in heard(IDS[4], capital))
    assert heard(IDS[4], number) == ["a word is expected, yours is a int"] * 3


def test_two_mistakes_at_two_edges_are_named_one_after_the_other():
    def exactly(rows, seeds, parameters, loss_sums, counts, loss):
        team = checks.Team(rows, seeds, parameters, loss_sums, counts, loss)
        signs = checks.SIGNS | {
            checks.APART: lambda team: len(set(team.parameters)) > 1,
            checks.MEAN_OF_MEANS: lambda team: (
                team.loss == checks.mean_of_means(team) != checks.mean_of_all(team)
            ),
        }
        return checks.first_sign(signs, team)

    assert earned(IDS[4], exactly) == [2, 2, 0]
    assert heard(IDS[4], exactly) == ["sums that differ by less than a millionth are apart here"]


def test_what_a_diagnosis_is_worth_when_one_thing_is_wrong():
    def first_two(*given):
        return teamwork.diagnosed(*(each[:2] for each in given[:-1]), given[-1])

    def with_defaults(*given):
        """Rows as one list, sums with the first, the loss to nine digits."""
        team = checks.Team(*given)
        if len(set(sum(team.rows, []))) < len(sum(team.rows, [])):
            return checks.SAME_ROWS
        if len(set(team.seeds)) < len(team.seeds):
            return checks.ONE_SEED
        if not all(math.isclose(team.parameters[0], one, rel_tol=1e-6) for one in team.parameters):
            return checks.APART
        is_means = math.isclose(team.loss, checks.mean_of_means(team))
        is_right = math.isclose(team.loss, checks.mean_of_all(team))
        return checks.MEAN_OF_MEANS if is_means and not is_right else checks.RIGHT

    def own_mean_of_the_first(*given):
        team = checks.Team(*given)
        found = teamwork.diagnosed(*given)
        if found not in (checks.MEAN_OF_MEANS, checks.RIGHT):
            return found
        first = team.loss_sums[0] / team.counts[0]
        return checks.MEAN_OF_MEANS if team.loss == first else checks.RIGHT

    told = {
        function.__name__: earned("outgrow.diagnosed", function)
        for function in (first_two, with_defaults, own_mean_of_the_first)
    }
    assert told["first_two"][2] == 0
    assert told["with_defaults"] == [2, 2, 0]
    assert told["own_mean_of_the_first"][0] == 0
