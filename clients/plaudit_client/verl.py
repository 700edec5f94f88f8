"""verl's custom reward function (verl 0.9): a score of a reward server for each response.

    reward.custom_reward_function.path=pkg://plaudit_client.verl
    +reward.custom_reward_function.reward_kwargs.address=rewards:50051

The other settings of `environment.py` are reward_kwargs as well; both ways do, and reward_kwargs reach every node.

    compute_score         awaited by the reward managers naive, dapo and gdpo
    compute_score_sync    the same for `remote`, which takes no coroutine (custom_reward_function.name=...)

The prompt is what verl's agent loop adds to `extra_info` as "raw_prompt", else the data set's `extra_info.prompt`, or
what `reward_kwargs.prompt_key` names: text or messages. Without it there is no score.

verl has no place for a score that is missing, so NoScore ends the step; a number would be trained on. The manager
`rate_limited` makes 0.0 of every exception: don't use it with this.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from plaudit_client import environment
from plaudit_client.adapters import AnyLoop, item_of, scored
from plaudit_client.environment import Server
from plaudit_client.types import ScoreItem

PROMPTS = ("raw_prompt", "prompt")
"""Where the prompt is looked for in `extra_info`."""


async def compute_score(
    data_source: str, solution_str: str, ground_truth: object, extra_info: Mapping[str, Any] | None = None, **given: Any
) -> float:
    """The reward. Raises RewardError; NoScore where the server has none, ValueError where there is no prompt."""
    server, item = _read(solution_str, extra_info, **given)
    (result,) = await _any_loop(server).score([item])
    return scored(result).value


def compute_score_sync(
    data_source: str, solution_str: str, ground_truth: object, extra_info: Mapping[str, Any] | None = None, **given: Any
) -> float:
    """As `compute_score`, from any thread."""
    server, item = _read(solution_str, extra_info, **given)
    (result,) = environment.score(server, [item])
    return scored(result).value


def _read(
    solution: str,
    extra_info: Mapping[str, Any] | None,
    *,
    prompt_key: str = "",
    reward_router_address: object = None,
    reward_model_tokenizer: object = None,
    **settings: Any,
) -> tuple[Server, ScoreItem]:
    """What is given by name are reward_kwargs; the router and the tokenizer of a reward model verl adds itself."""
    return environment.read(os.environ, settings), _item(solution, extra_info, (prompt_key,) if prompt_key else PROMPTS)


def _item(solution: str, extra_info: Mapping[str, Any] | None, names: Sequence[str]) -> ScoreItem:
    for name in names:
        if extra_info is not None and (prompt := extra_info.get(name)) is not None:
            return item_of(prompt, solution)
    raise ValueError(
        f"extra_info has no {' and no '.join(names)}: put the prompt into the data set's extra_info, and name it in "
        "reward_kwargs.prompt_key"
    )


@cache
def _any_loop(server: Server) -> AnyLoop:
    return AnyLoop(**server.arguments())
