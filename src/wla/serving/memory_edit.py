"""Edits of a memory that grows while a person edits it."""

from __future__ import annotations

from dataclasses import dataclass

from wla.serving.wire import WireError

Texts = tuple[str, ...]


@dataclass(frozen=True)
class MemoryEdit:
    """A memory, oldest first, instead of the one that it was made from. seen: that one."""

    seen: Texts
    memory: Texts

    def applied(self, present: Texts) -> Texts:
        """The edited memory and what was finished since; the edited one alone where `present` is another memory."""
        added = _added(self.seen, present)
        return self.memory if added is None else (*self.memory, *added)

    def require_applies(self, present: Texts) -> Texts:
        """As `applied`. WireError where `present` is another memory, so that nobody overwrites what they never saw."""
        if _added(self.seen, present) is None:
            raise WireError("the memory is another one by now; look at it and edit it again")
        return self.applied(present)


def _added(seen: Texts, present: Texts) -> Texts | None:
    """What came after the texts of `seen`, of which the oldest may be gone; None where nothing of them is left."""
    for gone in range(max(1, len(seen))):
        left = seen[gone:]
        if present[: len(left)] == left:
            return present[len(left) :]
    return None
