"""Rollouts: the cache, the stop token, and that what is drawn follows the model."""

from types import SimpleNamespace

import pytest
import torch
from methods import rollouts, tokens
from tiny import CONTEXT, PAD, PROMPTS, STOP, new_policy, plain_log_probs


@pytest.fixture()
def policy():
    return new_policy()


def draw(policy, prompts=PROMPTS, longest=8, **more):
    torch.manual_seed(1)
    return rollouts.sample(
        policy, prompts, max_new_tokens=longest, stop_id=STOP, pad_id=PAD, **more
    )


@torch.no_grad()
def next_log_probs(policy, ids, temperature=1.0):
    """The model's next-token distribution after one row, without cache or padding: float
    (vocab,)"""
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
    assert (
        (seen - expected) ** 2 / expected
    ).sum() < 31.3  # chi-square with 11 degrees of freedom, p = 0.001


def test_the_stop_token_belongs_to_the_response_and_nothing_follows():
    cut = rollouts.cut_at_stop(
        [[5, 1, 7, 1], [5, 6, 7, 8], [1, 1, 1, 1]], [[-1.0, -2.0, -3.0, -4.0]] * 3, STOP
    )
    assert cut.responses == [[5, 1], [5, 6, 7, 8], [1]]
    assert cut.log_probs == [[-1.0, -2.0], [-1.0, -2.0, -3.0, -4.0], [-1.0]]
    assert cut.stopped == [True, False, True]


def test_a_response_that_never_stops_is_cut_and_said_to_be(policy):
    for response, stopped in zip((drawn := draw(policy, longest=5)).responses, drawn.stopped):
        assert len(response) <= 5 and stopped == (response[-1] == STOP)


class Script(torch.nn.Module):
    """A model that says line i to prompt i; keeps what it was asked."""

    device = torch.device("cpu")
    config = SimpleNamespace(max_position_embeddings=CONTEXT)

    def __init__(self, lines):
        super().__init__()
        self.lines, self.asked = lines, []

    def forward(self, *, input_ids, attention_mask, position_ids, past_key_values, **_):
        step = past_key_values or 0
        self.asked.append((input_ids.tolist(), attention_mask.tolist(), position_ids.tolist()))
        logits = torch.full((len(self.lines), 1, 12), -torch.inf)
        for row, line in enumerate(self.lines):
            logits[row, 0, line[step]] = 0
        return SimpleNamespace(logits=logits, past_key_values=step + 1)


def test_sampling_ends_when_every_response_has():
    model = Script([[5, STOP, 7, 8, 9], [STOP, 6, STOP, 7, 8], [6, 7, 8, STOP, 9]])
    drawn = draw(model, longest=5)
    assert drawn.responses == [[5, STOP], [STOP], [6, 7, 8, STOP]] and all(drawn.stopped)
    assert len(model.asked) == 4


def test_the_cache_is_fed_one_column_with_its_mask_and_its_places():
    model = Script([[5, 6], [7, 8]])
    draw(model, [[3, 4, 5], [6]], longest=2)
    assert model.asked == [
        ([[3, 4, 5], [PAD, PAD, 6]], [[1, 1, 1], [0, 0, 1]], [[0, 1, 2], [0, 0, 0]]),
        ([[5], [7]], [[1, 1, 1, 1], [0, 0, 1, 1]], [[3], [1]]),
    ]


class Read:
    """A model that notes the shapes it reads."""

    def __init__(self, model):
        self.model, self.shapes = model, []

    def __call__(self, **named):
        self.shapes.append(tuple(named["input_ids"].shape))
        return self.model(**named)

    def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=None):
        """For those who ask which arguments it takes."""


def many_rows(side):
    """More rows than are read at once, of 2 to 14 tokens in no order, the last few their response."""
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(2, 15, (2 * rollouts.ROWS_AT_ONCE + 6,), generator=generator).tolist()
    rows = [torch.randint(3, 12, (n,), generator=generator).tolist() for n in lengths]
    ids, real = tokens.pad(rows, PAD, side=side)
    before = real.cumsum(-1) <= real.sum(-1, keepdim=True) // 2
    return ids, real, ids.masked_fill(~real | before, tokens.IGNORE)


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_read_by_length_say_what_they_say_together(policy, side):
    ids, real, labels = many_rows(side)
    tables = [
        function(policy, ids, real, labels, 0.7)
        for function in (rollouts.log_probs_by_length, rollouts.response_log_probs)
    ]
    assert tables[0].shape == (len(ids), ids.shape[1] - 1)
    torch.testing.assert_close(*tables, rtol=0, atol=1e-5)
    weights = torch.randn(tables[0].shape, generator=torch.Generator().manual_seed(5))
    gradients = [
        torch.autograd.grad((weights * table).sum(), list(policy.parameters())) for table in tables
    ]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_rows_read_by_length_carry_little_padding(policy):
    ids, real, labels = many_rows("right")
    read = Read(policy)
    rollouts.log_probs_by_length(read, ids, real, labels, 1.0)
    assert sum(rows for rows, _ in read.shapes) == len(ids)
    assert all(rows <= rollouts.ROWS_AT_ONCE for rows, _ in read.shapes)
    lengths = real.sum(-1).sort().values.split(rollouts.ROWS_AT_ONCE)
    assert [width for _, width in read.shapes] == [part[-1].item() for part in lengths]


@pytest.mark.parametrize(
    "prompts, longest, words",
    [
        ([], 4, "give at least one token in each"),
        ([[3], []], 4, "give at least one token in each"),
        ([[3]], 0, "max_new_tokens is 0"),
        ([[3] * 20], 8, "20 tokens and 8 new ones is more than the model's context of 24"),
        ([[3] * 20], 5, "more than the model's context"),
    ],
)
def test_what_cannot_be_sampled_is_refused(policy, prompts, longest, words):
    with pytest.raises(ValueError, match=words):
        draw(policy, prompts, longest)


def test_a_prompt_that_just_fits_is_not_refused(policy):
    assert len(draw(policy, [[3] * 20], longest=4).responses) == 1


def test_a_spoilt_policy_is_named(policy):
    policy.lm_head.weight.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="logits are NaN"):
        draw(policy)


def test_one_spoilt_row_is_enough(policy):
    policy.model.embed_tokens.weight.data[7] = torch.nan  # a token of the second prompt alone
    with pytest.raises(FloatingPointError, match="logits are NaN"):
        draw(policy, longest=1)


# Rollouts -----------------------------------------------------------------------------------------


def score(prompts, responses):
    """A reward that differs from row to row, in double precision: float (batch,)"""
    worth = [sum(prompt) / 10 - len(y) / 3 for prompt, y in zip(prompts, responses)]
    return torch.tensor(worth, dtype=torch.float64)


@pytest.fixture()
def rollout(policy):
    reference = new_policy(spread=0.2)
    torch.manual_seed(1)
    return rollouts.roll_out(
        policy,
        reference,
        score,
        PROMPTS * 3,
        max_new_tokens=6,
        temperature=0.7,
        stop_id=STOP,
        pad_id=PAD,
    )


def test_a_rollout_holds_what_both_models_say_of_each_token(rollout, policy):
    assert rollout.prompts == PROMPTS * 3
    assert len({len(response) for response in rollout.responses}) > 2
    for row, (prompt, response) in enumerate(zip(rollout.prompts, rollout.responses, strict=True)):
        assert rollout.ids[row][rollout.real[row]].tolist() == prompt + response
        counts = rollout.counts[row]
        assert rollout.ids[row, 1:][counts].tolist() == response
        assert rollout.labels[row, 1:][counts].tolist() == response
        for model, table in (
            (policy, rollout.log_probs),
            (new_policy(spread=0.2), rollout.ref_log_probs),
        ):
            expected = plain_log_probs(model, prompt, response, 0.7)
            torch.testing.assert_close(table[row][counts], expected, rtol=0, atol=1e-4)
            assert (table[row][~counts] == 0).all()
    assert rollout.stopped == [response[-1] == STOP for response in rollout.responses]
    torch.testing.assert_close(
        rollout.scores, score(rollout.prompts, rollout.responses).float(), rtol=0, atol=0
    )
    assert not rollout.ref_log_probs.requires_grad


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_score_that_is_not_finite_is_refused(policy, value):
    with pytest.raises(FloatingPointError, match="a score that is not finite"):
        rollouts.roll_out(
            policy,
            policy,
            lambda prompts, responses: torch.tensor([0.0] * (len(prompts) - 1) + [value]),
            PROMPTS,
            max_new_tokens=6,
            temperature=0.7,
            stop_id=STOP,
            pad_id=PAD,
        )


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5, 6, 7, 8], [7, 2], [1]])
def test_selected_rows_are_the_rows_without_needless_padding(rollout, rows):
    part = rollout.select(torch.tensor(rows))
    longest = max(len(rollout.prompts[row]) + len(rollout.responses[row]) for row in rows)
    assert part.ids.shape == part.real.shape == part.labels.shape == (len(rows), longest)
    assert part.counts.shape == part.log_probs.shape == (len(rows), longest - 1)
    assert part.ref_log_probs.shape == part.counts.shape
    for new, old in enumerate(rows):
        assert part.prompts[new] == rollout.prompts[old]
        assert part.responses[new] == rollout.responses[old]
        assert part.stopped[new] == rollout.stopped[old]
        assert part.scores[new] == rollout.scores[old]
        assert part.ids[new][part.real[new]].tolist() == part.prompts[new] + part.responses[new]
        for name in ("log_probs", "ref_log_probs"):
            mine, all_of = getattr(part, name)[new], getattr(rollout, name)[old]
            assert torch.equal(mine[part.counts[new]], all_of[rollout.counts[old]])
        assert part.labels[new, 1:][part.counts[new]].tolist() == part.responses[new]


def test_minibatches_use_every_row_once_in_a_pass(rollout):
    torch.manual_seed(0)
    used = [rows.tolist() for rows in rollouts.minibatches(rollout, size=4, passes=3)]
    assert [len(rows) for rows in used] == [4, 4, 1] * 3
    passes = [sum(used[i : i + 3], []) for i in (0, 3, 6)]
    assert all(sorted(rows) == list(range(9)) for rows in passes)
    assert passes[0] != passes[1] != passes[2]


def test_a_summary_is_of_whole_responses(rollout):
    sums = [
        (new - old)[keep].sum().item()
        for new, old, keep in zip(rollout.log_probs, rollout.ref_log_probs, rollout.counts)
    ]
    assert rollouts.summary(rollout) == pytest.approx(
        {
            "score": score(rollout.prompts, rollout.responses).mean().item(),
            "kl": sum(sums) / 9,
            "length": sum(map(len, rollout.responses)) / 9,
            "stopped": sum(response[-1] == STOP for response in rollout.responses) / 9,
        },
        abs=1e-5,
    )
