"""What `GET replication` answers, and the same part of the statistics."""

from __future__ import annotations

from pydantic import BaseModel

__all__ = ["Replication"]


class NextCheckpoint(BaseModel):
    """What brings the next checkpoint about."""

    log_bytes: int
    commits: int
    seconds: float | None


class Checkpoints(BaseModel):
    """Checkpoints since the start, and how long writers waited; empty while the database is closed."""

    count: int | None = None
    last_at: str | None = None
    last_error: str | None = None
    hanging_seconds: float | None = None
    pause_p50: float | None = None
    pause_p99: float | None = None
    pause_max: float | None = None
    log_bytes: int | None = None
    log_commits: int | None = None
    next_after: NextCheckpoint | None = None


class Acknowledging(BaseModel):
    """Commits that wait until a copy has replayed them."""

    proofs: int
    checkpoints: int
    unproven: int
    unknown: int
    waiting: int
    wait_seconds: float


class WalMark(BaseModel):
    """A place in the WAL."""

    time: str
    iteration: int
    offset: int
    transactions: int


class ShadowReport(BaseModel):
    """Whether the WAL can be replayed, by trial on a copy; empty while the database is closed."""

    state: str | None = None
    verdict: str | None = None
    reason: str | None = None
    replayed_until: WalMark | None = None
    proven_until: WalMark | None = None
    refuted_at: WalMark | None = None
    cpu_share: float | None = None
    attempts: int | None = None
    failures: int | None = None
    unproven_tails: int | None = None
    copy_bytes: int | None = None
    proof_seconds: float | None = None
    restarts: int | None = None
    acknowledging: Acknowledging | None = None


class Progress(BaseModel):
    """How much is done; `total` is 0 while it is unknown."""

    done: int
    total: int


class ReplicaStore(BaseModel):
    """What is in the replica's store, and requests to it."""

    bytes: int
    shipped_bytes: int
    requests: int
    failures: int


class Scrub(BaseModel):
    """How far the check of all blocks is, from 0 to 1."""

    last_round: str | None
    share: float
    damaged_blocks: int | None = None


class DrillResult(BaseModel):
    """How a restore drill went; `detail` is in its job alone."""

    at: str
    succeeded: bool
    seconds: float
    time: str
    proof: str
    transactions: int
    bytes: int
    tables: int
    rows: int
    error: str


class Drill(BaseModel):
    """The last restore drill and the next one."""

    next_at: str | None
    last: DrillResult | None


class Replication(BaseModel):
    """How safe the data is. Without a replica there are `enabled`, `sentence` and what is local."""

    enabled: bool
    sentence: str
    checkpoints: Checkpoints
    damaged_blocks: int
    shadow: ShadowReport
    state: str | None = None
    error: str | None = None
    hint: str | None = None
    lag_seconds: float | None = None
    lag_bytes: int | None = None
    last_restore_point: str | None = None
    caught_up_at: str | None = None
    transactions: int | None = None
    generation: str | None = None
    generations: int | None = None
    progress: Progress | None = None
    store: ReplicaStore | None = None
    scrub: Scrub | None = None
    proven_until: str | None = None
    replayed_until: str | None = None
    notice: str | None = None
    store_scrub: Scrub | None = None
    retention_error: str | None = None
    restarts: int | None = None
    drill: Drill | None = None
