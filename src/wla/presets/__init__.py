"""Model sizes, prompts and robots of the nano and the published models; loading of recipes."""
