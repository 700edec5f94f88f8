"""OpenRLHF's reward function in a file (OpenRLHF 0.11): a score of a reward server for each query.

    export PLAUDIT_REWARD_ADDRESS=rewards:50051                      # and what else `environment.py` has
    --reward.remote_url $(python -m plaudit_client.openrlhf)         # prints this file's path

A query is prompt and response, decoded with its special tokens; `prompts` tell where the response begins. Before the
prompt there may only be special tokens, such as <s> or [CLS]: a split that is not certain raises ValueError. So the
prompt is scored as OpenRLHF has it: with `--data.apply_chat_template` that is text which holds the template, to be read
by a reward model whose own rendering is plain. For a model that renders with a template, leave OpenRLHF's out, or ask
over HTTP, where a query is read as it stands (docs/forms.md).

    PLAUDIT_OPENRLHF_EOS    the text of the policy's end-of-sequence token, such as "</s>": a response that ends in it
                            is scored without it, as a finished one, any other as one that was cut. Not set: both as
                            they stand, as finished ones

OpenRLHF logs what this raises, and then ends over a reward that is None: a number would be trained on.
"""

import os
import re
from collections.abc import Sequence
from typing import Any

import torch

from plaudit_client import environment
from plaudit_client.adapters import scored
from plaudit_client.types import FinishReason, ScoreItem, TextPair

EOS = os.environ.get("PLAUDIT_OPENRLHF_EOS", "")
SPECIAL = re.compile(r"(?:(?:<[^<>\s]+>|\[[^\[\]\s]+\]) ?)*")
"""Tokens that a tokenizer puts before a prompt, each with the space that some decode behind it."""
AT_MOST = 200
"""Characters of those."""


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: object = None, **_: Any) -> dict[str, Any]:
    """Rewards of one dimension. Raises RewardError; NoScore where the server has none for one of them."""
    items = [_item(query, prompt) for query, prompt in zip(queries, prompts, strict=True)]
    scores = [scored(result) for result in environment.score(SERVER, items)]
    rewards = torch.tensor([score.value for score in scores], dtype=torch.float32)
    logs = {
        "input_tokens": torch.tensor([float(score.input_tokens) for score in scores]),
        "truncated_tokens": torch.tensor([float(score.truncated_tokens) for score in scores]),
    }
    return {"rewards": rewards, "scores": rewards, "extra_logs": logs}


def _item(query: str, prompt: str) -> ScoreItem:
    response = _behind(prompt, query) if prompt else query
    ended: FinishReason = "stop" if response.endswith(EOS) else "length"
    return ScoreItem(TextPair(prompt, response.removesuffix(EOS)), finish_reason=ended if EOS else None)


def _behind(prompt: str, query: str) -> str:
    """A short prompt may be found in a BOS or in the response too: only what is certain is a split."""
    begins = [at for at in range(AT_MOST) if query.startswith(prompt, at) and SPECIAL.fullmatch(query, 0, at)]
    if not begins:
        raise ValueError(
            "the query does not begin with its prompt, special tokens such as <s> or [CLS] aside: a prompt that "
            "OpenRLHF cuts, or that decodes to another"
        )
    if len(begins) > 1:
        raise ValueError("the query begins with its prompt in two ways: a prompt that looks like a special token")
    return query[begins[0] + len(prompt) :]


if __name__ == "__main__":
    print(__file__)
else:
    SERVER = environment.read(os.environ)  # a mistake ends the run at its start
