"""Texts that somebody else wrote, such that all of them can be seen, on a page as in a terminal."""

PICTURES = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {127: 0x2421}
"""Control characters would vanish, or break the page: shown as the pictures that Unicode has for them."""
OTHER_CONTROLS = dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
"""Some terminals take these for the beginning of a command."""
OVERRIDES = {0x202D: 0xFFFD, 0x202E: 0xFFFD}
"""Those that force a direction on what follows would make text read as what it is not."""
UNSEEN = frozenset({0xAD, 0x180E, 0x200B, 0x2060, 0xFEFF, *range(0xE0000, 0xE0080)})
"""Characters without any width that no script needs; joiners are not among them."""


def visible(text: str) -> str:
    """As any UTF-8 page can hold it: lone surrogates become U+FFFD, controls visible."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\r\n", "\n").translate(PICTURES | OTHER_CONTROLS | OVERRIDES)


def cell(text: str) -> str:
    """The same in a table of Markdown, on one line."""
    return visible(text).replace("\n", " ").replace("|", "\\|")


def unseen(text: str) -> int:
    """How many characters nobody sees."""
    return sum(ord(character) in UNSEEN for character in text)
