"""Meta-World (metaworld 3.1.1): 50 tasks of a Sawyer arm, with the benchmark's own experts and rule of success."""
