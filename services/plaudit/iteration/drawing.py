"""Draws responses to prompts: by the rollout pool, beside a reference where KL is asked for, asked of an ensemble."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from plaudit.context import check_context
from plaudit.errors import ConfigurationError, RunFailed
from plaudit.iteration.generate import GenerateSettings
from plaudit.iteration.priority import most_uncertain_pair, priority
from plaudit.policy.loading import load_config, load_stop_token_ids
from plaudit.ppo.learner import LocalLearner
from plaudit.ppo.settings import PPOSettings
from plaudit.reward_server.asking import ready, score_item
from plaudit.rollout.cluster import MOST_LOCAL_CPUS, start_ray
from plaudit.rollout.pool import RayRolloutPool
from plaudit.trainer.prompts import place_in_passes, read_prompts
from plaudit.trainer.samples import kl_by_request
from plaudit.trajectory import Prompt, RolloutRequest, Sampling, ScoredTrajectory, Trajectory
from plaudit_client import RewardClient, Score, ScoreFailure

Visit = tuple[Prompt, int]
"""A prompt, and how often the stream has come to it before."""


@dataclass(frozen=True, slots=True)
class Response:
    """One that is kept."""

    trajectory: Trajectory
    kl: float | None
    members: tuple[float, ...]  # what each model of the ensemble says; empty without one


def drawn_prompts(settings: GenerateSettings, tokenizer: PreTrainedTokenizerBase) -> list[Visit]:
    """In the data's order; those of `count` are `start` .. `start + count` of the endless stream."""
    prompts = read_prompts(settings.prompts, tokenizer, settings.template)
    longest = max(prompts, key=lambda prompt: len(prompt.token_ids))
    check_context(
        load_config(settings.policy),
        len(longest.token_ids) + settings.max_new_tokens,
        f"prompt '{longest.id}' with max_new_tokens",
        "shorten or drop the prompt, or lower max_new_tokens",
    )
    if settings.count is None:
        return [(prompt, settings.visit) for prompt in prompts]
    places = range(settings.start, settings.start + settings.count)
    drawn = sorted(place_in_passes((settings.seed,), place, len(prompts)) for place in places)
    return [(prompts[index], settings.visit + visit) for visit, index in drawn]


class Drawing:
    """A context: Ray, the workers, and the reference where one is asked for."""

    def __init__(self, settings: GenerateSettings, tokenizer: PreTrainedTokenizerBase) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        settings = self._settings
        stop_ids = load_stop_token_ids(settings.policy, self._tokenizer)
        self._sampling = Sampling(settings.max_new_tokens, settings.temperature, stop_ids, settings.seed)
        with self._stack as stack:
            asked = settings.uncertain_first
            self._ensemble = None if asked is None else _ensemble(stack.enter_context(ready(asked)))
            self._learner = None if settings.reference is None else self._beside(settings)
            stack.callback(start_ray(settings.ray_address, num_cpus=MOST_LOCAL_CPUS).close)
            self._pool = RayRolloutPool(settings.rollout, settings.policy)
            stack.callback(self._pool.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rows(self, visits: Sequence[Visit]) -> list[list[dict[str, Any]]]:
        """Those of each prompt; none where it has too few different responses."""
        requests = [RolloutRequest(*visit, sample) for visit in visits for sample in range(self._settings.per_prompt)]
        trajectories = self._pool.generate(requests, self._sampling)
        if self._settings.different:
            trajectories = _different(trajectories)
        kl, members = self._kl(trajectories), self._members(trajectories)
        found: dict[str, list[Response]] = {}
        for trajectory, said in zip(trajectories, members, strict=True):
            one = Response(trajectory, kl.get(trajectory.request.id), said)
            found.setdefault(_name(trajectory), []).append(one)
        return [list(self._rows_of(found.get(_named(*visit), []))) for visit in visits]

    def _rows_of(self, responses: list[Response]) -> Iterator[dict[str, Any]]:
        """Of one prompt."""
        match self._settings.row:
            case "one":
                yield from (self._single(one) for one in responses)
            case "pair" if len(responses) > 1:
                yield self._several(_pair(responses))
            case "all" if len(responses) > 1:
                yield self._several(responses)

    def _single(self, one: Response) -> dict[str, Any]:
        name = _name(one.trajectory)
        return {
            "id": f"{name}/{one.trajectory.request.sample_index}",
            "prompt_id": name,
            "prompt": _asked(one.trajectory.request.prompt),
            "response": one.trajectory.response_text,
            "source": self._source,
            "finish_reason": one.trajectory.finish_reason,
            **({} if one.kl is None else {"kl": one.kl}),
            **_urgent([one]),
        }

    def _several(self, responses: list[Response]) -> dict[str, Any]:
        first = responses[0].trajectory
        return {
            "id": _name(first),
            "prompt": _asked(first.request.prompt),
            "responses": [one.trajectory.response_text for one in responses],
            "sources": [self._source] * len(responses),
            "finish_reasons": [one.trajectory.finish_reason for one in responses],
            **({} if self._learner is None else {"kl": [one.kl for one in responses]}),
            **_urgent(responses),
        }

    @property
    def _source(self) -> str:
        return self._settings.source or self._settings.policy.model

    def _beside(self, settings: GenerateSettings) -> LocalLearner:
        policy = replace(settings.policy, lora=None)
        return LocalLearner(policy, PPOSettings(), settings.temperature, settings.seed, reference=settings.reference)

    def _kl(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """By request."""
        if self._learner is None:
            return {}
        scored = [ScoredTrajectory(one, 0.0) for one in trajectories]
        return kl_by_request(self._learner, scored, int(self._tokenizer.pad_token_id))

    def _members(self, trajectories: Sequence[Trajectory]) -> list[tuple[float, ...]]:
        if self._ensemble is None:
            return [()] * len(trajectories)
        items = [
            score_item(_prompt(one.request.prompt), one.response_text, one.request.id, one.finish_reason)
            for one in trajectories
        ]
        return [_said(result) for result in self._ensemble.score(items, members=True)]


def _ensemble(found: tuple[RewardClient, Any]) -> RewardClient:
    client, model = found
    if not model.members:
        raise ConfigurationError(
            f"uncertain_first: {model.name} is a single model: serve several of them as one (docs/serving.md), or "
            "leave it out"
        )
    return client


def _said(result: Score | ScoreFailure) -> tuple[float, ...]:
    if isinstance(result, ScoreFailure) or result.ensemble is None:
        raise RunFailed(f"uncertain_first: a response has no score ({getattr(result, 'reason', 'of one model')})")
    return tuple(member.value for member in result.ensemble.members)


def _different(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The first of each text, prompt by prompt."""
    first: dict[tuple[str, str], Trajectory] = {}
    for one in trajectories:
        first.setdefault((_name(one), one.response_text), one)
    return list(first.values())


def _pair(responses: list[Response]) -> list[Response]:
    """The two on which an ensemble is furthest apart; without one, the first two."""
    places = most_uncertain_pair(_scores(responses)) if responses[0].members else (0, 1)
    return [responses[place] for place in places]


def _urgent(responses: list[Response]) -> dict[str, float]:
    return {"priority": priority(_scores(responses))} if responses[0].members else {}


def _scores(responses: list[Response]) -> list[tuple[float, ...]]:
    """(members, responses)"""
    return list(zip(*(one.members for one in responses), strict=True))


def _named(prompt: Prompt, visit: int) -> str:
    return f"{prompt.id}/{visit}" if visit else prompt.id


def _name(trajectory: Trajectory) -> str:
    return _named(trajectory.request.prompt, trajectory.request.visit)


def _asked(prompt: Prompt) -> str | list[dict[str, str]]:
    return prompt.text if prompt.text is not None else [turn._asdict() for turn in prompt.messages or ()]


def _prompt(prompt: Prompt) -> Any:
    return prompt.text if prompt.text is not None else prompt.messages
