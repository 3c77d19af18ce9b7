"""A token bucket for each peer: how many frames a second one may send before it is told off instead of judged."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_PEERS = 1024
EVERYBODY_ELSE = ""


@dataclass(frozen=True, slots=True)
class Bucket:
    """tokens: frames that may come at once. at_ns: when that was so."""

    tokens: float
    at_ns: int


def take(bucket: Bucket, per_s: float, now_ns: int) -> tuple[Bucket, bool]:
    """One frame at `now_ns`, and whether it is within the rate. A second's worth of frames may come at once."""
    filled = min(max(1.0, per_s), bucket.tokens + per_s * max(0, now_ns - bucket.at_ns) / 1e9)
    at_ns = max(now_ns, bucket.at_ns)
    return (Bucket(filled - 1, at_ns), True) if filled >= 1 else (Bucket(filled, at_ns), False)


@dataclass
class FrameRate:
    """per_s: 0 is no limit. Beyond 1024 peers all that are new share one bucket, so that names cost no memory."""

    per_s: float
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def allows(self, peer: str, now_ns: int) -> bool:
        """peer: the key of its connection where there is one (no peer can forge it), else the camera's name."""
        if not self.per_s:
            return True
        name = peer if peer in self._buckets or len(self._buckets) < MOST_PEERS else EVERYBODY_ELSE
        bucket = self._buckets.get(name, Bucket(max(1.0, self.per_s), now_ns))
        self._buckets[name], allowed = take(bucket, self.per_s, now_ns)
        return allowed
