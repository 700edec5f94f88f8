"""Rendering beside the event loop: a few threads with a tokenizer each, since one tokenizer is not for two threads."""

import asyncio
import copy
import queue
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from plaudit.reward.errors import InvalidItem, RequestError, TokenizerMismatch
from plaudit.reward.items import Conversation, Item, Text, Tokens, Whole
from plaudit.reward.rendering import Rendered, Rendering, render, render_tokens, tokenizer_digest
from plaudit.reward.whole import render_whole
from plaudit.reward.workers import DaemonPool

CHUNK = 32
"""Items for one job: a large request is spread over the threads."""


class TokenizerPool:
    """Turns items into ids; with `spans`, also says which of them are the response's."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rendering: Rendering,
        vocabulary: int,
        threads: int,
        name: str,
        *,
        spans: bool = False,
    ) -> None:
        self.sha256 = tokenizer_digest(tokenizer)
        self._rendering, self._vocabulary = rendering, vocabulary
        self._spans = spans
        self._tokenizers: queue.SimpleQueue[PreTrainedTokenizerBase] = queue.SimpleQueue()
        for _ in range(threads):
            self._tokenizers.put(copy.deepcopy(tokenizer))
        self._pool = DaemonPool(threads, f"tokenizer-{name}")

    async def render(self, items: Sequence[Item]) -> list[Rendered | RequestError]:
        """One result per item, in order."""
        loop = asyncio.get_running_loop()
        chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
        done = await asyncio.gather(*(loop.run_in_executor(self._pool, self._render_all, chunk) for chunk in chunks))
        return [result for results in done for result in results]

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()

    def _render_all(self, items: Sequence[Item]) -> list[Rendered | RequestError]:
        tokenizer = self._tokenizers.get()
        try:
            return [self._render(tokenizer, item) for item in items]
        finally:
            self._tokenizers.put(tokenizer)

    def _render(self, tokenizer: PreTrainedTokenizerBase, item: Item) -> Rendered | RequestError:
        try:
            rendered = self._ids(tokenizer, item)
        except RequestError as error:
            return error
        return rendered if rendered.input_ids else InvalidItem("input", "renders to no token at all")

    def _ids(self, tokenizer: PreTrainedTokenizerBase, item: Item) -> Rendered:
        match item.input:
            case Text(prompt, response):
                return render(tokenizer, self._rendering, prompt, response, None, item.finish_reason, spans=self._spans)
            case Conversation(messages):
                return render(tokenizer, self._rendering, None, None, messages, item.finish_reason, spans=self._spans)
            case Tokens(prompt_ids, response_ids, digest):
                if digest != self.sha256:
                    raise TokenizerMismatch
                self._check((*prompt_ids, *response_ids))
                return render_tokens(tokenizer, self._rendering, prompt_ids, response_ids, spans=self._spans)
            case Whole(read, border, special_tokens, cut):
                if not isinstance(read, str):
                    self._check(read)
                finished = item.finish_reason != "length"
                special = finished if special_tokens else None
                return render_whole(tokenizer, self._rendering, read, border, special, cut, spans=self._spans)

    def _check(self, ids: Sequence[int]) -> None:
        if not all(0 <= token < self._vocabulary for token in ids):
            raise InvalidItem("tokens", f"an id is not in 0..{self._vocabulary - 1}")
