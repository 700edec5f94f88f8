"""Reads a written page the way a browser's parser does."""

from html.parser import HTMLParser
from pathlib import Path

from plaudit.report.page import write

VOID = {"meta", "line", "circle", "path", "rect", "br"}
Attributes = list[tuple[str, str | None]]


class Page(HTMLParser):
    """A page's tags, attributes and visible text; fails on tags that do not match."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.markup, self.tags, self.attributes, self.open = markup, [], [], []
        self.pieces: list[str] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).replace("\u202f", " ").split())

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.pieces.append(data)


def page_of(folder: Path) -> Page:
    """Writes the report of a run folder and reads it."""
    return Page(write(folder).read_text(encoding="utf-8"))
