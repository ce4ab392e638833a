"""Observers of a server: connections that see what its sessions do, may edit their memory, and stop them.

A connection becomes an observer's by the request `{"endpoint": "watch"}`. From then on it receives maps: `sessions`,
the numbers of those that there are; `session`, one of them with what changed (predictions, unless the request has
`"predictions": False`, memory and stops); `refused`, a line about a command that was not followed. It sends commands:
`{"endpoint": "stop" | "release" | "memory" | "imagine", "session": number, ..}`.

Whatever an observer does, no request waits for it: it gets the latest of each session, and images are encoded in a
thread of their own, when they are about to be sent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from websockets.asyncio.server import ServerConnection

from wla.foreign import one_line
from wla.html import jpeg
from wla.serving.delivery import Mailbox, sent
from wla.serving.logs import failure
from wla.serving.requests import texts
from wla.serving.session import Prediction
from wla.serving.sessions import ServedSession, Sessions
from wla.serving.wire import WireError, pack, unpack

logger = logging.getLogger("wla.serving")
MAX_OBSERVERS = 16
"""Observers of predictions, whose images take time to encode."""
MAX_REASON = 200
"""Characters of the reason of a stop."""
IMAGE_SIDE = 480
"""Pixels of the longer side of an image for observers."""

Event = Callable[[], tuple[dict[str, Any], Prediction | None]]
"""Gives the fields of a frame as they are when it is about to be sent, and the prediction that belongs to them."""


class Observers:
    """All observers of one server."""

    def __init__(self, sessions: Sessions, *, imagines: bool) -> None:
        """imagines: whether the policy predicts images."""
        self._sessions, self._imagines = sessions, imagines
        self._mailboxes: dict[Mailbox[Event], bool] = {}
        """Of each observer, and whether it wants predictions."""

    def predicted(self, served: ServedSession, prediction: Prediction) -> None:
        """Shows the answer to a request."""
        for mailbox in (mailbox for mailbox, wanted in self._mailboxes.items() if wanted):
            mailbox.put(served.number, partial(self._of, served, prediction, mailbox))

    def changed(self, served: ServedSession) -> None:
        """Shows what is known of a session now; a prediction that still waits to be sent is sent beside it."""
        for mailbox in self._mailboxes:
            mailbox.put(("status", served.number), partial(self._of, served, None, mailbox))

    def listed(self) -> None:
        """Shows which sessions there are."""
        for mailbox in self._mailboxes:
            mailbox.put("sessions", self._list)

    async def attend(self, connection: ServerConnection, peer: str, *, predictions: bool) -> None:
        """Serves an observer until its connection ends. WireError when there are too many."""
        if predictions and sum(self._mailboxes.values()) >= MAX_OBSERVERS:
            raise WireError(f"{MAX_OBSERVERS} observers watch already")
        mailbox: Mailbox[Event] = Mailbox()
        mailbox.put("sessions", self._list)
        for served in reversed(self._sessions.begun):
            shown = served.session.pending if predictions else None
            mailbox.put(served.number, partial(self._of, served, shown, mailbox))
        self._mailboxes[mailbox] = predictions
        pushing = asyncio.create_task(_push(connection, mailbox))
        try:
            async for frame in connection:
                try:
                    self._command(frame, peer)
                except Exception as error:  # noqa: BLE001 - no frame of a peer ends its connection
                    line = error if isinstance(error, ValueError) else failure(logger, "the command", error)
                    mailbox.put("refused", partial(_refused, one_line(line)))
        finally:
            del self._mailboxes[mailbox]
            pushing.cancel()
            with suppress(asyncio.CancelledError):
                await pushing

    def _list(self) -> tuple[dict[str, Any], None]:
        return {"sessions": [served.number for served in self._sessions.begun]}, None

    def _of(
        self, served: ServedSession, prediction: Prediction | None, mailbox: Mailbox[Event]
    ) -> tuple[dict[str, Any], Prediction | None]:
        fields = {"session": served.number, "skipped": mailbox.skipped, **self._status(served)}
        return fields | {"age_s": time.monotonic() - served.predicted}, prediction

    def _status(self, served: ServedSession) -> dict[str, Any]:
        session = served.session
        return {
            "name": served.name,
            "peer": served.peer,
            "instruction": session.instruction,
            "memory": list(session.memory),
            "remembers": session.remembers,
            "imagines": served.imagines,
            "stopped": self._sessions.stopped(served),
            "infer_ms": served.infer_ms,
            "limits": served.limits,
        }

    def _command(self, frame: str | bytes, peer: str) -> None:
        """Follows a command; ValueError for one that cannot be followed."""
        fields = unpack(frame) if isinstance(frame, bytes) else None
        if not isinstance(fields, Mapping):
            raise WireError("commands of an observer are binary frames with a map")
        served = self._sessions.get(fields.get("session"))
        match fields.get("endpoint"):
            case "stop":
                reason = fields.get("reason") or "by an observer"
                self._sessions.stop(served, one_line(reason)[:MAX_REASON])
            case "release":
                for each in self._sessions.release(served):
                    self.changed(each)
            case "memory":
                served.session.edit_memory(*(texts(fields.get(name), name) for name in ("seen", "memory")))
            case "imagine" if not self._imagines:
                raise WireError("this policy imagines nothing here; serve one that predicts images with --imagine")
            case "imagine":
                served.imagines = fields.get("on") is True
            case _:
                raise WireError("commands of an observer are stop, release, memory and imagine")
        logger.warning(str(fields["endpoint"]), extra={"peer": peer, "session": served.number})
        self.changed(served)


async def _push(connection: ServerConnection, mailbox: Mailbox[Event]) -> None:
    open_ = True
    while open_:
        event = await mailbox.get()
        open_ = await sent(connection, await asyncio.to_thread(_frame, *event()))


def _refused(line: str) -> tuple[dict[str, Any], None]:
    return {"refused": line}, None


def _frame(fields: dict[str, Any], prediction: Prediction | None) -> bytes:
    try:
        return pack(fields if prediction is None else fields | _shown(prediction))
    except ValueError as error:
        return pack({"refused": f"session {fields.get('session')} cannot be shown: {one_line(error)}"})


def _shown(prediction: Prediction) -> dict[str, Any]:
    """A prediction and what the policy saw, for people: images are JPEG."""
    chunk, seen = prediction.chunk, prediction.observation
    fields: dict[str, Any] = {
        "prediction_id": prediction.id,
        "step": prediction.step,
        "images": {camera: jpeg(image, IMAGE_SIDE) for camera, image in seen.images.items()},
        "state": seen.state,
        "actions": chunk.actions,
        "replan_steps": prediction.advised,
        "subtasks": list(chunk.subtasks),
    }
    return fields if chunk.subgoal is None else fields | {"subgoal": jpeg(chunk.subgoal, IMAGE_SIDE)}
