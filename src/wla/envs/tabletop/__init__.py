"""The embedded simulator: one small MuJoCo table scene with tasks and scripted experts."""
