"""A reward model from a folder in Hugging Face format: refused at once when it could only give wrong scores.

A sequence classifier gives one score to a row of ids, a token classifier one to each id. Both are read out as `Values`.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from plaudit.errors import ConfigurationError, first_line

Values = tuple[float, ...]
"""Of one row: its score, or the scores of its tokens."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's tokenizer; raises ConfigurationError when there is none."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, json.JSONDecodeError):
        raise ConfigurationError(f"{folder} has no tokenizer that transformers can load: save it there") from None
    return tokenizer


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A classifier with a trained head, a pad token and safetensors weights, in evaluation mode."""
    _check_shards(folder)
    kind = AutoModelForTokenClassification if scores_tokens(folder) else AutoModelForSequenceClassification
    try:
        model, info = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigurationError(f"{folder} cannot be loaded: {first_line(error)}: save or copy it again") from None
    _refuse_unusable(folder, model, set(info["missing_keys"]))
    classifier: PreTrainedModel = model.eval()
    return classifier


def scores_tokens(folder: Path) -> bool:
    """Whether the folder says of itself that it is a token classifier."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return any(str(name).endswith("ForTokenClassification") for name in config.get("architectures") or ())
    except OSError:
        raise ConfigurationError(f"{folder} is no model folder: it has no config.json") from None
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(f"{folder}/config.json is no JSON object of a model: save it again") from None


def read_out(logits: torch.Tensor, lengths: Sequence[int]) -> list[Values]:
    """Scores out of logits: (B, 1) one a row, (B, T, 1) one a token, (B, T, 2) a token's log-odds of the second label.

    The last is how process reward models are trained: label 1 means that the step is right.
    """
    logits = logits.float()
    if logits.dim() == 2:
        return [(score,) for score in logits[:, 0].tolist()]
    per_token = logits[..., 0] if logits.shape[-1] == 1 else logits[..., 1] - logits[..., 0]
    return [tuple(row[:length]) for row, length in zip(per_token.tolist(), lengths, strict=True)]


def values_alone(model: PreTrainedModel, input_ids: Sequence[int]) -> Values:
    """The reference: one item, no padding, the model's own forward and readout."""
    row = torch.tensor([list(input_ids)], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=row, attention_mask=torch.ones_like(row)).logits
    return read_out(logits, [len(input_ids)])[0]


def score_alone(model: PreTrainedModel, input_ids: Sequence[int]) -> float:
    """The row's score; of a token classifier, its last token's."""
    return values_alone(model, input_ids)[-1]


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


def _check_shards(folder: Path) -> None:
    """An index names files of the folder: others would be loaded from anywhere, and are in no digest."""
    for index in folder.glob("*.index.json"):
        try:
            named = set(json.loads(index.read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            raise ConfigurationError(f"{index} is no index of weights: save the model again") from None
        if outside := sorted(str(name) for name in named if Path(str(name)).name != name):
            raise ConfigurationError(f"{index} names {outside[0]}, no file of the folder: save the model again")


def _refuse_unusable(folder: Path, model: PreTrainedModel, missing: set[str]) -> None:
    if missing:
        raise ConfigurationError(
            f"{folder} has no trained weights for {', '.join(sorted(missing)[:3])}: its scores would be random; "
            "train a reward model first (plaudit reward-model)"
        )
    labels = model.config.num_labels
    if scores_tokens(folder) and labels not in (1, 2):
        raise ConfigurationError(f"{folder} has {labels} labels: a token classifier of rewards has num_labels 1 or 2")
    if not scores_tokens(folder) and labels != 1:
        raise ConfigurationError(f"{folder} has {labels} labels: a reward model has num_labels 1")
    if getattr(model.config.get_text_config(), "pad_token_id", None) is None:
        raise ConfigurationError(f"{folder}: config.json has no pad_token_id: set the one used in training")
