"""What the settings of the forms decide."""

import re

import pytest

from plaudit.errors import ConfigurationError
from plaudit.reward.forms.form import Told
from plaudit.reward.forms.settings import FormSettings
from plaudit.reward.items import Card, Scored

from ..serving import DIGITS, settings
from .running import asked


async def test_a_text_whose_response_is_known_to_begin_somewhere_is_split_for_a_rule():
    """It counts the numbers of the response alone; of a text that nobody splits, all of them."""
    async with asked(DIGITS) as (_, client):
        query = "<s>I have 1 and 2. You: 3</s>"
        told = await client.post("/get_reward", json={"query": [query], "prompts": ["I have 1 and 2. You:"]})
        untold = await client.post("/get_reward", json={"query": [query], "prompts": ["something else"]})
        cut = await client.post("/classify", json={"input": query, "truncate_prompt_tokens": 3})
    assert (told.json()["rewards"], untold.json()["rewards"]) == ([0.2], [0.6])
    assert cut.status_code == 400  # a rule has no tokens to keep three of


def test_the_settings_decide_what_a_caller_gets_who_says_nothing():
    card, scored = Card(name="m", version="1", weights_sha256="", dtype="float32"), [Scored(1.0, 3.0)]
    assert Told(card, scored, FormSettings()).values(theirs=True) == [3.0]
    assert Told(card, scored, FormSettings(score="calibrated")).values(theirs=True) == [1.0]
    theirs = Told(card, scored, FormSettings(activation="theirs"))
    assert theirs.values(theirs=True) == [pytest.approx(0.952574)]
    assert theirs.values() == theirs.values(False, theirs=True) == [3.0]
    far = [Scored(0, -1e308), Scored(0, 1e308)]
    assert Told(card, far, FormSettings()).values(True) == [0.0, 1.0]


async def test_a_default_model_of_the_forms_is_another_than_the_servers():
    other = {"name": "other", "rule": {"kind": "keyword", "word": "thanks"}}
    async with asked(DIGITS, other, forms={"model": "other", "names": {"org/rm": "digits"}}) as (_, client):
        assert (await client.post("/slime", json={"prompt": "", "response": "thanks"})).json() == 1.0
        named = await client.post("/classify", json={"model": "org/rm", "input": "1"})
        ids = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
        assert (await client.get("/v1/models/org/rm")).json()["id"] == "org/rm"
    assert named.json()["data"][0]["probs"] == [0.2]
    assert ids == ["other", "digits", "org/rm"]


@pytest.mark.parametrize(
    ("forms", "problem"),
    [
        ({"address": "0.0.0.0:0"}, "forms.address"),
        ({"model": "nobody"}, "forms.model: 'nobody'"),
        ({"names": {"a": "nobody"}}, "forms.names: 'nobody'"),
        ({"timeout": 0}, "timeout"),
        ({"adress": "a"}, "adress"),
    ],
)
def test_settings_that_cannot_work_are_refused(forms, problem: str):
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        settings(DIGITS, forms=forms)
