"""Pictures of the frames that are worth looking at again, as the camera sent them."""

from __future__ import annotations

from edge.config import Line
from edge.daemon.ticket import Ticket
from edge.journal.pictures import Pictures, worth_keeping
from edge.records import Verdict


class Gallery:
    def __init__(self, pictures: Pictures, near: float) -> None:
        self._pictures, self._near = pictures, near
        self.close, self.thread = pictures.close, pictures.thread

    def see(self, ticket: Ticket, verdict: Verdict) -> None:
        if (
            ticket.frame is None
            or ticket.header is None
            or ticket.data is None
            or not worth_keeping(verdict, self._near)
        ):
            return
        raw = ticket.header.encoding == "raw"
        self._pictures.keep(verdict.verdict_id, ticket.frame.pixels if raw else ticket.data, ticket.header.encoding)


def open_gallery(line: Line) -> Gallery | None:
    """Raises JournalError."""
    config = line.config.journal
    if config is None or not config.pictures_mb:
        return None
    folder = (line.path.parent / config.folder).resolve()
    return Gallery(Pictures(folder, config.pictures_mb << 20), config.near)
