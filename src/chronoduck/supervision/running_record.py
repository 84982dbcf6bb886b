"""What a server's process works on at the moment, kept where its supervisor reads it after its death.

The supervisor makes a piece of memory for each process and passes it on as a descriptor; the process
maps it and writes into a slot before the work begins and clears it afterwards. Memory that two processes
share outlives a SIGKILL or SIGSEGV of one of them, touches no disk, and costs 1-2 µs a statement. It
does not outlive the supervisor: when the whole container is killed, nobody knows what ran.

A slot is 4 bytes of length (0: free; written last, so that a half-written slot is a free one), a byte of
flags, 3 spare ones, and the fields as text, separated by U+001F; the statement's text is the last one.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import threading
from collections import deque
from dataclasses import dataclass, replace

__all__ = [
    "LostWork",
    "RunningRecord",
    "RunningWork",
    "encode_work",
    "new_record",
    "read_record",
]

_SLOTS = 128
_SLOT_BYTES = 20_480
_HEAD = struct.Struct("<8sI52x")
"""Magic, and how much works now that found no free slot."""
_SLOT = struct.Struct("<IB3x")
_LENGTH = struct.Struct("<I")
_MAGIC = b"CDWORK1\n"
_WORK_BYTES = _SLOT_BYTES - _SLOT.size
_SIZE = _HEAD.size + _SLOTS * _SLOT_BYTES
_TEXT_CHARACTERS = 4_000
"""As many as the normalized text is made of."""
_SEPARATOR = "\x1f"
_STUCK, _PROVED = 1, 2


@dataclass(frozen=True, slots=True)
class RunningWork:
    """One piece of work: a statement in the engine or being judged, or rows that are being read."""

    kind: str
    """DuckDB's kind of statement, ``judge`` or ``load``."""
    id: str
    request_id: str
    principal: str
    name: str
    role: str
    sub_user: str
    address: str
    query_hash: str
    started_at: str
    """Unix time in seconds."""
    text: str
    is_stuck: bool = False
    """It had not listened to its interrupt."""
    is_proved: bool = False
    """It had run alone for a while before others were let in beside it."""


_FIELDS = 11


def encode_work(*fields: str) -> bytes:
    """Return the first eleven fields of ``RunningWork``, in their order, as the bytes of a slot.

    A text that is too long is cut. No ``RunningWork`` is made: that would take longer than the rest.
    """
    *short, text = fields
    encoded = _SEPARATOR.join((*short, text[:_TEXT_CHARACTERS])).encode(errors="replace")
    return encoded[:_WORK_BYTES]


@dataclass(frozen=True)
class LostWork:
    """What a process worked on when it died."""

    works: tuple[RunningWork, ...] = ()
    is_complete: bool = True
    """False: there was more than there were slots."""


class RunningRecord:
    """The server's side; safe from any thread."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Without a descriptor nobody else can read it: there is no supervisor."""
        if descriptor is None:
            self._memory = mmap.mmap(-1, _SIZE)
        else:
            self._memory = mmap.mmap(descriptor, _SIZE)
            os.close(descriptor)
        self._free = deque(_HEAD.size + number * _SLOT_BYTES for number in range(_SLOTS))
        self._without_slot = 0
        self._lock = threading.Lock()
        _HEAD.pack_into(self._memory, 0, _MAGIC, 0)

    def begin(self, work: bytes) -> int:
        """Note encoded work before it begins; return what ``end`` is called with."""
        try:
            at = self._free.popleft()
        except IndexError:
            self._count_without_slot(1)
            return 0
        memory, start = self._memory, at + _SLOT.size
        memory[start : start + len(work)] = work
        _SLOT.pack_into(memory, at, len(work), 0)
        return at

    def end(self, at: int) -> None:
        """Note that it has ended."""
        if at:
            _LENGTH.pack_into(self._memory, at, 0)
            self._free.append(at)
        else:
            self._count_without_slot(-1)

    def flag_stuck(self, at: int) -> None:
        """Note that it does not listen to its interrupt."""
        self._flag(at, _STUCK)

    def flag_proved(self, at: int) -> None:
        """Note that it has run alone for a while."""
        self._flag(at, _PROVED)

    def _flag(self, at: int, flag: int) -> None:
        if at:
            self._memory[at + _LENGTH.size] |= flag

    def _count_without_slot(self, change: int) -> None:
        with self._lock:
            self._without_slot += change
            _HEAD.pack_into(self._memory, 0, _MAGIC, self._without_slot)

    def noted(self, work: bytes) -> _Noted:
        """Note encoded work for as long as the block takes."""
        return _Noted(self, work)


class _Noted:
    __slots__ = ("_at", "_record", "_work")

    def __init__(self, record: RunningRecord, work: bytes) -> None:
        self._record = record
        self._work = work

    def __enter__(self) -> None:
        self._at = self._record.begin(self._work)

    def __exit__(self, *_: object) -> None:
        self._record.end(self._at)


def new_record() -> int:
    """Return the descriptor of an empty record; the supervisor's to close."""
    descriptor = os.memfd_create("chronoduck-running")
    os.ftruncate(descriptor, _SIZE)
    return descriptor


def read_record(descriptor: int) -> LostWork:
    """Return what is in the record of a process that has died; of one that never wrote: nothing."""
    with mmap.mmap(descriptor, _SIZE, access=mmap.ACCESS_READ) as memory:
        magic, without_slot = _HEAD.unpack_from(memory, 0)
        if magic != _MAGIC:
            return LostWork()
        works = [
            work
            for number in range(_SLOTS)
            if (work := _read_slot(memory, _HEAD.size + number * _SLOT_BYTES)) is not None
        ]
    return LostWork(tuple(works), is_complete=not without_slot)


def _read_slot(memory: mmap.mmap, at: int) -> RunningWork | None:
    length, flags = _SLOT.unpack_from(memory, at)
    if not 0 < length <= _WORK_BYTES:
        return None
    start = at + _SLOT.size
    text = memory[start : start + length].decode(errors="replace")
    fields = text.split(_SEPARATOR, _FIELDS - 1)
    if len(fields) < _FIELDS:
        return None
    work = replace(
        RunningWork(*fields),  # type: ignore[arg-type] # as many as are texts
        is_stuck=bool(flags & _STUCK),
        is_proved=bool(flags & _PROVED),
    )
    if not work.query_hash and len(work.text) < _TEXT_CHARACTERS:
        return replace(work, query_hash=_hash_of(work.text))
    return work


def _hash_of(text: str) -> str:
    """Return the hash that logs and audit trail show of a text, which need not have been parsed yet."""
    return hashlib.sha256(text.strip().rstrip(";").rstrip().encode()).hexdigest()[:16]
