"""Text to token ids and back, for the help desk's own tokenizer and for any other."""

from helpdesk.tasks import Example
from helpdesk.words import EOS, PAD, UNK, vocabulary
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


class UnknownWords(ValueError):
    """A text holds words that the tokenizer does not know."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The help desk's word-level tokenizer: one token per word of helpdesk.words."""
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary())}, unk_token=UNK)
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerBase, text: str, *, start: bool = False) -> list[int]:
    """Token ids of a text; with `start`, after what the tokenizer puts before one, such as <bos>.

    A text that begins with a space goes on from another, and gets the ids that it has there. Raises
    UnknownWords, listing every one of them, where a word would become <unk>.
    """
    ids = _continuation(tokenizer, text)
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        unknown = [
            word
            for word in dict.fromkeys(text.split())
            if tokenizer.unk_token_id in tokenizer(word, add_special_tokens=False).input_ids
        ]
        raise UnknownWords(
            f"not in the tokenizer's vocabulary: {', '.join(unknown)}; use the words listed in "
            "labs/helpdesk/words.py, in lower case, with spaces around punctuation"
        )
    if start:
        ids = tokenizer(text).input_ids
        if ids and ids[-1] == tokenizer.eos_token_id:
            ids = ids[:-1]  # some tokenizers close every text; a prompt is still open
    return ids


def _continuation(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a text without special tokens, as they are after another one if it begins with a
    space: some tokenizers treat the beginning of what they are given in a way of its own."""

    def plain(some: str) -> list[int]:
        return tokenizer(some, add_special_tokens=False).input_ids

    if text.startswith(" "):
        before, whole = plain(":"), plain(f":{text}")
        if whole[: len(before)] == before:
            return whole[len(before) :]
    return plain(text)


def encode_example(
    tokenizer: PreTrainedTokenizerBase, example: Example
) -> tuple[list[int], list[int]]:
    """Token ids of an example's prompt and of its response, which the stop token closes."""
    return (
        encode(tokenizer, example.prompt, start=True),
        encode(tokenizer, example.response) + [tokenizer.eos_token_id],
    )
