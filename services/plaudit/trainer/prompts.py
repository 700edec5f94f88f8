"""The prompts of a run, and which of them each step asks for.

What a step of a synchronous run asks for depends on the run seed and the step alone, never on what happened before: a
resumed run needs no cursor. An overlapped one remembers how far it has drawn.
"""

import functools
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from plaudit.errors import ConfigurationError
from plaudit.policy.prompting import Template, prompt_ids
from plaudit.rows import DataSettings, Row, read_rows
from plaudit.trajectory import Prompt, RolloutRequest


def read_prompts(data: DataSettings, tokenizer: PreTrainedTokenizerBase, template: Template) -> list[Prompt]:
    """One Prompt per row; `id` is the row's own or its place in the data."""
    prompts = [_prompt(row, index, tokenizer, template) for index, row in enumerate(read_rows(data))]
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise ConfigurationError(f"{data.source}: two prompts have the id '{prompt.id}': ids must be unique")
        seen.add(prompt.id)
    return prompts


def place_in_passes(seed: tuple[int, ...], place: int, count: int) -> tuple[int, int]:
    """(pass, index) at one place of an endless stream that visits each of `count` things once a pass."""
    visit, offset = divmod(place, count)
    return visit, int(_order((*seed, visit), count)[offset])


@functools.lru_cache(maxsize=8)
def _order(seed: tuple[int, ...], count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(count)


def prompts_sha256(prompts: Sequence[Prompt]) -> str:
    """A run goes on with the prompts that it began with."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(json.dumps([prompt.id, prompt.token_ids, prompt.text, prompt.messages]).encode())
    return digest.hexdigest()


class PromptStream:
    """Visits every prompt once per pass, in an order of its own for each pass."""

    def __init__(self, prompts: Sequence[Prompt], per_step: int, samples_per_prompt: int, seed: int) -> None:
        self._prompts = prompts
        self.per_step, self.samples_per_prompt = per_step, samples_per_prompt
        self._seed = seed

    def __len__(self) -> int:
        return len(self._prompts)

    def requests(self, step: int) -> list[RolloutRequest]:
        """The requests of one step: `per_step` prompts, `samples_per_prompt` responses each."""
        places = range(self.drawn_before(step), self.drawn_before(step + 1))
        return [request for place in places for request in self.visit(place)]

    def drawn_before(self, step: int) -> int:
        """How many prompts earlier steps asked for."""
        return step * self.per_step

    def visit(self, place: int) -> list[RolloutRequest]:
        """`samples_per_prompt` responses to the prompt at one place of the endless stream."""
        visit, index = place_in_passes((self._seed,), place, len(self._prompts))
        return [RolloutRequest(self._prompts[index], visit, sample) for sample in range(self.samples_per_prompt)]

    def named(self, ids: Sequence[str]) -> list[list[RolloutRequest]]:
        """The requests of these ids, by visit."""
        prompts = {prompt.id: prompt for prompt in self._prompts}
        visits: dict[tuple[str, str], list[RolloutRequest]] = {}
        for prompt, visit, sample in (name.rsplit("/", 2) for name in ids):
            request = RolloutRequest(prompts[prompt], int(visit), int(sample))
            visits.setdefault((prompt, visit), []).append(request)
        return list(visits.values())


def _prompt(row: Row, index: int, tokenizer: PreTrainedTokenizerBase, template: Template) -> Prompt:
    asked = row.prompt()
    if not asked:
        raise row.error("prompt", "is empty")
    try:
        ids = tuple(prompt_ids(tokenizer, asked, template))
    except ConfigurationError as error:
        raise row.error("prompt", str(error)) from None
    given = row.get("id")
    identifier = str(index if given is None else given)
    if isinstance(asked, str):
        return Prompt(identifier, ids, text=asked)
    return Prompt(identifier, ids, messages=asked)
