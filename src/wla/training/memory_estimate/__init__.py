"""`wla estimate`: parameters and memory of a recipe before it runs."""
