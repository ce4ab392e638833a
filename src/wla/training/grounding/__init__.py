"""Grounding: auxiliary losses on rendered scenes (patches and questions)."""
