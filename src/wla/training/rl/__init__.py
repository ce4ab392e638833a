"""Reinforcement learning of a finished policy's Action Expert: rollouts -> advantages -> losses -> learner."""
