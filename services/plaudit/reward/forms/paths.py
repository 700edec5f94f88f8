"""Which form a call is of: by its path and, where two share one, by the keys of its body.

To add a form: a file like slime.py, and a line here.
"""

from collections.abc import Mapping

from plaudit.reward.errors import InvalidRequest
from plaudit.reward.forms import native, openrlhf, sglang, slime, tei, vllm
from plaudit.reward.forms.form import Form, Json

FORMS: Mapping[str, tuple[Form, ...]] = {
    "/get_reward": (openrlhf.FORM,),
    "/slime": (slime.FORM,),
    "/slime/rendered": (slime.RENDERED,),
    "/classify": (vllm.CLASSIFY, sglang.CLASSIFY),
    "/pooling": (vllm.POOLING,),
    "/score": (vllm.SCORE,),
    "/v1/score": (vllm.SCORE,),
    "/rerank": (vllm.RERANK, tei.RERANK),
    "/v1/rerank": (vllm.RERANK,),
    "/v2/rerank": (vllm.RERANK,),
    "/predict": (tei.PREDICT,),
    "/v1/embeddings": (sglang.EMBEDDINGS,),
    "/v1/classify": (sglang.SOFTMAX,),
}


def form_of(path: str) -> Form:
    """As far as the path alone tells: whose words an error takes before the body is known."""
    return FORMS.get(path, (native.FORM,))[0]


def chosen(path: str, body: Json) -> Form:
    """Raises InvalidRequest where the path is shared and no key decides."""
    forms = FORMS[path]
    if len(forms) == 1:
        return forms[0]
    found = [form for form in forms if any(key in body for key in form.keys)]
    if len(found) != 1:
        keys = "; ".join(f"{form.name}: {' or '.join(form.keys)}" for form in forms)
        raise InvalidRequest("body", f"which form it is of is told by one of these keys: {keys}")
    return found[0]
