"""Training: the loop, learners for one or several processes, optimisers, training state and ablations."""
