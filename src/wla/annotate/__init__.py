"""Subtask labels for datasets that have none: by rules, by a vision-language model, or by hand."""
