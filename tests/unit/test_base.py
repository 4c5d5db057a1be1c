"""The base model: what was shipped, what happens when it is damaged, and any other model in its
place."""

import json
import shutil

import pytest
import torch
from helpdesk import base, pretrain
from helpdesk.evaluate import exact_match, respond
from helpdesk.language import encode, encode_example
from helpdesk.tasks import reading, reply_prompt, triage
from helpdesk.tickets import sample_tickets
from methods.sft import batches, fine_tune
from methods.tokens import mask_prompt
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForCausalLM,
)

TICKETS = sample_tickets("validation", 60, seed=9)


@pytest.fixture(autouse=True)
def no_other_base(monkeypatch):
    monkeypatch.delenv("COURSE_BASE", raising=False)


@pytest.fixture()
def copy_of_base(tmp_path, monkeypatch):
    folder = tmp_path / "base"
    shutil.copytree(base.FOLDER, folder)
    monkeypatch.setattr(base, "FOLDER", folder)
    return folder


@pytest.fixture(scope="module")
def shipped():
    return base.load_base()


@pytest.fixture(scope="module")
def manifest():
    return json.loads((base.FOLDER / base.MANIFEST).read_text("utf8"))


def test_it_is_small():
    assert (base.FOLDER / "model.safetensors").stat().st_size <= 4_000_000


def test_its_validation_loss_is_the_one_it_states(shipped, manifest):
    assert pretrain.validation_loss(*shipped) == pytest.approx(
        manifest["validation_loss"], abs=1e-3
    )


def test_it_reads_tickets_and_does_not_know_triage(shipped, manifest):
    assert min(share for name, share in manifest["abilities"].items() if name != "triage") >= 0.9
    assert manifest["abilities"]["triage"] <= 0.02
    model, tokenizer = shipped
    for fact in ("city", "problem"):
        questions = [reading(ticket, fact) for ticket in TICKETS]
        found = respond(model, tokenizer, [q.prompt for q in questions], max_new_tokens=2)
        assert sum(f.strip() == q.response.strip() for f, q in zip(found, questions)) >= 0.9 * len(
            TICKETS
        )
    assert exact_match(model, tokenizer, [triage(ticket) for ticket in TICKETS]) <= 0.02


def test_its_replies_end(shipped):
    replies = respond(*shipped, [reply_prompt(ticket) for ticket in TICKETS])
    assert sum(reply.endswith("<eos>") for reply in replies) >= 0.9 * len(TICKETS)


def test_training_it_again_starts_the_same_way(manifest):
    """The first steps of pretraining retrace the shipped run; the whole run takes minutes."""
    _, trace = pretrain.train(steps=11)
    assert trace == pytest.approx(manifest["trace"][:2], abs=0.02)


def test_padding_on_the_left_changes_no_response(shipped):
    prompts = [triage(ticket).prompt for ticket in TICKETS[:12]]
    together = respond(*shipped, prompts, max_new_tokens=6)
    assert together == [respond(*shipped, [prompt], max_new_tokens=6)[0] for prompt in prompts]


def test_loading_gives_a_fresh_copy(shipped):
    model, _ = base.load_base()
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert next(shipped[0].parameters()).abs().sum() > 0


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(copy_of_base, name):
    (copy_of_base / name).unlink()
    with pytest.raises(base.BaseError, match=f"{name} is missing; restore it with `git checkout"):
        base.load_base()


def test_a_truncated_or_altered_file_is_named(copy_of_base):
    weights = copy_of_base / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:1000], whole[:-1] + b"\0", b""):
        weights.write_bytes(damaged)
        with pytest.raises(
            base.BaseError, match="model.safetensors is not the file that was shipped"
        ):
            base.load_base()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": 1}'])
def test_a_damaged_manifest_is_named(copy_of_base, text):
    (copy_of_base / base.MANIFEST).write_text(text)
    with pytest.raises(base.BaseError, match="manifest.json is missing or unreadable"):
        base.load_base()


@pytest.mark.parametrize("make", ["nothing", "empty folder", "no weights", "half the weights"])
def test_a_wrong_course_base_is_one_sentence(tmp_path, monkeypatch, make):
    folder = tmp_path / "other"
    if make != "nothing":
        folder.mkdir()
    if make == "no weights":
        shutil.copytree(base.FOLDER, folder, dirs_exist_ok=True)
        (folder / "model.safetensors").unlink()
    if make == "half the weights":
        weights = load_file(base.FOLDER / "model.safetensors")
        shutil.copytree(base.FOLDER, folder, dirs_exist_ok=True)
        save_file(
            {name: w for name, w in weights.items() if "layers.1" not in name},
            folder / "model.safetensors",
        )
    monkeypatch.setenv("COURSE_BASE", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        base.BaseError, match="COURSE_BASE=.*unset it to use the shipped base model"
    ) as raised:
        base.load_base()
    assert "\n" not in str(raised.value)


def test_a_relative_course_base_may_be_named_from_the_root_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_BASE", "labs/helpdesk/base")
    assert base.load_base()[0].config.model_type == "llama"


def test_another_architecture_with_byte_pair_encoding_takes_its_place(tmp_path, monkeypatch):
    save_gpt2(tmp_path)
    monkeypatch.setenv("COURSE_BASE", str(tmp_path))
    model, tokenizer = base.load_base()
    assert model.config.model_type == "gpt2" and tokenizer.pad_token_id == tokenizer.eos_token_id
    examples = [triage(ticket) for ticket in TICKETS]
    tokens = [mask_prompt(*encode_example(tokenizer, e)) for e in examples]
    data = batches(tokens, batch_size=20, steps=25, pad_id=tokenizer.pad_token_id, seed=0)
    losses = fine_tune(model, data, steps=25, learning_rate=3e-3)
    assert losses[-1] < losses[0] - 1
    assert len(respond(model, tokenizer, [e.prompt for e in examples[:3]], max_new_tokens=5)) == 3


def save_tokenizer(folder, *, llama=False, **special):
    """A byte-pair tokenizer: byte-level as GPT-2's, or as Llama 2's, which puts ▁ before any text.
    It knows no padding token unless `special` names one."""
    bpe = Tokenizer(models.BPE())
    if llama:
        bpe.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        bpe.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)])
        alphabet = []
    else:
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = [e.prompt + e.response for e in map(triage, TICKETS)]
    names = list(dict.fromkeys(["<|end|>", *special.values()]))
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=names, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", **special)
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_gpt2(folder, **settings):
    """A randomly initialised GPT-2 whose tokenizer knows no padding token."""
    size = len(save_tokenizer(folder))
    torch.manual_seed(0)
    config = {"n_positions": 256, "n_embd": 32, "n_layer": 1, "n_head": 2, "vocab_size": size}
    GPT2LMHeadModel(
        GPT2Config(**config, bos_token_id=0, eos_token_id=0, **settings)
    ).save_pretrained(folder)


def save_llama(folder, **special):
    """A randomly initialised Llama; `special` as for save_tokenizer."""
    size = len(save_tokenizer(folder, **special))
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    ).save_pretrained(folder)


@pytest.fixture()
def other(tmp_path, monkeypatch):
    """A folder that COURSE_BASE names."""
    monkeypatch.setenv("COURSE_BASE", str(tmp_path))
    return tmp_path


def test_a_base_has_no_habits_of_generation(other):
    """Qwen2.5's instruct models ship a repetition penalty, which changes every greedy response."""
    save_gpt2(other)
    prompts = [triage(ticket).prompt for ticket in TICKETS[:4]]
    plain = respond(*base.load_base(), prompts, max_new_tokens=12)
    habits = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "min_new_tokens": 12}
    (other / "generation_config.json").write_text(
        json.dumps(habits | {"bad_words_ids": [[7]], "forced_eos_token_id": 3})
    )
    assert respond(*base.load_base(), prompts, max_new_tokens=12) == plain


def test_a_base_has_no_dropout_even_in_training_mode(other):
    save_gpt2(other, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
    model = base.load_base()[0].train()
    ids = torch.arange(3, 20).unsqueeze(0)
    assert torch.equal(model(input_ids=ids).logits, model.eval()(input_ids=ids).logits)


def test_an_encoder_is_refused(other):
    """transformers loads it as a causal model, and nothing that it learns would ever be right."""
    size = len(save_tokenizer(other))
    config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"intermediate_size": 16, "vocab_size": size, "max_position_embeddings": 64}
    RobertaForCausalLM(RobertaConfig(**config)).save_pretrained(other)
    with pytest.raises(base.BaseError, match="depends on the tokens after it, as in an encoder"):
        base.load_base()
    RobertaForCausalLM(RobertaConfig(**config, is_decoder=True)).save_pretrained(other)
    base.load_base()


@pytest.mark.parametrize("llama", [False, True], ids=["gpt2", "llama2"])
def test_prompt_and_response_are_tokenised_as_the_whole_text_is(other, llama):
    save_llama(other, llama=llama)
    _, tokenizer = base.load_base()
    for example in map(triage, TICKETS[:10]):
        prompt, response = encode_example(tokenizer, example)
        assert prompt + response[:-1] == tokenizer(example.prompt + example.response).input_ids
        assert response[-1] == tokenizer.eos_token_id


def test_a_padding_id_that_the_model_does_not_know_gives_way_to_the_stop_token(other):
    save_llama(other)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(other)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(other)
    model, loaded = base.load_base()
    assert tokenizer.pad_token_id >= model.config.vocab_size
    assert loaded.pad_token_id == loaded.eos_token_id
    prompts = [triage(ticket).prompt for ticket in TICKETS[:3]]
    assert len(respond(model, loaded, prompts, max_new_tokens=3)) == 3


def test_a_stop_token_that_the_model_does_not_know_is_refused(other):
    save_llama(other)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(other)
    tokenizer.add_special_tokens({"eos_token": "<stop>"})
    tokenizer.save_pretrained(other)
    with pytest.raises(base.BaseError, match="no stop token .* that the model knows"):
        base.load_base()


def test_one_token_may_be_all_special_ones(other):
    """As in GPT-2: what begins a text is what ends it, pads it and stands for the unknown."""
    save_llama(other, bos_token="<|end|>", unk_token="<|end|>", pad_token="<|end|>")
    model, tokenizer = base.load_base()
    prompts = [triage(ticket).prompt for ticket in TICKETS[:3]]
    assert all(len(encode(tokenizer, prompt, start=True)) > 5 for prompt in prompts)
    assert len(respond(model, tokenizer, prompts, max_new_tokens=3)) == 3


def test_pretraining_refuses_to_replace_another_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    monkeypatch.setattr("sys.argv", ["pretrain", "--output", str(tmp_path)])
    with pytest.raises(SystemExit):
        pretrain.main()
    assert "holds something other than a base model" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_saving_replaces_a_base_whole(tmp_path):
    folder = tmp_path / "base"
    torch.manual_seed(0)
    tokenizer = pretrain.build_tokenizer()
    for _ in range(2):
        pretrain.save(pretrain.new_model(), tokenizer, [1.0], folder)
    base.verify(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert "validation loss" in (folder / "README.md").read_text("utf8")
