"""A toy language whose texts can be verified, to study decoding on: sums with their steps, each worded in many ways."""
