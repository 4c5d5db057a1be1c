"""What the methods refuse: tensors of another shape or type, empty rows, settings that cannot be.

PyTorch by itself would often go on, with another quantity."""

import copy
import math

import pytest
import torch
from methods import best_of_n, enumeration, kl, lora, models, ppo, reward, rollouts, sft, tokens
from methods.optimize import adamw, minimize
from methods.ppo import PPOConfig
from methods.reward import ScalarModel
from tiny import (
    CONTEXT,
    PAD,
    PROMPTS,
    STOP,
    new_policy,
    parameters,
    plain_log_probs,
    random_head,
    same_parameters,
    some_tables,
)

VOCAB = 12
(ONE, TWO, THREE), COUNTS = some_tables(3)
LABELS = torch.randint(0, VOCAB, (4, 6), generator=torch.Generator().manual_seed(3))
LOGITS = torch.randn(4, 6, VOCAB, generator=torch.Generator().manual_seed(4))
TABLES = {"counts": COUNTS}
SCORES = torch.arange(6.0)

# A right call of each function that compares its tensors.
CALLS = [
    (models.inputs, {"model": new_policy(), "ids": LABELS, "real": LABELS >= 0}),
    (tokens.token_log_probs, {"logits": LOGITS, "labels": LABELS}),
    (tokens.masked_mean, {"values": ONE} | TABLES),
    (tokens.whiten, {"values": ONE} | TABLES),
    (sft.sft_loss, {"logits": LOGITS, "labels": LABELS}),
    (sft.sequence_loss, {"logits": LOGITS, "labels": LABELS}),
    *((function, {"log_p": ONE, "log_q": TWO}) for function in (kl.k1, kl.k2, kl.k3)),
    (kl.full, {"logits_p": LOGITS, "logits_q": LOGITS.flip(-1)}),
    (reward.reward_at_end, {"scores": ONE, "real": COUNTS}),
    (reward.bradley_terry_loss, {"chosen": SCORES, "rejected": SCORES.flip(0)}),
    (best_of_n.expected_value, {"rewards": ONE, "values": TWO, "n": 2}),
    (enumeration.optimum, {"ref_log_probs": SCORES, "rewards": SCORES, "beta": 1.0}),
    (
        ppo.token_rewards,
        {"scores": SCORES, "log_probs": ONE, "ref_log_probs": TWO, "beta": 0.1} | TABLES,
    ),
    (ppo.gae, {"rewards": ONE, "values": TWO, "gamma": 1.0, "lam": 0.9} | TABLES),
    (ppo.sequence_level, {"rewards": ONE, "values": TWO} | TABLES),
    (ppo.group_mean(3), {"rewards": ONE, "values": TWO} | TABLES),
    (
        ppo.clipped_surrogate,
        {"log_probs": ONE, "old_log_probs": TWO, "advantages": THREE, "clip": 0.2} | TABLES,
    ),
    (ppo.value_loss, {"values": ONE, "old_values": TWO, "returns": THREE, "clip": 0.2} | TABLES),
    (ppo.clip_fraction, {"log_probs": ONE, "old_log_probs": TWO, "clip": 0.2} | TABLES),
    (ppo.explained_variance, {"values": ONE, "returns": TWO} | TABLES),
    *(
        (function, {"weight": ONE, "A": ONE[:2], "B": ONE[:, :2], "alpha": 1})
        for function in (lora.merged_weight, lora.unmerged_weight)
    ),
]
# What may arrive in a tensor's place and be spread over it.
CHANGES = {
    "a column": lambda tensor: tensor.unsqueeze(-1),
    "one column only": lambda tensor: tensor[..., :1],
    "one row only": lambda tensor: tensor[:1],
    "one number": lambda tensor: tensor.flatten()[0],
    "a list": lambda tensor: tensor.tolist(),
}


# What is no mistake: another vocabulary, another rank; and an estimator that asks no critic.
FREE = {("logits", "one column only"), ("A", None), ("B", None), ("estimate", "values")}


def cases():
    for function, arguments in CALLS:
        for name in [name for name, value in arguments.items() if torch.is_tensor(value)]:
            for change in CHANGES:
                kinds = {(name, change), (name, None), (function.__name__, name)}
                if not kinds & FREE:
                    yield pytest.param(
                        function, arguments, name, change, id=f"{function.__name__}-{name}-{change}"
                    )


@pytest.mark.parametrize("function, arguments, name, change", cases())
def test_a_tensor_that_would_be_spread_is_refused(function, arguments, name, change):
    function(**arguments)
    with pytest.raises((TypeError, ValueError), match="shape|tensor"):
        function(**arguments | {name: CHANGES[change](arguments[name])})


def test_an_update_of_another_shape_is_not_merged():
    for A, B in ((ONE[:2, :1], ONE[:, :2]), (ONE[:2], ONE[:1, :2])):
        with pytest.raises(ValueError, match="one shape"):
            lora.merged_weight(ONE, A, B, 1)


@pytest.mark.parametrize("counts", [COUNTS.long(), COUNTS.float()])
def test_counts_that_are_no_truth_values_are_refused(counts):
    with pytest.raises(TypeError, match="torch.bool"):
        tokens.masked_mean(ONE, counts)


@pytest.mark.parametrize("rewards", [SCORES, ONE.unsqueeze(0), SCORES[0]])
def test_rewards_that_are_no_table_are_refused(rewards):
    for function in (best_of_n.best_of_n, reward.ranking_loss):
        with pytest.raises(ValueError, match="rewards has the shape"):
            function(rewards)


# Scores and estimators ----------------------------------------------------------------------------

WRONG_SCORES = {
    "a column": lambda x, y: torch.arange(len(y)).float().unsqueeze(1),
    "one for all": lambda x, y: torch.ones(1),
    "a number in a tensor": lambda x, y: torch.tensor(1.0),
    "a number": lambda x, y: 1.0,
    "a list": lambda x, y: [1.0] * len(y),
    "one too few": lambda x, y: torch.ones(len(y) - 1),
}


def one_step(policy, score=lambda x, y: torch.arange(len(y)).float(), **more):
    critic = random_head(ScalarModel(policy))
    config = PPOConfig(max_new_tokens=4, minibatch=2)
    return next(
        ppo.train(policy, critic, score, [PROMPTS * 2], config, stop_id=STOP, pad_id=PAD, **more)
    )


@pytest.mark.parametrize("score", WRONG_SCORES.values(), ids=WRONG_SCORES)
def test_scores_that_are_not_one_for_each_response_are_refused(score):
    policy = new_policy()
    before = parameters(policy)
    with pytest.raises((TypeError, ValueError), match="the score"):
        one_step(policy, score)
    assert same_parameters(policy, before)


def test_an_estimator_is_held_to_its_shape_and_to_finite_numbers():
    policy = new_policy()
    before = parameters(policy)
    with pytest.raises(ValueError, match="one shape: advantages"):
        one_step(policy, estimator=lambda rewards, values, counts: (rewards.sum(-1), rewards))
    with pytest.raises(FloatingPointError, match="an advantage or a return is not finite"):
        one_step(policy, estimator=lambda rewards, values, counts: (rewards / 0, rewards))
    with pytest.raises(ValueError, match="6 responses are no groups of 4"):
        one_step(policy, estimator=ppo.group_mean(4))
    assert same_parameters(policy, before)


@pytest.mark.parametrize(
    "settings",
    [
        {name: value}
        for name, values in {
            "passes": (0, -1, 1.5, None, True),
            "minibatch": (0, -4, 2.0),
            "max_new_tokens": (0, "4"),
            "temperature": (0, -1.0, math.nan, math.inf),
            "value_clip": (0, -0.2, math.nan),
            "clip": (0, -0.2, math.nan),
            "beta": (-0.1, math.nan, math.inf),
            "learning_rate": (-1e-3, math.nan, math.inf),
            "gamma": (-0.1, 1.1, math.nan),
            "lam": (-0.1, 1.1, math.nan),
        }.items()
        for value in values
    ],
    ids=str,
)
def test_settings_of_ppo_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} is "):
        PPOConfig(**settings)


def test_settings_at_the_edge_are_not_refused():
    PPOConfig(beta=0, gamma=0, lam=1, clip=None, learning_rate=0, passes=1, minibatch=1)


# Temperature --------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_no_finite_number_above_0_is_refused(temperature):
    policy = new_policy()
    how = {"max_new_tokens": 3, "stop_id": STOP, "pad_id": PAD}
    with pytest.raises(ValueError, match="temperature is"):
        rollouts.sample(policy, PROMPTS, temperature=temperature, **how)
    ids, real, labels = tokens.join(PROMPTS, [[3]] * 3, PAD)
    with pytest.raises(ValueError, match="temperature is"):
        rollouts.response_log_probs(policy, ids, real, labels, temperature)


# Rows that cannot be read -------------------------------------------------------------------------


def scalar():
    return random_head(ScalarModel(new_policy()))


READERS = {
    "sample": lambda rows: rollouts.sample(
        new_policy(), rows, max_new_tokens=1, stop_id=STOP, pad_id=PAD
    ),
    "rewards": lambda rows: reward.rewards(scalar(), rows, [[] for _ in rows], pad_id=PAD),
    "train a reward model": lambda rows: reward.train(
        scalar(), [(row, [[2], [3]]) for row in rows], pad_id=PAD
    ),
    "fine_tune": lambda rows: sft.fine_tune(
        new_policy(),
        [tokens.collate([(row, row) for row in rows], PAD)],
        steps=1,
        learning_rate=0.1,
    ),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "rows, words",
    [
        ([[3, VOCAB]], f"the ids go from .* to {VOCAB} and the model knows 0 to {VOCAB - 1}"),
        ([[3, -1]], "the ids go from -1"),
        ([[3] * (CONTEXT + 1)], f"more than the model's context of {CONTEXT}"),
    ],
)
def test_rows_that_the_model_cannot_read_are_refused(read, rows, words):
    read([[3, VOCAB - 1]])
    with pytest.raises(ValueError, match=words):
        read(rows)


@pytest.mark.parametrize("pad_id", [None, "0", 1.5])
def test_a_pad_id_that_is_none_is_refused(pad_id):
    for call in (
        lambda: tokens.collate([([3], [3])], pad_id),
        lambda: tokens.pad([[3]], pad_id),
        lambda: tokens.join([[3]], [[4]], pad_id),
        lambda: reward.rewards(scalar(), [[3]], [[4]], pad_id=pad_id),
    ):
        with pytest.raises(ValueError, match="pad_id is"):
            call()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: tokens.collate([], PAD), "no example"),
        (lambda: tokens.collate([([3, 4], [3])], PAD), "more ids than labels"),
        (lambda: tokens.pad([], PAD), "at least one token in each"),
        (lambda: tokens.pad([[3], []], PAD), "at least one token in each"),
        (lambda: tokens.place([[1.0], [2.0, 3.0]], torch.ones(2, 2).bool()), "more values than"),
        (lambda: tokens.place([[1.0] * 3, [1.0]], torch.ones(2, 2).bool()), "more values than"),
        (lambda: reward.rewards(scalar(), [[]], [[]], pad_id=PAD), "at least one token in each"),
        (lambda: reward.accuracy(scalar(), [], PAD), "no pair"),
        (lambda: reward.accuracy(scalar(), [([3], [[4]])], PAD), "no pair"),
        (lambda: reward.ranking_loss(torch.ones(3, 1)), "K.* is 1"),
        (lambda: reward.bradley_terry_loss(torch.ones(0), torch.ones(0)), "no pair"),
        (lambda: best_of_n.kl_of_best_of_n(0), "n is 0"),
        (lambda: enumeration.optimum(SCORES, SCORES, 0.0), "beta is 0"),
        (lambda: ppo.group_mean(0), "size is 0"),
        (lambda: list(rollouts.minibatches(None, size=0, passes=1)), "size is 0"),
        (lambda: list(rollouts.minibatches(None, size=1, passes=0)), "passes is 0"),
        *(
            (
                lambda size=size: list(
                    sft.batches([([3], [3])], batch_size=size, steps=1, pad_id=PAD, seed=0)
                ),
                "batch_size is",
            )
            for size in (0, -1, 0.5)
        ),
        *(
            (
                lambda how=how: reward.train(scalar(), [([3], [[4], [5]])], pad_id=PAD, **how),
                f"{next(iter(how))} is 0",
            )
            for how in ({"epochs": 0}, {"batch_size": 0})
        ),
    ],
)
def test_what_is_empty_is_refused_in_a_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# Losses and gradients -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss, words",
    [
        (lambda model: model(3.0).item(), "a tensor"),
        (lambda model: model(3.0).expand(2), r"a tensor \(2,\)"),
        (lambda model: model(3.0).detach(), "no gradient"),
    ],
)
def test_a_loss_that_cannot_be_minimised_is_refused(loss, words):
    model = Scale()
    with pytest.raises(TypeError, match=words):
        minimize(lambda batch: loss(model), [0], adamw(model.parameters(), 0.1))


class Scale(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.factor * x


def test_a_gradient_that_is_not_finite_does_not_reach_the_parameters():
    """A log-ratio of 200, clipped: the loss is finite, and its gradient is 0 · exp(200)."""
    model = Scale()
    one = torch.ones(1, 1)

    def loss(batch):
        return ppo.clipped_surrogate(model(100 * one), 0 * one, one, one.bool(), 0.2)

    assert loss(0).isfinite()
    with pytest.raises(FloatingPointError, match="gradient's norm is nan at step 1"):
        minimize(loss, [0], adamw(model.parameters(), 0.1))
    assert model.factor == 2


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [math.nan, math.inf, -math.inf])
def test_what_does_not_count_does_not_matter(elsewhere):
    values = ONE.where(COUNTS, elsewhere)
    assert tokens.masked_mean(values, COUNTS) == tokens.masked_mean(ONE, COUNTS)
    torch.testing.assert_close(tokens.whiten(values, COUNTS), tokens.whiten(ONE, COUNTS))
    assert tokens.masked_mean(values, COUNTS) == pytest.approx(ONE[COUNTS].mean().item(), abs=1e-6)


@pytest.mark.parametrize("value", [0.1, 1000.1, -3e5, 1e-6])
def test_values_that_are_all_the_same_are_whitened_to_0(value):
    counts = torch.ones(20, 100, dtype=torch.bool)
    assert tokens.whiten(torch.full(counts.shape, value), counts).abs().max() < 1e-3


def test_equal_values_are_whitened_to_0_in_half_precision_too():
    counts = torch.ones(4, 10, dtype=torch.bool)
    equal = torch.full(counts.shape, 0.1, dtype=torch.float16)
    assert torch.equal(tokens.whiten(equal, counts), torch.zeros_like(equal))
    half = tokens.whiten(ONE.half(), COUNTS)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), tokens.whiten(ONE, COUNTS), rtol=0, atol=3e-3)


@pytest.mark.parametrize("row", [0, 3, 5])
def test_a_row_in_which_no_token_counts_has_no_end(row):
    counts = COUNTS.clone()
    counts[row] = False
    with pytest.raises(ValueError, match=f"row {row} holds no token that counts: leave it out"):
        reward.reward_at_end(ONE, counts)
    with pytest.raises(ValueError, match=f"row {row} holds no token"):
        ppo.token_rewards(SCORES, ONE, TWO, counts, 0.1)


@pytest.mark.parametrize("clip", [-0.2, -1, math.nan, math.inf])
def test_a_clip_below_0_is_refused(clip):
    for call in (
        lambda: ppo.clipped_surrogate(ONE, TWO, THREE, COUNTS, clip),
        lambda: ppo.value_loss(ONE, TWO, THREE, COUNTS, clip),
        lambda: ppo.clip_fraction(ONE, TWO, COUNTS, clip),
    ):
        with pytest.raises(ValueError, match=f"clip is {clip}: it must be finite, from 0 up"):
            call()


def test_the_mean_of_no_place_is_nan():
    assert tokens.masked_mean(ONE, torch.zeros_like(COUNTS)).isnan()


def test_nothing_is_explained_where_nothing_varies():
    for returns in (torch.full_like(ONE, 0.3), torch.full_like(ONE, 1000.1), torch.zeros_like(ONE)):
        assert math.isnan(ppo.explained_variance(ONE, returns, COUNTS))
    assert ppo.explained_variance(ONE, ONE, COUNTS) == 1
    returns = 1e-3 * ONE + 5  # small, and yet they vary
    assert ppo.explained_variance(torch.full_like(ONE, 2.0), returns, COUNTS) == pytest.approx(
        0, abs=1e-2
    )


def test_a_token_that_is_ruled_out_adds_nothing_to_entropy_and_divergence():
    some = LOGITS[0, 0]
    barred = torch.cat([some, torch.tensor([-math.inf])]).requires_grad_()
    wide = torch.cat([some.flip(0), torch.tensor([0.5])])
    assert tokens.entropy(barred).item() == pytest.approx(tokens.entropy(some).item(), abs=1e-6)
    p, q = barred.softmax(-1)[:-1], wide.softmax(-1)[:-1]
    divergence = kl.full(barred, wide)
    assert divergence.item() == pytest.approx((p * (p / q).log()).sum().item(), abs=1e-5)
    assert kl.full(barred, barred).item() == 0
    assert kl.full(wide, barred) == math.inf
    (divergence + tokens.entropy(barred)).backward()
    assert barred.grad.isfinite().all() and barred.grad[-1] == 0


# Dropout ------------------------------------------------------------------------------------------


def dropping():
    """A policy with dropout, in training mode."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=CONTEXT,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.3),
    )
    return GPT2LMHeadModel(config).train()


def test_what_is_sampled_is_scored_by_the_same_policy_in_spite_of_dropout():
    policy = dropping()
    torch.manual_seed(1)
    how = {"max_new_tokens": 5, "temperature": 0.8, "stop_id": STOP, "pad_id": PAD}
    rollout = rollouts.roll_out(policy, policy, lambda x, y: torch.zeros(len(y)), PROMPTS, **how)
    torch.testing.assert_close(rollout.log_probs, rollout.ref_log_probs)
    assert policy.training and policy.transformer.drop.training
    plain = copy.deepcopy(policy).eval()
    for row, (prompt, response) in enumerate(zip(PROMPTS, rollout.responses)):
        expected = plain_log_probs(plain, prompt, response, 0.8)
        torch.testing.assert_close(rollout.log_probs[row][rollout.counts[row]], expected)


def test_ppo_at_learning_rate_0_does_not_move_in_spite_of_dropout():
    policy = dropping()
    config = PPOConfig(max_new_tokens=4, minibatch=2, learning_rate=0.0)
    critic = random_head(ScalarModel(policy)).train()
    arguments = (policy, critic, lambda x, y: torch.arange(len(y)).float(), [PROMPTS * 2], config)
    _, metrics = next(ppo.train(*arguments, stop_id=STOP, pad_id=PAD))
    assert abs(metrics["kl"]) < 1e-5 and abs(metrics["approximate_kl"]) < 1e-6
    assert metrics["clip_fraction"] == 0


def test_a_rollouts_values_are_the_critics_without_dropout():
    policy, critic = new_policy(), random_head(ScalarModel(dropping())).train()
    how = {"config": PPOConfig(max_new_tokens=4), "stop_id": STOP, "pad_id": PAD}
    rollout = ppo.roll_out(policy, policy, critic, lambda x, y: torch.ones(len(y)), PROMPTS, **how)
    values = critic.eval()(rollout.ids, rollout.real)[:, :-1].where(rollout.counts, 0)
    torch.testing.assert_close(rollout.values, values.detach())


def test_a_reward_does_not_depend_on_dropout():
    model = random_head(ScalarModel(dropping())).train()
    one, other = (reward.rewards(model, PROMPTS, [[4]] * 3, pad_id=PAD) for _ in range(2))
    assert torch.equal(one, other) and model.training


# Other models -------------------------------------------------------------------------------------


def test_a_policy_that_peft_has_wrapped_samples_and_makes_no_reward_model():
    from peft import LoraConfig, get_peft_model

    policy = get_peft_model(new_policy(), LoraConfig(target_modules="all-linear"))
    how = {"max_new_tokens": 3, "stop_id": STOP, "pad_id": PAD}
    drawn = []
    for model in (policy, new_policy()):
        torch.manual_seed(0)
        drawn.append(rollouts.sample(model, PROMPTS, **how).responses)
    assert drawn[0] == drawn[1]
    with pytest.raises(ValueError, match="wrapped by the library PEFT"):
        ScalarModel(policy)
    ScalarModel(policy.unload())


def test_a_model_without_a_cache_is_refused_by_its_name():
    from transformers import MambaConfig, MambaForCausalLM

    mamba = MambaForCausalLM(
        MambaConfig(vocab_size=VOCAB, hidden_size=16, num_hidden_layers=1, state_size=4)
    )
    with pytest.raises(ValueError, match="MambaForCausalLM takes no past_key_values"):
        rollouts.sample(mamba, PROMPTS, max_new_tokens=3, stop_id=STOP, pad_id=PAD)


def test_a_model_that_gives_no_cache_back_is_refused_by_its_name():
    from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM

    model = RecurrentGemmaForCausalLM(
        RecurrentGemmaConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=16,
            lru_width=16,
        )
    )
    with pytest.raises(ValueError, match="RecurrentGemmaForCausalLM gives no key–value cache back"):
        rollouts.sample(model, PROMPTS, max_new_tokens=3, stop_id=STOP, pad_id=PAD)


def test_padding_on_the_left_is_refused_by_a_model_that_counts_positions_by_itself():
    from transformers import BartConfig, BartForCausalLM

    bart = BartForCausalLM(
        BartConfig(
            vocab_size=VOCAB,
            d_model=16,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_ffn_dim=16,
            max_position_embeddings=CONTEXT,
            is_decoder=True,
            is_encoder_decoder=False,
        )
    )
    scorer = random_head(ScalarModel(bart)).eval()
    with pytest.raises(ValueError, match="takes no position_ids.*: pad the rows on the right"):
        scorer(*tokens.pad(PROMPTS, PAD, side="left"))
    ids, real = tokens.pad(PROMPTS, PAD)
    with torch.no_grad():
        together = reward.reward_at_end(scorer(ids, real), real)
        for row, prompt in enumerate(PROMPTS):
            alone = scorer(torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.bool))
            assert together[row].item() == pytest.approx(alone[0, -1].item(), abs=1e-5)


def test_a_model_that_does_not_name_its_body_makes_no_reward_model():
    from transformers import Llama4ForCausalLM, Llama4TextConfig

    llama4 = Llama4ForCausalLM(
        Llama4TextConfig(
            vocab_size=VOCAB,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=16,
            intermediate_size_mlp=16,
            num_local_experts=2,
        )
    )
    with pytest.raises(ValueError, match="Llama4ForCausalLM does not say which part of it is"):
        ScalarModel(llama4)


def test_a_scalar_model_fits_a_body_that_projects_its_output():
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        word_embed_proj_dim=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        max_position_embeddings=CONTEXT,
    )
    model = random_head(ScalarModel(OPTForCausalLM(config).eval()))
    together = reward.rewards(model, PROMPTS, [[4]] * 3, pad_id=PAD)
    alone = [reward.rewards(model, [prompt], [[4]], pad_id=PAD) for prompt in PROMPTS]
    torch.testing.assert_close(together, torch.cat(alone))
