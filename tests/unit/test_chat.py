"""Chat: the template applied once, masks by position, the end of a turn learned, and logits only
where labels count."""

import copy

import chats
import pytest
import tiny
import torch
from methods import chat, rollouts
from methods.chat import ChatError
from methods.sft import batches, fine_tune, sft_loss
from methods.tokens import IGNORE, collate
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

TOKENIZERS = {"chatml": chats.chatml(), "headers": chats.headers(), "spaced": chats.spaced()}
ENDS = {"chatml": "<|im_end|>", "headers": "<|eot|>", "spaced": "</s>"}
ASKED = [{"role": "user", "content": "Where is my kettle?"}]
LONGER = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello there"},
    {"role": "user", "content": "Where?"},
]
ANSWERS = ["I am sorry.", '{"product": "kettle", "name": null}', "Hello", "ün 你好", "a" * 30]


@pytest.fixture(params=TOKENIZERS)
def named(request):
    return request.param, TOKENIZERS[request.param]


# --- rendering ------------------------------------------------------------------------------------


def test_the_end_of_a_turn_is_the_templates_and_not_always_the_texts(named):
    name, tokenizer = named
    end = chat.end_of_turn(tokenizer)
    assert tokenizer.convert_ids_to_tokens(end) == ENDS[name]
    assert (end == tokenizer.eos_token_id) == (name != "headers")


@pytest.mark.parametrize("turns", [ASKED, LONGER])
@pytest.mark.parametrize("answer", ANSWERS)
def test_prompt_and_response_together_are_what_the_template_writes(named, turns, answer):
    _, tokenizer = named
    prompt, response = chat.example_of(tokenizer, turns, answer)
    whole = tokenizer.apply_chat_template(
        [*turns, {"role": "assistant", "content": answer}], tokenize=False
    )
    written = tokenizer.decode(prompt + response)
    assert whole.startswith(written) and not whole.removeprefix(written).strip()
    assert prompt == chat.prompt_of(tokenizer, turns)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_response_ends_with_the_end_of_the_turn_and_holds_it_once(named, answer):
    _, tokenizer = named
    end = chat.end_of_turn(tokenizer)
    _, response = chat.example_of(tokenizer, ASKED, answer)
    assert response[-1] == end and response.count(end) == 1
    assert tokenizer.decode(response[:-1]).strip() == answer


@pytest.mark.parametrize("turns", [ASKED, LONGER])
def test_labels_count_on_the_last_answer_alone(named, turns):
    _, tokenizer = named
    ids, labels = chat.tokens_of(tokenizer, turns, "I am sorry.")
    prompt, response = chat.example_of(tokenizer, turns, "I am sorry.")
    assert ids == prompt + response
    assert labels == [IGNORE] * len(prompt) + response


def test_the_first_token_of_a_text_is_there_once():
    for name in ("headers", "spaced"):
        tokenizer = TOKENIZERS[name]
        assert chat.prompt_of(tokenizer, ASKED).count(tokenizer.bos_token_id) == 1


def test_the_end_of_a_turn_counts_where_it_is_the_padding_token_too():
    tokenizer = TOKENIZERS["chatml"]
    rows = [chat.tokens_of(tokenizer, ASKED, answer) for answer in ("Hello", "I am sorry. Hello.")]
    _, labels = collate(rows, tokenizer.pad_token_id)
    for row, (_, own) in zip(labels.tolist(), rows, strict=True):
        kept = [label for label in row if label != IGNORE]
        assert kept[-1] == tokenizer.pad_token_id == chat.end_of_turn(tokenizer)
        assert kept == [label for label in own if label != IGNORE]


# --- refusing -------------------------------------------------------------------------------------


def test_a_tokenizer_without_a_template_is_refused():
    bare = chats.chat_tokenizer(None, eos_token="</s>")
    for call in (
        lambda: chat.prompt_of(bare, ASKED),
        lambda: chat.example_of(bare, ASKED, "Hello"),
        lambda: chat.end_of_turn(bare),
    ):
        with pytest.raises(ChatError, match="has no chat template, so it is no chat model"):
            call()


def test_a_conversation_that_the_template_refuses_gets_its_reason():
    turns = [{"role": "system", "content": "Be kind."}, *ASKED]
    with pytest.raises(ChatError, match="System role not supported"):
        chat.prompt_of(TOKENIZERS["spaced"], turns)


@pytest.mark.parametrize("turns", [[{"role": "user"}], [{"content": "Hello"}]])
def test_a_turn_without_role_or_content_is_refused_or_written_empty(turns):
    tokenizer = TOKENIZERS["headers"]
    try:
        chat.prompt_of(tokenizer, turns)
    except ChatError as error:
        assert "\n" not in str(error)


def test_a_template_that_rewrites_the_prompt_is_refused():
    tokenizer = chats.chat_tokenizer(chats.REWRITES, eos_token="<|im_end|>")
    with pytest.raises(ChatError, match="once it has been answered"):
        chat.example_of(tokenizer, ASKED, "Hello")


def test_a_template_that_ends_no_turn_is_refused():
    tokenizer = chats.chat_tokenizer(chats.ENDLESS, eos_token="</s>")
    with pytest.raises(ChatError, match="no token of its own"):
        chat.example_of(tokenizer, ASKED, "Hello")


# --- training -------------------------------------------------------------------------------------


def rows(count=6, seed=0):
    """Rows of different length, prompts of 2 to 9 tokens and responses of 1 to 6."""
    generator = torch.Generator().manual_seed(seed)

    def number(low, high):
        return int(torch.randint(low, high, (), generator=generator))

    found = []
    for _ in range(count):
        prompt, response = ([number(2, 12) for _ in range(number(*r))] for r in ((2, 10), (1, 7)))
        found.append((prompt + response, [IGNORE] * len(prompt) + response))
    return found


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_and_its_gradient_are_those_of_all_logits(seed):
    model, batch = tiny.new_policy(), collate(rows(seed=seed), 0)
    ours = chat.answer_loss(model, batch)
    plain = sft_loss(model(input_ids=batch[0]).logits, batch[1])
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-6)
    for mine, theirs in zip(gradients(model, ours), gradients(model, plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_rows_that_count_from_their_first_token_on_lose_none():
    model = tiny.new_policy()
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 2]])
    plain = sft_loss(model(input_ids=ids).logits, ids)
    torch.testing.assert_close(chat.answer_loss(model, (ids, ids)), plain, rtol=0, atol=1e-6)


def test_the_output_layer_is_asked_for_the_columns_from_the_first_that_counts():
    model, asked = tiny.new_policy(), []
    model.get_output_embeddings().register_forward_hook(
        lambda layer, given, output: asked.append(tuple(output.shape))
    )
    labels = torch.tensor([[IGNORE] * 5 + [6, 7], [IGNORE] * 3 + [4, 5, 1, IGNORE]])
    chat.answer_loss(model, (torch.randint(2, 12, (2, 7)), labels))
    # The first label that counts stands at column 3, so that the logits of column 2 predict it.
    assert asked == [(2, 5, 12)]


class AllLogits(nn.Module):
    """A model that knows no logits_to_keep, as some families do."""

    def __init__(self, model):
        super().__init__()
        self.model, self.device = model, model.device

    def forward(self, input_ids, use_cache=False):
        return self.model(input_ids=input_ids, use_cache=use_cache)


def test_a_model_that_gives_all_logits_has_the_same_loss():
    model, batch = tiny.new_policy(), collate(rows(), 0)
    torch.testing.assert_close(
        chat.answer_loss(AllLogits(model), batch), chat.answer_loss(model, batch)
    )


def test_gpt2_has_the_same_loss_too():
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=12, n_embd=16, n_layer=2, n_head=2)).eval()
    batch = collate(rows(), 0)
    plain = sft_loss(model(input_ids=batch[0]).logits, batch[1])
    torch.testing.assert_close(chat.answer_loss(model, batch), plain, rtol=0, atol=1e-6)


def test_tuning_ends_where_fine_tune_does():
    ours, theirs = tiny.new_policy(), tiny.new_policy()
    some = {"batch_size": 4, "steps": 12, "pad_id": 0, "seed": 3}
    our_losses = chat.tune(ours, batches(rows(16), **some), steps=12, learning_rate=1e-2)
    their_losses = fine_tune(theirs, batches(rows(16), **some), steps=12, learning_rate=1e-2)
    assert our_losses == pytest.approx(their_losses, abs=1e-5)
    assert our_losses[-1] < our_losses[0] - 0.5
    for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=1e-4)


def test_a_message_longer_than_the_context_is_refused_before_anything_changes():
    model = tiny.new_policy()
    before = copy.deepcopy(model.state_dict())
    batch = collate([([2] * (tiny.CONTEXT + 1), [2] * (tiny.CONTEXT + 1))], 0)
    with pytest.raises(ValueError, match="more than the model's context of 24: shorten it"):
        chat.tune(model, [batch], steps=1, learning_rate=1e-2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_batch_in_which_nothing_counts_is_refused():
    model = tiny.new_policy()
    batch = torch.tensor([[2, 3]]), torch.tensor([[IGNORE, IGNORE]])
    with pytest.raises(FloatingPointError, match="check that every batch has a token that counts"):
        chat.tune(model, [batch], steps=1, learning_rate=1e-2)


def test_a_tuned_model_stops():
    """It says the answer and then ends its turn, because the end counted."""
    tokenizer = TOKENIZERS["headers"]
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
        )
    )
    row = chat.tokens_of(tokenizer, ASKED, "I am sorry.")
    batch = collate([row] * 4, tokenizer.pad_token_id)
    chat.tune(model, [batch] * 40, steps=40, learning_rate=1e-2)
    drawn = rollouts.sample(
        model,
        [chat.prompt_of(tokenizer, ASKED)],
        max_new_tokens=40,
        stop_id=chat.end_of_turn(tokenizer),
        pad_id=tokenizer.pad_token_id,
        temperature=1e-3,
    )
    assert drawn.stopped == [True]
    assert tokenizer.decode(drawn.responses[0][:-1]) == "I am sorry."


# --- in tokens ------------------------------------------------------------------------------------

END = 9  # of a turn, in the rows below


def in_chatml(turns, answer):
    """What chatml makes of a conversation, each part of it encoded apart."""
    tokenizer = TOKENIZERS["chatml"]

    def ids(text):
        return chat.encoded(tokenizer, text)

    said = [(ids(turn["role"]), ids(turn["content"])) for turn in turns]
    (start,), (line,), (end,) = map(ids, ("<|im_start|>", "\n", "<|im_end|>"))
    return chat.chatml(said, ids(answer), ids("assistant"), start, line, end)


@pytest.mark.parametrize(
    "turns", [ASKED, LONGER, [{"role": "system", "content": "I am sorry."}, *LONGER]]
)
@pytest.mark.parametrize("answer", ANSWERS)
def test_chatml_is_what_the_template_gives(turns, answer):
    assert in_chatml(turns, answer) == chat.tokens_of(TOKENIZERS["chatml"], turns, answer)


def test_in_chatml_the_answer_and_its_end_count_alone():
    turns = [([21], [31, 32]), ([22, 23], [33])]
    ids, labels = chat.chatml(turns, [41, 42], [22, 23], 1, 2, 3)
    prompt = [1, 21, 2, 31, 32, 3, 2, 1, 22, 23, 2, 33, 3, 2, 1, 22, 23, 2]
    assert ids == [*prompt, 41, 42, 3]
    assert labels == [IGNORE] * len(prompt) + [41, 42, 3]


def test_chatml_changes_nothing_and_shares_nothing():
    turns, answer, assistant = [([21], [31])], [41], [22]
    ids, labels = chat.chatml(turns, answer, assistant, 1, 2, 3)
    ids[:], labels[:] = [0] * len(ids), [0] * len(labels)
    assert (turns, answer, assistant) == ([([21], [31])], [41], [22])


@pytest.mark.parametrize(
    "ids, counts, word",
    [
        ([4, END, 5, 6, END], "00111", "learned"),
        ([4, END, 5, 6, END, END], "001110", "learned"),
        ([4, END, 5, END, 6, END], "001110", "masked"),
        ([4, END, 5, 6, END], "00110", "masked"),
        ([4, END, 5, 6, END, END, END], "0011000", "masked"),
        ([4, END, 5, 6, 7, END], "001100", "missing"),
        ([4, END, 5, 6, 7], "00111", "missing"),
        ([4, END, 5, END, 7], "00111", "missing"),
        ([END, 5], "01", "missing"),
        ([5, END, 6, END, 7], "11001", "missing"),
        ([5, 6, 7, END], "1001", "learned"),
        ([END, 4, END], "000", "missing"),
        ([END], "0", "missing"),
        ([END], "1", "learned"),
        ([], "", "missing"),
    ],
)
def test_what_a_row_teaches_about_the_end(ids, counts, word):
    labels = [token if one == "1" else IGNORE for token, one in zip(ids, counts, strict=True)]
    assert chat.ends([(ids, labels)], END) == [word]


def test_rows_keep_their_order_and_no_rows_have_no_words():
    rows = [([5, END], [5, END]), ([5, END], [5, IGNORE]), ([5, 6], [5, 6])]
    assert chat.ends(rows, END) == ["learned", "masked", "missing"]
    assert chat.ends(rows[::-1], END) == ["missing", "masked", "learned"]
    assert chat.ends([], END) == []


def test_rows_of_the_template_teach_the_end():
    tokenizer = TOKENIZERS["chatml"]
    found = [chat.tokens_of(tokenizer, LONGER, answer) for answer in ANSWERS]
    assert chat.ends(found, chat.end_of_turn(tokenizer)) == ["learned"] * len(ANSWERS)


def by_loops(ids, prompts, lengths):
    return [
        [int(token) if prompt <= place < length else IGNORE for place, token in enumerate(row)]
        for row, prompt, length in zip(ids, prompts, lengths, strict=True)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_labels_by_position_are_those_of_a_loop(seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 5, (6, 9), generator=generator)
    prompts = torch.randint(0, 10, (6,), generator=generator)
    # No response at all, a row without padding, and four others.
    lengths = (prompts + torch.tensor([0, 9, 1, 3, 3, 5])).clamp(max=9)
    expected = by_loops(ids, prompts, lengths)
    assert chat.labels_by_position(ids, prompts, lengths).tolist() == expected


def test_labels_by_position_are_those_of_collate():
    tokenizer = TOKENIZERS["chatml"]
    pairs = [chat.example_of(tokenizer, ASKED, answer) for answer in ANSWERS]
    ids, labels = collate(
        [chat.tokens_of(tokenizer, ASKED, answer) for answer in ANSWERS], tokenizer.pad_token_id
    )
    prompts = torch.tensor([len(prompt) for prompt, _ in pairs])
    lengths = prompts + torch.tensor([len(response) for _, response in pairs])
    assert torch.equal(chat.labels_by_position(ids, prompts, lengths), labels)


def test_an_empty_response_has_no_labels_and_a_full_row_loses_none():
    ids, none = torch.tensor([[4, 5, 6]] * 3), torch.tensor([0, 0, 0])
    labels = chat.labels_by_position(ids, torch.tensor([3, 1, 0]), torch.tensor([3, 1, 3]))
    assert labels.tolist() == [[IGNORE] * 3, [IGNORE] * 3, [4, 5, 6]]
    assert (chat.labels_by_position(ids, none, none) == IGNORE).all()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_labels_by_position_keep_type_and_device_and_leave_the_ids(dtype):
    ids = torch.tensor([[4, 5, 6]], dtype=dtype)
    labels = chat.labels_by_position(ids, torch.tensor([1]), torch.tensor([3]))
    assert labels.dtype == dtype and labels.tolist() == [[IGNORE, 5, 6]]
    assert ids.tolist() == [[4, 5, 6]]
    # "meta" is a device that every machine has besides the CPU.
    there = [torch.empty(shape, dtype=dtype, device="meta") for shape in ((2, 3), (2,), (2,))]
    labels = chat.labels_by_position(*there)
    assert labels.device.type == "meta" and labels.dtype == dtype and labels.shape == (2, 3)
