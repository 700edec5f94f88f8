"""`plaudit sft settings.yaml`: fine-tunes a causal language model on demonstrations, by trl's SFTTrainer.

Prompt and response become ids exactly as PPO will see them (`policy.prompting`). Where there is a prompt, only the
response is learnt; its end-of-sequence token always is, for a policy that never ends has no score of its own.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from plaudit.context import check_context, context_length
from plaudit.errors import ConfigurationError
from plaudit.finetune.demonstrations import Demonstration, read_demonstrations
from plaudit.finetune.progress import progress
from plaudit.finetune.sampling import PaddingLittle
from plaudit.finetune.sft_settings import SFTSettings
from plaudit.finetune.training import (
    check_output,
    hold_out,
    prepare_output,
    trainer_arguments,
)
from plaudit.policy.loading import CausalLM, load_causal_lm, load_config, load_tokenizer
from plaudit.policy.prompting import Template, prompt_ids, response_ids, with_leading_tokens
from plaudit.policy.saving import save_policy
from plaudit.settings import load
from plaudit.telemetry.progress import bar
from plaudit.telemetry.quiet import quiet_libraries

IGNORED = -100
"""The label of a token that is read but not learnt."""


@dataclasses.dataclass(frozen=True)
class SFTResult:
    """What came out of a run; losses are nats per learnt token on held-out rows, None where nothing was held out."""

    folder: Path
    loss_before: float | None
    loss_after: float | None

    def summary(self) -> str:
        """For people."""
        lines = [f"wrote {self.folder}"]
        if self.loss_before is not None and self.loss_after is not None:
            lines.append(
                f"held out: loss {self.loss_before:.3f} -> {self.loss_after:.3f} nats per token "
                f"(perplexity {math.exp(min(self.loss_before, 99)):.1f} -> {math.exp(min(self.loss_after, 99)):.1f})"
            )
        return "\n".join(lines)


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    print(train(load(SFTSettings, path, overrides)).summary())
    return 0


def train(settings: SFTSettings) -> SFTResult:
    """Reads and checks everything, trains, measures before and after, and writes the policy."""
    check_output(settings.output)
    quiet_libraries()
    tokenizer = load_tokenizer(settings.policy)
    limit = _longest_row(settings)
    training, held_out = (
        _tokenize_all(settings, tokenizer, part, limit, name)
        for part, name in zip(_split(settings), ("training", "held out"), strict=True)
    )
    model = load_causal_lm(settings.policy)
    prepare_output(settings.output, settings)
    before, after = _fit(settings, model, tokenizer, training, held_out)
    save_policy(model, tokenizer, settings.output)
    return SFTResult(settings.output, before, after)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, demonstration: Demonstration, template: Template
) -> tuple[list[int], list[int]]:
    """(input_ids, labels), both (P + T,); the prompt's labels are IGNORED."""
    response = response_ids(tokenizer, demonstration.response)
    if demonstration.prompt is None:
        text = with_leading_tokens(tokenizer, response)
        return text, text
    try:
        prompt = prompt_ids(tokenizer, demonstration.prompt, template)
    except ConfigurationError as error:
        raise ConfigurationError(f"{demonstration.where}: {error}") from None
    return prompt + response, [IGNORED] * len(prompt) + response


def _longest_row(settings: SFTSettings) -> int:
    config = load_config(settings.policy)
    if settings.max_tokens is None:
        return context_length(config) or 1024
    check_context(config, settings.max_tokens, "max_tokens")
    return settings.max_tokens


def _split(settings: SFTSettings) -> tuple[list[Demonstration], list[Demonstration]]:
    demonstrations = read_demonstrations(settings.data)
    if settings.eval_data is not None:
        return demonstrations, read_demonstrations(settings.eval_data)
    return hold_out(demonstrations, _question, settings.eval_fraction, settings.training.seed)


def _question(demonstration: Demonstration) -> object:
    return demonstration.response if demonstration.prompt is None else demonstration.prompt


def _tokenize_all(
    settings: SFTSettings,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Demonstration],
    limit: int,
    name: str,
) -> dict[str, list[list[int]]]:
    """The columns that SFTTrainer reads, without rows longer than `limit`; how many those are is said."""
    columns: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    with bar(f"tokenising {name}", len(demonstrations)) as shown:
        for demonstration in demonstrations:
            input_ids, labels = tokenize(tokenizer, demonstration, settings.template)
            if len(input_ids) <= limit:
                columns["input_ids"].append(input_ids)
                columns["labels"].append(labels)
            shown.advance()
    kept = len(columns["input_ids"])
    print(f"{name}: {kept} demonstrations; {len(demonstrations) - kept} left out as longer than {limit} tokens")
    if demonstrations and not kept:
        raise ConfigurationError(f"every demonstration is longer than {limit} tokens: raise max_tokens or shorten them")
    return columns


class DemonstrationsTrainer(PaddingLittle, SFTTrainer):
    """trl's."""


def _fit(
    settings: SFTSettings,
    model: CausalLM,
    tokenizer: PreTrainedTokenizerBase,
    training: dict[str, list[list[int]]],
    held_out: dict[str, list[list[int]]],
) -> tuple[float | None, float | None]:
    """Trains `model` in place; the held-out loss before and after."""
    rows = len(training["input_ids"])
    arguments: dict[str, Any] = trainer_arguments(settings.training, settings.policy, settings.output, rows)
    config = SFTConfig(
        **arguments,
        max_length=None,
        packing=False,
        pad_to_multiple_of=None,
        eval_strategy="no",
        dataset_kwargs={"skip_prepare_dataset": True},  # ids and labels are ours
    )
    measured = bool(held_out["input_ids"])
    with progress("fine-tuning", "loss", settings.output) as callback:
        trainer = DemonstrationsTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(training),
            eval_dataset=Dataset.from_dict(held_out) if measured else None,
            processing_class=tokenizer,
            callbacks=[callback],
            lengths=[len(row) for row in training["input_ids"]],
        )
        trainer.remove_callback(PrinterCallback)
        before = float(trainer.evaluate()["eval_loss"]) if measured else None
        trainer.train()
        after = float(trainer.evaluate()["eval_loss"]) if measured else None
    return before, after
