"""Small chat tokenizers, one for each habit that the templates of real models have."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = ["user assistant system Where is my kettle? Hello there, I am sorry. 0123456789 {} \"':,\n"]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Writes the first token itself; a turn ends with another token than the text; content is trimmed.
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|header|>{{ m['role'] }}<|header|>\n\n"
    "{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|header|>assistant<|header|>\n\n{% endif %}"
)
# Puts a space before the end of a turn, and knows no system turn.
SPACED = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% elif m['role'] == 'user' %}"
    "[Q] {{ m['content'] }} [A]{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)
# Writes an earlier prompt otherwise once it has been answered.
REWRITES = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: <think>{% endif %}"
)
# Ends no turn with a token of its own.
ENDLESS = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def chat_tokenizer(template, **special):
    """A byte-level tokenizer with the template; `special` names tokens, as in eos_token="</s>"."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    own = ["<|im_start|>", "<|im_end|>", "<|header|>", "<|eot|>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=own,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=template, padding_side="left", **special
    )


def chatml():
    """As SmolLM2's: the token that ends a turn is the padding token too."""
    return chat_tokenizer(
        CHATML, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )


def headers():
    """As Llama 3's: the token that ends a turn is not the one that ends a text."""
    return chat_tokenizer(HEADERS, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def spaced():
    """As Llama 2's and Mistral's."""
    return chat_tokenizer(SPACED, bos_token="<s>", eos_token="</s>", pad_token="</s>")
