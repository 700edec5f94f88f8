"""Tiny random policies with a tokenizer trained on the spot: a whole Hugging Face folder in a fraction of a second."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

CORPUS = [
    "the cat sat on the mat and looked at 12 birds in the old tree",
    "where is my order? your order number 345 left the store on day 6.",
    "please tell me how long it takes: about 7 days, thank you for asking!",
    "a quick brown fox jumps over 890 lazy dogs, again and again.",
]
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def tiny_tokenizer(vocab: int = 100) -> PreTrainedTokenizerFast:
    """A BPE tokenizer of at most `vocab` tokens; ids 0 to 3 are pad, bos, eos and unk. It adds no special tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        limit_alphabet=vocab - len(SPECIAL),
        special_tokens=list(SPECIAL.values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def tiny_llama(folder: Path, vocab: int = 100, seed: int = 0, *, tied: bool = False, context: int = 128) -> Path:
    """A random Llama of two layers of width 32 (relative positions); returns `folder`."""
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=context, tie_word_embeddings=tied,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(seed)
    return _save(LlamaForCausalLM(config), folder, vocab)


def tiny_gpt2(folder: Path, vocab: int = 100, seed: int = 0, *, context: int = 128) -> Path:
    """A random GPT-2 of that size: absolute positions, tied embeddings, dropout 0.1 everywhere; returns `folder`."""
    config = GPT2Config(
        vocab_size=vocab, n_embd=32, n_layer=2, n_head=4, n_positions=context,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(seed)
    return _save(GPT2LMHeadModel(config), folder, vocab)


def _save(model: PreTrainedModel, folder: Path, vocab: int) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer(vocab).save_pretrained(folder)
    return folder
