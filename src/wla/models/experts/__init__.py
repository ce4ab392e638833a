"""Action Expert and World Expert, with their conditioning modules."""
