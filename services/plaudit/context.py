"""How many tokens a model was made for, and one clear error where more are asked of it."""

from typing import TYPE_CHECKING

from plaudit.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def context_length(config: "PreTrainedConfig") -> int | None:
    """The longest input, prompt and response together; None where the model's config doesn't say."""
    text = config.get_text_config()
    sizes = [getattr(text, name, None) for name in ("max_position_embeddings", "n_positions", "max_sequence_length")]
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)


def check_context(config: "PreTrainedConfig", tokens: int, what: str, remedy: str = "lower it") -> None:
    """Raises ConfigurationError where `what` asks for more tokens than the model was made for."""
    context = context_length(config)
    if context is not None and tokens > context:
        raise ConfigurationError(f"{what} asks for {tokens} tokens, the model's context is {context}: {remedy}")
