"""What systemd hears."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from chronoduck.supervision.notify import ServiceManager


def test_systemd_hears_what_is_told_and_children_cannot_speak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        manager = ServiceManager()
        manager.tell("READY=1", "STATUS=well")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=well"
        assert "NOTIFY_SOCKET" not in os.environ
    manager.tell("WATCHDOG=1")  # systemd is gone: nobody minds
    manager.close()


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    manager = ServiceManager()
    manager.tell("READY=1")
    manager.close()
