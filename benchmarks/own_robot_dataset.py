"""Recordings of an invented arm with six joints, written by LeRobot itself, in an environment of its own.

Command:  pip install 'lerobot[dataset]==0.6.1'; python own_robot_dataset.py FOLDER [--episodes 50] [--seed 0]

One camera from above (240 x 320), 30 Hz, absolute joint positions as actions; no robot file and no subtasks. The arm
picks up a block that lies somewhere, turned by any angle, and puts it into the bin of its colour: where the block is,
how it is turned and its colour are visible in the image alone.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from PIL import Image, ImageDraw

HEIGHT, WIDTH, FPS = 240, 320, 30
JOINTS = ("base", "shoulder", "elbow", "wrist_pitch", "wrist_roll", "gripper")
UPPER_ARM, FOREARM = 0.22, 0.24
PIXELS_PER_METRE = 520
COLOURS = {"red": (205, 50, 45), "blue": (45, 80, 200)}
BINS = {"red": (-0.8, 0.30), "blue": (0.8, 0.30)}
"""Angle (rad) and distance (m) of the bin of each colour."""
INSTRUCTION = "put the block into the bin of its colour"


def joints(angle: float, reach: float, height: float, roll: float, gripper: float) -> np.ndarray:
    """Joint positions that hold the tool, pointing down, at a place. gripper: 0 closed .. 1 open."""
    distance = min(np.hypot(reach, height), UPPER_ARM + FOREARM - 1e-3)
    bend = np.arccos((UPPER_ARM**2 + FOREARM**2 - distance**2) / (2 * UPPER_ARM * FOREARM))
    lift = np.arctan2(height, reach) + np.arccos((UPPER_ARM**2 + distance**2 - FOREARM**2) / (2 * UPPER_ARM * distance))
    elbow = bend - np.pi
    return np.array([angle, lift, elbow, -np.pi / 2 - lift - elbow, roll - angle, gripper])


def pixel(angle: float, reach: float) -> tuple[float, float]:
    return WIDTH / 2 + PIXELS_PER_METRE * reach * np.sin(angle), HEIGHT + 20 - PIXELS_PER_METRE * reach * np.cos(angle)


def rectangle(centre: tuple[float, float], angle: float, size: tuple[float, float]) -> list[tuple[float, float]]:
    along, across = np.array([np.sin(angle), -np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
    corners = [(1, 1), (1, -1), (-1, -1), (-1, 1)]
    return [tuple(np.array(centre) + a * size[0] / 2 * along + b * size[1] / 2 * across) for a, b in corners]


def render(state: np.ndarray, block: tuple[float, float, float], colour: str, background: np.ndarray) -> np.ndarray:
    """The view from above: bins, the block (angle, reach, roll), and the arm over them."""
    image = Image.fromarray(background)
    draw = ImageDraw.Draw(image)
    for name, (angle, reach) in BINS.items():
        draw.polygon(rectangle(pixel(angle, reach), angle, (54, 54)), outline=COLOURS[name], width=4)
    draw.polygon(rectangle(pixel(*block[:2]), block[2], (30, 16)), fill=COLOURS[colour])
    angle, lift, elbow = state[:3]
    knee = UPPER_ARM * np.cos(lift)
    tool = knee + FOREARM * np.cos(lift + elbow)
    points = [pixel(angle, each) for each in (0.0, knee, tool)]
    draw.line(points, fill=(70, 70, 75), width=11, joint="curve")
    opening = 8 + 12 * state[5]
    roll = state[4] + angle
    for side in (-1, 1):
        centre = np.array(points[-1]) + side * opening / 2 * np.array([np.cos(roll), np.sin(roll)])
        draw.polygon(rectangle(tuple(centre), roll, (22, 5)), fill=(25, 25, 25))
    return np.asarray(image)


def episode(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, state and action of each step. The state follows the action with a lag, and is measured with noise."""
    colour = str(rng.choice(list(COLOURS)))
    block = (rng.uniform(-0.5, 0.5), rng.uniform(0.20, 0.40), rng.uniform(-1.2, 1.2))
    bin_angle, bin_reach = BINS[colour]
    home = joints(rng.normal(0, 0.15), 0.22 + rng.normal(0, 0.02), 0.18, rng.normal(0, 0.2), 1.0)
    stops = [  # joint positions and the seconds to get there
        (joints(block[0], block[1], 0.12, block[2], 1.0), 1.2),
        (joints(block[0], block[1], 0.02, block[2], 1.0), 0.7),
        (joints(block[0], block[1], 0.02, block[2], 0.2), 0.4),
        (joints(block[0], block[1], 0.14, block[2], 0.2), 0.7),
        (joints(bin_angle, bin_reach, 0.14, bin_angle, 0.2), 1.3),
        (joints(bin_angle, bin_reach, 0.14, bin_angle, 1.0), 0.4),
    ]
    table = np.array(rng.uniform(140, 190, 3)) + np.linspace(-12, 12, WIDTH)[None, :, None]
    background = np.clip(table + rng.normal(0, 3, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
    pace, state, before = rng.uniform(0.85, 1.2), home.copy(), home
    for stop, seconds in stops:
        steps = max(2, round(FPS * seconds * pace))
        for step in range(1, steps + 1):
            way = step / steps
            action = before + (stop - before) * (3 * way**2 - 2 * way**3)
            holds = state[5] < 0.45
            if holds:
                reach = UPPER_ARM * np.cos(state[1]) + FOREARM * np.cos(state[1] + state[2])
                block = (state[0], reach, state[4] + state[0])
            measured = state + rng.normal(0, 0.003, 6)
            yield render(state, block, colour, background), measured.astype(np.float32), action.astype(np.float32)
            state = state + 0.45 * (action - state)
        before = stop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    vector = {"dtype": "float32", "shape": (6,), "names": list(JOINTS)}
    camera = {"dtype": "video", "shape": (HEIGHT, WIDTH, 3), "names": ["height", "width", "channels"]}
    shutil.rmtree(arguments.folder, ignore_errors=True)
    dataset = LeRobotDataset.create(
        "local/own_robot",
        fps=FPS,
        features={"observation.state": vector, "action": vector, "observation.images.top": camera},
        root=arguments.folder,
        robot_type="six_joint_arm",
    )
    for number in range(arguments.episodes):
        for image, state, action in episode(np.random.default_rng((arguments.seed, number))):
            dataset.add_frame(
                {"observation.images.top": image, "observation.state": state, "action": action, "task": INSTRUCTION}
            )
        dataset.save_episode()
    dataset.finalize()
    print(f"{arguments.folder}: {dataset.num_episodes} episodes, {dataset.num_frames} frames")


if __name__ == "__main__":
    main()
