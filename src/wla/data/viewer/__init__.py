"""Pages that show the episodes of any dataset: videos, curves, instruction, subtasks."""
