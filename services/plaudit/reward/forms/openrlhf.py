"""OpenRLHF's remote reward model.

    POST /get_reward  {"query": ["<s>prompt response</s>"], "prompts"?: ["prompt"], "labels"?: [...]}
    ->                {"rewards": [0.7], "scores": [0.7], "extra_logs": {"input_tokens": [7], "truncated_tokens": [0]}}

A query is what the policy read and wrote, decoded with its special tokens, so nothing is added to it. With fewer
queries than servers the client asks some of them for nothing: an empty list has an empty answer. Where `prompts` are
sent, what is cut is of the prompt alone, and a model that reads text is told which part the response is.
"""

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms.form import Asked, Form, Json, Told
from plaudit.reward.forms.problems import Problem
from plaudit.reward.forms.reading import strings, whole


def _read(body: Json) -> Asked:
    queries = strings(body, "query")
    prompts = strings(body, "prompts") if body.get("prompts") is not None else [""] * len(queries)
    if len(prompts) != len(queries):
        raise InvalidRequest("prompts", f"there are {len(prompts)}, and {len(queries)} in query")
    both = zip(queries, prompts, strict=True)
    return Asked([whole(query, border=_border(query, prompt)) for query, prompt in both], _reply)


def _border(query: str, prompt: str) -> int | None:
    at = query.find(prompt) if prompt else -1
    return None if at < 0 else at + len(prompt)


def _reply(told: Told) -> object:
    rewards = told.values()
    return {
        "rewards": rewards,
        "scores": rewards,
        "extra_logs": {"input_tokens": told.tokens, "truncated_tokens": told.truncated},
    }


def _error(problem: Problem) -> tuple[int, object]:
    return problem.status, {"error": problem.text, "reason": problem.reason}


FORM = Form("openrlhf", _read, _error)
