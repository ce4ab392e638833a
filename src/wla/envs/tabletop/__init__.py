"""The embedded simulator: one small MuJoCo table scene with tasks and scripted experts."""

from wla.gl import prepare_gl, renderer_errors

prepare_gl()  # MuJoCo chooses its renderer when it is first imported
with renderer_errors():
    import mujoco  # noqa: F401
