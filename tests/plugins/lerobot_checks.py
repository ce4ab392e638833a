"""The plugin against the package: the same batches, actions and chunks. Run in an environment of LeRobot:

python lerobot_checks.py DATASET
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from lerobot.configs import FeatureType, NormalizationMode
from lerobot.datasets import LeRobotDataset as PeerDataset
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.datasets.factory import resolve_delta_timestamps
from lerobot.envs import make_env, preprocess_observation
from lerobot.policies import make_policy
from lerobot.policies.rtc import RTCConfig
from lerobot.rollout.inference.rtc import RTCInferenceEngine, supports_rtc_inference
from lerobot.utils.import_utils import register_third_party_plugins
from torch.utils.data import default_collate

import wla

register_third_party_plugins()
from lerobot_env_wla import WlaTabletopConfig  # noqa: E402 - found by name, as LeRobot does it
from lerobot_policy_wla import WlaConfig, make_wla_pre_post_processors  # noqa: E402

from wla.data import DatasetConfig  # noqa: E402
from wla.data.loader import WindowSampler  # noqa: E402
from wla.data.prompt_samples import PromptSampler  # noqa: E402
from wla.types import Observation  # noqa: E402

SEED = 310000


@contextmanager
def refused(text: str):
    message = "not refused"
    try:
        yield
    except ValueError as error:
        message = str(error)
    assert text in message, message


def policy_for(env: WlaTabletopConfig, **changes: object):
    return make_policy(WlaConfig(checkpoint="nano-tabletop", device="cpu", **changes), env_cfg=env).eval()


def check_training_batches(root: Path) -> None:
    """LeRobot's loader and processors give the batch that wla's own training reads."""
    config, meta = WlaConfig(checkpoint="nano-tabletop", device="cpu"), LeRobotDatasetMetadata("local/tiny", root=root)
    dataset = PeerDataset("local/tiny", root=root, delta_timestamps=resolve_delta_timestamps(config, meta))
    policy = make_policy(config, ds_meta=meta)
    before, _ = make_wla_pre_post_processors(policy.config, meta.stats)
    frames = np.array([0, 5, 20, meta.episodes[0]["dataset_to_index"] - 1, meta.total_frames - 3])
    batch = before(default_collate([dataset[int(frame)] for frame in frames]))
    own = policy._reader.training_batch(batch, np.random.default_rng(0))

    checkpoint, source = policy.checkpoint, DatasetConfig(path=str(root))
    interface = checkpoint.config.model.interface
    sampler = WindowSampler(
        datasets=[source.open()],
        configs=[source],
        prompts=PromptSampler(checkpoint.prompter, interface.chunk),
        robots=[checkpoint.transform(checkpoint.robot)],
        images=dict(interface.images),
        primary=interface.primary,
        subgoal_size=interface.subgoal_size,
        chunk=interface.chunk,
        image_fit=interface.image_fit,
    )
    replayed, rng = np.zeros(len(frames), bool), np.random.default_rng(0)
    expected = sampler._samples(sampler._sources[0], frames, replayed, rng, images=True)
    for row, (tokens, labels) in enumerate(expected.prompts):
        assert own.tokens[row][own.attention_mask[row]].tolist() == tokens
        assert own.labels[row][own.attention_mask[row]].tolist() == labels
    for name in ("state", "actions", "action_mask", "subgoal_mask"):
        torch.testing.assert_close(getattr(own, name), getattr(expected, name), rtol=0, atol=1e-6)
    inside = own.subgoal_mask
    assert inside.any()
    assert not inside.all()
    for ours, theirs in ((own.images, expected.images), ({"": own.subgoal[inside]}, {"": expected.subgoal[inside]})):
        for name, image in theirs.items():
            assert (ours[name].int() - image.int()).abs().max() <= 1, name
    loss, terms = policy.train().forward(batch)
    assert loss.requires_grad
    assert all(terms[name] > 0 for name in ("action_loss", "world_loss", "language_loss"))


def check_acting(env: WlaTabletopConfig) -> None:
    """Actions, memory and queues of two environments are those of two episodes of the package's own policy."""
    policy, local = policy_for(env, n_action_steps=3), wla.load_policy("nano-tabletop")
    (vector,) = make_env(env, n_envs=2)["place"].values()
    torch.manual_seed(1)
    policy.reset()
    raw, _ = vector.reset(seed=[SEED, SEED + 1])
    torch.manual_seed(1)
    tasks = list(vector.call("task_description"))
    states = [local.reset(task, seed=int(torch.randint(2**31, ()))) for task in tasks]
    torch.manual_seed(1)
    queues: list[list[np.ndarray]] = [[], []]
    for _ in range(7):
        batch = {**preprocess_observation(raw), "task": tasks}
        actions = policy.select_action(batch).numpy()
        for row in range(2):
            images = {name: image[row] for name, image in raw["pixels"].items()}
            seen = Observation(images, raw["agent_pos"][row])
            if queues[row]:
                states[row] = local.observe(seen, states[row])
            else:
                chunk, states[row] = local.act(seen, states[row])
                queues[row] = list(chunk.actions[:3])
            np.testing.assert_allclose(actions[row], queues[row].pop(0), atol=1e-5)
        raw, *_ = vector.step(actions)
    assert policy.supports_text_generation()
    assert (
        policy.generate_text({**preprocess_observation(raw), "task": tasks})
        == policy._stepwise.subtasks(*policy._observed({**preprocess_observation(raw), "task": tasks}))[0][0]
    )
    vector.close()


def check_realtime_chunking(env: WlaTabletopConfig) -> None:
    """The chunk continues what remains of the one before, in the robot's units and without LeRobot's zeros."""
    policy, local = policy_for(env), wla.load_policy("nano-tabletop")
    assert supports_rtc_inference(policy)
    (vector,) = make_env(env, n_envs=1)["place"].values()
    raw, _ = vector.reset(seed=[SEED])
    task = vector.call("task_description")[0]
    batch = {**preprocess_observation(raw), "task": [task]}
    torch.manual_seed(1)
    first = policy.predict_action_chunk(batch)
    rest = torch.zeros(10, first.shape[-1])
    rest[:5] = first[0, 3:]
    second = policy.predict_action_chunk(batch, inference_delay=2, prev_chunk_left_over=rest)
    torch.manual_seed(1)
    state = local.reset(task, seed=int(torch.randint(2**31, ())))
    seen = Observation({name: image[0] for name, image in raw["pixels"].items()}, raw["agent_pos"][0])
    chunk, state = local.act(seen, state)
    np.testing.assert_allclose(first[0].numpy(), chunk.actions, atol=1e-5)
    state = local.observe(seen, local.observe(seen, state))
    expected, _ = local.act(seen, state, prefix=chunk.actions[3:], delay=2)
    np.testing.assert_allclose(second[0].numpy(), expected.actions, atol=1e-4)
    free, _ = local.act(seen, state)
    given = np.abs(expected.actions[:2] - chunk.actions[3:5]).max()
    assert given < np.abs(free.actions[:2] - chunk.actions[3:5]).max()

    policy.config.rtc_config = RTCConfig(execution_horizon=8)
    before, after = make_wla_pre_post_processors(policy.config)
    spec = local.robot_spec.observation
    features = {
        f"observation.images.{name}": {"dtype": "image", "shape": (*size, 3)} for name, size in spec.cameras.items()
    }
    features["observation.state"] = {"dtype": "float32", "shape": (5,), "names": list(spec.state_names)}
    engine = RTCInferenceEngine(
        policy, before, after, SimpleNamespace(robot_type="gantry", action_features={}),
        policy.config.rtc_config, features, task, 10.0, "cpu",
    )  # fmt: skip
    engine.start()
    engine.reset()
    engine.resume()
    executed, deadline = 0, time.monotonic() + 60
    while executed < 20 and time.monotonic() < deadline and not engine.failed:
        state = dict(zip(spec.state_names, raw["agent_pos"][0].tolist(), strict=True))
        engine.notify_observation({**{name: image[0] for name, image in raw["pixels"].items()}, **state})
        time.sleep(0.1)
        action = engine.get_action(None)
        if action is not None:
            raw, *_ = vector.step(action.numpy()[None])
            executed += 1
    engine.stop()
    assert executed == 20
    assert not engine.failed
    vector.close()


def check_refusals(env: WlaTabletopConfig) -> None:
    policy = policy_for(env)
    image = torch.zeros(1, 3, 96, 96)
    batch = {"observation.images.front": image, "observation.state": torch.zeros(1, 5), "task": ["press the button"]}
    with refused("observation.images.wrist is missing"):
        policy.select_action(batch)
    with refused("shape (1, 3, 5)"):
        policy.select_action({**batch, "observation.images.wrist": image, "observation.state": torch.zeros(1, 3, 5)})
    with refused("noise: a wla policy does not read it"):
        policy.predict_action_chunk({**batch, "observation.images.wrist": image}, noise=image)
    with refused("normalises inside"):
        policy_for(env, normalization_mapping={FeatureType.ACTION.value: NormalizationMode.MIN_MAX})
    with refused("chunk_size is 4; this policy, of tabletop-gantry, has 8"):
        policy_for(env, chunk_size=4)
    with refused("n_action_steps is 9"):
        policy_for(env, n_action_steps=9)
    with refused("the action's shape is (4,)"):
        policy_for(WlaTabletopConfig(embodiment="scara"))
    with refused("made for a dataset"):
        make_policy(WlaConfig(device="cpu"), env_cfg=env)


def main() -> None:
    env = WlaTabletopConfig(task="place")
    check_training_batches(Path(sys.argv[1]))
    check_acting(env)
    check_realtime_chunking(env)
    check_refusals(env)
    print("all checks passed")


main()
