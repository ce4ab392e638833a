"""Options that name the columns of a dataset, for all commands that read one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wla.cli.command import CliArgs

if TYPE_CHECKING:
    from wla.data.lerobot.columns import Columns


class ColumnArgs(CliArgs):
    """Options of a command that reads state and action of a dataset."""

    state: tuple[str, ...] = ("observation.state",)
    """Columns of the state, joined in this order; `none` for a dataset without one."""
    action: tuple[str, ...] = ("action",)
    """Columns of the action, joined in this order; `none` for a dataset without one."""

    @property
    def columns(self) -> Columns:
        from wla.data.lerobot.columns import Columns

        return Columns(state=self.state, action=self.action)
