"""A reward model from a folder in Hugging Face format: refused at once when it could only give wrong scores."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError, first_line


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer; raises ConfigurationError when there is none."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, json.JSONDecodeError):
        raise ConfigurationError(f"{folder} has no tokenizer that transformers can load: save it there") from None
    return tokenizer


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A sequence classifier with one trained output, a pad token and safetensors weights, in evaluation mode."""
    if not (folder / "config.json").is_file():
        raise ConfigurationError(f"{folder} is no model folder: it has no config.json")
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigurationError(f"{folder} cannot be loaded: {first_line(error)}") from None
    _refuse_unusable(folder, model, set(info["missing_keys"]))
    classifier: PreTrainedModel = model.eval()
    return classifier


def score_alone(model: PreTrainedModel, input_ids: Sequence[int]) -> float:
    """The reference: one item, no padding, the model's own forward and readout."""
    row = torch.tensor([list(input_ids)], device=model.device)
    with torch.inference_mode():
        return float(model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, 0])


def weights_digest(folder: Path) -> str:
    """SHA-256 over the safetensors files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def pad_id(model: PreTrainedModel) -> int:
    """The id that the model's readout takes for padding."""
    return int(model.config.get_text_config().pad_token_id)


def _refuse_unusable(folder: Path, model: PreTrainedModel, missing: set[str]) -> None:
    if missing:
        raise ConfigurationError(
            f"{folder} has no trained weights for {', '.join(sorted(missing)[:3])}: its scores would be random; "
            "train a reward model first (plaudit reward-model)"
        )
    if model.config.num_labels != 1:
        raise ConfigurationError(f"{folder} has {model.config.num_labels} labels: a reward model has num_labels 1")
    if getattr(model.config.get_text_config(), "pad_token_id", None) is None:
        raise ConfigurationError(f"{folder}: config.json has no pad_token_id: set the one used in training")
