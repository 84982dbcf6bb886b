"""The supervisor's loop: one server, one standby, a socket that stays open whatever happens to them."""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from chronoduck.supervision.channel import VARIABLE, Message
from chronoduck.supervision.doorkeeper import Doorkeeper
from chronoduck.supervision.log_lines import LogLines
from chronoduck.supervision.notify import ServiceManager
from chronoduck.supervision.policy import Finish, RestartPolicy, ServerEnd, shell_code
from chronoduck.supervision.process import ServerProcess
from chronoduck.supervision.running_record import read_record

__all__ = ["Supervisor", "is_supervised", "supervise"]

_TICK_SECONDS = 0.25
_WARM_AFTER_SECONDS = 0.5
"""The standby is not warmed while the callers who waited for the new server are answered."""
_STANDBY_RETRY_SECONDS = 10.0
_STARTING_SECONDS = 30.0
"""What we ask the service manager for again and again while a log is replayed."""
_REPLACEMENT_SECONDS = 3.0
"""How long a server that wants to be replaced may take to end."""
_DEATH_SECONDS, _ON_PURPOSE_SECONDS = 0.1, 5.0
"""How long after a server's end those who connect wait in the kernel before they are answered 503."""
_MOST_HANDED = 2
"""How many successors are told what a dead server worked on, should the first of them not serve."""
_MOST_LOGGED = 32
_SAME_WISH_SECONDS = 1.0
"""Signals so close together are one: Ctrl-C reaches us from the terminal, and again from `make`."""
_ENDING = (signal.SIGTERM, signal.SIGINT)


def is_supervised() -> bool:
    """Whether this process was started by a supervisor."""
    return VARIABLE in os.environ


def supervise(arguments: Sequence[str]) -> int:
    """Run a command that serves, again and again, until it ends well; return its exit code."""
    return Supervisor(arguments).run()


class Supervisor:
    """Lives in the main thread of a process that does nothing else.

    A death is noticed by SIGCHLD. A server whose event loop hangs says nothing any more: silence is
    counted in our own ticks, so that a machine on which nothing runs, us included, is not taken for a
    hanging server.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = list(arguments)
        self._lines = LogLines()
        self._policy = RestartPolicy(random.random)
        self._manager = ServiceManager()
        self._selector = selectors.DefaultSelector()
        self._doorkeeper = Doorkeeper(self._selector)
        self._server: ServerProcess | None = None
        self._standby: ServerProcess | None = None
        self._listener: socket.socket | None = None
        self._keeps_standby = False
        self._silent_limit_seconds = 0.0
        self._stop_seconds = 0.0
        self._start_at: float | None = 0.0
        self._warm_at: float | None = None
        self._has_served = False
        self._stopping_since: float | None = None
        is_immune = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup has it
        self._ends_at_hangup = _has_terminal() and not is_immune
        """Then SIGHUP says that a window was closed; else it asks to read files again."""
        self._restarts = 0
        self._last_restart: dict[str, Any] | None = None
        self._lost: int | None = None
        """The record of a server that died at work, until a successor serves."""
        self._lost_handed = 0

    def run(self) -> int:
        """Return the exit code once there is nothing more to do."""
        wakeup, signalled = socket.socketpair()
        with wakeup, signalled:
            wakeup.setblocking(False)
            signalled.setblocking(False)
            signal.set_wakeup_fd(signalled.fileno())
            for number in (*_ENDING, signal.SIGHUP, signal.SIGCHLD):
                is_ignored = signal.getsignal(number) is signal.SIG_IGN  # as `&` in a script has it
                if number not in _ENDING or not is_ignored:
                    signal.signal(number, lambda *_: None)
            self._selector.register(wakeup, selectors.EVENT_READ)
            try:
                return self._loop(wakeup)
            finally:
                signal.set_wakeup_fd(-1)
                self._end_all()

    def _loop(self, wakeup: socket.socket) -> int:
        next_tick = time.monotonic() + _TICK_SECONDS
        while True:
            now = time.monotonic()
            if self._server is None and self._start_at is not None and now >= self._start_at:
                self._start()
            if self._standby is None and self._warm_at is not None and now >= self._warm_at:
                self._warm()
            if now >= next_tick:
                self._tick(now)
                next_tick = now + _TICK_SECONDS
            self._doorkeeper.tick(now)
            moments = (next_tick, self._start_at, self._warm_at, self._doorkeeper.due)
            due = [at for at in moments if at is not None]
            for key, _ in self._selector.select(max(0.0, min(due) - time.monotonic())):
                if key.fileobj is wakeup:
                    with contextlib.suppress(BlockingIOError):
                        self._handle_signals(wakeup.recv(64))
                elif isinstance(key.data, ServerProcess):
                    self._hear(key.data)
                elif key.data is self._doorkeeper:
                    self._doorkeeper.accept()
            code = self._look_for_the_dead()
            if code is not None:
                return code

    @property
    def _is_stopping(self) -> bool:
        return self._stopping_since is not None

    # --- processes ----------------------------------------------------------------------------

    def _spawn(self) -> ServerProcess:
        process = ServerProcess(self._arguments)
        self._selector.register(process.channel, selectors.EVENT_READ, process)
        return process

    def _start(self) -> None:
        self._start_at = None
        self._server, self._standby = self._standby or self._spawn(), None
        self._server.go(
            self._listener,
            self._lost,
            restarts=self._restarts,
            last_restart=self._last_restart,
        )
        self._lost_handed += 1
        if self._lost_handed >= _MOST_HANDED:
            self._drop_lost()  # whoever reads it may die of that

    def _warm(self) -> None:
        self._warm_at = None
        if self._server is not None and not self._is_stopping:
            self._standby = self._spawn()

    def _forget(self, process: ServerProcess) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(process.channel)
        process.channel.close()
        if process.record != self._lost:
            os.close(process.record)

    def _keep_lost(self, server: ServerProcess) -> None:
        """Log what a dead server worked on, and keep it for the next one."""
        lost = read_record(server.record)
        if not lost.works:
            return
        self._drop_lost()
        self._lost, self._lost_handed = server.record, 0
        for work in lost.works[:_MOST_LOGGED]:
            self._lines.write(
                "error",
                "statement_lost",
                pid=server.pid,
                statement_id=work.id,
                request_id=work.request_id or None,
                principal=work.principal,
                kind=work.kind,
                query_hash=work.query_hash,
                stuck=work.is_stuck,
                running=len(lost.works),
            )

    def _drop_lost(self) -> None:
        if self._lost is not None:
            os.close(self._lost)
            self._lost = None

    def _end_all(self) -> None:
        for process in (self._server, self._standby):
            if process is not None:
                process.kill()
                process.wait()
        self._doorkeeper.close()
        if self._listener is not None:
            self._listener.close()
        self._manager.close()

    # --- what is heard ------------------------------------------------------------------------

    def _hear(self, process: ServerProcess) -> None:
        messages = process.hear()
        if not messages:
            # It closed its end: its death is told by SIGCHLD.
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(process.channel)
        for message in messages:
            process.silent_ticks = 0
            if process is self._server:
                self._take(process, message)

    def _take(self, server: ServerProcess, message: Message) -> None:
        if message.kind == "bound":
            self._listener = message.listener
            if message.listener is not None:
                self._doorkeeper.set_up(message.listener, message.fields["tls"])
            self._keeps_standby = message.fields["standby"]
            self._silent_limit_seconds = message.fields["silent_seconds"]
            self._stop_seconds = message.fields["stop_seconds"]
        elif message.kind == "serving":
            server.serving_since = time.monotonic()
            self._has_served = True
            self._doorkeeper.open()
            self._drop_lost()
            self._manager.tell("READY=1", f"STATUS=served by process {server.pid}")
            if self._keeps_standby:
                self._warm_at = time.monotonic() + _WARM_AFTER_SECONDS
        elif message.kind == "opening":
            seconds = message.fields["seconds"]
            server.opening_until = None if seconds is None else time.monotonic() + seconds
        elif message.kind == "ending":
            server.ends_by = server.ends_by or time.monotonic() + self._stop_seconds
        elif message.kind == "replace":
            server.last_words = {**message.fields, "gave_up": True}
            server.ends_by = time.monotonic() + _REPLACEMENT_SECONDS

    def _handle_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _ENDING or (number == signal.SIGHUP and self._ends_at_hangup):
                self._stop(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
            elif number == signal.SIGHUP and self._server and self._server.serving_since:
                self._server.reload()

    def _stop(self, wish: signal.Signals) -> None:
        """Pass the first signal on; a second one, later, ends everything at once."""
        server, now = self._server, time.monotonic()
        if self._stopping_since is not None and now - self._stopping_since < _SAME_WISH_SECONDS:
            return
        if server is None or self._stopping_since is not None:
            self._stopping_since = now
            self._start_at = None
            if server is not None:
                server.kill()
            return
        self._stopping_since = now
        self._manager.tell("STOPPING=1")
        if server.serving_since is not None:
            server.ends_by = now + self._stop_seconds
        server.terminate(wish)
        self._doorkeeper.close()
        if self._listener is not None:
            # From now on it is the server's alone: nobody may wait for an answer that never comes.
            self._listener.close()
            self._listener = None

    def _tick(self, now: float) -> None:
        self._manager.tell("WATCHDOG=1")
        server = self._server
        if server is None:
            return
        if server.ends_by is not None:
            if now > server.ends_by:
                self._lines.write(
                    "error", "server_killed", reason="it did not end in time", pid=server.pid
                )
                server.kill()
        elif server.opening_until is not None and now > server.opening_until:
            self._lines.write(
                "error", "server_killed", reason="opening took too long", pid=server.pid
            )
            server.opening_until = now + _REPLACEMENT_SECONDS
            server.kill()
        elif server.serving_since is None:
            self._manager.tell(f"EXTEND_TIMEOUT_USEC={int(_STARTING_SECONDS * 1e6)}")
        else:
            server.silent_ticks += 1
            seconds = server.silent_ticks * _TICK_SECONDS
            if seconds > self._silent_limit_seconds:
                server.last_words = {
                    "reason": f"its event loop was silent for {seconds:g} s",
                    "was_silent": True,
                }
                server.ends_by = now + _REPLACEMENT_SECONDS
                server.kill()

    # --- deaths -------------------------------------------------------------------------------

    def _look_for_the_dead(self) -> int | None:
        """Return the exit code to end with, if it is over."""
        standby, server = self._standby, self._server
        if standby is not None and (code := standby.poll()) is not None:
            self._standby = None
            self._forget(standby)
            self._warm_at = time.monotonic() + _STANDBY_RETRY_SECONDS
            if not self._is_stopping:
                self._lines.write("warning", "standby_died", code=shell_code(code))
        if server is None:
            return shell_code(-signal.SIGTERM) if self._is_stopping else None
        code = server.poll()
        if code is None:
            return None
        self._hear(server)
        self._server = None
        self._keep_lost(server)
        self._forget(server)
        end = ServerEnd(
            code,
            server.served_seconds,
            not self._has_served,
            self._is_stopping,
            was_opening=server.opening_until is not None,
        )
        verdict = self._policy.decide(end)
        if isinstance(verdict, Finish):
            if end.served_seconds is not None and verdict.code != 0:
                self._lines.write("error", "server_ended", code=verdict.code)
            return verdict.code
        self._note_restart(server, code, verdict.wait_seconds)
        if self._has_served:
            # One that ended on purpose said "at once": so short a wait is better than a second trip.
            self._doorkeeper.shut(_DEATH_SECONDS if code < 0 else _ON_PURPOSE_SECONDS)
        self._start_at = time.monotonic() + verdict.wait_seconds
        return None

    def _note_restart(self, server: ServerProcess, code: int, wait_seconds: float) -> None:
        self._restarts += 1
        served = server.served_seconds
        self._last_restart = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "reason": _describe(code),
            "code": shell_code(code),
            "served_seconds": None if served is None else round(served, 3),
            **server.last_words,
        }
        self._lines.write(
            "error",
            "server_ended",
            pid=server.pid,
            restarts=self._restarts,
            next_in_seconds=round(wait_seconds, 3),
            **{name: value for name, value in self._last_restart.items() if name != "at"},
        )


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _describe(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
