"""Off-screen rendering with one graphics context for many models."""

from __future__ import annotations

import atexit
import weakref

import mujoco
import numpy as np
from jaxtyping import UInt8

from wla.envs.family import Position
from wla.gl import renderer_errors

_MAX_GEOMS = 400


class Renderer:
    """Renderer of square images without shadows and reflections; it belongs to the thread that created it.

    Models without meshes and textures may all be rendered in the graphics context of one of them. Multisampling follows
    the model (`vis.quality.offsamples`).
    """

    def __init__(self, model: mujoco.MjModel, size: int) -> None:
        self._size = size
        with renderer_errors():
            self._window = mujoco.GLContext(size, size)
            self._window.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = 0
        self._options = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view = mujoco.MjrRect(0, 0, size, size)
        self._open = True
        atexit.register(_close, weakref.ref(self))  # else the context would outlive the graphics library

    def render(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> UInt8[np.ndarray, "H W 3"]:
        """Returns the upright RGB image of the named camera."""
        self._window.make_current()
        self._camera.fixedcamid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        mujoco.mjv_updateScene(
            model, data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        mujoco.mjr_render(self._view, self._scene, self._context)
        image = np.empty((self._size, self._size, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._view, self._context)
        return np.ascontiguousarray(image[::-1])  # OpenGL counts rows from the bottom

    def close(self) -> None:
        """Releases the graphics context; calling it again does nothing."""
        if self._open:
            self._open = False
            self._window.make_current()
            self._context.free()
            self._window.free()


def _close(renderer: weakref.ref[Renderer]) -> None:
    alive = renderer()
    if alive is not None:
        alive.close()


def view_of(
    model: mujoco.MjModel, data: mujoco.MjData, camera: str, position: Position
) -> tuple[float, float, float, float, float]:
    """The view of a camera on a position in the world, see `VisibleObject.views`. MuJoCo's cameras look along -z."""
    pose = data.camera(camera)
    x, y, z = (np.array(position) - pose.xpos) @ pose.xmat.reshape(3, 3)
    reach = np.tan(np.radians(model.camera(camera).fovy[0]) / 2) * max(-z, 1e-6)
    return float(0.5 + 0.5 * x / reach), float(0.5 - 0.5 * y / reach), float(x), float(y), float(z)
