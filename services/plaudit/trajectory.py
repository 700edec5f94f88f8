"""What flows through a run: Prompt -> RolloutRequest -> Trajectory -> ScoredTrajectory -> TrainingBatch.

Notation, here and in `ppo/`: B rows, P prompt tokens (left-padded), T response tokens (right-padded). Response token
t of a row is `input_ids[P + t]`; its log-probability is read at position P - 1 + t, and so is the value of the state
before it.

A worked example, pad id 0, end-of-sequence id 9:

    prompts    [5, 6]      [7]
    responses  [1, 9]      [2, 3, 4]        the first ended, the second was cut at max_new_tokens = 3

    input_ids        [[5, 6, 1, 9, 0],      P = 2, T = 3
                      [0, 7, 2, 3, 4]]
    attention_mask   [[1, 1, 1, 1, 0],
                      [0, 1, 1, 1, 1]]
    response_mask          [[1, 1, 0],      includes the end-of-sequence token, excludes everything after it
                            [1, 1, 1]]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

FinishReason = Literal["stop", "length"]

Weights = tuple[npt.NDArray[np.uint8], ...]
"""A policy's trained weights on their way from the learner to the workers: `policy.weights.pack`."""


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the policy reads it (`token_ids`) and as the reward service is shown it (`text` or `messages`)."""

    id: str
    token_ids: tuple[int, ...]  # (P,) special tokens and chat template included
    text: str | None = None  # exactly one of `text` and `messages` is set
    messages: tuple[Message, ...] | None = None


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """One response wanted. (prompt id, visit, sample index) is unique in a run and seeds the sampling."""

    prompt: Prompt
    visit: int = 0  # how many times the run has drawn this prompt before
    sample_index: int = 0  # which of the n samples of this visit

    @property
    def id(self) -> str:
        return f"{self.prompt.id}/{self.visit}/{self.sample_index}"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn: from the full softmax of logits / temperature, nothing filtered."""

    max_new_tokens: int
    temperature: float
    stop_token_ids: tuple[int, ...]
    run_seed: int


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A response, as it was sampled."""

    request: RolloutRequest
    response_ids: tuple[int, ...]  # (T,) with the stop token where finish_reason is "stop"
    response_text: str  # special tokens left out
    sampler_logprobs: npt.NDArray[np.float32] = field(repr=False)  # (T,) under the distribution sampled from
    finish_reason: FinishReason
    weight_version: int  # of the weights it was sampled with


@dataclass(frozen=True, slots=True)
class ScoredTrajectory:
    """A trajectory and its reward; one without a reward never gets this far."""

    trajectory: Trajectory
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)  # what each of several services said, by name


def padded(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad_token_id: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """input_ids and attention_mask (B, P + T), response_mask (B, T): prompts padded left, responses right."""
    width_p, width_t = max(map(len, prompts)), max(map(len, responses))
    input_ids = np.full((len(prompts), width_p + width_t), pad_token_id, dtype=np.int64)
    attention_mask = np.zeros(input_ids.shape, dtype=np.bool_)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        real = slice(width_p - len(prompt), width_p + len(response))
        input_ids[row, real] = (*prompt, *response)
        attention_mask[row, real] = True
    return input_ids, attention_mask, attention_mask[:, width_p:].copy()


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Scored trajectories as padded arrays, the form in which a learner takes them."""

    input_ids: npt.NDArray[np.int64]  # (B, P + T) prompts left-padded, responses right-padded
    attention_mask: npt.NDArray[np.bool_]  # (B, P + T)
    response_mask: npt.NDArray[np.bool_]  # (B, T)
    sampler_logprobs: npt.NDArray[np.float32]  # (B, T) 0 where masked
    scores: npt.NDArray[np.float32]  # (B,)
    truncated: npt.NDArray[np.bool_]  # (B,) cut at max_new_tokens
    groups: npt.NDArray[np.int64]  # (B,) the same number for the samples of one visit to one prompt

    @property
    def prompt_length(self) -> int:
        """P: where the responses begin."""
        return int(self.input_ids.shape[1] - self.response_mask.shape[1])

    @classmethod
    def assemble(cls, scored: Sequence[ScoredTrajectory], pad_token_id: int) -> "TrainingBatch":
        """Pads `scored` (B rows, in this order) into one batch."""
        prompts = [s.trajectory.request.prompt.token_ids for s in scored]
        responses = [s.trajectory.response_ids for s in scored]
        input_ids, attention_mask, response_mask = padded(prompts, responses, pad_token_id)
        sampler_logprobs = np.zeros(response_mask.shape, dtype=np.float32)
        for row, one in enumerate(scored):
            sampler_logprobs[row, : len(responses[row])] = one.trajectory.sampler_logprobs
        scores = np.array([s.score for s in scored], dtype=np.float32)
        truncated = np.array([s.trajectory.finish_reason == "length" for s in scored])
        visits = [(s.trajectory.request.prompt.id, s.trajectory.request.visit) for s in scored]
        numbers = {visit: number for number, visit in enumerate(dict.fromkeys(visits))}
        groups = np.array([numbers[visit] for visit in visits], dtype=np.int64)
        return cls(input_ids, attention_mask, response_mask, sampler_logprobs, scores, truncated, groups)
