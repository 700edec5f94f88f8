"""One frame of the screen: a panel for each run and reward server, in as many rows as there is room for."""

import sys
import time
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions
from rich.text import Text

from plaudit.top.endpoints import USUAL_PORT, Board, Endpoint
from plaudit.top.panels import BAD, ODD, Line, away_line, fact, run_lines, server_lines


class Frame:
    """What the board shows at `now`, Unix seconds, in at most `height` rows."""

    def __init__(self, board: Board, now: float, every: float, height: int = sys.maxsize) -> None:
        self._board, self._now, self._every, self._height = board, now, every, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """As rich asks."""
        rows = list(self._rows(options.max_width))
        if len(rows) > self._height:
            left_out = len(rows) - self._height + 1
            rows[self._height - 1 :] = [Text(f" {left_out} more lines: a taller terminal shows them", style="dim")]
        for row in rows:
            row.no_wrap, row.overflow, row.end = True, "ellipsis", "\n"
            yield row

    def _rows(self, width: int) -> Iterator[Text]:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._now))
        head = f"plaudit top  {clock}  every {self._every:g} s"
        yield Text(head, style="dim")
        for endpoint in self._board.endpoints:
            yield _title(endpoint, width)
            for line in self._lines(endpoint):
                for row in line.rows(width):
                    if endpoint.lost_at is not None and line.name != "state":
                        row.stylize("dim")  # as last seen
                    yield row
        for model, address in self._board.unseen.items():
            yield from Line("not seen", list(_unseen(model, address))).rows(width)

    def _lines(self, endpoint: Endpoint) -> Iterator[Line]:
        if endpoint.lost_at is not None:
            yield Line("state", away_line(endpoint, self._now))
        if endpoint.answer is None:
            return
        if endpoint.kind == "run":
            yield from run_lines(endpoint, self._now)
        elif endpoint.kind == "reward server":
            yield from server_lines(endpoint)
        elif endpoint.lost_at is None:
            yield Line("state", [Text("neither a run nor a reward server: it has none of their metrics", BAD)])


def _title(endpoint: Endpoint, width: int) -> Text:
    health = endpoint.answer.health if endpoint.answer else {}
    if endpoint.kind == "reward server":
        name = f"reward server  {', '.join(endpoint.models.values())}"
    else:
        name = f"run  {endpoint.folder or health.get('folder', '')}" if endpoint.kind or endpoint.folder else "unknown"
    rest = width - len(name) - len(endpoint.address) - 8
    return Text(f"── {name.rstrip()} {'─' * max(2, rest)} {endpoint.address} ──", style="bold cyan")


def _unseen(model: str, address: str) -> Iterator[Text]:
    yield fact(model, f"at {address}" if address else "", ODD)
    yield fact("", f"not on port {USUAL_PORT} of its host")
    yield fact("", "name its server's http_address to see it")
