"""What must hold for SFT from scratch, whatever the model."""

import pytest
import torch
from methods.sft import batches, fine_tune, gradient_step, sequence_loss, sft_loss
from methods.tokens import IGNORE, collate, mask_prompt

VOCAB = 7


class Bigram(torch.nn.Module):
    """The smallest causal language model: a row of logits per current token."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(
            torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0))
        )
        self.device = torch.device("cpu")

    def forward(self, input_ids, use_cache=False):
        return type("Output", (), {"logits": self.table[input_ids]})


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 6, VOCAB, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, VOCAB, (3, 6), generator=generator)
    labels[:, :2] = IGNORE
    labels[1, 4:] = IGNORE
    return logits, labels


def test_token_mean_is_the_cross_entropy_of_pytorch():
    logits, labels = batch()
    theirs = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    )
    torch.testing.assert_close(sft_loss(logits, labels), theirs)


def test_both_conventions_agree_on_responses_of_one_length_up_to_that_length():
    logits, labels = batch()
    labels[1] = labels[0]
    torch.testing.assert_close(sequence_loss(logits, labels), 4 * sft_loss(logits, labels))


def test_gradient_is_probability_minus_one_hot():
    logits, labels = batch()
    logits.requires_grad_()
    sequence_loss(logits, labels).backward()
    expected = torch.zeros_like(logits)
    for row in range(3):
        for t in range(5):
            if labels[row, t + 1] != IGNORE:
                expected[row, t] = logits[row, t].detach().softmax(-1)
                expected[row, t, labels[row, t + 1]] -= 1
    torch.testing.assert_close(logits.grad, expected / 3)


@pytest.mark.parametrize("loss", [sft_loss, sequence_loss])
def test_gradient_agrees_with_finite_differences(loss):
    logits, labels = batch()
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_())


@pytest.mark.parametrize("loss", [sft_loss, sequence_loss])
def test_padding_changes_nothing(loss):
    logits, labels = batch()
    wide_logits = torch.cat([logits, torch.full((3, 4, VOCAB), 50.0, dtype=torch.float64)], 1)
    wide_labels = torch.cat([labels, torch.full((3, 4), IGNORE)], 1)
    torch.testing.assert_close(loss(wide_logits, wide_labels), loss(logits, labels))


def test_extreme_logits_stay_finite():
    logits, labels = batch()
    assert torch.isfinite(sft_loss(logits * 1e6, labels))


def test_batches_go_through_every_example_before_any_comes_again():
    examples = [([i], [i]) for i in range(8)]
    seen = [
        ids[:, 0].tolist() for ids, _ in batches(examples, batch_size=4, steps=4, pad_id=0, seed=5)
    ]
    assert sorted(seen[0] + seen[1]) == sorted(seen[2] + seen[3]) == list(range(8))
    again = [
        ids[:, 0].tolist() for ids, _ in batches(examples, batch_size=4, steps=4, pad_id=0, seed=5)
    ]
    assert seen == again
    assert seen != [
        ids[:, 0].tolist() for ids, _ in batches(examples, batch_size=4, steps=4, pad_id=0, seed=6)
    ]


def test_too_few_examples_for_a_batch_are_refused():
    with pytest.raises(ValueError, match="takes 4 examples and there are 3"):
        next(batches([([1], [1])] * 3, batch_size=4, steps=1, pad_id=0, seed=0))


def test_gradient_step_takes_every_parameter_downhill_and_clears_its_gradient():
    v, w = torch.tensor([3.0], requires_grad=True), torch.tensor([2.0, -1.0], requires_grad=True)
    frozen = torch.ones(1)
    ((v**2).sum() + (w**2).sum()).backward()
    gradient_step([frozen, v, w], learning_rate=0.25)
    assert (
        v.item() == 1.5
        and w.tolist() == [1.0, -0.5]
        and v.grad is w.grad is None
        and frozen.item() == 1
    )


def test_every_epoch_has_an_order_of_its_own_and_drops_what_fills_no_batch():
    examples = [([i], [i]) for i in range(10)]
    seen = [
        ids[:, 0].tolist() for ids, _ in batches(examples, batch_size=4, steps=6, pad_id=0, seed=1)
    ]
    epochs = [seen[i] + seen[i + 1] for i in (0, 2, 4)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_batches_come_from_the_collate_that_was_given():
    def mine(examples, pad_id):
        return len(examples), pad_id

    assert (
        list(batches([([1], [1])] * 4, batch_size=2, steps=2, pad_id=7, seed=0, collate=mine))
        == [(2, 7)] * 2
    )


def test_fine_tuning_uses_the_loss_that_was_given():
    data = [collate([mask_prompt([2], [3, 4, 1])] * 2, pad_id=0)]
    (token_mean,) = fine_tune(Bigram(), data, steps=1, learning_rate=0.1)
    (summed,) = fine_tune(Bigram(), data, steps=1, learning_rate=0.1, loss=sequence_loss)
    assert summed == pytest.approx(3 * token_mean)


def test_a_first_label_that_nothing_predicts_does_not_count():
    logits, labels = batch()
    labels[:, 0] = 3
    torch.testing.assert_close(sft_loss(logits, labels), sft_loss(*batch()))


def test_an_infinite_loss_stops_too():
    with pytest.raises(FloatingPointError, match="inf"):
        fine_tune(
            Bigram(),
            [collate([mask_prompt([2], [3])], 0)],
            steps=1,
            learning_rate=0.1,
            loss=lambda logits, labels: logits.sum() * float("inf"),
        )


def test_fine_tuning_learns_and_leaves_frozen_parameters_alone():
    model = Bigram()
    model.frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    data = [mask_prompt([2], [3, 4, 1])] * 4
    losses = fine_tune(
        model, batches(data, batch_size=4, steps=60, pad_id=0, seed=0), steps=60, learning_rate=0.3
    )
    assert len(losses) == 60 and losses[-1] < 0.1 < losses[0]
    assert model.frozen.tolist() == [1, 1]


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_parameters():
    model = Bigram()
    before = model.table.detach().clone()
    nothing_counts = (torch.tensor([[2, 3]]), torch.full((1, 2), IGNORE))
    with pytest.raises(FloatingPointError, match="nan at step 1.*a token that counts"):
        fine_tune(model, [nothing_counts], steps=1, learning_rate=0.1)
    assert torch.equal(model.table, before)
