"""Logs of a server as JSON lines."""

from __future__ import annotations

import json
import logging
import time

from wla.foreign import one_line
from wla.serving.wire import WireError
from wla.texts import encodable

_FIELDS = ("peer", "session", "reason")


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time (UTC), level, event and what belongs to it."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: record.__dict__[name] for name in _FIELDS if name in record.__dict__}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line = {"time": now, "level": record.levelname.lower(), "event": record.getMessage(), **fields}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def failure(logger: logging.Logger, what: str, error: Exception) -> WireError:
    """A line for a client about an error that nothing foresaw, whose traceback goes into the log.

    what: failed.
    """
    logger.error("%s failed", what, exc_info=error)
    return WireError(encodable(f"{what} failed: {type(error).__name__}: {one_line(error)}"))


def json_lines(logger: logging.Logger) -> None:
    """Has a logger, and those below it, write JSON lines to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger(f"{logger.name}.websockets").setLevel(logging.WARNING)
