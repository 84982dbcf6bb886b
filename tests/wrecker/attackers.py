"""A process that sends attacks until its standard input ends, and prints what it got as one JSON line."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter

import httpx2

from tests.wrecker.attacks import BY_PRINCIPAL, Attack

_SLOWLY_SECONDS = 0.2
_LONGEST_SECONDS = 40.0
_PAUSE_SECONDS = 0.01


class Attackers:
    """One principal with some connections; each request's outcome is counted."""

    def __init__(self, principal: str, url: str, token: str, seed: int) -> None:
        self._make = BY_PRINCIPAL[principal]
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._seed = seed
        number = list(BY_PRINCIPAL).index(principal)
        self._address = f"127.0.1.{number + 1}"
        """Each has an address of its own, as strangers do: limits per address are theirs."""
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.outcomes: Counter[str] = Counter()

    def run(self, connections: int) -> None:
        """Send until the standard input ends."""
        threads = [
            threading.Thread(target=self._attack, args=(self._seed * 1000 + number,), daemon=True)
            for number in range(connections)
        ]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self._over.set()
        for thread in threads:
            thread.join(_LONGEST_SECONDS)

    def _attack(self, seed: int) -> None:
        dice = random.Random(seed)
        transport = httpx2.HTTPTransport(local_address=self._address)
        with httpx2.Client(
            base_url=self._url, timeout=_LONGEST_SECONDS, transport=transport
        ) as client:
            while not self._over.is_set():
                attack = self._make(dice)
                outcome = self._send(client, attack)
                with self._lock:
                    self.outcomes[f"{attack.name} {outcome}"] += 1
                time.sleep(_PAUSE_SECONDS)

    def _send(self, client: httpx2.Client, attack: Attack) -> str:
        headers = {**self._headers, **attack.headers}
        try:
            with client.stream(
                attack.method, attack.path, content=attack.body, headers=headers
            ) as answer:
                for _ in answer.iter_bytes():
                    if attack.reads_slowly and not self._over.is_set():
                        time.sleep(_SLOWLY_SECONDS)
                return str(answer.status_code)
        except httpx2.HTTPError as error:
            return type(error).__name__


def main() -> None:
    """Read principal, URL, token, seed and number of connections from the command line."""
    principal, url, token, seed, connections = sys.argv[1:]
    attackers = Attackers(principal, url, token, int(seed))
    attackers.run(int(connections))
    print(json.dumps(dict(sorted(attackers.outcomes.items()))), flush=True)


if __name__ == "__main__":
    main()
