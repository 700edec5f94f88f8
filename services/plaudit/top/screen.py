"""`plaudit top RUN_OR_ADDRESS ...`: runs and reward servers on a live screen, or one frame of it as plain text."""

import asyncio
import signal
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live

from plaudit.errors import DependencyUnreachable
from plaudit.top.endpoints import Board
from plaudit.top.frame import Frame


def run(target: str, arguments: Sequence[str]) -> int:
    """`arguments`: --once and --every=SECONDS, then further targets. Raises as all commands do."""
    options = [one for one in arguments if one.startswith("--")]
    every = next((float(one.partition("=")[2]) for one in options if one.startswith("--every=")), 1.0)
    board = Board([target, *arguments[len(options) :]])
    console = Console(highlight=False)
    if "--once" in options or not console.is_terminal or console.is_dumb_terminal:
        asyncio.run(_once(board, console, every))
    else:
        asyncio.run(_live(board, console, every))
    return 0


async def _once(board: Board, console: Console, every: float) -> None:
    """Two looks: what happens is what lies between them. Raises DependencyUnreachable where nobody answers."""
    await board.look()
    await asyncio.sleep(every)
    await board.look()
    console.print(Frame(board, time.time(), every))
    if all(endpoint.answer is None for endpoint in board.endpoints):
        raise DependencyUnreachable("nobody answers: is the run or the server up, and is this its http_address?")


async def _live(board: Board, console: Console, every: float) -> None:
    """Until Ctrl-C or SIGTERM; the terminal is then as it was."""
    loop = asyncio.get_running_loop()

    def frame() -> Frame:
        return Frame(board, time.time(), every, console.height)

    with Live(get_renderable=frame, console=console, screen=True, auto_refresh=False) as live:
        loop.add_signal_handler(signal.SIGWINCH, live.refresh)
        while True:
            due = loop.time() + every
            await board.look()
            live.refresh()
            await asyncio.sleep(max(0.0, due - loop.time()))
