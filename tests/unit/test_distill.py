"""Distillation: both divergences against plain recounts and against whole responses where all of them
can be listed, and training against a plain loop."""

import copy
import math

import pytest
import torch
from methods import distill, enumeration, rollouts, sft, tokens
from tiny import PAD, PROMPTS, STOP, new_policy, parameters, same_parameters

RESPONSES = [[6, STOP], [7, 8, 9, STOP], [10]]
DIVERGENCES = [distill.reverse_kl, distill.forward_kl]


def new_teacher(vocab=12):
    return new_policy(vocab, spread=0.25)


def logits_of(model, ids):
    return model(input_ids=ids, use_cache=False).logits


def plain_divergences(one, other, prompts=PROMPTS, responses=RESPONSES):
    """D_KL(one ‖ other) of each response token, every row run alone: a list for each response."""
    rows = []
    for prompt, response in zip(prompts, responses):
        p, q = (
            logits_of(model, torch.tensor([prompt + response]))[0].log_softmax(-1)
            for model in (one, other)
        )
        rows.append(
            [
                sum((p[t].exp() * (p[t] - q[t])).tolist())
                for t in range(len(prompt) - 1, len(prompt) + len(response) - 1)
            ]
        )
    return rows


def run(student, teacher, batches, seed=0, **more):
    torch.manual_seed(seed)
    settings = dict(max_new_tokens=6, stop_id=STOP, pad_id=PAD) | more
    return list(distill.train(student, teacher, batches, **settings))


# The divergences ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[0, 1, 2], [1], [2, 0]])
@pytest.mark.parametrize("pad_id", [PAD, STOP, 7])
def test_a_divergence_is_a_mean_over_the_response_tokens(rows, pad_id):
    student, teacher = new_policy(), new_teacher()
    prompts, responses = ([table[row] for row in rows] for table in (PROMPTS, RESPONSES))
    ids, _, labels = tokens.join(prompts, responses, pad_id)
    for divergence, pair in (
        (distill.reverse_kl, (student, teacher)),
        (distill.forward_kl, (teacher, student)),
    ):
        told = divergence(logits_of(student, ids), logits_of(teacher, ids), labels)
        expected = sum(plain_divergences(*pair, prompts, responses), [])
        assert told.item() == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    backwards = sum(plain_divergences(teacher, student, prompts, responses), [])
    forwards = sum(plain_divergences(student, teacher, prompts, responses), [])
    assert abs(sum(backwards) - sum(forwards)) > 1e-3  # they are two


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_equal_models_are_at_0_and_all_others_above(divergence):
    ids, _, labels = tokens.join(PROMPTS, RESPONSES, PAD)
    logits = logits_of(new_policy(), ids)
    assert divergence(logits, logits.clone(), labels) == 0
    # What is the same for every token of the vocabulary changes no distribution.
    assert divergence(logits, logits + 3, labels).item() == pytest.approx(0, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        one, other = (torch.randn(logits.shape, generator=generator) for _ in range(2))
        assert divergence(one, other, labels) > 0.1


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_neither_prompt_nor_padding_counts(divergence):
    ids, _, labels = tokens.join(PROMPTS, RESPONSES, PAD)
    student = logits_of(new_policy(), ids).detach().requires_grad_()
    teacher = logits_of(new_teacher(), ids).detach()
    expected = divergence(student, teacher, labels)
    expected.backward()
    used = torch.zeros_like(labels, dtype=torch.bool)
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES)):
        used[row, len(prompt) - 1 : len(prompt) + len(response) - 1] = True
    assert (student.grad.abs().sum(-1) > 0).equal(used)
    spoilt = torch.where(used.unsqueeze(-1), teacher, 9 * torch.randn(teacher.shape))
    assert divergence(student, spoilt, labels) == expected


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_logits_of_other_shapes_are_refused(divergence):
    labels = torch.ones(3, 9, dtype=torch.long)
    for one, other, name in [
        (torch.zeros(3, 9, 12), torch.zeros(3, 9, 13), "teacher"),
        (torch.zeros(3, 9, 12), torch.zeros(1, 9, 12), "teacher"),
        (torch.zeros(3, 8, 12), torch.zeros(3, 8, 12), "student"),
        (torch.zeros(1, 9, 12), torch.zeros(1, 9, 12), "student"),
    ]:
        with pytest.raises(ValueError, match="has the shape"):
            divergence(one, other, labels)
        with pytest.raises(ValueError, match=f"^{name}_logits has the shape"):
            distill.reverse_kl(one, other, labels)


# Whole responses, where all of them can be listed -------------------------------------------------


def listed(prompt=(2, 3)):
    responses = enumeration.responses(5, STOP, 2)
    ids, real, labels = tokens.join([list(prompt)] * len(responses), responses, PAD)
    return responses, ids, real, labels


def test_the_divergences_of_tokens_add_up_to_those_of_responses():
    """D_KL of whole responses is the expectation, over the first model's responses, of the sum over
    their tokens."""
    student, teacher = new_policy(vocab=5), new_teacher(vocab=5)
    responses, ids, _, labels = listed()
    log_s, log_t = (
        enumeration.log_probs(model, [2, 3], responses, PAD) for model in (student, teacher)
    )
    with torch.no_grad():
        for divergence, first, second in (
            (distill.reverse_kl, log_s, log_t),
            (distill.forward_kl, log_t, log_s),
        ):
            whole = (first.exp() * (first - second)).sum().item()
            sums = [
                len(response)
                * divergence(
                    logits_of(student, ids[row : row + 1]),
                    logits_of(teacher, ids[row : row + 1]),
                    labels[row : row + 1],
                )
                for row, response in enumerate(responses)
            ]
            assert (first.exp() * torch.stack(sums)).sum().item() == pytest.approx(whole, rel=1e-4)
            assert whole > 0.05


def test_sft_on_the_teachers_responses_goes_down_the_forward_divergence():
    student, teacher = new_policy(vocab=5), new_teacher(vocab=5)
    responses, ids, real, labels = listed()
    log_t = enumeration.log_probs(teacher, [2, 3], responses, PAD)
    log_s = rollouts.response_log_probs(student, ids, real, labels, 1.0).sum(-1)
    forward = (log_t.exp() * (log_t - log_s)).sum()
    expected = torch.autograd.grad(forward, list(student.parameters()))
    losses = [
        sft.sequence_loss(logits_of(student, ids[row : row + 1]), labels[row : row + 1])
        for row in range(len(responses))
    ]
    demonstrated = (log_t.exp() * torch.stack(losses)).sum()
    entropy = -(log_t.exp() * log_t).sum()
    assert (demonstrated - forward).item() == pytest.approx(entropy.item(), rel=1e-4)
    by_tokens = sum(
        log_t[row].exp()
        * len(response)
        * distill.forward_kl(
            logits_of(student, ids[row : row + 1]),
            logits_of(teacher, ids[row : row + 1]).detach(),
            labels[row : row + 1],
        )
        for row, response in enumerate(responses)
    )
    for value in (demonstrated, by_tokens):
        for mine, gradient in zip(
            torch.autograd.grad(value, list(student.parameters())), expected, strict=True
        ):
            torch.testing.assert_close(mine, gradient, rtol=1e-3, atol=1e-5)
    assert max(gradient.abs().max() for gradient in expected) > 0.01


# Demonstrations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [2, 4, 9])
def test_demonstrations_are_the_teachers_whole_responses(longest):
    teacher, prompts = new_teacher(), PROMPTS * 8
    torch.manual_seed(5)
    drawn = rollouts.sample(teacher, prompts, max_new_tokens=longest, stop_id=STOP, pad_id=PAD)
    torch.manual_seed(5)
    shown = distill.demonstrations(
        teacher, prompts, max_new_tokens=longest, stop_id=STOP, pad_id=PAD
    )
    whole = [
        (prompt + response, [tokens.IGNORE] * len(prompt) + response)
        for prompt, response in zip(prompts, drawn.responses)
        if response[-1] == STOP
    ]
    assert shown == whole and 0 < len(shown) < len(prompts)
    assert len({len(ids) for ids, _ in shown}) > 1


def test_demonstrations_of_prompts_that_cannot_be_read_are_refused():
    for prompts in ([[3, 12]], [[2] * 30], []):
        with pytest.raises(ValueError):
            distill.demonstrations(
                new_teacher(), prompts, max_new_tokens=3, stop_id=STOP, pad_id=PAD
            )


# Training -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [3, 6])
@pytest.mark.parametrize("divergence", [None, *DIVERGENCES])
def test_training_is_a_plain_loop_on_the_students_samples(longest, divergence):
    """divergence: None for the default, which is the reverse one"""
    student, plain, teacher = new_policy(), new_policy(), new_teacher()
    batches = [PROMPTS * 2, PROMPTS[1:], PROMPTS[:1]]
    more = {"divergence": divergence} if divergence else {}
    history = run(student, teacher, batches, max_new_tokens=longest, learning_rate=5e-3, **more)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=5e-3, weight_decay=0.0, fused=True)
    torch.manual_seed(0)
    for metrics, batch in zip(history, batches, strict=True):
        drawn = rollouts.sample(plain, batch, max_new_tokens=longest, stop_id=STOP, pad_id=PAD)
        rows = []
        for prompt, response in zip(batch, drawn.responses):
            ids, long = torch.tensor([prompt + response]), len(prompt)
            p = logits_of(plain, ids)[0, long - 1 : -1].log_softmax(-1)
            q = logits_of(teacher, ids)[0, long - 1 : -1].log_softmax(-1).detach()
            if divergence is distill.forward_kl:
                p, q = q, p
            rows.append((p.exp() * (p - q)).sum(-1))
        loss = torch.cat(rows).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert metrics == pytest.approx(
            {
                "divergence": loss.item(),
                "length": sum(map(len, drawn.responses)) / len(batch),
                "stopped": sum(row[-1] == STOP for row in drawn.responses) / len(batch),
            },
            rel=1e-3,
            abs=1e-5,
        )
    for parameter, expected in zip(student.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_student_comes_closer_and_the_teacher_stays(divergence):
    student, teacher = new_policy(), new_teacher()
    before = copy.deepcopy(teacher.state_dict())
    history = run(student, teacher, [PROMPTS * 8] * 20, learning_rate=3e-3, divergence=divergence)
    assert history[-1]["divergence"] < history[0]["divergence"] / 2
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    student = new_policy()
    metrics = run(student, new_policy(), [PROMPTS])[0]
    assert metrics["divergence"] == 0


def test_a_teacher_of_another_size_will_do():
    wide = new_policy()
    wide.resize_token_embeddings(12)
    thin = copy.deepcopy(wide)
    thin.model.layers = thin.model.layers[:1]
    thin.config.num_hidden_layers = 1
    assert run(new_policy(), thin, [PROMPTS])[0]["divergence"] > 0


def test_the_default_learning_rate_is_a_thousandth():
    student, named = new_policy(), new_policy()
    run(student, new_teacher(), [PROMPTS])
    run(named, new_teacher(), [PROMPTS], learning_rate=1e-3)
    assert same_parameters(student, parameters(named))


def test_a_step_is_yielded_after_its_update():
    student = new_policy()
    before = parameters(student)
    steps = distill.train(
        student, new_teacher(), [PROMPTS], max_new_tokens=4, stop_id=STOP, pad_id=PAD
    )
    assert same_parameters(student, before)
    next(steps)
    assert not same_parameters(student, before)


def test_dropout_is_off_in_both_models_and_comes_back():
    student, teacher = new_policy(), new_policy()
    for model in (student, teacher):
        model.train()
        for layer in model.model.layers:
            layer.self_attn.attention_dropout = 0.5
    assert run(student, teacher, [PROMPTS])[0]["divergence"] == 0
    assert student.training and teacher.training


@pytest.mark.parametrize(
    ("student", "teacher", "batch", "more", "match"),
    [
        (new_policy, lambda: new_teacher(vocab=13), PROMPTS, {}, "12 tokens and the teacher 13"),
        (lambda: new_policy(vocab=13), new_teacher, PROMPTS, {}, "13 tokens and the teacher 12"),
        (lambda: new_policy().requires_grad_(False), new_teacher, PROMPTS, {}, "a gradient"),
        (new_policy, new_teacher, [[3, 12]], {}, "knows"),
        (new_policy, new_teacher, [[2] * 22], {}, "context"),
        (new_policy, new_teacher, [], {}, "no row"),
        (new_policy, new_teacher, PROMPTS, {"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_what_cannot_be_distilled_changes_nothing(student, teacher, batch, more, match):
    student, teacher = student(), teacher()
    before = parameters(student)
    with pytest.raises(ValueError, match=match):
        run(student, teacher, [batch], **more)
    assert same_parameters(student, before)


def test_a_teacher_with_another_vocabulary_is_refused_before_a_response_is_drawn(monkeypatch):
    monkeypatch.setattr(distill.rollouts, "sample", lambda *_, **__: pytest.fail("drawn"))
    with pytest.raises(ValueError, match="train on its texts by SFT"):
        run(new_policy(), new_teacher(vocab=13), [PROMPTS])


def test_a_divergence_that_is_not_finite_is_refused_before_its_update():
    student, teacher = new_policy(), new_teacher()
    with torch.no_grad():
        teacher.lm_head.weight[3] = math.nan
    before = parameters(student)
    with pytest.raises(FloatingPointError, match=r"lower the learning rate \(0.001\)"):
        run(student, teacher, [PROMPTS])
    assert same_parameters(student, before)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_the_samples_are_taken_as_given(divergence, monkeypatch):
    """The gradient is that of the divergences alone: nothing is added for the choice of the tokens.
    And it is the student's alone."""
    student, teacher, seen = new_policy(), new_teacher(), []
    monkeypatch.setattr(
        distill.rollouts,
        "sample",
        lambda *_, **__: rollouts.Samples(RESPONSES, [], [True, True, False]),
    )

    def spy(own, theirs, labels):
        assert own.requires_grad and not theirs.requires_grad
        value = divergence(own, theirs, labels)
        seen.append(torch.autograd.grad(value, list(student.parameters()), retain_graph=True))
        return value

    ids, _, labels = tokens.join(PROMPTS, RESPONSES, PAD)
    plain = divergence(logits_of(student, ids), logits_of(teacher, ids).detach(), labels)
    expected = torch.autograd.grad(plain, list(student.parameters()))
    run(student, teacher, [PROMPTS], divergence=spy)
    assert len(seen) == 1
    for mine, other in zip(seen[0], expected, strict=True):
        torch.testing.assert_close(mine, other)
    assert all(parameter.grad is None for parameter in teacher.parameters())
