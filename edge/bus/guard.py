"""Who may come in: one thread answers ZeroMQ for every socket of the process, and looks at the allowed keys again."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import zmq

from edge.bus import zap
from edge.bus.allowed import Allowed, read_allowed
from edge.bus.curve import CurveServer, Domain
from edge.bus.denials import DenialLog
from edge.bus.keys import KeyPair, read_pair
from edge.config import Line, SecurityConfig
from edge.errors import BusError, ConfigError, DataError
from edge.ownership import check_secret, check_unchanged_by_others

log = logging.getLogger("edge")
LOOK_MS, STOP_S = 500, 1.0

Denied = Callable[[str, str, str], None]


def nobody_counts(domain: str, address: str, why: str) -> None:
    pass


class Guard:
    """The daemon's key and its lists of allowed ones. Open it before the sockets, close it after them. thread: where it
    answers."""

    def __init__(self, own: KeyPair, folders: Mapping[Domain, Path], denied: Denied = nobody_counts) -> None:
        """denied: told the domain, the address and why, in the guard's own thread. Raises BusError."""
        self._own, self._folders = own, dict(folders)
        self._denied, self._log = denied, DenialLog(log.warning)
        self._allowed: dict[Domain, Allowed] = {domain: Allowed() for domain in folders}
        self._revocations: dict[Domain, int] = dict.fromkeys(folders, 0)
        self._look()
        self._stopping = threading.Event()
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        try:
            self._socket.bind(zap.ADDRESS)
        except zmq.ZMQError as error:
            self._socket.close(0)
            raise BusError(f"another guard answers in this process already ({error}); close it first") from error
        self.thread = threading.Thread(target=self._answer, name="edge-guard", daemon=True)
        self.thread.start()

    def curve(self, domain: Domain) -> CurveServer:
        """What `open_socket` needs for a socket that is bound."""
        return CurveServer(self._own, domain)

    def admits(self, domain: Domain, user_id: str) -> bool:
        """Whether a connection that was let in with this key (its messages' `User-Id`) still is."""
        return user_id in self._allowed[domain].names

    def revocations(self, domain: Domain) -> int:
        """Grows whenever a key is taken away: whoever publishes makes its subscribers knock again."""
        return self._revocations[domain]

    def close(self) -> None:
        self._stopping.set()
        self.thread.join(STOP_S)  # unless a folder of keys does not answer

    def _answer(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._socket.poll(LOOK_MS):
                    self._socket.send_multipart(self._judge(self._socket.recv_multipart()))
                else:
                    self._look()
        finally:
            self._socket.close(0)

    def _judge(self, parts: list[bytes]) -> list[bytes]:
        self._look()  # a key that was allowed this moment is let in at once
        request = zap.read_request(parts)
        if request is None:
            return [zap.VERSION, *parts[1:2], b"500", b"no request", b"", b""]
        known = next((allowed for domain, allowed in self._allowed.items() if domain == request.domain), Allowed())
        if request.key in known.names:
            return zap.yes(request)
        why = f"its key {request.key} is not allowed" if request.key else "it has no key"
        self._denied(request.domain, request.address, why)
        self._log(request.domain, request.address, why)
        return zap.no(request)

    def _look(self) -> None:
        for domain, folder in self._folders.items():
            before = self._allowed[domain]
            try:
                now = read_allowed(folder, before)
            except OSError as error:  # out of open files, a disk that hangs: whoever is in stays in
                self._log(domain, str(folder), f"cannot read it ({error.strerror}), what was read last holds")
                continue
            if now.names != before.names:
                log.info("%s: let in: %s", domain, ", ".join(sorted(now.names.values())) or "nobody")
            for sentence in set(now.passed_over) - set(before.passed_over):
                log.warning("%s: %s", domain, sentence)
            self._allowed[domain] = now
            self._revocations[domain] += bool(set(before.names) - set(now.names))


def open_guard(line: Line, denied: Denied = nobody_counts) -> Guard | None:
    """The line's, or None where it has no [security]. Raises ConfigError, BusError naming the file."""
    security = line.config.security
    if security is None:
        return None
    folders = allowed_folders(line, security)
    for folder in folders.values():
        if folder.exists():
            check_unchanged_by_others(folder)
    try:
        own = read_pair(_checked_key(line, security))
    except DataError as error:
        raise ConfigError(f"{line.path}: security.key: {error}") from error
    return Guard(own, folders, denied)


def allowed_folders(line: Line, security: SecurityConfig) -> dict[Domain, Path]:
    beside = line.path.parent
    return {
        "frames": beside / security.cameras,
        "verdicts": beside / security.subscribers,
        "control": beside / security.control,
    }


def _checked_key(line: Line, security: SecurityConfig) -> Path:
    """A credential lies in a folder that systemd made for this process alone; its mode shows an ACL, not others."""
    given = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if given and "/" not in security.key and (Path(given) / security.key).is_file():
        return Path(given) / security.key
    path = line.path.parent / security.key
    check_secret(path)
    return path
