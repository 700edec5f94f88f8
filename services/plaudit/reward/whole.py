"""A text that its caller has rendered already, or its ids: read as it is, special tokens in it included.

    "<s>How many sheep?</s>"    the special tokens' texts become their ids; nothing is added
    "How many sheep?"           `finished` says that what the rendering puts around a text is still to be added:
                                plain: BOS and EOS;  chat: BOS, where the template begins with one;  neither ever twice

What is too long is cut as the rendering says: "error" refuses it, "left_prompt" cuts the head, up to the response where
that is known to begin. A caller may also ask to be cut himself, on either side.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from plaudit.reward.rendering import (
    Rendered,
    Rendering,
    Span,
    Turn,
    bos_id,
    chat_texts,
    leading_bos,
    prompt_tokens,
    spans_of,
    tokenize,
    tokenize_with_offsets,
    truncate,
    with_special_tokens,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Cut(NamedTuple):
    """What a caller lets be cut off."""

    tokens: int | None = None  # keep so many, at least 1; None: as many as the model reads
    side: Literal["left", "right"] = "left"


def render_whole(
    tokenizer: "PreTrainedTokenizerBase",
    rendering: Rendering,
    whole: str | Sequence[int],
    border: int | None = None,
    finished: bool | None = None,
    cut: Cut | None = None,
    *,
    spans: bool = False,
) -> Rendered:
    """The ids of `whole`, whose response begins at `border` (characters, or ids), if that is known.

    `finished` says how a text's response ended, where special tokens are to be added around it; None: none are. With
    `spans`, which need a fast tokenizer, also tells the tokens of the response. Raises InputTooLong; TemplateFailed.
    """
    read = tokenize(tokenizer, whole) if isinstance(whole, str) else list(whole)
    ids = _around(tokenizer, rendering, read, finished) if isinstance(whole, str) and finished is not None else read
    fitted = _fitted(tokenizer, rendering, whole, border, ids, cut)
    if not spans:
        return fitted
    before = int(ids[:1] != read[:1])  # the BOS that was put in front
    gone = 0 if cut and cut.side == "right" else fitted.truncated_tokens
    found = _response(tokenizer, whole, border or 0, before - gone)
    return fitted._replace(response=tuple(span for span in found if 0 <= span.position < len(fitted.input_ids)))


def _around(tokenizer: "PreTrainedTokenizerBase", rendering: Rendering, ids: list[int], finished: bool) -> list[int]:
    if rendering.kind == "plain":
        return with_special_tokens(tokenizer, rendering, ids, finished)
    bos = bos_id(tokenizer)
    return [bos, *ids] if bos is not None and ids[:1] != [bos] and _begins_with_bos(tokenizer) else ids


def _begins_with_bos(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether the template writes it: there are clients who take it away, for a server that adds it again."""
    full, _ = chat_texts(tokenizer, [Turn("user", "a"), Turn("assistant", "b")], finished=True)
    return bool(tokenizer.bos_token) and full.startswith(str(tokenizer.bos_token))


def _fitted(
    tokenizer: "PreTrainedTokenizerBase",
    rendering: Rendering,
    whole: str | Sequence[int],
    border: int | None,
    ids: list[int],
    cut: Cut | None,
) -> Rendered:
    keep = min(rendering.max_tokens, cut.tokens or rendering.max_tokens) if cut else rendering.max_tokens
    if len(ids) <= keep:
        return Rendered(ids, 0)
    bos = leading_bos(tokenizer, ids)
    if cut:
        return _cut(ids, bos, keep, cut.side)
    return truncate(rendering, ids, bos, len(ids) - bos if border is None else _prompt(tokenizer, whole, border, bos))


def _cut(ids: list[int], bos: int, keep: int, side: Literal["left", "right"]) -> Rendered:
    """As the caller asks; a leading BOS stays."""
    gone = len(ids) - keep
    if side == "right":
        return Rendered(ids[:keep], gone)
    stays = min(bos, keep)
    return Rendered(ids[:stays] + ids[stays + gone :], gone)


def _prompt(tokenizer: "PreTrainedTokenizerBase", whole: str | Sequence[int], border: int, bos: int) -> int:
    """How many tokens, behind a leading BOS, are the prompt's."""
    return prompt_tokens(tokenizer, whole, whole[:border]) if isinstance(whole, str) else max(0, border - bos)


def _response(
    tokenizer: "PreTrainedTokenizerBase", whole: str | Sequence[int], border: int, shift: int
) -> tuple[Span, ...]:
    if not isinstance(whole, str):
        return tuple(Span(at + shift, None, None) for at in range(border, len(whole)))
    _, offsets = tokenize_with_offsets(tokenizer, whole)
    return spans_of(offsets, whole, whole[:border], whole[border:], shift)
