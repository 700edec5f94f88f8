"""Which token pads, and which tokens end a response.

Of a model's generation defaults (`generation_config.json`) only these count: top_k, top_p or a repetition penalty would
change the distribution that is sampled from, and PPO's ratios would be wrong.
"""

from collections.abc import Sequence

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

_KNOWN_PADS = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_0|>",
    "<|endoftext|>",
)


def choose_pad_token(tokenizer: PreTrainedTokenizerBase) -> str:
    """A token that the model already knows: a usual pad token, else unk, else eos.

    Masks are never derived from ids, so padding with eos is safe here; other programs that read the folder may do it.
    """
    vocabulary = tokenizer.get_vocab()
    known = [token for token in _KNOWN_PADS if token in vocabulary and token != tokenizer.eos_token]
    candidates = [*known, tokenizer.unk_token, tokenizer.eos_token, *vocabulary]
    return next(str(token) for token in candidates if token is not None)


def strip_generation_config(model: PreTrainedModel) -> None:
    """Keeps the special tokens alone."""
    given = model.generation_config or GenerationConfig()
    model.generation_config = GenerationConfig(
        bos_token_id=given.bos_token_id, eos_token_id=given.eos_token_id, pad_token_id=given.pad_token_id
    )


def merge_stop_ids(*ids: int | Sequence[int] | None) -> tuple[int, ...]:
    """The distinct ids of single ones, lists and nothings."""
    found: set[int] = set()
    for some in ids:
        found.update([some] if isinstance(some, int) else some or [])
    return tuple(sorted(found))
