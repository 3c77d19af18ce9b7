"""The daemon's log: lines for people, lines for systemd's journal, or one JSON object a line for machines."""

from __future__ import annotations

import logging
import os
import select
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec

from edge.records import Alarm, PartVerdict, Verdict

Form = Literal["text", "json"]

# What a record may be about, given as `extra=about(verdict)`.
FIELDS = ("camera", "surface", "trigger_id", "part_id", "verdict_id", "reason")
STDERR = 2
# sd-daemon(3)
PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def about(told: Verdict | PartVerdict | Alarm) -> dict[str, str]:
    """The FIELDS that it has, as `extra` of a log record."""
    found = {name: getattr(told, name, None) for name in FIELDS}
    return {name: value for name, value in found.items() if value is not None}


class JsonFormatter(logging.Formatter):
    """time (UTC), level, line, message; the FIELDS that a record has; error, a traceback, where it has one."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "line": self._line,
            "message": record.getMessage(),
        }
        told |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(told, enc_hook=str).decode()


class JournalFormatter(logging.Formatter):
    """Each line of a record after its priority, `<4>`: the journal has a clock of its own and knows who speaks."""

    def format(self, record: logging.LogRecord) -> str:
        priority = PRIORITIES.get(record.levelno, PRIORITIES[logging.INFO])
        return "\n".join(f"<{priority}>{text}" for text in super().format(record).split("\n"))


class NeverWaits(logging.Handler):
    """To stderr as long as somebody reads it there: a log that is not read must not stop the line. What found no room
    is left out, and the next line that finds some says how many were."""

    def __init__(self) -> None:
        super().__init__()
        self._left_out = 0
        self._room = select.poll()
        self._room.register(STDERR, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        if self._left_out and self._written(self._say_left_out()):
            self._left_out = 0
        if self._left_out or not self._written(record):
            self._left_out += 1

    def _say_left_out(self) -> logging.LogRecord:
        text = "%d log lines that nobody read are left out"
        return logging.LogRecord("edge", logging.WARNING, __file__, 0, text, (self._left_out,), None)

    def _written(self, record: logging.LogRecord) -> bool:
        data = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            for start in range(0, len(data), select.PIPE_BUF):  # poll promises room for so much, no more
                if not self._room.poll(0):
                    return False
                os.write(STDERR, data[start : start + select.PIPE_BUF])
        except OSError:  # whoever read it has gone
            return False
        return True


def set_up(form: Form, line: str, verbose: bool = False) -> None:
    """Log to stderr from here on. line: the line's name."""
    handler = NeverWaits()
    handler.setFormatter(formatter(form, line, to_journal(sys.stderr)))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)


def formatter(form: Form, line: str, journal: bool) -> logging.Formatter:
    if form == "json":
        return JsonFormatter(line)
    return JournalFormatter() if journal else logging.Formatter("%(asctime)s %(levelname)s %(message)s")


def to_journal(stream: TextIO) -> bool:
    """Is the stream the one that systemd connected with its journal? $JOURNAL_STREAM is inherited by processes whose
    stderr goes elsewhere, so the file behind it counts (systemd.exec(5))."""
    try:
        told = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{told.st_dev}:{told.st_ino}"
