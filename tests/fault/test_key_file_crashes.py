"""Processes that change the keys are killed at any moment: what they told is there, nothing is torn."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from chronoduck.auth.key_file import KeyFile
from chronoduck.auth.key_ring import KeyRing
from chronoduck.auth.keys import KeyWish
from chronoduck.errors import AuthenticationError
from chronoduck.principals import Role

pytestmark = pytest.mark.slow
ROUNDS = 15


def test_a_killed_writer_loses_no_key_it_told_and_revives_none_it_revoked(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    chance = random.Random(7)
    valid: dict[str, str] = {}
    revoked: dict[str, str] = {}
    for round_ in range(ROUNDS):
        # Two at once: the second one writes on from wherever the first was killed.
        writers = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.fault.key_writer", file.path, f"r{round_}w{number}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            told = [writer.stdout.readline() for _ in range(chance.randint(1, 40))]
            writer.kill()
            told += writer.stdout.readlines()
            writer.wait()
            writer.stdout.close()
            for line in told:
                if line.endswith("\n") and line[0] == "+":
                    name, token = line[1:].split()
                    valid[name] = token
                elif line.endswith("\n") and line[0] == "-":
                    revoked[line[1:].strip()] = valid.pop(line[1:].strip())
        # The last step of each may have been done and not told.
        last = {f"r{round_}w{n}" for n in range(2)}
        stored = {key.name for key in file.read()}
        missing = set(valid) - stored
        assert {name.partition("-")[0] for name in missing} <= last
        assert len(missing) <= 2
        for name in missing:
            assert int(name.partition("-")[2]) % 3 == 0, "only one that was about to be revoked"
            revoked[name] = valid.pop(name)
        assert not stored & set(revoked)
        ring = KeyRing(file)
        for token in valid.values():
            ring.check(token, now=0.0)
        for token in revoked.values():
            with pytest.raises(AuthenticationError):
                ring.check(token, now=0.0)
        ring.close()
    assert len(valid) > ROUNDS
    assert len(revoked) > ROUNDS / 2
    file.add(KeyWish("last", Role.VIEWER), now=0.0)
    assert not list(tmp_path.glob(".keys*")), "what the killed ones left is swept"
