"""What the compiled functions cover."""

from __future__ import annotations

from wla.models.inference.examples import MAX_ROWS, MAX_TOKENS
from wla.progress import note


class Limits:
    """What compiled functions do not cover; each kind of it is named once, and the reference computes it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._reported: set[str] = set()

    def hold(self, *, rows: int, tokens: int = 0) -> bool:
        """Whether the compiled functions cover a call."""
        kinds = {
            f"batches of more than {MAX_ROWS} rows": rows > MAX_ROWS,
            f"prompts of more than {MAX_TOKENS} tokens": tokens > MAX_TOKENS,
        }
        beyond = [kind for kind, is_one in kinds.items() if is_one]
        for kind in beyond:
            if kind not in self._reported:
                self._reported.add(kind)
                note(f"fast: {self._what} by the reference for {kind}")
        return not beyond
