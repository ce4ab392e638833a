"""What a run on a robot was like: in time or not, smooth or not, and what the safety layer changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from wla.control.safety import Intervention
from wla.control.timing_metrics import TimingScore

Ending = Literal["time", "done", "interrupted", "stopped", "error"]
"""Why a run ended: its time was over, its goal was reached, Ctrl-C, emergency stop, a failure of robot or policy."""


@dataclass
class RunReport:
    """A run, in progress or over.

    rate_hz: control steps per second that were asked for. steps: control steps. seconds: that they took. executed:
    steps at which an action of the policy was executed; taken_over: at which a person's was. overruns: steps that took
    longer than a control period. latencies_ms: from each observation until its chunk could be executed, the first call
    (which warms the policy up) excepted. discarded: chunks that were not used, because they came too late or because
    someone else moved the robot. interventions: of the safety layer, by step and dimension. error: one line.
    """

    rate_hz: float
    steps: int = 0
    seconds: float = 0.0
    executed: int = 0
    taken_over: int = 0
    overruns: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    discarded: int = 0
    interventions: list[Intervention] = field(default_factory=list)
    timing: TimingScore | None = None
    ending: Ending = "time"
    error: str | None = None

    @property
    def effective_rate_hz(self) -> float:
        """Control steps per second."""
        return self.steps / self.seconds if self.seconds > 0 else 0.0

    @property
    def held(self) -> int:
        """Steps at which the robot held."""
        return self.steps - self.executed - self.taken_over

    @property
    def reasons(self) -> Counter[str]:
        """Control steps at which the safety layer changed something, by reason."""
        return Counter(reason for _, reason in {(note.step, note.reason) for note in self.interventions})

    def fail(self, line: str) -> None:
        """Ends the run with an error, and another one after it."""
        self.ending = "error"
        self.error = line if self.error is None else f"{self.error}; {line}"

    def latency_ms(self, percentile: float) -> float | None:
        """None without a call."""
        return float(np.percentile(self.latencies_ms, percentile)) if self.latencies_ms else None
