"""`plaudit generate settings.yaml`: what a policy answers to prompts, as rows to judge, to score or to choose from.

    policy: {model: runs/sft}
    prompts: {source: prompts.jsonl}     rows with `prompt`; optional `id`
    output: responses.jsonl
    per_prompt: 4

    row     what a line of `output` has                                       for
    all     {id, prompt, responses, sources, finish_reasons}                  rankings, best-of-n
    pair    the same, two of them                                             comparisons
    one     {id, prompt_id, prompt, response, source, finish_reason}          ratings, `plaudit score`, filters

    reference: {model: ...}         adds `kl` (one: of the response; else a list), in nats per response
    uncertain_first: {address: ...} adds `priority`: how far an ensemble's members are apart on the row (priority.py)

Of equal responses to a prompt one is kept; a prompt with fewer different ones than a row holds is left out. The same
settings draw the same responses. The same command goes on where it was stopped.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from plaudit.errors import ConfigurationError, RunFailed
from plaudit.iteration.row_file import RowFile
from plaudit.outputs import check_file
from plaudit.policy.prompting import Template
from plaudit.policy.settings import PolicySettings
from plaudit.reward_server.asking import RewardServerSettings, ready
from plaudit.rollout.settings import RolloutSettings
from plaudit.rows import DataSettings
from plaudit.settings import STRICT, load, to_yaml

AT_ONCE = 256
"""Prompts between two writes: what a stopped command loses at most."""
Count = Annotated[int, Field(ge=1)]
RowKind = Literal["all", "pair", "one"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GenerateSettings:
    """Whose responses, to what, and where they go."""

    policy: PolicySettings
    prompts: DataSettings
    output: Path
    row: RowKind = "all"
    per_prompt: Count = 4  # responses that are drawn
    count: Count | None = None  # prompts; null: all of the data, in their order
    start: Annotated[int, Field(ge=0)] = 0  # with `count`, the place in an endless shuffled stream of the prompts
    visit: Annotated[int, Field(ge=0)] = 0  # other responses to the same prompts
    different: bool = True  # of equal responses to a prompt one is kept
    source: str = ""  # who wrote it, as rows say; else the policy's name
    template: Template = "plain"
    max_new_tokens: Count = 48
    temperature: Annotated[float, Field(gt=0)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0
    reference: PolicySettings | None = None
    uncertain_first: RewardServerSettings | None = None  # an ensemble
    rollout: RolloutSettings = RolloutSettings()
    ray_address: str | None = None  # null starts Ray on this machine

    def __post_init__(self) -> None:
        if self.row != "one" and self.per_prompt < 2:
            raise ValueError("per_prompt 1 gives one response to a prompt: set it to 2 or more, or row to one")
        if self.start and self.count is None:
            raise ValueError("start is a place in the stream that count draws from: set count, or leave start out")


def run(path: str, overrides: list[str]) -> int:
    """The command."""
    settings = load(GenerateSettings, path, overrides)
    if settings.output.exists():
        raise ConfigurationError(f"output {settings.output} exists already: choose another file or remove that one")
    check_file("output", settings.output)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    from plaudit.telemetry.quiet import quiet_libraries

    quiet_libraries()
    rows, left_out = _generate(settings)
    told = f"; {left_out} prompts left out, with too few different responses" if left_out else ""
    print(f"{settings.output}: {rows} rows{told}")
    return 0


def _generate(settings: GenerateSettings) -> tuple[int, int]:
    """(rows, prompts without one)"""
    from plaudit.iteration.drawing import Drawing, drawn_prompts
    from plaudit.policy.loading import load_tokenizer
    from plaudit.telemetry.progress import bar
    from plaudit.trainer.prompts import prompts_sha256

    tokenizer = load_tokenizer(settings.policy)
    prompts = drawn_prompts(settings, tokenizer)
    settings = _of_a_version(settings)
    with ExitStack() as stack:
        ensemble = [settings.uncertain_first.model] if settings.uncertain_first else []
        told = [prompts_sha256([prompt for prompt, _ in prompts]), *ensemble]
        file = stack.enter_context(RowFile(settings.output, digest(settings, told)))
        if left := [place for place in range(len(prompts)) if place not in file.rows]:
            shown = stack.enter_context(bar("generate", len(prompts), done=len(prompts) - len(left)))
            drawing = stack.enter_context(Drawing(settings, tokenizer))
            for places in _slices(left):
                for place, rows in zip(places, drawing.rows([prompts[place] for place in places]), strict=True):
                    file.add(place, rows)
                shown.advance(len(places))
        return _finish(settings, file)


def _finish(settings: GenerateSettings, file: RowFile) -> tuple[int, int]:
    total = sum(map(len, file.rows.values()))
    if not total:
        raise RunFailed(
            f"no prompt has {'a response' if settings.row == 'one' else 'two different responses'}: raise per_prompt "
            "or temperature"
        )
    return file.finish(), sum(not rows for rows in file.rows.values())


def _slices(places: Sequence[int]) -> Iterator[Sequence[int]]:
    return (places[at : at + AT_ONCE] for at in range(0, len(places), AT_ONCE))


def _of_a_version(settings: GenerateSettings) -> GenerateSettings:
    """With the version that its ensemble's name stands for now: the same one may be served elsewhere tomorrow."""
    if settings.uncertain_first is None:
        return settings
    with ready(settings.uncertain_first) as (_, model):
        return replace(settings, uncertain_first=replace(settings.uncertain_first, model=model.name))


def digest(settings: GenerateSettings, told: Sequence[str]) -> str:
    """Of all that decides what is drawn: of the settings those, and what they lead to, the prompts and the ensemble."""
    rollout = RolloutSettings(group_size=settings.rollout.group_size)
    own = replace(settings, rollout=rollout, ray_address=None, uncertain_first=None)
    return hashlib.sha256("\n".join([to_yaml(own), *told]).encode()).hexdigest()
