"""slime's `--rm-type remote_rm`: one sample a call, and the reply is the reward itself.

    POST /slime           {"prompt": "..." or [messages], "response": "...", "label": ...}  ->  0.7
    POST /slime/rendered  the same; the prompt is as the policy read it, chat markers and all: nothing is added

`--rm-url` decides: where the prompts of the run have gone through the policy's chat template, it is the second.
"""

from plaudit.reward.forms.form import Asked, Form, Json, Told
from plaudit.reward.forms.problems import Problem
from plaudit.reward.forms.reading import conversation, pair, string, turns, whole
from plaudit.reward.rendering import Turn


def _read(body: Json) -> Asked:
    response = string(body, "response")
    if isinstance(body.get("prompt"), str):
        return Asked([pair(string(body, "prompt"), response)], _reply)
    return Asked([conversation((*turns(body.get("prompt"), "prompt"), Turn("assistant", response)))], _reply)


def _read_rendered(body: Json) -> Asked:
    prompt = string(body, "prompt")
    return Asked([whole(prompt + string(body, "response"), border=len(prompt))], _reply)


def _reply(told: Told) -> object:
    return told.values()[0]


def _error(problem: Problem) -> tuple[int, object]:
    return problem.status, {"error": problem.text, "reason": problem.reason}


FORM = Form("slime", _read, _error)
RENDERED = Form("slime/rendered", _read_rendered, _error)
