"""The embedded simulator: one small MuJoCo table scene with tasks and scripted experts."""

from wla.gl import prepare_gl

prepare_gl()  # MuJoCo chooses its renderer when it is first imported
