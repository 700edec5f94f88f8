"""Somebody who asks as much as they can: CALLS requests of ITEMS items under way all the time, until it is ended.

python flood.py READY ADDRESS KEY MEDIAN
"""

import asyncio
import sys

from child import write_ready
from workload import pairs

from plaudit_client import AsyncRewardClient, Overloaded, QuotaExceeded, ScoreItem, TextPair

CALLS, ITEMS = 16, 32


async def main(ready: str, address: str, key: str, median: str) -> None:
    """Goes on for ever."""
    texts = pairs(7, CALLS * ITEMS, float(median))
    async with AsyncRewardClient(address, api_key=key, timeout=600) as client:
        await client.wait_until_ready(60)
        callers = [asyncio.create_task(_ask(client, texts[call::CALLS], call)) for call in range(CALLS)]
        await asyncio.sleep(1.0)  # the queue is as long as it will be
        write_ready(ready)
        await asyncio.gather(*callers)


async def _ask(client: AsyncRewardClient, texts: list[tuple[str, str]], call: int) -> None:
    number = 0
    while True:
        number += 1
        items = [ScoreItem(TextPair(prompt, f"{response} {call} {number}")) for prompt, response in texts]
        try:
            await client.score(items)
        except (Overloaded, QuotaExceeded) as error:
            await asyncio.sleep(error.retry_after or 0.1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
