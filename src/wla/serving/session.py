"""The state of one client's episode: it advances with executed actions only.

A prediction stays pending until its successor: a request commits it (with the number of actions that were executed) or
discards it (none were); without either, the advised number of its actions counts as executed. So memory holds what was
done, and not what was planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from wla.serving.memory_edit import MemoryEdit
from wla.serving.requests import MAX_PAST_IMAGES, Image, Request
from wla.serving.wire import WireError
from wla.types import ActionChunk, Observation, Policy, PolicyState


@runtime_checkable
class RemembersText(Protocol):
    """A policy whose memory can be edited."""

    def with_memory(self, state: PolicyState, memory: Sequence[str], window: Sequence[str]) -> PolicyState: ...


@runtime_checkable
class ReadsPastImages(Protocol):
    """A policy that says whether it reads images of the steps between its calls."""

    @property
    def reads_past_images(self) -> bool: ...


@runtime_checkable
class Imagines(Protocol):
    """A policy that says whether it predicts images; None where it does not, or was loaded without."""

    @property
    def imagination(self) -> object | None: ...


@dataclass(frozen=True)
class Prediction:
    """A chunk that a client has, or had: the policy's states before and after it. step: actions executed before it."""

    id: int
    step: int
    chunk: ActionChunk
    observation: Observation
    before: Any
    after: Any

    @property
    def advised(self) -> int:
        """How many of its actions the policy advises to execute."""
        return self.chunk.replan_steps or len(self.chunk.actions)


class Session:
    """An episode in progress. A changed instruction begins another one."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._instruction: str | None = None
        self._state: Any = None
        self._pending: Prediction | None = None
        self._edit: MemoryEdit | None = None
        self._settled, self._settled_steps, self._steps = 0, 0, 0
        self._next_id = 1

    @property
    def instruction(self) -> str | None:
        """The instruction of the episode; None before its first request."""
        return self._instruction

    @property
    def pending(self) -> Prediction | None:
        """The prediction that is being executed."""
        return self._pending

    @property
    def memory(self) -> tuple[str, ...]:
        """The finished subtasks that the next call reads, oldest first."""
        present = _texts(self._latest)
        return present if self._edit is None else self._edit.applied(present)

    @property
    def remembers(self) -> bool:
        """Whether there is a memory that can be edited."""
        return isinstance(self._latest, PolicyState) and isinstance(self._policy, RemembersText)

    def edit_memory(self, seen: Sequence[str], memory: Sequence[str]) -> None:
        """Replaces the memory from the next call on; what was finished since `seen` stays in it.

        WireError where there is none, where `seen` is not what it was, and for one that the policy does not read whole.
        """
        texts = MemoryEdit(tuple(seen), tuple(memory)).require_applies(self.memory)
        kept = _texts(self._remember(self._latest, texts))
        if kept != texts:
            raise WireError(f"the policy reads {len(kept)} of these {len(texts)} texts; leave out or shorten some")
        self._edit = MemoryEdit(_texts(self._latest), texts)

    def reset(self) -> None:
        """Forgets the episode; the next request begins another one."""
        self._instruction, self._state, self._pending, self._edit = None, None, None, None
        self._settled, self._settled_steps, self._steps = 0, 0, 0

    def prepare(self, request: Request) -> Any:
        """The policy's state in which it answers the request.

        WireError for a prediction that is not pending, and for what the policy refuses.
        """
        try:
            if request.prompt != self._instruction:
                self._require_made_here(request)
                state = self._policy.reset(request.prompt, seed=request.seed)
                self.reset()
                self._instruction, self._state = request.prompt, state
                if request.commit is not None and request.commit.prediction_id == 0:
                    self._continue(request, request.commit.steps)
            else:
                self._settle(request)
            if request.memory is not None:
                self._state = self._remember(self._state, request.memory)
            if self._edit is not None:
                self._state = self._remember(self._state, self._edit.applied(_texts(self._state)))
                self._edit = None
        except WireError:
            raise
        except ValueError as error:
            raise WireError(str(error).partition("\n")[0]) from error
        return self._state

    def predicted(self, request: Request, chunk: ActionChunk, after: Any) -> Prediction:
        """Keeps the answer to a prepared request as the pending prediction."""
        self._pending = Prediction(self._next_id, self._steps, chunk, request.observation, self._state, after)
        self._next_id += 1
        return self._pending

    def _require_made_here(self, request: Request) -> None:
        """WireError for a request that continues an episode of which nothing is known: its memory is lost."""
        named = request.commit.prediction_id if request.commit else request.discard
        if named is not None and named >= self._next_id:
            raise WireError(
                f"prediction {named} was not made here: the server began anew, or forgot the session; begin the "
                "episode again"
            )

    def _settle(self, request: Request) -> None:
        named = request.commit.prediction_id if request.commit else request.discard
        pending = self._pending
        if pending is None or (named is not None and named == self._settled):
            # The reply after that one was lost on its way, or came too late: nothing of it was executed.
            self._pending = None
            if named is not None and named != self._settled:
                raise WireError(f"prediction {named} is not pending; begin the episode again")
            if request.commit is not None:
                self._continue(request, request.commit.steps - self._settled_steps)
            return
        if named is not None and named != pending.id:
            raise WireError(f"prediction {named} is not pending, {pending.id} is; commit or discard that one")
        steps = 0 if request.discard is not None else pending.advised
        if request.commit is not None:
            steps = request.commit.steps
            if request.commit.executed > len(pending.chunk.actions):
                count = len(pending.chunk.actions)
                raise WireError(f"prediction {named} has {count} actions, not {request.commit.executed}")
        self._state = self._executed(pending, steps, request.past_images)
        self._settled, self._settled_steps, self._pending = pending.id, steps, None
        self._steps += steps

    def _continue(self, request: Request, more: int) -> None:
        """Counts steps that came after those that were committed already, while the lost reply was waited for."""
        if more <= 0:
            return
        self._state = self._observed(self._state, request.observation, more, request.past_images[-more:])
        self._settled_steps, self._steps = self._settled_steps + more, self._steps + more

    def _executed(self, prediction: Prediction, count: int, images: Sequence[Image]) -> Any:
        """The state after `count` steps from a prediction on.

        images: of the primary camera before each but the first of them, the last ones where there are many; where they
        were not sent, the image before the first stands in.
        """
        if not count:
            return prediction.before
        expected = min(count - 1, MAX_PAST_IMAGES)
        if len(images) not in (0, expected):
            raise WireError(f"wla/past_images: {len(images)} images, {count} actions were executed; send {expected}")
        return self._observed(prediction.after, prediction.observation, count - 1, images)

    def _observed(self, state: Any, seen: Observation, count: int, images: Sequence[Image]) -> Any:
        """The state after `count` steps without a call. images: of the last of them."""
        primary = self._policy.robot_spec.observation.primary_camera
        for index in range(len(images) - count, len(images)):
            known = index >= 0 and bool(images)
            step = replace(seen, images={**seen.images, primary: images[index]}) if known else seen
            state = self._policy.observe(step, state)
        return state

    @property
    def _latest(self) -> Any:
        """The state after the last call."""
        return self._state if self._pending is None else self._pending.after

    def _remember(self, state: Any, memory: Sequence[str]) -> Any:
        if not isinstance(state, PolicyState) or not isinstance(self._policy, RemembersText):
            raise WireError("wla/memory: this policy has no memory that can be edited")
        return self._policy.with_memory(state, memory, state.subtasks)


def _texts(state: Any) -> tuple[str, ...]:
    """The memory of a policy's state; empty where it has none."""
    return tuple(item.text for item in state.memory) if isinstance(state, PolicyState) else ()
