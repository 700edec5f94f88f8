"""Rendering on many threads at once."""

import asyncio

from plaudit.reward.items import Conversation, Item, Text
from plaudit.reward.rendering import Rendering, Turn, render
from plaudit.reward.tokenizing import CHUNK, TokenizerPool

from .tiny_models import decoder_tokenizer

CALLERS = 32


async def test_many_at_once_render_as_one_after_the_other():
    """A tokenizer that two threads share may say "Already borrowed"."""
    tokenizer = decoder_tokenizer()
    rendering = Rendering(kind="chat", max_tokens=48, truncation="left_prompt")
    pool = TokenizerPool(tokenizer, rendering, len(tokenizer), threads=CALLERS, name="test")
    asked = [[item(caller, number) for number in range(CHUNK + 8)] for caller in range(CALLERS)]
    together = await asyncio.gather(*(pool.render(items) for items in asked))
    pool.close()
    alone = {words(one): render(tokenizer, rendering, *words(one)) for items in asked for one in items}
    assert together == [[alone[words(one)] for one in items] for items in asked]


def item(caller: int, number: int) -> Item:
    prompt, response = f"Is it {number} o'clock? " * (1 + caller % 5), f" It is {caller}."
    if number % 2:
        return Item(Text(prompt, response))
    return Item(Conversation([Turn("user", prompt), Turn("assistant", response)]))


def words(item: Item) -> tuple[str, str]:
    if isinstance(item.input, Text):
        return item.input.prompt, item.input.response
    prompt, response = item.input.messages
    return prompt.content, response.content
