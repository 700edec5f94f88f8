"""The reward model's folder is self-contained: `plaudit_reward.json` beside the weights and the tokenizer.

    {"format": 1, "display_name": ..., "version": ..., "score_head": "trained",
     "rendering": {...}, "rendering_sha256": ..., "weights_sha256": ..., "calibration": {"mean": ..., "std": ...},
     "self_test": [{"prompt": ..., "response": ..., "finish_reason": ..., "input_ids": [...], "raw_score": ...}, ...]}

Training writes it, the server reads only it, and checks at start that text -> ids -> score still comes out the same.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.outputs import write_text
from plaudit.reward.calibration import Calibration
from plaudit.reward.errors import RequestError
from plaudit.reward.loading import load_model, load_tokenizer, score_alone, weights_digest
from plaudit.reward.rendering import Rendering, check, render, rendering_digest
from plaudit.reward.sources import RECORD
from plaudit.settings import STRICT

NAME = RECORD
TOLERANCE = 1e-3
"""Between machines, in units of max(1, |score|): BLAS libraries sum in other orders; another model is further off."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfTest:
    """One pair, the ids it renders to, and what the model put out for them when the folder was written."""

    prompt: str
    response: str
    finish_reason: Literal["stop", "length"] = "stop"
    input_ids: tuple[int, ...] = ()
    raw_score: float = 0.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RewardFolder:
    """What `plaudit_reward.json` says."""

    rendering: Rendering
    version: Annotated[str, Field(pattern=r"^[^/\s]{1,128}$")]  # it stands in models/{model}/versions/{version}
    weights_sha256: str
    rendering_sha256: str
    score_head: Literal["trained"] = "trained"  # a head that was never trained is never written
    display_name: str = ""
    calibration: Calibration | None = None
    self_test: tuple[SelfTest, ...] = ()
    format: Literal[1] = 1


def write(
    folder: Path,
    rendering: Rendering,
    *,
    self_test: Sequence[tuple[str, str]],
    calibration: Calibration | None = None,
    display_name: str = "",
    version: str = "",
) -> RewardFolder:
    """Writes `plaudit_reward.json` into a folder that holds a trained model and its tokenizer already.

    `self_test` are (prompt, response) pairs that fit the model; ids and scores are taken from the folder as a server
    will load it, not from the trainer's memory. `version` defaults to the first 12 digits of the weights' digest.
    """
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    cases = [SelfTest(prompt=prompt, response=response) for prompt, response in self_test]
    cases += [replace(case, finish_reason="length") for case in cases[:1]]
    ids = [_ids(tokenizer, rendering, case) for case in cases]
    record = replace(
        unwritten(folder, rendering, tokenizer),
        calibration=calibration,
        display_name=display_name,
        self_test=tuple(
            replace(case, input_ids=tuple(row), raw_score=score_alone(model, row))
            for case, row in zip(cases, ids, strict=True)
        ),
    )
    record = replace(record, version=version or record.version)
    write_text(folder / NAME, json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")
    return record


def read(folder: Path) -> RewardFolder | None:
    """The folder's record, or None where nobody wrote one; raises ConfigurationError when it is malformed."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return TypeAdapter(RewardFolder).validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ConfigurationError(f"{path}: '{key}': {problem['msg']}: write it anew") from None


def unwritten(folder: Path, rendering: Rendering, tokenizer: PreTrainedTokenizerBase) -> RewardFolder:
    """The record of any sequence classifier with a rendering that the operator gives."""
    check(tokenizer, rendering)
    digest = weights_digest(folder)
    return RewardFolder(
        rendering=rendering,
        version=digest[:12],
        weights_sha256=digest,
        rendering_sha256=rendering_digest(tokenizer, rendering),
    )


def verify(
    folder: Path,
    record: RewardFolder,
    tokenizer: PreTrainedTokenizerBase,
    score: Callable[[list[int]], float],
    tolerance: float = TOLERANCE,
) -> None:
    """Raises ConfigurationError unless weights, tokenizer, template and self-test are what the record says.

    `score` maps ids to a raw score, the way the server will.
    """
    check(tokenizer, record.rendering)
    if weights_digest(folder) != record.weights_sha256:
        raise _changed(folder, "the weights")
    if rendering_digest(tokenizer, record.rendering) != record.rendering_sha256:
        raise _changed(folder, "the tokenizer, its template or the rendering")
    for case in record.self_test:
        if tuple(_ids(tokenizer, record.rendering, case)) != case.input_ids:
            raise _changed(folder, "the self-test's token ids")
        found = score(list(case.input_ids))
        if not math.isclose(found, case.raw_score, rel_tol=tolerance, abs_tol=tolerance):
            raise _changed(folder, f"the self-test's score ({found:.6g} instead of {case.raw_score:.6g})")


def _ids(tokenizer: PreTrainedTokenizerBase, rendering: Rendering, case: SelfTest) -> list[int]:
    try:
        return render(tokenizer, rendering, case.prompt, case.response, finish_reason=case.finish_reason).input_ids
    except RequestError as error:
        raise ConfigurationError(f"a self-test pair cannot be rendered: {error}: give one that fits") from None


def _changed(folder: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{folder}: {what} changed since {NAME} was written: restore the folder, or train the reward model again"
    )
