"""Encryption of backups by the formats that people have tools for: age, and gpg's symmetric AES256."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from chronoduck.backup.failures import BackupDamagedError, BackupError
from chronoduck.errors import SettingsError
from chronoduck.settings import BackupSettings

__all__ = ["can_decrypt", "cipher_of", "decrypting", "encrypting"]


def cipher_of(settings: BackupSettings) -> str:
    """Return the ending that encrypted backups get by these settings; empty without encryption.

    Raises:
        SettingsError: two ways to encrypt are set, or one that is not installed.
    """
    if settings.age_recipient and settings.gpg_passphrase_file:
        raise SettingsError(
            "DUCKDB_BACKUP_AGE_RECIPIENT and DUCKDB_BACKUP_GPG_PASSPHRASE_FILE are both set",
            hint="Choose one of them.",
        )
    if settings.age_recipient:
        _pyrage()
        return ".age"
    return ".gpg" if settings.gpg_passphrase_file else ""


def can_decrypt(path: Path, settings: BackupSettings) -> bool:
    """Whether the key to the file is here: an age key may well be elsewhere."""
    return path.suffix != ".age" or settings.age_identity_file is not None


@contextmanager
def encrypting(stored: IO[bytes], cipher: str, settings: BackupSettings) -> Iterator[IO[bytes]]:
    if cipher == ".age":
        pyrage = _pyrage()
        try:
            recipient = pyrage.x25519.Recipient.from_str(settings.age_recipient)
        except pyrage.RecipientError as error:
            raise SettingsError(
                f"DUCKDB_BACKUP_AGE_RECIPIENT is not an age public key: {error}"
            ) from error
        with _filter(lambda source: pyrage.encrypt_io(source, stored, [recipient])) as sink:
            yield sink
    elif cipher == ".gpg":
        command = [*_gpg(settings), "--cipher-algo", "AES256", "--compress-algo", "none"]
        with _process([*command, "--symmetric", "--output", "-"], stored) as sink:
            yield sink
    else:
        yield stored


@contextmanager
def _filter(work: Callable[[IO[bytes]], Any]) -> Iterator[IO[bytes]]:
    """Enter the writing end of a pipe whose other end is read by ``work`` in a thread."""
    reading, writing = os.pipe()

    def run() -> None:
        with os.fdopen(reading, "rb") as source:
            work(source)

    with ThreadPoolExecutor(1) as executor:
        task = executor.submit(run)
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as sink:
            yield sink
        task.result()


@contextmanager
def _process(command: list[str], stored: IO[bytes]) -> Iterator[IO[bytes]]:
    with _started(command, stdin=subprocess.PIPE, stdout=stored) as process:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            pass  # its exit code tells why
        if process.wait():
            raise BackupError(
                f"gpg failed with exit code {process.returncode}",
                hint="Its words are in the log. Check DUCKDB_BACKUP_GPG_PASSPHRASE_FILE.",
            )


@contextmanager
def decrypting(stored: IO[bytes], cipher: str, settings: BackupSettings) -> Iterator[IO[bytes]]:
    if cipher == ".age":
        identities = _identities(settings)
        reading, writing = os.pipe()
        thread = threading.Thread(target=_decrypt_age, args=(stored, writing, identities))
        thread.start()
        try:
            with os.fdopen(reading, "rb") as plain:
                yield plain
        finally:
            thread.join()
    elif cipher == ".gpg":
        command = [*_gpg(settings), "--decrypt"]
        with _started(command, stdin=stored, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            yield process.stdout
            process.stdout.close()
            if process.wait():
                raise BackupDamagedError(f"gpg cannot decrypt it (exit code {process.returncode})")
    else:
        yield stored


def _decrypt_age(stored: IO[bytes], writing: int, identities: list[Any]) -> None:
    pyrage = _pyrage()
    # What cannot be decrypted ends the stream too early, which the decompressor reports.
    with os.fdopen(writing, "wb") as sink, contextlib.suppress(pyrage.DecryptError, OSError):
        pyrage.decrypt_io(stored, sink, identities)


def _identities(settings: BackupSettings) -> list[Any]:
    path = settings.age_identity_file
    if path is None:
        raise SettingsError(
            "the backup is encrypted for an age key, and DUCKDB_BACKUP_AGE_IDENTITY_FILE is not set",
            hint="Name the file with the secret key (AGE-SECRET-KEY-...).",
        )
    pyrage = _pyrage()
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line[:4] == "AGE-"]
    except (OSError, pyrage.IdentityError) as error:
        raise SettingsError(f"{path} cannot be read as an age key file: {error}") from None
    if not found:
        raise SettingsError(f"{path} holds no line that begins with AGE-SECRET-KEY-")
    return found


def _gpg(settings: BackupSettings) -> list[str]:
    if settings.gpg_passphrase_file is None:
        raise SettingsError(
            "the backup is encrypted by gpg, and DUCKDB_BACKUP_GPG_PASSPHRASE_FILE is not set",
            hint="Name the file with the passphrase.",
        )
    passphrase = ["--passphrase-file", str(settings.gpg_passphrase_file)]
    return ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", *passphrase]


@contextmanager
def _started(command: list[str], **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(command, **streams)  # noqa: S603 - no shell, no user's words
    except FileNotFoundError:
        raise SettingsError(
            "gpg is not installed, and backups are encrypted by it",
            hint="apt install gnupg; or use age: DUCKDB_BACKUP_AGE_RECIPIENT.",
        ) from None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _pyrage() -> Any:
    try:
        import pyrage  # noqa: PLC0415 - an extra
    except ImportError:
        raise SettingsError(
            "backups are encrypted by age, which is not installed",
            hint="pip install 'chronoduck[encryption]'",
        ) from None
    return pyrage
