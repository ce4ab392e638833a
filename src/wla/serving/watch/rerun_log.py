"""Logs for Rerun, with the entities that LeRobot's users know: observation.images.NAME, observation.state, action."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wla.files import disk_errors
from wla.specs import RobotSpec

VIEWER = "viewer"
"""In the place of a folder: Rerun's viewer, which is opened."""


@dataclass
class _Episode:
    """A recording, and the last prediction in it."""

    recording: Any
    instruction: object
    step: int
    actions: Any


class RerunLog:
    """A `Listener` that writes a recording for each episode, on the timelines `frame_index` and `timestamp`.

    An action is logged when it is known to be executed, so those of an episode's last chunk are not.
    """

    def __init__(self, out: str) -> None:
        """out: folder for files session_N_episode_M.rrd, or `VIEWER`. ModuleNotFoundError without rerun-sdk."""
        try:
            import rerun
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("logs for Rerun need its package: pip install rerun-sdk") from error
        self._rerun, self._out = rerun, out
        self._episodes: dict[int, _Episode] = {}
        self._begun: dict[int, int] = {}
        self._viewer_is_open = False
        if out != VIEWER:
            with disk_errors(Path(out), "give another folder"):
                Path(out).mkdir(parents=True, exist_ok=True)

    def connected(self, server: Mapping[str, Any], robot: RobotSpec) -> None:
        self._robot, self._since = robot, time.monotonic()

    def lost(self, line: str) -> None:
        self.close()

    def received(self, fields: Mapping[str, Any]) -> None:
        # What is sent first happened before.
        if "prediction_id" in fields and time.monotonic() - fields["age_s"] >= self._since:
            self._log(self._episode(fields), fields)

    def close(self) -> None:
        """Completes all recordings."""
        while self._episodes:
            self._end(next(iter(self._episodes)))

    def _episode(self, fields: Mapping[str, Any]) -> _Episode:
        """The recording that a prediction belongs to, with what was executed until then."""
        session, episode = fields["session"], self._episodes.get(fields["session"])
        again = episode is not None and fields["step"] < episode.step
        if episode is not None and (again or episode.instruction != fields["instruction"]):
            self._end(session)
            episode = None
        if episode is None:
            episode = self._episodes[session] = _Episode(
                self._begin(session), fields["instruction"], fields["step"], ()
            )
        for offset in range(min(fields["step"] - episode.step, len(episode.actions))):
            episode.recording.set_time("frame_index", sequence=episode.step + offset)
            episode.recording.log("action", self._rerun.Scalars(episode.actions[offset]))
        episode.step, episode.actions = fields["step"], fields["actions"]
        return episode

    def _log(self, episode: _Episode, fields: Mapping[str, Any]) -> None:
        rr, recording = self._rerun, episode.recording
        recording.set_time("frame_index", sequence=fields["step"])
        recording.set_time("timestamp", timestamp=time.time() - fields["age_s"])
        for camera, image in fields["images"].items():
            recording.log(f"observation.images.{camera}", rr.EncodedImage(contents=image, media_type="image/jpeg"))
        if "subgoal" in fields:
            camera = self._robot.observation.primary_camera
            subgoal = rr.EncodedImage(contents=fields["subgoal"], media_type="image/jpeg")
            recording.log(f"subgoal.images.{camera}", subgoal)
        if len(fields["state"]):
            recording.log("observation.state", rr.Scalars(fields["state"]))
        recording.log("infer_ms", rr.Scalars(fields["infer_ms"]))
        recording.log("task", rr.TextDocument(str(fields["instruction"])))
        recording.log("subtask", rr.TextDocument("\n".join(fields["subtasks"])))
        recording.log("memory", rr.TextDocument("\n".join(fields["memory"])))

    def _begin(self, session: int) -> Any:
        """A recording with the views of LeRobot's own, and the names of the dimensions."""
        import rerun.blueprint as rrb

        rr, robot = self._rerun, self._robot
        number = self._begun[session] = self._begun.get(session, 0) + 1
        name = f"session_{session}_episode_{number}"
        recording = rr.RecordingStream("wla", recording_id=f"{name}_{id(self)}")
        if self._out != VIEWER:
            recording.save(Path(self._out) / f"{name}.rrd")
        elif self._viewer_is_open:
            recording.connect_grpc()
        else:
            recording.spawn()
            self._viewer_is_open = True
        for path, names in (("action", robot.action.names), ("observation.state", robot.observation.state_names)):
            recording.log(path, rr.SeriesLines(names=list(names)), static=True)
        images = [f"observation.images.{camera}" for camera in robot.observation.cameras]
        series, texts = ("action", "observation.state", "infer_ms"), ("task", "subtask", "memory")
        views = (
            *(rrb.Spatial2DView(origin=path, name=path) for path in images),
            *(rrb.TimeSeriesView(origin=path, name=path) for path in series),
            *(rrb.TextDocumentView(origin=path, name=path) for path in texts),
        )
        recording.send_blueprint(rrb.Blueprint(rrb.Grid(*views)))
        return recording

    def _end(self, session: int) -> None:
        recording = self._episodes.pop(session).recording
        recording.flush()
        recording.disconnect()
