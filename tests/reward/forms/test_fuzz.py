"""Whatever JSON comes: an answer or a refusal, never a 500, and never a score that is no number."""

import json
import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plaudit.reward.forms.paths import FORMS

from .asking import BODIES, Asking

KEYS = [
    *("query", "prompts", "labels", "prompt", "response", "label", "model", "input", "messages", "task", "text"),
    *("input_ids", "inputs", "texts", "documents", "queries", "items", "data_1", "data_2", "text_1", "text_2"),
    *("truncate_prompt_tokens", "truncation_side", "add_special_tokens", "use_activation", "encoding_format"),
    *("chat_template_kwargs", "raw_scores", "truncate", "truncation_direction", "return_text", "top_n", "requestId"),
    *("candidates", "conversation", "tokens", "finishReason", "itemId", "role", "content", "type", "dimensions"),
]
WORDS = ["", "a", "digits", "chat", "assistant", "user", "text", "base64", "Left", "token_classify", "</s>", "\x00"]
TEXTS = st.sampled_from(WORDS) | st.text(max_size=8)
SCALARS = st.none() | st.booleans() | TEXTS | st.integers(-3, 70) | st.integers() | st.floats()


def nested(inner: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)


TREES = st.recursive(SCALARS, nested, max_leaves=20)
NATIVE = [f"/v1/models/digits:{method}" for method in ("score", "rankCandidates", "scoreTokens")]
PAGING = st.dictionaries(st.sampled_from(["page_size", "page_token"]), st.text(max_size=8))
PATHS = st.sampled_from([*FORMS, *NATIVE])


def numbers(tree: object) -> list[float]:
    if isinstance(tree, dict | list):
        return [one for part in (tree.values() if isinstance(tree, dict) else tree) for one in numbers(part)]
    return [tree] if isinstance(tree, float) else []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=PATHS, body=st.dictionaries(st.sampled_from(KEYS), TREES, max_size=5), valid=st.booleans())
def test_no_json_makes_the_server_fail(ask_of_session: Asking, path: str, body: dict[str, object], valid: bool):
    """Half of the bodies begin as one that can be scored, which the rest then changes."""
    begun = BODIES.get(path.replace("digits", "m"), {}) if valid else {}
    reply = ask_of_session.post(path, json.dumps({**begun, **body}).encode())
    assert reply.status_code in (200, 400, 404, 413, 422), (reply.status_code, reply.text)
    if reply.status_code == 200:
        assert all(map(math.isfinite, numbers(reply.json())))


@settings(max_examples=50, deadline=None)
@given(path=PATHS, body=st.binary(max_size=60))
def test_no_bytes_make_the_server_fail(ask_of_session: Asking, path: str, body: bytes):
    assert ask_of_session.post(path, body).status_code in (400, 404, 422)


@settings(max_examples=50, deadline=None)
@given(name=st.text(max_size=30), query=PAGING)
def test_no_address_makes_the_server_fail(ask_of_session: Asking, name: str, query: dict[str, str]):
    named = ask_of_session._client.get("/v1/models/" + "".join(f"%{byte:02x}" for byte in name.encode()))
    listed = ask_of_session._client.get("/v1/models", params=query)
    assert named.status_code in (200, 307, 404), named.text
    assert listed.status_code in (200, 400), listed.text
