"""Where a model's files are: a folder, or a name on the Hugging Face hub. Light: nothing is loaded here."""

from pathlib import Path

from plaudit.errors import ConfigurationError

RECORD = "plaudit_reward.json"
"""What a reward model's folder says of itself (folder.py)."""
FILES = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
"""What is fetched of a model that is named, not a folder: never pickled weights, never code."""


def locate(model: str) -> Path:
    """A folder as it is; any other name is looked up on the Hugging Face hub (or in its cache)."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, allow_patterns=list(FILES)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError):
        raise ConfigurationError(
            f"no reward model '{model}': it is neither a folder nor a model that the Hugging Face hub gives out"
        ) from None
