"""The lines that a run on a robot ends with."""

from __future__ import annotations

from wla.control import RunReport, SimulatedRobot
from wla.control.dry_run import DryRun
from wla.robots import Robot

ENDINGS = {"time": "its time was over", "done": "the task was decided", "interrupted": "Ctrl-C"}


def print_summary(report: RunReport, robot: Robot) -> None:
    """Prints what a run was like."""
    print("\n".join(summary_lines(report, robot)))


def summary_lines(report: RunReport, robot: Robot) -> list[str]:
    outcome = robot.outcome if isinstance(robot, SimulatedRobot) else None
    ending = outcome or ENDINGS.get(report.ending) or report.error
    lines = [f"ended after {report.seconds:.1f} s: {ending}"]
    if not report.steps:
        return lines
    person = f", {report.taken_over} by a person" if report.taken_over else ""
    lines.append(
        f"{report.steps} control steps at {report.effective_rate_hz:.1f} of {report.rate_hz:g} Hz: {report.executed} "
        f"executed{person}, {report.held} held ({100 * report.held / report.steps:.0f} %), {report.overruns} overruns"
    )
    if report.latencies_ms or report.discarded or not report.taken_over:
        lines.append(_chunks(report))
    timing = report.timing
    if timing is not None and timing.border_jerk is not None:
        elsewhere = "" if timing.jerk is None else f", {timing.jerk:.1f} elsewhere"
        lines.append(f"jerk at chunk borders: {timing.border_jerk:.1f} % of the largest motion per step{elsewhere}")
    reasons = {name: count for name, count in report.reasons.most_common() if name != "missing"}
    if reasons:
        found = ", ".join(f"{name} in {count} steps" for name, count in reasons.items())
        lines.append(f"the safety layer intervened: {found}")
    if isinstance(robot, DryRun) and robot.low is not None and robot.high is not None:
        lines.append("nothing was sent (--dry-run); it would have been:")
        spec = robot.robot_spec.action
        lines += [
            f"  {name}: {low:.3g} .. {high:.3g} {unit}"
            for name, unit, low, high in zip(spec.names, spec.units, robot.low, robot.high, strict=True)
        ]
    return lines


def _chunks(report: RunReport) -> str:
    median, longest = report.latency_ms(50.0), report.latency_ms(95.0)
    if median is None or longest is None:
        return f"no chunk came in time ({report.discarded} discarded)"
    discarded = f", {report.discarded} discarded" if report.discarded else ""
    count = len(report.latencies_ms)
    return f"{count} chunks, {median:.0f} ms after their observation (95th percentile {longest:.0f} ms){discarded}"
