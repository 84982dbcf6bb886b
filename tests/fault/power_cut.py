"""What a power cut leaves: a record of every write and sync, and two models of a file system.

``record_writes.c`` makes the record while a real service runs. ``Disk`` reads it up to any entry and
makes the directory as the next start would find it.

Both models let any part of a file's data that was not synced be lost, and its length too. They differ
in names (create, rename, delete):

- ``JOURNAL``, as ext4 and XFS: changes of names reach the disk in their order, and a finished sync of
  any file makes all of them durable that came before.
- ``STRICT``, what POSIX promises: a name is durable by a sync of its directory. Of the others any may
  be lost, in any combination.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum
from pathlib import Path

__all__ = ["Chance", "Cut", "Disk", "Entry", "Kind", "Names", "Record", "build_recorder"]

_ENTRY = struct.Struct("<IIQQII")


class Kind(IntEnum):
    """What an entry records; as in ``record_writes.c``."""

    CREATE = 1
    MKDIR = 2
    WRITE = 3
    TRUNCATE = 4
    SYNC_BEGIN = 5
    SYNC_END = 6
    RENAME = 7
    UNLINK = 8
    LINK = 9
    SYMLINK = 10
    SENT = 11
    ZERO = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, one end of a sync, or one answer that was sent."""

    kind: Kind
    inode: int
    number: int
    """An offset, a length or the number of a sync."""
    first: bytes
    second: bytes

    @property
    def paths(self) -> tuple[Path, Path]:
        """The two names of a rename or a link; the second is the new one."""
        return _path(self.first), _path(self.second)


def _path(name: bytes) -> Path:
    return Path(os.path.normpath(os.fsdecode(name)))


def build_recorder(directory: Path) -> Path:
    """Compile the library to preload.

    Raises:
        CalledProcessError: The compiler failed.
    """
    library = directory / "record_writes.so"
    source = Path(__file__).with_name("record_writes.c")
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", "-o", library, source, "-lpthread", "-ldl"], check=True
    )
    return library


@dataclass
class Record:
    """The file that the recorder appends to, and the directory that it watches."""

    path: Path
    root: Path
    library: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be recorded, with all processes that it starts."""
        return {
            "LD_PRELOAD": str(self.library),
            "RECORD_ROOT": str(self.root),
            "RECORD_FILE": str(self.path),
        }

    def entries(self) -> list[Entry]:
        """Return the whole entries, in their order."""
        return list(self._read(self.path.read_bytes()))

    def count(self) -> int:
        """Return how many entries there are by now."""
        return len(self.entries())

    @staticmethod
    def _read(data: bytes) -> Iterator[Entry]:
        offset = 0
        while offset + _ENTRY.size <= len(data):
            kind, _, inode, number, first, second = _ENTRY.unpack_from(data, offset)
            offset += _ENTRY.size
            middle, end = offset + first, offset + first + second
            if end > len(data):
                return
            yield Entry(Kind(kind), inode, number, data[offset:middle], data[middle:end])
            offset = end


class Names(Enum):
    """How names become durable."""

    JOURNAL = "journal"
    STRICT = "strict"


class Chance(StrEnum):
    """What becomes of changes that were not synced."""

    NOTHING = "nothing"
    """None of them is on the disk."""
    EVERYTHING = "everything"
    """All of them are, as after a kill of the processes alone."""
    FIRST = "first"
    """Of each file the first few."""
    PAGES = "pages"
    """Each page of 4,096 bytes is as it was after any of them."""
    SECTORS = "sectors"
    """Each sector of 512 bytes is. Of names: any of them are on the disk."""


@dataclass(frozen=True)
class Cut:
    """One power cut: after how many entries, on which file system, with which luck."""

    position: int
    names: Names
    data_chance: Chance
    name_chance: Chance
    seed: int


@dataclass(eq=False)
class File:
    """A file: what is on the disk, and what was changed since the last sync."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[Kind, int, bytes]] = field(default_factory=list)
    synced: int = 0
    """Changes that are on the disk."""
    target: bytes = b""
    """Of a symbolic link."""

    @property
    def changes(self) -> int:
        """All changes so far."""
        return self.synced + len(self.pending)

    def sync(self, until: int) -> None:
        """Bring the first ``until`` changes onto the disk; a sync that overlapped may have done it."""
        count = max(0, until - self.synced)
        for change in self.pending[:count]:
            _apply(self.durable, *change)
        del self.pending[:count]
        self.synced += count

    def content(self, chance: Chance, luck: random.Random) -> bytes:
        """Return what the next start reads."""
        count = len(self.pending)
        if not count or chance is Chance.NOTHING:
            return bytes(self.durable)
        data = bytearray(self.durable)
        if chance in (Chance.EVERYTHING, Chance.FIRST):
            count = count if chance is Chance.EVERYTHING else luck.randint(0, count)
            for change in self.pending[:count]:
                _apply(data, *change)
            return bytes(data)
        return self._torn(data, 512 if chance is Chance.SECTORS else 4096, luck)

    def _torn(self, data: bytearray, unit: int, luck: random.Random) -> bytes:
        """Each unit has the state after any of the changes, and so has the file's length."""
        count = len(self.pending)
        states: dict[int, int] = {}

        def state(number: int) -> int:
            if number not in states:
                states[number] = luck.choice((0, count, luck.randint(0, count)))
            return states[number]

        length, wanted = len(data), state(-1)
        size = length
        for index, (kind, number, payload) in enumerate(self.pending, start=1):
            if kind is Kind.TRUNCATE:
                size = number
                start, payload = number, bytes(max(0, len(data) - number))
            else:
                start = number
                payload = (
                    payload if kind is Kind.WRITE else bytes(int.from_bytes(payload, "little"))
                )
                size = max(size, start + len(payload)) if kind is Kind.WRITE else size
            if index <= wanted:
                length = size
            if len(data) < start + len(payload):
                data.extend(bytes(start + len(payload) - len(data)))
            for at in range(start // unit * unit, start + len(payload), unit):
                if state(at // unit) >= index:
                    begin, end = max(at, start), min(at + unit, start + len(payload))
                    data[begin:end] = payload[begin - start : end - start]
        return bytes(data[:length]).ljust(length, b"\0")


def _apply(data: bytearray, kind: Kind, number: int, payload: bytes) -> None:
    if kind is Kind.TRUNCATE:
        del data[number:]
        data.extend(bytes(number - len(data)))
        return
    if kind is Kind.ZERO:
        payload = bytes(min(int.from_bytes(payload, "little"), max(0, len(data) - number)))
    data.extend(bytes(max(0, number - len(data))))
    data[number : number + len(payload)] = payload


@dataclass(eq=False)
class Directory:
    """A directory: the names that processes see."""

    names: dict[str, File | Directory] = field(default_factory=dict)


@dataclass(eq=False)
class NameChange:
    """What one call changes: in which directory which name means what, or nothing, from then on."""

    parts: tuple[tuple[Directory, str, File | Directory | None], ...]
    is_durable: bool = False


class Disk:
    """The directory while the record is read; one per way in which names become durable."""

    def __init__(self, root: Path, inode: int, entries: list[Entry], names: Names) -> None:
        self.root = root
        self.position = 0
        self._entries = entries
        self._how = names
        self._top = Directory()
        self._inodes: dict[int, File | Directory] = {inode: self._top}
        self._durable: dict[Directory, dict[str, File | Directory]] = {}
        self._changes: list[NameChange] = []
        self._done = 0
        """Changes of names that were taken into ``_durable``."""
        self._syncs: dict[int, tuple[File | Directory, int, int]] = {}
        self.ignores: Callable[[str], bool] = lambda name: False
        """Says of which names the syncs do nothing (``.``: the root), to see that a test notices."""

    def read(self, position: int) -> None:
        """Read the record up to an entry."""
        while self.position < position:
            self._do(self._entries[self.position])
            self.position += 1

    def _do(self, entry: Entry) -> None:
        match entry.kind:
            case Kind.CREATE | Kind.MKDIR | Kind.SYMLINK:
                new = Directory() if entry.kind is Kind.MKDIR else File(target=entry.second)
                if entry.kind is not Kind.SYMLINK:
                    self._inodes[entry.inode] = new
                self._name((self._place(_path(entry.first)), new))
            case Kind.WRITE | Kind.ZERO | Kind.TRUNCATE:
                file = self._inodes[entry.inode]
                assert isinstance(file, File)
                file.pending.append((entry.kind, entry.number, entry.first))
            case Kind.RENAME | Kind.LINK:
                old, new_name = (self._place(path) for path in entry.paths)
                found = old[0].names[old[1]]
                gone = [(old, None)] if entry.kind is Kind.RENAME else []
                self._name(*gone, (new_name, found))
            case Kind.UNLINK:
                self._name((self._place(_path(entry.first)), None))
            case Kind.SYNC_BEGIN:
                synced = self._inodes[entry.inode]
                until = synced.changes if isinstance(synced, File) else 0
                self._syncs[entry.number] = (synced, until, self._done + len(self._changes))
            case Kind.SYNC_END:
                self._sync(*self._syncs.pop(entry.number))

    def _place(self, path: Path) -> tuple[Directory, str]:
        directory = self._top
        *parents, name = path.relative_to(self.root).parts
        for parent in parents:
            found = directory.names[parent]
            assert isinstance(found, Directory), path
            directory = found
        return directory, name

    def _name(self, *parts: tuple[tuple[Directory, str], File | Directory | None]) -> None:
        for (directory, name), found in parts:
            if found is None:
                directory.names.pop(name, None)
            else:
                directory.names[name] = found
        self._changes.append(NameChange(tuple((*place, found) for place, found in parts)))

    def _sync(self, synced: File | Directory, until: int, changes: int) -> None:
        if any(self.ignores(name) for name in self._names_of(synced)):
            return
        if isinstance(synced, File):
            synced.sync(until)
        for change in self._changes[: max(0, changes - self._done)]:
            if self._how is Names.JOURNAL or any(part[0] is synced for part in change.parts):
                change.is_durable = True
        while self._changes and self._changes[0].is_durable:
            for directory, name, found in self._changes.pop(0).parts:
                _rename(self._durable.setdefault(directory, {}), name, found)
            self._done += 1

    def _names_of(self, file: File | Directory) -> Iterator[str]:
        if file is self._top:
            yield "."
        todo = [self._top]
        while todo:
            for name, found in todo.pop().names.items():
                if found is file:
                    yield name
                elif isinstance(found, Directory):
                    todo.append(found)

    # -- what a cut leaves

    def leave(self, target: Path, cut: Cut) -> None:
        """Make the directory as it is found after the cut; what was there is deleted."""
        luck = random.Random(cut.seed)
        names = {directory: dict(found) for directory, found in self._durable.items()}
        for change in self._lucky(cut.name_chance, luck):
            for directory, name, found in change.parts:
                _rename(names.setdefault(directory, {}), name, found)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(0o700)
        self._write(target, self._top, names, cut, luck)
        for note in target.rglob("*.boot"):  # a machine that lost its power boots again
            note.write_text("another boot\n")

    def _lucky(self, chance: Chance, luck: random.Random) -> Iterator[NameChange]:
        """Return the changes of names that are on the disk, in their order."""
        if chance is Chance.EVERYTHING or not self._changes:
            yield from self._changes
            return
        count = 0 if chance is Chance.NOTHING else luck.randint(0, len(self._changes))
        in_order = self._how is Names.JOURNAL or chance is Chance.FIRST
        for index, change in enumerate(self._changes):
            by_luck = index < count if in_order else count and luck.random() < 0.5
            if change.is_durable or by_luck:
                yield change

    def _write(
        self,
        target: Path,
        directory: Directory,
        names: dict[Directory, dict[str, File | Directory]],
        cut: Cut,
        luck: random.Random,
    ) -> None:
        for name, found in names.get(directory, {}).items():
            path = target / name
            if isinstance(found, Directory):
                path.mkdir(0o700)
                self._write(path, found, names, cut, luck)
            elif found.target:
                path.symlink_to(os.fsdecode(found.target))
            else:
                path.touch(0o600)
                path.write_bytes(found.content(cut.data_chance, luck))


def _rename(names: dict[str, File | Directory], name: str, found: File | Directory | None) -> None:
    if found is None:
        names.pop(name, None)
    else:
        names[name] = found
