"""Scores for both sides of preferences, from a server or from a reward model's folder in this process."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plaudit.errors import ConfigurationError
from plaudit.preferences.reading import Preference
from plaudit.reward_server import RewardServerSettings, ready, score_item
from plaudit.telemetry.progress import bar
from plaudit.telemetry.quiet import quiet_libraries
from plaudit_client import RewardClient, Score, ScoreFailure

PAIRS_PER_CALL = 128


@dataclass(frozen=True, slots=True)
class Answers:
    """One score, or None, for each side of each preference, in order."""

    model: str
    chosen: list[float | None]
    rejected: list[float | None]
    missing: Counter[str]  # why sides have no score -> how many


def ask_server(server: RewardServerSettings, preferences: Sequence[Preference]) -> Answers:
    """Waits for the server, then asks it. Raises DependencyUnreachable, ConfigurationError or RunFailed."""
    with ready(server) as (client, model):
        return _answers(model.name, _ask(client, preferences))


def ask_folder(folder: Path, preferences: Sequence[Preference]) -> Answers:
    """Loads the folder and checks it as a server would at its start. Raises ConfigurationError."""
    from plaudit.finetune.token_rows import score_ids
    from plaudit.reward import folder as reward_folder
    from plaudit.reward.errors import InputTooLong, RequestError
    from plaudit.reward.loading import load_model, load_tokenizer, pad_id, score_alone
    from plaudit.reward.rendering import render

    quiet_libraries()
    record = reward_folder.read(folder)
    if record is None:
        raise ConfigurationError(f"{folder} has no {reward_folder.NAME}: train it with `plaudit reward-model`")
    tokenizer, model = load_tokenizer(folder), load_model(folder)
    reward_folder.verify(folder, record, tokenizer, lambda ids: score_alone(model, ids))
    sides = [side for preference in preferences for side in (preference.chosen, preference.rejected)]
    results: list[float | str] = []
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
    return _answers(
        f"{folder} (version {record.version})",
        [result if isinstance(result, str) else calibrate(float(next(scores))) for result in results],
    )


def _ask(client: RewardClient, preferences: Sequence[Preference]) -> list[float | str]:
    """A score, or the reason why there is none, for chosen and rejected in turn."""
    results: list[float | str] = []
    with bar("scoring", len(preferences)) as shown:
        for start in range(0, len(preferences), PAIRS_PER_CALL):
            batch = preferences[start : start + PAIRS_PER_CALL]
            sides = [side for preference in batch for side in (preference.chosen, preference.rejected)]
            items = [score_item(side.prompt, side.response, finish_reason="stop") for side in sides]
            results.extend(_value(result) for result in client.score(items))
            shown.advance(len(batch))
    return results


def _value(result: Score | ScoreFailure) -> float | str:
    return result.value if isinstance(result, Score) else result.reason


def _answers(model: str, results: Sequence[float | str]) -> Answers:
    scores = [None if isinstance(result, str) else result for result in results]
    missing = Counter(result for result in results if isinstance(result, str))
    return Answers(model, scores[0::2], scores[1::2], missing)
