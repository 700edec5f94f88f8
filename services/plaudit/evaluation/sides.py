"""Scores for prompts with responses: from a server, or in this process from one reward model's folder or several."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from plaudit.errors import ConfigurationError, DependencyUnreachable, RunFailed
from plaudit.preferences.reading import Side
from plaudit.reward.settings import EnsembleSettings
from plaudit.reward_server.asking import RewardServerSettings, ready, score_item
from plaudit.telemetry.progress import bar
from plaudit.telemetry.quiet import quiet_libraries
from plaudit_client import ModelInfo, RewardClient, Score, ScoreFailure

if TYPE_CHECKING:
    from plaudit.reward.folder import RewardFolder

SIDES_PER_CALL = 256
NONFINITE = "NONFINITE_SCORE"
"""The reason of a server for a score that is no finite number."""

Result = float | str
"""A score, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One score, or None, for each side, in order."""

    model: str  # models/{model}/versions/{version}, or the folder
    values: list[float | None]
    missing: Counter[str]  # why sides have no score -> how many
    members: dict[str, list[float | None]] = field(default_factory=dict)  # of an ensemble, by name, as `values`


def ask_server(server: RewardServerSettings, sides: Sequence[Side]) -> Scores:
    """Waits for the server, then asks it. Raises DependencyUnreachable, ConfigurationError or RunFailed."""
    results: list[Score | ScoreFailure] = []
    try:
        with ready(server) as (client, model):
            results.extend(_ask(client, model, sides))
    except DependencyUnreachable as error:
        if not results:
            raise
        done = f"{len(results)} of {len(sides)} answers had been scored, and none is kept"
        raise DependencyUnreachable(f"{error}; {done}: begin again") from None
    values = [result.value if isinstance(result, Score) else result.reason for result in results]
    members = {name: [_said_by(place, result) for result in results] for place, name in enumerate(model.members)}
    return _collect(model.name, values, members)


def ask_folder(folder: Path, sides: Sequence[Side]) -> Scores:
    """Loads the folder and checks it as a server would at its start. Raises ConfigurationError."""
    name, results = _score_folder(folder, sides)
    return _collect(name, results)


def ask_ensemble(ensemble: EnsembleSettings, sides: Sequence[Side]) -> Scores:
    """Its members, folders, one after the other; as served, a side has a score when every member gives it one."""
    for member in ensemble.members:
        _record(Path(member))  # what is wrong with the last is told before the first is asked
    asked = [_score_folder(Path(member), sides) for member in ensemble.members]
    whole = [_combine(ensemble, said) for said in zip(*(results for _, results in asked), strict=True)]
    members = {
        name: [None if isinstance(every, str) else _number(one) for every, one in zip(whole, results, strict=True)]
        for name, results in asked
    }
    how = f"{ensemble.combine}, k {ensemble.k:g}" if ensemble.combine == "mean_minus_std" else ensemble.combine
    return _collect(f"{how} of {len(asked)} models", whole, members)


def _ask(client: RewardClient, model: ModelInfo, sides: Sequence[Side]) -> Iterator[Score | ScoreFailure]:
    with bar("scoring", len(sides)) as shown:
        for start in range(0, len(sides), SIDES_PER_CALL):
            batch = sides[start : start + SIDES_PER_CALL]
            items = [score_item(side.prompt, side.response, finish_reason="stop") for side in batch]
            for result in client.score(items, members=bool(model.members)):
                if isinstance(result, Score) and result.model.name != model.name:
                    raise RunFailed(f"{model.name} became {result.model.name} while it was asked: begin again")
                yield result
            shown.advance(len(batch))


def _said_by(place: int, result: Score | ScoreFailure) -> float | None:
    if isinstance(result, ScoreFailure) or result.ensemble is None:
        return None
    return result.ensemble.members[place].value


def _score_folder(folder: Path, sides: Sequence[Side]) -> tuple[str, list[Result]]:
    from plaudit.finetune.token_rows import score_ids
    from plaudit.reward import folder as reward_folder
    from plaudit.reward.errors import InputTooLong, RequestError
    from plaudit.reward.loading import load_model, load_tokenizer, pad_id, score_alone
    from plaudit.reward.rendering import render

    quiet_libraries()
    record = _record(folder)
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    reward_folder.verify(folder, record, tokenizer, lambda ids: score_alone(model, ids))
    results: list[Result] = []
    fitting: list[list[int]] = []
    for side in sides:
        try:
            rendered = render(tokenizer, record.rendering, side.text, side.response, side.messages)
        except RequestError as error:
            results.append("INPUT_TOO_LONG" if isinstance(error, InputTooLong) else type(error).__name__)
        else:
            results.append(0.0)
            fitting.append(rendered.input_ids)
    scores = iter(score_ids(model, fitting, pad_id(model), "scoring"))
    calibrate = record.calibration.apply if record.calibration else float
    found = [result if isinstance(result, str) else calibrate(float(next(scores))) for result in results]
    return f"{folder} (version {record.version})", list(map(_finite, found))


def _record(folder: Path) -> "RewardFolder":
    from plaudit.reward import folder as reward_folder

    if not folder.is_dir():
        raise ConfigurationError(f"there is no folder {folder}: name a reward model's folder")
    record = reward_folder.read(folder)
    if record is None:
        several = sorted(str(file.parent) for file in folder.glob(f"*/{reward_folder.NAME}"))
        remedy = f"give ensemble.members, {', '.join(several)}" if several else "train it with `plaudit reward-model`"
        raise ConfigurationError(f"{folder} has no {reward_folder.NAME}: {remedy}")
    return record


def _finite(result: Result) -> Result:
    """As a server says it."""
    return result if isinstance(result, str) or math.isfinite(result) else NONFINITE


def _combine(ensemble: EnsembleSettings, said: Sequence[Result]) -> Result:
    """What the members say of one side, as one score."""
    from plaudit.reward.backends.ensemble import combined
    from plaudit.reward.errors import NonfiniteScore
    from plaudit.reward.items import MemberScore

    scores = []
    for one in said:
        if isinstance(one, str):
            return one
        scores.append(MemberScore("", one, one))
    told = combined(ensemble, scores)
    return NONFINITE if isinstance(told, NonfiniteScore) else told[0]


def _collect(model: str, results: Sequence[Result], members: dict[str, list[float | None]] | None = None) -> Scores:
    missing = Counter(result for result in results if isinstance(result, str))
    return Scores(model, list(map(_number, results)), missing, members or {})


def _number(result: Result) -> float | None:
    return None if isinstance(result, str) else result
