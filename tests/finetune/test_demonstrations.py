"""Every common shape of demonstrations, and every way a row can be wrong."""

import pytest

from plaudit.errors import ConfigurationError
from plaudit.finetune.demonstrations import demonstration_of
from plaudit.trajectory import Message
from tests.row_helpers import row, turn

ASKED = Message("user", "Hi")
SYSTEM = Message("system", "Be kind.")


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"prompt": "Hi", "response": "yes"}, "Hi"),
        ({"prompt": "Hi", "completion": "yes"}, "Hi"),
        ({"prompt": [turn("user", "Hi")], "completion": [turn("assistant", "yes")]}, (ASKED,)),
        ({"instruction": "Say", "input": "Hi", "output": "yes"}, "Say\n\nHi"),
        ({"instruction": "Say", "input": "", "output": "yes"}, "Say"),
        ({"instruction": "Say", "output": "yes"}, "Say"),
        ({"messages": [turn("system", "Be kind."), turn("user", "Hi"), turn("assistant", "yes")]}, (SYSTEM, ASKED)),
        ({"text": "yes"}, None),
    ],
)
def test_every_shape_of_a_demonstration(fields, prompt):
    demonstration = demonstration_of(row(**fields))
    assert (demonstration.prompt, demonstration.response) == (prompt, "yes")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "Hi"}, "'response' is missing"),
        ({"label": 1}, "'prompt' is missing, and so are 'messages', 'instruction' and 'text'"),
        ({"messages": [turn("assistant", "yes")]}, "'messages' is an answer without a question"),
        ({"messages": [turn("user", "Hi")]}, "'messages' ends with a message by 'user'"),
        ({"instruction": "Say", "input": "Hi"}, "'output' is missing"),
        ({"prompt": "Hi", "completion": [turn("user", "a"), turn("assistant", "b")]}, "'completion' has 2 messages"),
    ],
)
def test_a_malformed_demonstration_is_named(fields, message):
    with pytest.raises(ConfigurationError, match=rf"^data\.jsonl:7: {message}"):
        demonstration_of(row(**fields))
