"""The checks of lab 10's exercises: what each function must do, and the mistakes that are known.

The form is explained in checks/shared.py.
"""

import bisect
import itertools
import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from checks.shared import (
    NO_GRADIENT,
    NOT_FINITE,
    RETURNS_NOTHING,
    WRONG_SHAPE,
    Words,
    as_loss,
    call,
    close,
    does_the_same,
    expect,
    expect_on_all,
    in_place,
    in_words,
    kind_of,
    needs_gradients,
    needs_something,
    needs_untouched,
    number,
    outcome,
    randoms,
    result,
    some_number,
    twice,
    with_the_notebooks,
    wrong_part,
)
from course import Exercise, Mistake
from methods import remedies
from torch import Tensor

# The loss of labels with errors -------------------------------------------------------------------

forward_loss = Exercise(
    "failures.forward_loss", reference=remedies.forward_loss, minutes=12, difficulty=2
)
OBSERVED = "a label j is seen with probability Σ_k p(k) noise[k, j]; the loss is −log of it"
CLASSES_ADD_UP = "the probabilities of the classes add up to 1: softmax(-1)"
MEAN_OF_ROWS = "take the mean over the rows of the batch"
COLUMN = "noise[:, j] holds, for each class k, how often it is labelled j"
IN_LOG_SPACE = "add logarithms, log_softmax + log of the noise, and end with logsumexp"
NO_SMALL_NUMBER = (
    "no clamp and no small number inside the log: they end the learning where it is needed"
)
COSTS_INF = "a label that is very unlikely costs inf", IN_LOG_SPACE
COSTS_TOO_LITTLE = "a label that is very unlikely costs too little", NO_SMALL_NUMBER
NOT_THE_LOSS = "this is not the mean of −log of the labels' probabilities", OBSERVED


def of_labels(table: Tensor, labels: Tensor) -> Tensor:
    """Each row's number under its label: (batch, classes) to (batch,)."""
    return table.gather(-1, labels[:, None])[:, 0]


forward_loss.wrong(
    "noise is taken to be the notebook's", next="noise is an argument: use it as it is given"
)(with_the_notebooks(forward_loss, "noise"))


@wrong_part(forward_loss)
def wrong_noise(noise_of):
    """The loss with another noise, a function of the right one."""
    return lambda logits, labels, noise: remedies.forward_loss(logits, labels, noise_of(noise))


@wrong_noise("the noise is not used: this is the usual cross-entropy", next=OBSERVED)
def uncorrected(noise):
    return torch.eye(len(noise))


@wrong_noise("all classes get the same errors", next="each class has a row of its own in noise")
def same_for_all_classes(noise):
    classes = len(noise)
    wrong = (1 - noise.diag().mean()) / (classes - 1)
    return wrong.repeat(classes, classes).fill_diagonal_(1 - wrong * (classes - 1))


@wrong_noise("the errors of a class are spread evenly", next="use the whole row of noise")
def spread_evenly(noise):
    classes, right = len(noise), noise.diag()[:, None]
    others = ((1 - right) / (classes - 1)).expand(-1, classes)
    return torch.where(torch.eye(classes, dtype=torch.bool), right, others)


@wrong_noise("the noise is applied twice", next=OBSERVED)
def applied_twice(noise):
    return noise @ noise


@wrong_noise("the noise is normalised: its rows add up to 1 already", next="use it as it is")
def softmax_of_the_noise(noise):
    return noise.softmax(-1)


@wrong_part(forward_loss)
def wrong_probability(probability):
    """The mean −log of another probability of each row's label, a function of what the model says,
    the labels and the noise."""

    def loss(logits, labels, noise):
        return -probability(logits.softmax(-1), labels, noise).log().mean()

    return loss


@wrong_probability("the noise is transposed: its rows are the right classes", next=COLUMN)
def transposed(said, labels, noise):
    return of_labels(said @ noise.T, labels)


@wrong_probability("the errors are left out: only the right label counts", next=OBSERVED)
def diagonal_alone(said, labels, noise):
    return of_labels(said * noise.diag(), labels)


@wrong_probability("this is the likeliest way to the label alone", next="sum over the classes k")
def likeliest_way(said, labels, noise):
    return (said * noise.T[labels]).amax(-1)


@wrong_probability("the classes are averaged: their probabilities are added", next=OBSERVED)
def mean_of_ways(said, labels, noise):
    return (said * noise.T[labels]).mean(-1)


@wrong_probability("what the model says is not used", next=OBSERVED)
def noise_alone(said, labels, noise):
    return noise.T[labels].mean(-1)


@wrong_probability(
    "this is the probability of the class, given the label", next="the label is what is predicted"
)
def posterior(said, labels, noise):
    joint = said * noise.T[labels]
    return of_labels(joint / joint.sum(-1, keepdim=True), labels)


@wrong_probability(
    "the noise is applied to what was divided by its sum over the labels", next=OBSERVED
)
def columns_normalised(said, labels, noise):
    return of_labels(said @ (noise / noise.sum(0)), labels)


@wrong_probability(
    "the logarithm is taken of the mean probability", next="first the log, then the mean"
)
def mean_before_log(said, labels, noise):
    return of_labels(said @ noise, labels).mean()


@wrong_part(forward_loss)
def wrong_average(average):
    """Another function of the losses of the rows and of the number of classes."""

    def loss(logits, labels, noise):
        joint = logits.log_softmax(-1) + noise.log().T[labels]
        return average(-joint.logsumexp(-1), logits.shape[-1])

    return loss


@wrong_average(
    "the sign is wrong: this rises when the labels get more likely",
    next="negate the log-probability",
)
def rising(losses, classes):
    return -losses.mean()


@wrong_average("the rows are summed, not averaged", next=MEAN_OF_ROWS)
def summed(losses, classes):
    return losses.sum()


@wrong_average("this is one loss for each row", next=MEAN_OF_ROWS)
def one_for_each_row(losses, classes):
    return losses


@wrong_average("the loss is divided by the classes, too", next=MEAN_OF_ROWS)
def over_the_classes(losses, classes):
    return losses.mean() / classes


@wrong_average("the logarithm is missing", next=OBSERVED)
def no_logarithm(losses, classes):
    return -(-losses).exp().mean()


@wrong_average("the probability is not negated in the log: this is −log(1 − p)", next=OBSERVED)
def of_other_labels(losses, classes):
    return -(1 - (-losses).exp()).log().mean()


@wrong_average("these are bits, not nats", next="use the natural logarithm")
def in_bits(losses, classes):
    return losses.mean() / math.log(2)


@wrong_average("this is the median, not the mean", next=MEAN_OF_ROWS)
def median_of_rows(losses, classes):
    return losses.median()


@forward_loss.wrong("the noise is applied to log-probabilities", next=f"no log yet: {OBSERVED}")
def on_log_probabilities(logits, labels, noise):
    return -of_labels(logits.log_softmax(-1) @ noise, labels).mean()


@forward_loss.wrong(
    "the label is replaced by its row of noise: that smooths labels, and corrects nothing",
    next=OBSERVED,
)
def smoothed_labels(logits, labels, noise):
    return F.cross_entropy(logits, noise[labels])


@forward_loss.wrong("the noise is applied to logits", next=f"first the softmax: {OBSERVED}")
def on_logits(logits, labels, noise):
    return F.cross_entropy(logits @ noise, labels)


@forward_loss.wrong(
    "this is the backward correction, with the inverse of the noise",
    next="no inverse: put the errors on top of what the model says",
)
def backward_correction(logits, labels, noise):
    return -(noise.inverse()[labels] * logits.log_softmax(-1)).sum(-1).mean()


@forward_loss.wrong(
    "this is the backward correction, with the inverse of the noise",
    next="no inverse: put the errors on top of what the model says",
)
def inverse_by_columns(logits, labels, noise):
    return -(noise.inverse().T[labels] * logits.log_softmax(-1)).sum(-1).mean()


@forward_loss.wrong("each row's loss is weighted, not corrected", next=OBSERVED)
def weighted(logits, labels, noise):
    return (noise.diag()[labels] * F.cross_entropy(logits, labels, reduction="none")).mean()


@forward_loss.wrong(
    "probabilities are given where logits are expected: cross_entropy takes a softmax itself",
    next="take the log of the probability that you have",
)
def softmax_of_probabilities(logits, labels, noise):
    return F.cross_entropy(logits.softmax(-1) @ noise, labels)


@forward_loss.wrong("the softmax runs over the batch", next=CLASSES_ADD_UP)
def softmax_over_the_batch(logits, labels, noise):
    joint = logits.log_softmax(0) + noise.log().T[labels]
    return -joint.logsumexp(-1).mean()


@forward_loss.wrong("the softmax is missing", next=CLASSES_ADD_UP)
def not_normalised(logits, labels, noise):
    return -(logits + noise.log().T[labels]).logsumexp(-1).mean()


@forward_loss.wrong("a sigmoid is taken of each class by itself", next=CLASSES_ADD_UP)
def one_class_at_a_time(logits, labels, noise):
    return -of_labels(logits.sigmoid() @ noise, labels).log().mean()


@forward_loss.wrong(*COSTS_INF)
def log_of_a_probability(logits, labels, noise):
    return -of_labels(logits.softmax(-1) @ noise, labels).log().mean()


@forward_loss.wrong(*COSTS_INF)
def log_in_double(logits, labels, noise):
    return -of_labels(logits.double().softmax(-1) @ noise.double(), labels).log().mean()


@forward_loss.wrong(*COSTS_TOO_LITTLE)
def clamped(logits, labels, noise):
    return -of_labels(logits.softmax(-1) @ noise, labels).clamp(min=1e-8).log().mean()


@forward_loss.wrong(*COSTS_TOO_LITTLE)
def small_number_inside(logits, labels, noise):
    return -(of_labels(logits.softmax(-1) @ noise, labels) + 1e-12).log().mean()


@forward_loss.wrong(*COSTS_TOO_LITTLE)
def small_number_in_the_noise(logits, labels, noise):
    joint = logits.log_softmax(-1) + (noise + 1e-9).log().T[labels]
    return -joint.logsumexp(-1).mean()


@forward_loss.wrong(*COSTS_TOO_LITTLE)
def logits_held(logits, labels, noise):
    return remedies.forward_loss(logits.clamp(-30, 30), labels, noise)


@forward_loss.wrong("the gradient in logits is not finite", next="no infinity may arise on the way")
def gradient_of_what_is_not_taken(logits, labels, noise):
    seen = of_labels(logits.softmax(-1) @ noise, labels)
    joint = logits.log_softmax(-1) + noise.log().T[labels]
    return -torch.where(seen > 1e-20, seen.log(), joint.logsumexp(-1)).mean()


@forward_loss.wrong(*NO_GRADIENT)
def loss_as_a_number(logits, labels, noise):
    return remedies.forward_loss(logits, labels, noise).item()


@forward_loss.wrong(*NO_GRADIENT)
def detached(logits, labels, noise):
    return remedies.forward_loss(logits.detach(), labels, noise)


@forward_loss.wrong("the gradient in logits is another one", next=IN_LOG_SPACE)
def normaliser_detached(logits, labels, noise):
    log_probs = logits - logits.logsumexp(-1, keepdim=True).detach()
    return -(log_probs + noise.log().T[labels]).logsumexp(-1).mean()


@forward_loss.wrong(*in_place("logits"))
def logits_in_place(logits, labels, noise):
    with torch.no_grad():
        logits -= logits.logsumexp(-1, keepdim=True)
    return remedies.forward_loss(logits, labels, noise)


@forward_loss.wrong(*in_place("noise"))
def noise_in_place(logits, labels, noise):
    return -(logits.log_softmax(-1) + noise.log_().T[labels]).logsumexp(-1).mean()


def some_noise(seed: int, classes: int) -> Tensor:
    """Errors of several sizes, not the same both ways: (classes, classes), its rows add up to 1."""
    kept = [[some_number(seed + 31 * row, 0.5, 0.9)] for row in range(classes)]
    others = (1.5 * randoms(seed + 1, classes, classes)).fill_diagonal_(-math.inf).softmax(-1)
    kept = torch.tensor(kept)
    return (1 - kept) * others + kept * torch.eye(classes)


def some_labels(seed: int, rows: int, classes: int) -> Tensor:
    """Two labels at least, where there are two rows."""
    rng = random.Random(seed)
    labels = (rng.sample(range(classes), 2) + rng.choices(range(classes), k=rows))[:rows]
    rng.shuffle(labels)
    return torch.tensor(labels)


def labelled(seed: int, rows: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """The function's arguments."""
    logits = some_number(seed, 1, 3) * randoms(seed, rows, classes) + some_number(seed + 1, -2, 2)
    return logits, some_labels(seed, rows, classes), some_noise(seed, classes)


def with_noise(given: tuple, change: Callable[[Tensor], Tensor]) -> tuple:
    logits, labels, noise = given
    return logits, labels, change(noise)


def never_labelled_as_the_next(noise: Tensor) -> Tensor:
    """The class 0 is never labelled 1, the last one never 0; the rows still add up to 1."""
    noise = noise.clone()
    noise[0, 1] = noise[-1, 0] = 0
    return noise / noise.sum(-1, keepdim=True)


def mostly_wrong(noise: Tensor) -> Tensor:
    """Most labels are those of another class."""
    return noise.roll(1, 1)


def always_the_next(noise: Tensor) -> Tensor:
    return torch.eye(len(noise)).roll(1, 1)


def without_errors(noise: Tensor) -> Tensor:
    return torch.eye(len(noise))


@forward_loss.check(points=1)
def is_the_mean_negative_log_probability_of_what_is_seen(student, seed):
    rng = random.Random(seed)
    # The first two have as many classes for every seed, so that a noise known by heart fits.
    inputs = [labelled(seed + step, rng.randint(9, 14), 4) for step in (0, 20)]
    classes = rng.choice((3, 5, 6))
    inputs += [labelled(seed + 1, classes, classes)]
    inputs += [
        labelled(seed + 2, 1, rng.randint(3, 7)),
        labelled(seed + 3, rng.randint(5, 9), 2),
        labelled(seed + 4, 40, rng.randint(8, 12)),
    ]
    for step, change in enumerate(
        (never_labelled_as_the_next, mostly_wrong, always_the_next, without_errors)
    ):
        given = labelled(seed + 5 + step, rng.randint(2, 6), rng.choice((3, 4, 5)))
        inputs += [with_noise(given, change)]
    for given in inputs:
        expect(forward_loss, student, given, otherwise=NOT_THE_LOSS, read=as_loss)


def unlikely(seed: int, size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rows in which the model is sure, `size` nats ahead, of a class that is never labelled as it was
    labelled; other classes are, now and then."""
    rng = random.Random(seed)
    classes, rows = rng.randint(3, 6), rng.randint(1, 3)
    sure, label = rng.sample(range(classes), 2)
    noise = some_noise(seed, classes)
    noise[sure, label] = 0
    logits = torch.zeros(rows, classes)
    logits[:, sure] = size
    return logits, torch.full((rows,), label), noise / noise.sum(-1, keepdim=True)


@forward_loss.check(points=1)
def stands_labels_that_are_very_unlikely(student, seed):
    for step, size in enumerate((60.0, 150.0, 1000.0)):
        given = unlikely(seed + step, size)
        value, right = number(call(student, given)), remedies.forward_loss(*given)
        if not torch.isfinite(value):
            raise Mistake(*COSTS_INF)
        otherwise = COSTS_TOO_LITTLE if value < right else NOT_THE_LOSS
        expect(forward_loss, student, given, otherwise=otherwise, read=as_loss)
    for given in (unlikely(seed, 400.0), unlikely(seed, -400.0)):
        needs_gradients(forward_loss, student, given, "logits", next=IN_LOG_SPACE)
    logits, labels, noise = labelled(seed + 3, 4, 3)
    for far in (500.0, -500.0):
        given = logits + far, labels, noise
        otherwise = f"with {far:.0f} added to all logits the loss is another one", IN_LOG_SPACE
        expect(forward_loss, student, given, otherwise=otherwise, read=as_loss)


@forward_loss.check(points=1)
@twice
def passes_the_gradient(student, seed):
    rng = random.Random(seed)
    given = labelled(seed, rng.randint(2, 6), rng.randint(3, 6))
    for change in (lambda noise: noise, never_labelled_as_the_next):
        changed = with_noise(given, change)
        needs_gradients(forward_loss, student, changed, "logits", next=IN_LOG_SPACE)


# What a rank misses -------------------------------------------------------------------------------

energy_left = Exercise(
    "failures.energy_left", reference=remedies.energy_left, minutes=8, difficulty=2
)
ENERGY = "Σ σᵢ² of the singular values after the first `rank`, divided by Σ σᵢ² of all"
SINGULAR = "torch.linalg.svdvals(change) has the singular values, the largest first"
LEFT_OUT = "the best approximation keeps the first `rank` of them: energies[rank:] is left"
A_SHARE = "a number from 0 to 1 is expected"
SMALL_CHANGE = (
    "a matrix of small numbers gets another share than one of large numbers",
    "add nothing to the energy of all; only a matrix of zeros is a case of its own",
)

energy_left.wrong("rank is taken to be the notebook's", next="rank is an argument: use it")(
    with_the_notebooks(energy_left, "rank")
)


@wrong_part(energy_left)
def wrong_share(share):
    """Another function of the singular values and the rank."""
    return lambda change, rank: share(torch.linalg.svdvals(change), rank).item()


@wrong_share("the singular values are not squared", next="an energy is a square: σ²")
def not_squared(values, rank):
    return values[rank:].sum() / values.sum()


@wrong_share("a root is taken: this is a share of the norm, not of the squares", next=ENERGY)
def root_of_the_share(values, rank):
    return (values[rank:].square().sum() / values.square().sum()).sqrt()


@wrong_share("this is squared twice", next=ENERGY)
def fourth_powers(values, rank):
    return values[rank:].pow(4).sum() / values.pow(4).sum()


@wrong_share("the share itself is squared", next="square the singular values, not their sum")
def square_of_the_sum(values, rank):
    return (values[rank:].sum() / values.sum()).square()


@wrong_share("this is the energy that is kept, not what is left", next="subtract it from 1")
def kept(values, rank):
    return values[:rank].square().sum() / values.square().sum()


@wrong_share("one singular value too many is left out", next=LEFT_OUT)
def one_too_many(values, rank):
    return values[rank + 1 :].square().sum() / values.square().sum()


@wrong_share("one singular value too few is left out", next=LEFT_OUT)
def one_too_few(values, rank):
    return values[max(rank - 1, 0) :].square().sum() / values.square().sum()


@wrong_share("means are divided, not sums", next="use sum() above and below")
def means(values, rank):
    return values[rank:].square().mean() / values.square().mean()


@wrong_share("this is the energy itself, not its share", next="divide by the energy of all")
def absolute_energy(values, rank):
    return values[rank:].square().sum()


@wrong_share("this is a distance, not a share", next=ENERGY)
def distance(values, rank):
    return values[rank:].square().sum().sqrt()


@wrong_share("the energy is averaged over the singular values, not divided by all", next=ENERGY)
def over_their_number(values, rank):
    return values[rank:].square().sum() / len(values)


@wrong_share("the largest singular values are left out, the smallest kept", next=LEFT_OUT)
def smallest_kept(values, rank):
    return values.flip(0)[rank:].square().sum() / values.square().sum()


@wrong_share("the energy that is left is divided by what is kept", next="divide by all of it")
def over_what_is_kept(values, rank):
    return values[rank:].square().sum() / values[:rank].square().sum()


@wrong_share("the energy is divided by the largest alone", next="divide by the sum of all squares")
def over_the_largest(values, rank):
    return values[rank:].square().sum() / values[0].square()


@wrong_share("only the next singular value is counted", next="sum over all that are left")
def next_one_alone(values, rank):
    return values[rank : rank + 1].square().sum() / values.square().sum()


@wrong_share("only the last of the kept singular values is left out", next=LEFT_OUT)
def last_kept_alone(values, rank):
    energies = values.square()
    return 1 - energies[rank - 1] / energies.sum() if rank else energies.sum() / energies.sum()


@wrong_share("the singular values are counted, not their energy", next=ENERGY)
def counted(values, rank):
    return torch.ones_like(values)[rank:].sum() / len(values)


@wrong_share("this is in percent", next="a share is from 0 to 1: leave out the 100")
def in_percent(values, rank):
    return 100 * values[rank:].square().sum() / values.square().sum()


@wrong_share(*SMALL_CHANGE)
def small_number_added(values, rank):
    return values[rank:].square().sum() / (values.square().sum() + 1e-12)


@wrong_share(*SMALL_CHANGE)
def small_taken_for_nothing(values, rank):
    left = values[rank:].square().sum() / values.square().sum()
    return left if values[0] > 1e-5 else torch.zeros(())


@wrong_share(*NOT_FINITE)
def divided_by_0(values, rank):
    return values[rank:].square().sum() / values.square().sum()


@wrong_share("a matrix of zeros has nothing to miss", next="return 0.0 for it")
def everything_of_nothing(values, rank):
    energies = values.square()
    return 1 - energies[:rank].sum() / energies.sum().clamp(min=1e-30)


def _energy(values: Tensor) -> float:
    return values.double().square().sum().item()


@energy_left.wrong(
    "entries of the matrix are left out, not singular values", next=f"{SINGULAR}; {LEFT_OUT}"
)
def largest_entries(change, rank):
    return _energy(change.flatten().abs().sort().values.flip(0)[rank:]) / _energy(change)


@energy_left.wrong("columns are left out, not singular values", next=f"{SINGULAR}; {LEFT_OUT}")
def first_columns(change, rank):
    return _energy(change[:, rank:]) / _energy(change)


@energy_left.wrong("rows are left out, not singular values", next=f"{SINGULAR}; {LEFT_OUT}")
def first_rows(change, rank):
    return _energy(change[rank:]) / _energy(change)


@energy_left.wrong("a block of entries is kept, not singular values", next=SINGULAR)
def first_block(change, rank):
    return 1 - _energy(change[:rank, :rank]) / _energy(change)


@energy_left.wrong(
    "the longest columns are kept, not the largest singular values", next=f"{SINGULAR}; {LEFT_OUT}"
)
def longest_columns(change, rank):
    energies = change.square().sum(0).sort(descending=True).values
    return (energies[rank:].sum() / energies.sum()).item()


@energy_left.wrong(
    "the mean is subtracted first: that is for data, here the matrix is taken as it is",
    next=SINGULAR,
)
def centred(change, rank):
    return remedies.energy_left(change - change.mean(0), rank)


@energy_left.wrong("these are eigenvalues, not singular values", next=SINGULAR)
def eigenvalues(change, rank):
    values = torch.linalg.eigvals(change).abs().sort(descending=True).values.square()
    return (values[rank:].sum() / values.sum()).item()


@energy_left.wrong("the diagonal does not hold the singular values", next=SINGULAR)
def from_the_diagonal(change, rank):
    values = change.diag().abs().sort(descending=True).values.square()
    return (values[rank:].sum() / values.sum()).item()


@energy_left.wrong(
    "the matrix is cut to a square", next="every matrix has singular values, whatever its shape"
)
def cut_to_a_square(change, rank):
    side = min(change.shape)
    return remedies.energy_left(change[:side, :side], rank)


NOT_SQUARE = (
    "your function cannot take a matrix that is not square",
    "svdvals takes every shape; svd(change, full_matrices=False) fits together again",
)


@energy_left.wrong(*NOT_SQUARE)
def full_matrices(change, rank):
    left, values, right = torch.linalg.svd(change)
    values[rank:] = 0
    return _energy(change - left @ values.diag() @ right) / _energy(change)


@energy_left.wrong(
    "there are as many singular values as the shorter side has, not as there are rows",
    next="count from the largest: energies[rank:]",
)
def counted_by_rows(change, rank):
    energies = torch.linalg.svdvals(change).square()
    return (energies.flip(0)[: max(len(change) - rank, 0)].sum() / energies.sum()).item()


@energy_left.wrong(
    "there are as many singular values as the shorter side has, not as there are columns",
    next="count from the largest: energies[rank:]",
)
def counted_by_columns(change, rank):
    energies = torch.linalg.svdvals(change).square()
    return (energies.flip(0)[: max(change.shape[1] - rank, 0)].sum() / energies.sum()).item()


@energy_left.wrong(
    "the squares of what is kept are divided by the number of entries", next="divide by Σ σ²"
)
def mean_squared_error(change, rank):
    return remedies.energy_left(change, rank) * change.square().mean().item()


@energy_left.wrong(*in_place("change"))
def change_in_place(change, rank):
    change /= change.norm()
    return remedies.energy_left(change, rank)


@energy_left.wrong(*RETURNS_NOTHING)
def measures_in_silence(change, rank):
    pass


def as_share(value, *given) -> Tensor:
    """What was returned as a number, a tensor without dimensions; or a Mistake."""
    needs_something(value)
    try:
        value = float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(f"{A_SHARE}, yours is {kind_of(value)}", next=ENERGY) from None
    return torch.tensor(value, dtype=torch.double)


def directions(seed: int, rows: int, count: int) -> Tensor:
    """Columns of length 1 at right angles: (rows, count)."""
    return torch.linalg.qr(randoms(seed, rows, count)).Q


def some_change(seed: int, rows: int, columns: int, count: int | None = None) -> Tensor:
    """A matrix of this shape with `count` singular values above 0, each of which counts."""
    count = count or min(rows, columns)
    values = torch.tensor([some_number(seed + 7 * place, 0.5, 2) for place in range(count)])
    values *= some_number(seed, 0.3, 4)
    return directions(seed, rows, count) * values @ directions(seed + 1, columns, count).T


def some_shapes(seed: int) -> list[tuple[int, int]]:
    """A square, a matrix taller than wide, and one wider than tall."""
    short, more = random.Random(seed).choices(range(4, 8), k=2)
    return [(short, short), (short + more, short), (short, short + more)]


def on_all(function: Callable) -> Callable:
    """The function as one of several inputs, which returns all numbers in one tensor."""
    return lambda *inputs: torch.stack([as_share(call(function, given)) for given in inputs])


def expect_shares(student: Callable, inputs: list[tuple], otherwise: Words) -> None:
    """As `expect`, on several inputs together: one share alone may be that of another mistake."""
    mine, right = (
        outcome(on_all(function), inputs, result) for function in (student, energy_left.reference)
    )
    if close(mine, right):
        return
    if not torch.isfinite(mine).all():
        raise Mistake(*NOT_FINITE)
    for wrong in energy_left.wrong_solutions:
        if does_the_same(on_all(wrong.function), inputs, result, mine):
            raise Mistake(wrong.message, next=wrong.next)
    raise Mistake(otherwise[0], next=otherwise[1])


@energy_left.check(points=1)
@twice
def is_the_share_of_the_small_singular_values(student, seed):
    otherwise = "this is not the share that the rank misses", ENERGY
    rng = random.Random(seed)
    square, *others = some_shapes(seed)

    def some_inputs(shape, step):
        change = some_change(seed + step, *shape)
        return [(change, rank) for rank in rng.sample(range(1, min(shape)), 3)]

    expect_shares(student, some_inputs(square, 0), otherwise)
    needs_untouched(energy_left, student, (some_change(seed, *square), 1))
    with in_words((RuntimeError, ValueError, IndexError), *NOT_SQUARE):
        for step, shape in enumerate(others):
            expect_shares(student, some_inputs(shape, step + 1), otherwise)


@energy_left.check(points=1)
def holds_for_every_matrix(student, seed):
    """Everything and nothing kept, more than there is, a matrix of low rank, a single row or column,
    small and large numbers, and zeros."""
    otherwise = "it is right for some matrices and wrong for others", ENERGY
    rng = random.Random(seed)
    tall, wide = some_shapes(seed)[1:]
    change = some_change(seed, *wide)
    low = some_change(seed + 1, *tall, count=2)
    inputs = [
        (some_change(seed, *tall), rng.randint(1, min(tall) - 1)),
        (1e4 * change, rng.randint(1, min(wide) - 1)),
        (change, 0),
        (change, min(wide)),
        (change, max(wide) + 2),
        (low, 1),
        (low, 2),
        (-randoms(seed, 1, 5).abs(), 0),
        (randoms(seed + 2, 5, 1), 1),
        (torch.eye(4), rng.randint(1, 3)),
    ]
    expect_shares(student, inputs, otherwise)
    small = [(1e-9 * change, rank) for rank in range(1, min(wide))]
    expect_shares(student, inputs + small, SMALL_CHANGE)
    nothing = torch.zeros(wide), rng.randint(0, 2)
    zeros = "a matrix of zeros has nothing to miss", "return 0.0 for it"
    with in_words(ZeroDivisionError, *zeros):
        value = as_share(call(student, nothing))
    if not torch.isfinite(value):
        raise Mistake(*NOT_FINITE)
    if not close(value, torch.zeros(())):
        raise Mistake(*zeros)


# Several reward models ----------------------------------------------------------------------------

cautious = Exercise("failures.cautious", reference=remedies.cautious, minutes=6, difficulty=1)
CAUTION = "the mean over the models, minus weight times their variance"
OVER_THE_MODELS = "scores has a row for each model: mean(0) and var(0)"
ONE_SCORE_EACH = f"one number for each response: {OVER_THE_MODELS}"
BY_THEIR_NUMBER = "divide the squares by the number of models: var(0, correction=0)"

cautious.wrong("weight is taken to be the notebook's", next="weight is an argument: use it")(
    with_the_notebooks(cautious, "weight")
)


@wrong_part(cautious)
def wrong_caution(score):
    """Other scores, a function of the models' and the weight."""
    return lambda scores, weight: score(scores, weight)


def variance(scores: Tensor) -> Tensor:
    return scores.var(0, correction=0)


@wrong_caution("the standard deviation is subtracted, not the variance", next=CAUTION)
def standard_deviation(scores, weight):
    return scores.mean(0) - weight * scores.std(0, correction=0)


@wrong_caution("the sample's standard deviation is subtracted, not the variance", next=CAUTION)
def sample_deviation(scores, weight):
    return scores.mean(0) - weight * (variance(scores) * len(scores) / (len(scores) - 1)).sqrt()


@wrong_caution("the squares are divided by the models less one", next=BY_THEIR_NUMBER)
def sample_variance(scores, weight):
    return scores.mean(0) - weight * scores.var(0)


@wrong_caution("the squares are summed, not averaged", next=BY_THEIR_NUMBER)
def sum_of_squares(scores, weight):
    return scores.mean(0) - weight * variance(scores) * len(scores)


@wrong_caution("this is the variance of the mean, not between the models", next=BY_THEIR_NUMBER)
def variance_of_the_mean(scores, weight):
    return scores.mean(0) - weight * variance(scores) / len(scores)


@wrong_caution("mean and variance are taken over the responses", next=OVER_THE_MODELS)
def over_the_batch(scores, weight):
    return cautious.reference(scores.T, weight)


@wrong_caution("the variance is taken over the responses", next=OVER_THE_MODELS)
def variance_over_the_batch(scores, weight):
    return scores.mean(0) - weight * scores.var(1, correction=0)


@wrong_caution("the mean is taken over the responses", next=OVER_THE_MODELS)
def mean_over_the_batch(scores, weight):
    return scores.mean(1) - weight * variance(scores)


@wrong_caution("the variance is that of all scores together", next=OVER_THE_MODELS)
def variance_of_everything(scores, weight):
    return scores.mean(0) - weight * scores.var(correction=0)


@wrong_caution("the mean is that of all scores together", next=OVER_THE_MODELS)
def mean_of_everything(scores, weight):
    return scores.mean() - weight * variance(scores)


@wrong_caution("the sign is wrong: where the models disagree, the score is lower", next=CAUTION)
def bold(scores, weight):
    return scores.mean(0) + weight * variance(scores)


@wrong_caution("the sign of it all is wrong", next=CAUTION)
def subtracted_from(scores, weight):
    return weight * variance(scores) - scores.mean(0)


@wrong_caution("this is the strictest model's score", next=CAUTION)
def strictest(scores, weight):
    return scores.amin(0)


@wrong_caution("the variance is subtracted from the strictest model's score", next=CAUTION)
def strictest_and_cautious(scores, weight):
    return scores.amin(0) - weight * variance(scores)


@wrong_caution("the median is taken, not the mean", next=CAUTION)
def from_the_median(scores, weight):
    return scores.quantile(0.5, dim=0) - weight * variance(scores)


@wrong_caution("the scores are summed, not averaged", next=CAUTION)
def from_the_sum(scores, weight):
    return scores.sum(0) - weight * variance(scores)


@wrong_caution("the weight is held at 1", next="it may be larger: no clamp")
def weight_held(scores, weight):
    return scores.mean(0) - min(weight, 1) * variance(scores)


@wrong_caution("the weight is not used", next=CAUTION)
def without_weight(scores, weight):
    return scores.mean(0) - variance(scores)


@wrong_caution("nothing is subtracted", next=CAUTION)
def mean_alone(scores, weight):
    return scores.mean(0)


@wrong_caution("the mean is missing", next=CAUTION)
def variance_alone(scores, weight):
    return -weight * variance(scores)


@wrong_caution("the weight multiplies the mean, too", next=CAUTION)
def all_weighted(scores, weight):
    return weight * (scores.mean(0) - variance(scores))


@wrong_caution("the weight multiplies the mean alone", next=CAUTION)
def mean_weighted(scores, weight):
    return weight * scores.mean(0) - variance(scores)


@wrong_caution("weight and 1 − weight are given to the two parts", next=CAUTION)
def shared_out(scores, weight):
    return (1 - weight) * scores.mean(0) - weight * variance(scores)


@wrong_caution("the weight is squared", next="square the deviations, not the weight")
def weight_squared(scores, weight):
    return scores.mean(0) - weight**2 * variance(scores)


@wrong_caution("the variance is divided by the weight", next="multiply by it")
def over_the_weight(scores, weight):
    return scores.mean(0) - variance(scores) / weight if weight else scores.mean(0)


@wrong_caution("absolute deviations are averaged, not squares", next="square the deviations")
def mean_deviation(scores, weight):
    return scores.mean(0) - weight * (scores - scores.mean(0)).abs().mean(0)


@wrong_caution("the range is subtracted, not the variance", next=CAUTION)
def range_of_scores(scores, weight):
    return scores.mean(0) - weight * (scores.amax(0) - scores.amin(0))


@wrong_caution("squares of scores are averaged, not of deviations", next="subtract the mean first")
def mean_square(scores, weight):
    return scores.mean(0) - weight * scores.square().mean(0)


@wrong_caution("the mean is divided by the deviation", next=CAUTION)
def signal_to_noise(scores, weight):
    return scores.mean(0) / (weight * scores.std(0, correction=0) + 1e-6)


@wrong_caution("scores below 0 are held at 0", next="a score may be negative: no clamp")
def never_negative(scores, weight):
    return cautious.reference(scores, weight).clamp(min=0)


@wrong_caution("only the first two models are read", next=OVER_THE_MODELS)
def two_models(scores, weight):
    return cautious.reference(scores[:2], weight)


@wrong_caution(WRONG_SHAPE, next=ONE_SCORE_EACH)
def each_model_cautious(scores, weight):
    return scores - weight * variance(scores)


@wrong_caution(WRONG_SHAPE, next=ONE_SCORE_EACH)
def a_row_kept(scores, weight):
    return scores.mean(0, keepdim=True) - weight * scores.var(0, correction=0, keepdim=True)


@wrong_caution(WRONG_SHAPE, next=ONE_SCORE_EACH)
def one_score_for_all(scores, weight):
    return cautious.reference(scores, weight).mean()


@cautious.wrong(*in_place("scores"))
def scores_in_place(scores, weight):
    told = scores.mean(0)
    scores -= told
    return told - weight * scores.square().mean(0)


@cautious.wrong(*RETURNS_NOTHING)
def cautious_in_silence(scores, weight):
    pass


def judged(seed: int, models: int, batch: int) -> Tensor:
    """Scores of several reward models, on both sides of 0, which agree here more and there less."""
    told = 2 * randoms(seed, batch)
    told[0], told[-1] = -told[0].abs() - 0.5, told[-1].abs() + 0.5
    spread = torch.tensor([some_number(seed + response, 0.4, 2) for response in range(batch)])
    return told + spread * randoms(seed + 1, models, batch)


def as_scores(value, *given) -> Tensor:
    """What was returned as a tensor; or a Mistake."""
    needs_something(value)
    try:
        return torch.as_tensor(value).detach().double()
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(
            f"one score for each response is expected, yours is {kind_of(value)}",
            next=ONE_SCORE_EACH,
        ) from None


def expect_caution(student: Callable, scores: Tensor, weight: float) -> None:
    expect(
        cautious,
        student,
        (scores, weight),
        otherwise=("this is not the mean minus weight times the variance", CAUTION),
        shape=ONE_SCORE_EACH,
        read=as_scores,
    )


@cautious.check(points=1)
@twice
def is_the_mean_minus_the_weighted_variance(student, seed):
    rng = random.Random(seed)
    side = rng.randint(3, 5)
    models = rng.choice((4, 6))
    for step, shape in enumerate(((side, side), (3, rng.randint(4, 8)), (models, 3))):
        low, high = ((0.2, 0.8), (1.3, 3))[step % 2]
        scores, weight = judged(seed + step, *shape), some_number(seed + step, low, high)
        expect_caution(student, scores, weight)
        needs_untouched(cautious, student, (scores, weight))


@cautious.check(points=1)
def holds_where_models_agree(student, seed):
    """One model, two models, one response, models that agree, and no caution at all."""
    rng = random.Random(seed)
    batch, weight = rng.randint(3, 6), some_number(seed + 1, 1.2, 5)
    expect_caution(student, judged(seed + 8, 3, batch), some_number(seed, 0.1, 0.7))
    agreed = judged(seed, 1, batch).expand(rng.randint(2, 4), batch).clone()
    for scores in (
        judged(seed + 1, rng.randint(3, 5), batch),
        judged(seed + 2, 2, batch),
        judged(seed + 3, rng.randint(3, 5), 1),
        judged(seed + 4, 1, batch),
        agreed,
        30 + judged(seed + 5, 4, batch),
    ):
        expect_caution(student, scores, weight)
    expect_caution(student, judged(seed + 6, 4, batch), 0.0)
    expect_caution(student, judged(seed + 7, 4, batch), 1)


# When to stop -------------------------------------------------------------------------------------

stop_at = Exercise("failures.stop_at", reference=remedies.stop_at, minutes=6, difficulty=1)
UP_TO = "go through kl from the start and stop at the first value above the budget"
ALL_OF_THEM = "if no step exceeds the budget, all count: return len(kl)"
HOW_MANY = "the number of steps is asked: those before the first that exceeds the budget"
NOTHING_WITHIN = "nothing is returned where no step exceeds the budget", ALL_OF_THEM


@wrong_part(stop_at)
def wrong_stop(step):
    """Another number of steps, a function of the values and the budget."""
    return lambda kl, budget: step(kl, budget)


def first_above(kl, budget, otherwise):
    """The place of the first value above the budget, or otherwise."""
    return next((step for step, nats in enumerate(kl) if nats > budget), otherwise)


@wrong_stop("a step that just reaches the budget stays within it", next="use >, not >=")
def reached(kl, budget):
    return next((step for step, nats in enumerate(kl) if nats >= budget), len(kl))


@wrong_stop("steps that come back below the budget are counted, too", next=UP_TO)
def all_within(kl, budget):
    return sum(nats <= budget for nats in kl)


@wrong_stop("this is the last step within the budget, after it was exceeded", next=UP_TO)
def up_to_the_last_within(kl, budget):
    return max((step + 1 for step, nats in enumerate(kl) if nats <= budget), default=0)


@wrong_stop("this is the place of the last step within the budget", next=UP_TO)
def place_of_the_last_within(kl, budget):
    return max((step for step, nats in enumerate(kl) if nats <= budget), default=0)


@wrong_stop("the step that exceeds the budget is counted, too", next=HOW_MANY)
def exceeding_step_too(kl, budget):
    return first_above(kl, budget, len(kl) - 1) + 1


@wrong_stop("steps are counted from 1, and this is one too few", next=HOW_MANY)
def one_step_too_few(kl, budget):
    return max(remedies.stop_at(kl, budget) - 1, 0)


@wrong_stop("this is one too few", next="a place is counted from 0, so it is the number before it")
def place_before(kl, budget):
    return remedies.stop_at(kl, budget) - 1


@wrong_stop("the values are added up; each is the whole divergence after its step", next=UP_TO)
def added_up(kl, budget):
    return remedies.stop_at(list(itertools.accumulate(kl)), budget)


@wrong_stop("the mean so far is compared with the budget", next="compare each value itself")
def mean_so_far(kl, budget):
    sums = itertools.accumulate(kl)
    return remedies.stop_at([total / (step + 1) for step, total in enumerate(sums)], budget)


@wrong_stop("what a step adds is compared with the budget", next="compare each value itself")
def by_what_a_step_adds(kl, budget):
    return remedies.stop_at([b - a for a, b in zip([0, *kl], kl)], budget)


@wrong_stop("this is the place of the largest value", next=UP_TO)
def place_of_the_largest(kl, budget):
    return kl.index(max(kl)) if kl else 0


@wrong_stop("this is the divergence, and the number of steps is asked", next=HOW_MANY)
def last_divergence_within(kl, budget):
    return [0, *kl][remedies.stop_at(kl, budget)]


@wrong_stop("this is the divergence that exceeds the budget", next=HOW_MANY)
def first_divergence_above(kl, budget):
    return [*kl, len(kl)][remedies.stop_at(kl, budget)]


@wrong_stop("the steps after the first that exceeds the budget are counted", next=HOW_MANY)
def steps_left(kl, budget):
    return len(kl) - remedies.stop_at(kl, budget)


@wrong_stop("the steps that exceed the budget are counted", next=HOW_MANY)
def all_above(kl, budget):
    return sum(nats > budget for nats in kl)


@wrong_stop("this is the first step within the budget", next=UP_TO)
def first_within(kl, budget):
    return next((step for step, nats in enumerate(kl) if nats <= budget), len(kl))


@wrong_stop("the last step that exceeds the budget is found, not the first", next=UP_TO)
def before_the_last_above(kl, budget):
    return max((step for step, nats in enumerate(kl) if nats > budget), default=len(kl))


@wrong_stop("the longest stretch within the budget is counted, not the first", next=UP_TO)
def longest_stretch(kl, budget):
    stretches = [0]
    for nats in kl:
        stretches.append(stretches[-1] + 1 if nats <= budget else 0)
    return max(stretches)


@wrong_stop("the values are sorted: their order is that of the steps", next=UP_TO)
def sorted_first(kl, budget):
    return remedies.stop_at(sorted(kl)[::-1], budget)


@wrong_stop("the divergence may fall: bisection needs values that only rise", next=UP_TO)
def bisected(kl, budget):
    return bisect.bisect_right(kl, budget)


@wrong_stop("the step after the first is compared", next="begin with the first: kl[0]")
def first_step_skipped(kl, budget):
    return remedies.stop_at([-math.inf, *kl[1:]][: len(kl)], budget)


@wrong_stop("the last step is not compared", next="go through all of kl")
def last_step_skipped(kl, budget):
    return remedies.stop_at([*kl[:-1], -math.inf][: len(kl)], budget)


@wrong_stop("without a step above the budget all steps count", next=ALL_OF_THEM)
def minus_1(kl, budget):
    return first_above(kl, budget, -1)


@wrong_stop("without a step above the budget all steps count", next=ALL_OF_THEM)
def nothing_exceeds(kl, budget):
    return first_above(kl, budget, 0)


@wrong_stop("without a step above the budget all steps count", next=ALL_OF_THEM)
def last_place(kl, budget):
    return first_above(kl, budget, len(kl) - 1)


@wrong_stop("without a step above the budget all steps count", next=ALL_OF_THEM)
def one_behind_the_end(kl, budget):
    return first_above(kl, budget, len(kl) + 1)


@wrong_stop("the divergences are cut to whole numbers", next="compare them as they are")
def whole_nats(kl, budget):
    return remedies.stop_at([math.floor(min(nats, 1e9)) for nats in kl], budget)


@wrong_stop("the budget is cut to a whole number", next="compare with the budget as it is")
def whole_budget(kl, budget):
    return remedies.stop_at(kl, int(budget))


@wrong_stop("a little above the budget is above it", next="compare with the budget as it is")
def with_tolerance(kl, budget):
    return remedies.stop_at(kl, 1.05 * budget)


@wrong_stop("an estimate below 0 is within the budget", next="no abs: compare the value itself")
def by_size(kl, budget):
    return remedies.stop_at([abs(nats) for nats in kl], budget)


stop_at.wrong("budget is taken to be the notebook's", next="budget is an argument: use it")(
    with_the_notebooks(stop_at, "budget")
)


@stop_at.wrong(*NOTHING_WITHIN)
def silent_if_all_are_within(kl, budget):
    return first_above(kl, budget, None)


@stop_at.wrong(*in_place("kl"))
def emptied(kl, budget):
    steps = 0
    while kl and kl.pop(0) <= budget:
        steps += 1
    return steps


@stop_at.wrong(*RETURNS_NOTHING)
def stops_in_silence(kl, budget):
    pass


def some_course(seed: int, before: int) -> tuple[list[float], float]:
    """Divergences and a budget: after `before` steps one exceeds it, some come back below, and later
    ones exceed it by more. They rise and fall within the budget, too."""
    rng = random.Random(seed)
    budget = rng.choice((1, 5, 20)) * rng.uniform(0.6, 1.9)
    shares = [rng.uniform(0.3, 0.95) for _ in range(before)]
    shares += [rng.uniform(1.1, 1.4)]
    shares += [rng.uniform(0.2, 0.9) for _ in range(rng.randint(2, 4))]
    shares += [rng.uniform(1.5, 2) for _ in range(rng.randint(1, 3))]
    shares += [rng.uniform(1.05, 1.3)]
    shares += [rng.uniform(0.4, 0.9) for _ in range(rng.randint(1, 2))]
    return [round(share * budget, 4) for share in shares], round(budget, 4)


def as_steps(value, *given) -> float:
    """What was returned as a number; or a Mistake."""
    needs_something(value)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise Mistake(
            f"a number of steps is expected, yours is {kind_of(value)}", next=HOW_MANY
        ) from None


@stop_at.check(points=1)
def counts_up_to_the_first_that_exceeds(student, seed):
    otherwise = "another number of steps stays within the budget", UP_TO
    rng = random.Random(seed)
    befores = [rng.randint(4, 7), rng.randint(1, 3), 0, 2, rng.randint(5, 9), rng.randint(6, 12)]
    inputs = [some_course(seed + step, before) for step, before in enumerate(befores)]
    budget = rng.randint(2, 6) + 0.5  # cut to a whole number, it would end this course earlier
    inputs += [([budget / 2, budget - 0.25, budget / 3, budget + 0.75, budget / 2], budget)]
    expect_on_all(stop_at, student, inputs, otherwise, as_steps)
    for given in inputs:
        needs_untouched(stop_at, student, given)


@stop_at.check(points=1)
def minds_the_edges(student, seed):
    """The budget reached and not exceeded, by a little exceeded, at the first and at the last step;
    estimates below 0, a budget of 0; then no step that exceeds it, and no step at all."""
    otherwise = "it is right for some divergences and wrong for others", UP_TO
    rng = random.Random(seed)
    budget = rng.randint(3, 9) + rng.choice((0.25, 0.5, 0.75))
    half, more, uneven = budget / 2, 1.5 * budget, math.floor(budget) + 0.04
    inputs = [
        ([half, budget, half, budget, half, more, half], budget),
        ([half, half, half, 1.01 * budget, half, more], budget),
        ([half, 0.9999 * budget, half, 1.0001 * budget, half, more], budget),
        ([half, 1.0001 * uneven, half, more], uneven),
        ([half] * rng.randint(2, 5) + [budget + 0.125, half], budget),
        ([more, half, half], budget),
        ([half] * rng.randint(2, 6) + [more], budget),
        ([half, math.floor(budget) + 0.125, half, half, more, half], budget),
        ([half, -more, half, more, half], budget),
        ([0.0, -0.25, 0.0, 0.125, 0.0], 0.0),
        ([half, half, math.inf, half], budget),
        ([more], budget),
        ([0.01 * step * budget for step in range(140)], budget),
    ]
    expect_on_all(stop_at, student, inputs, otherwise, as_steps)
    within = [rng.uniform(0.2, 0.9) * budget for _ in range(rng.randint(3, 8))]
    if call(student, (within, budget)) is None:
        raise Mistake(*NOTHING_WITHIN)
    inputs += [
        (within, budget),
        ([budget] * rng.randint(2, 5), budget),
        (sorted(within), budget),
        ([half], budget),
        ([], budget),
    ]
    expect_on_all(stop_at, student, inputs, otherwise, as_steps)
