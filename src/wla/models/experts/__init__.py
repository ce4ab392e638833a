"""Action Expert, World Expert and what they are conditioned on."""
