"""What the log says of peers that are turned away: one line a minute for each address, whatever knocks how often."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

ON_THE_BOX = "localhost:"  # of an ipc peer: user, group, pid
EVERY_S = 60.0
MOST_ADDRESSES = 1024


@dataclass
class DenialLog:
    """say: told a sentence."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _last: dict[str, float] = field(default_factory=dict)
    _unsaid: int = 0
    _full_until: float = 0.0

    def __call__(self, domain: str, address: str, why: str) -> None:
        now = self.clock()
        if address.startswith(ON_THE_BOX):
            address = address.rpartition(":")[0]  # its pid, new for each process
        if now - self._last.get(address, -EVERY_S) < EVERY_S:
            self._unsaid += 1
            return
        if len(self._last) >= MOST_ADDRESSES and now >= self._full_until:
            self._last = {known: said for known, said in self._last.items() if now - said < EVERY_S}
            self._full_until = now + 1
        if len(self._last) >= MOST_ADDRESSES:
            self._unsaid += 1
            return
        self._last[address] = now
        unsaid, self._unsaid = self._unsaid, 0
        more = f" ({unsaid} more were turned away since the last such line)" if unsaid else ""
        self.say(f"{domain}: turned {address} away: {why}{more}")
