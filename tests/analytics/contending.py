"""A service whose calls are in each other's way, for what tunes how many there are."""

import asyncio


class Contended:
    """A call takes 20 ms, and longer the more there are beyond so many at once."""

    def __init__(self, knee, *, fails=False):
        self.flying = self.most = 0
        self.knee = knee
        self.fails = fails

    async def __call__(self, value):
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            over = self.flying / self.knee
            await asyncio.sleep(0.02 * max(1.0, over * over))
            if self.fails:
                raise ConnectionError("away")
        finally:
            self.flying -= 1
        return value
