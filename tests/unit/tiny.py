"""A language model small enough for exact tests, prompts of different length for it, and plain
recounts of what it says."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

STOP, PAD, CONTEXT = 1, 0, 24
PROMPTS = [[3, 4, 5], [6, 7], [8, 9, 10, 11, 3]]


def new_policy(vocab=12, spread=0.3):
    """spread: of the initial weights; the larger, the more every token depends on every other one
    before it."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            initializer_range=spread,
        )
    )


def plain_log_probs(policy, prompt, response, temperature=1.0):
    """log π of each token of one response: a row alone, without cache and without padding."""
    choices = (
        policy(input_ids=torch.tensor([prompt + response])).logits[0] / temperature
    ).log_softmax(-1)
    return torch.stack([choices[len(prompt) + i - 1, token] for i, token in enumerate(response)])


def plain_values(critic, prompt, response):
    """What a scalar model says of the prefix before each token of one response."""
    ids = torch.tensor([prompt + response])
    return critic(ids, torch.ones_like(ids, dtype=torch.bool))[0, len(prompt) - 1 : -1]


def random_head(model):
    """The scalar model with a head that says something."""
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(5))
    return model


def some_tables(number):
    """Random tables, not 0 where nothing counts, and counts: a run of 2 to 6 in each row, or up to
    the last column."""
    counts = torch.zeros(6, 9, dtype=torch.bool)
    for row, (start, length) in enumerate([(1, 2), (2, 4), (3, 6), (0, 3), (2, 2), (5, 4)]):
        counts[row, start : start + length] = True
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(counts.shape, generator=generator) for _ in range(number)], counts


def same_parameters(model, before):
    return all(torch.equal(new, old) for new, old in zip(model.parameters(), before, strict=True))


def parameters(model):
    return [parameter.detach().clone() for parameter in model.parameters()]
