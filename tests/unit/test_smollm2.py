"""The real model: found by its hash, made ready once and whole, and missing in a sentence."""

import concurrent.futures
import errno
import json
import os
import shutil
import threading
import time
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from course import CourseError, bases, session, smollm2
from inbox import model as real
from methods import chat, rollouts

INSTALLED = True
try:
    metadata.distribution(smollm2.PACKAGE)
except metadata.PackageNotFoundError:
    INSTALLED = False
needs_model = pytest.mark.skipif(not INSTALLED, reason="the real model is not installed here")


@pytest.fixture(autouse=True)
def no_other_base(monkeypatch):
    monkeypatch.delenv("COURSE_BASE", raising=False)


@pytest.fixture()
def package(tmp_path, monkeypatch):
    """A package with a small file in the place of the weights, an empty cache, and a conversion that
    writes two files; returns the weights' path."""
    path = tmp_path / "site" / smollm2.FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    found = SimpleNamespace(locate_file=lambda name: tmp_path / "site" / name)
    monkeypatch.setattr(smollm2.metadata, "distribution", lambda name: found)
    monkeypatch.setattr(smollm2, "SHA256", smollm2.sha256(path))
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "write", write)
    return path


def write(source, target):
    """Stands in for the conversion, with the same manifest."""
    (target / "model.safetensors").write_bytes(source.read_bytes() * 2)
    (target / "config.json").write_text("{}")
    files = {path.name: smollm2.sha256(path) for path in sorted(target.iterdir())}
    record = {"form": smollm2.FORM, "weights": smollm2.SHA256, "sha256": files}
    (target / smollm2.MANIFEST).write_text(json.dumps(record))


def left():
    """What lies in the cache."""
    return sorted(path.name for path in smollm2.cache().iterdir())


def refusal():
    with pytest.raises(CourseError) as error:
        smollm2.folder()
    assert "\n" not in str(error.value)
    return str(error.value)


# --- made once ------------------------------------------------------------------------------------


def test_it_is_made_once_and_then_found(package, monkeypatch):
    made = smollm2.folder()
    assert (made / "model.safetensors").read_bytes() == b"weightsweights"
    monkeypatch.setattr(smollm2, "write", None)  # would fail if it were called again
    assert smollm2.folder() == made and left() == [made.name]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda made: (made / "config.json").unlink(),
        lambda made: (made / "model.safetensors").write_bytes(b"weights"),
        lambda made: (made / "model.safetensors").write_bytes(b"weightsWeights"),
        lambda made: (made / smollm2.MANIFEST).write_text("{"),
        lambda made: (made / smollm2.MANIFEST).unlink(),
        lambda made: (made / smollm2.MANIFEST).write_text("[]"),
        lambda made: (made / smollm2.MANIFEST).write_text('{"form": 1, "sha256": null}'),
    ],
)
def test_a_spoilt_cache_is_made_again(package, spoil):
    spoil(smollm2.folder())
    assert (smollm2.folder() / "model.safetensors").read_bytes() == b"weightsweights"
    assert (smollm2.folder() / "config.json").exists() and len(left()) == 1


def test_a_cache_of_another_version_is_made_again(package, monkeypatch):
    made = smollm2.folder()
    monkeypatch.setattr(smollm2, "FORM", smollm2.FORM + 1)
    assert not smollm2.is_whole(made)
    assert smollm2.is_whole(smollm2.folder())
    assert len(left()) == 1


def test_two_that_make_it_at_once_end_with_one_whole_folder(package, monkeypatch):
    both = threading.Barrier(2)

    def write_together(source, target):
        both.wait(10)
        write(source, target)

    monkeypatch.setattr(smollm2, "write", write_together)
    threads = [threading.Thread(target=smollm2.folder) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert smollm2.is_whole(smollm2.place()) and left() == [smollm2.place().name]


def test_of_several_that_want_it_ready_one_makes_it(package, monkeypatch):
    made = []

    def write_slowly(source, target):
        made.append(target)
        time.sleep(0.3)
        write(source, target)

    monkeypatch.setattr(smollm2, "write", write_slowly)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: smollm2.ready(), range(4)))
    assert found == [smollm2.place()] * 4 and len(made) == 1
    assert smollm2.is_whole(smollm2.place())


def test_what_is_ready_may_lie_where_nobody_can_write(package, monkeypatch):
    smollm2.folder()
    monkeypatch.setattr(smollm2, "FileLock", None)
    assert smollm2.ready() == smollm2.place()


def test_without_a_setting_the_cache_lies_in_the_books_folder(monkeypatch):
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    assert smollm2.cache() == smollm2.ROOT / ".cache"


# --- what can go wrong ----------------------------------------------------------------------------


def test_without_the_package_a_sentence_says_what_to_do(package, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(smollm2.metadata, "distribution", missing)
    assert "not installed; run `make model`" in refusal()
    assert not smollm2.cache().exists()


@pytest.mark.parametrize("content", [b"weight", b"Weights", b""])
def test_an_altered_file_is_refused(package, content):
    package.write_bytes(content)
    assert "(truncated or altered): run `make model`" in refusal()
    assert not smollm2.cache().exists()


def test_a_file_that_is_gone_is_refused(package):
    package.unlink()
    assert "run `make model`" in refusal()


def test_too_little_space_is_said_before_anything_is_written(package, monkeypatch):
    monkeypatch.setattr(smollm2.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    assert "600 MB" in refusal() and left() == []


def test_a_disk_that_fills_up_leaves_nothing_behind(package, monkeypatch):
    def half(source, target):
        (target / "model.safetensors").write_bytes(b"wei")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(smollm2, "write", half)
    said = refusal()
    assert "No space left on device" in said and "COURSE_CACHE" in said and left() == []


def test_a_failed_repair_leaves_what_was_there(package, monkeypatch):
    made = smollm2.folder()
    (made / "config.json").unlink()

    def fail(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(smollm2, "write", fail)
    refusal()
    assert (made / "model.safetensors").exists() and left() == [made.name]


def test_a_cache_that_is_a_file_gets_a_sentence(package, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "taken"))
    assert "cannot be written into" in refusal()


# --- COURSE_BASE ----------------------------------------------------------------------------------


def test_course_base_names_it_and_the_stored_results_keep_the_name(package, monkeypatch):
    monkeypatch.setenv("COURSE_BASE", "smollm2")
    session.name_base()
    assert os.environ["COURSE_BASE"] == str(smollm2.place())
    assert smollm2.is_whole(smollm2.place())
    assert bases.base_of("01_sft") == "smollm2" and bases.base_of("11_real_model") == bases.SHIPPED


@pytest.mark.parametrize("base", [None, "", "some/folder"])
def test_another_base_stays_what_it_is(package, monkeypatch, base):
    if base is not None:
        monkeypatch.setenv("COURSE_BASE", base)
    session.name_base()
    assert os.environ.get("COURSE_BASE") == base and not smollm2.cache().exists()


# --- the model itself -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded():
    return real.load()


@needs_model
def test_it_is_the_model_that_its_card_describes(loaded):
    model, tokenizer = loaded
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == chat.end_of_turn(tokenizer) == 2


@needs_model
def test_it_answers(loaded):
    model, tokenizer = loaded
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    drawn = rollouts.sample(
        model,
        [chat.prompt_of(tokenizer, turns)],
        max_new_tokens=20,
        stop_id=chat.end_of_turn(tokenizer),
        pad_id=tokenizer.pad_token_id,
        temperature=1e-4,
    )
    assert drawn.stopped == [True]
    assert tokenizer.decode(drawn.responses[0][:-1]) == "The capital of France is Paris."


@needs_model
def test_a_copy_elsewhere_is_the_same_model(loaded, tmp_path, monkeypatch):
    shutil.copytree(smollm2.folder(), tmp_path / "copy")
    monkeypatch.setenv("COURSE_BASE", str(tmp_path / "copy"))
    model, tokenizer = real.load()
    for ours, theirs in zip(loaded[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert tokenizer.chat_template == loaded[1].chat_template
    assert tokenizer.padding_side == loaded[1].padding_side == "left"
    assert vars(model.generation_config) == vars(loaded[0].generation_config)
