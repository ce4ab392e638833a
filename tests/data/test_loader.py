from __future__ import annotations

import collections
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_qwen
import torch

from wla.batch import Batch
from wla.compat.videos import video_robot_spec
from wla.data import ChatPromptConfig, MemoryAugmentation, MemoryConfig
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.loader import WindowSampler
from wla.data.memory_replay import MemoryReplay
from wla.data.normalize import Normalizer, VectorStatistics
from wla.data.prompt_samples import PromptSampler
from wla.data.prompts.chat import ChatPrompter
from wla.data.prompts.nano import Prompter
from wla.data.transforms import resize
from wla.types import IGNORE_INDEX


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> list[LeRobotDataset]:
    root = tmp_path_factory.mktemp("data")
    with_actions = tiny.write_dataset(root / "actions")
    videos = tiny.write_dataset(root / "videos", with_actions=False)
    return [LeRobotDataset(with_actions), LeRobotDataset(videos)]


def make_sampler(datasets, weights=None, instructions=None, settings=None, **changes) -> WindowSampler:
    nothing = [None] * len(datasets)
    configs = [
        DatasetConfig(path=str(dataset.root), weight=weight, instructions=file, **(settings or {}))
        for dataset, weight, file in zip(datasets, weights or nothing, instructions or nothing, strict=True)
    ]
    values = {
        "datasets": datasets,
        "configs": configs,
        "robots": [changes.pop("robot", None) or tiny.transform()] * len(datasets),
        "images": tiny.CAMERAS,
        "primary": "front",
        "subgoal_size": 32,
        "chunk": tiny.CHUNK,
    }
    prompter = changes.pop("prompter", None) or Prompter(tiny.PROMPT, tiny.tokenizer(), {"front": 4, "wrist": 1})
    own = {name: changes.pop(name) for name in ("memory_augmentation", "instruction_dropout") if name in changes}
    values["prompts"] = PromptSampler(prompter, tiny.CHUNK, **own)
    return WindowSampler(**{**values, **changes})


def sample_batch(sampler: WindowSampler, size: int = 64, seed: int = 0) -> Batch:
    return sampler.sample_batch(size, np.random.default_rng(seed))


def test_shapes_and_masks_at_episode_ends(datasets):
    batch = sample_batch(make_sampler(datasets[:1]))
    assert batch.images["front"].shape == (64, 32, 32, 3)
    assert batch.images["wrist"].shape == (64, 16, 16, 3)
    seen = set()
    for index, name in enumerate(batch.ids):
        frame = int(name.rsplit(" ", 1)[1])
        remaining = 10 - frame
        assert batch.action_mask[index, :, 0].tolist() == [step < remaining for step in range(tiny.CHUNK)]
        assert bool(batch.subgoal_mask[index]) == (frame + tiny.CHUNK < 10)
        seen.add(frame)
    assert seen == set(range(10))


def test_only_and_all_windows_with_a_subgoal_are_sampled(datasets):
    batch = sample_batch(make_sampler(datasets, with_subgoal=True), size=128)
    assert batch.subgoal_mask.all()
    assert {int(name.rsplit(" ", 1)[1]) for name in batch.ids} == set(range(10 - tiny.CHUNK))
    with pytest.raises(ValueError, match="no episode is longer than 10 frames"):
        make_sampler(datasets, with_subgoal=True, chunk=10)


def test_actions_states_and_images_are_the_dataset_s(datasets):
    batch = sample_batch(make_sampler(datasets[:1]))
    dataset = datasets[0]
    starts = {episode.index: episode.start for episode in dataset.episodes}
    for index, name in enumerate(batch.ids):
        parts = name.split()
        frame = starts[int(parts[-3])] + int(parts[-1])
        torch.testing.assert_close(batch.state[index], torch.from_numpy(dataset.state[frame]))
        torch.testing.assert_close(batch.actions[index, 0], torch.from_numpy(dataset.actions[frame] * 10))
        torch.testing.assert_close(batch.images["front"][index], torch.from_numpy(dataset.frames("front")[frame]))


def test_a_batch_depends_only_on_its_generator(datasets):
    sampler = make_sampler(datasets)
    first, again, other = sample_batch(sampler), sample_batch(sampler), sample_batch(sampler, seed=1)
    assert first.ids == again.ids
    assert torch.equal(first.tokens, again.tokens)
    assert first.ids != other.ids


def test_mixtures_follow_their_weights_and_mask_missing_actions(datasets):
    batch = sample_batch(make_sampler(datasets, weights=[1.0, 3.0]), size=400)
    videos = torch.tensor(["videos" in name for name in batch.ids])
    assert 0.65 < videos.float().mean() < 0.85
    assert not batch.action_mask[videos].any()
    assert batch.action_mask[~videos].any(dim=2).any(dim=1).all()
    assert batch.subgoal_mask[videos].any()


def test_instruction_dropout_has_the_configured_frequency(datasets):
    sampler = make_sampler(datasets[:1], instruction_dropout=0.5)
    tokens = sample_batch(sampler, size=400).tokens
    start, image = sampler.prompter.start, sampler.prompter.image
    dropped = ((tokens[:, :-1] == start) & (tokens[:, 1:] == image)).any(dim=1)
    assert 0.4 < dropped.float().mean() < 0.6


def test_image_dropout_leaves_only_text_to_learn(datasets):
    sampler = make_sampler(datasets, image_dropout=0.5)
    batch = sample_batch(sampler, size=400)
    without_images = (batch.images["front"] == 0).flatten(1).all(dim=1)
    assert 0.4 < without_images.float().mean() < 0.6
    assert not batch.images["wrist"][without_images].any()
    assert not batch.state[without_images].any()
    assert (batch.state[~without_images] != 0).any(dim=1).all()
    middle = sampler.prompter.location_tokens(np.zeros(tiny.STATE, np.float32))
    for tokens in batch.tokens[without_images].tolist():
        end = len(tokens) - tokens[::-1].index(sampler.prompter.image)
        assert tokens[end : end + tiny.STATE] == middle
    assert not batch.action_mask[without_images].any()
    assert not batch.subgoal_mask[without_images].any()
    assert (batch.labels[without_images] != IGNORE_INDEX).any(dim=1).all()
    assert batch.action_mask[~without_images].any()
    assert batch.subgoal_mask[~without_images].any()


def test_subtask_windows_become_labels(datasets):
    sampler = make_sampler(datasets[:1])
    batch = sample_batch(sampler)
    for index, name in enumerate(batch.ids):
        frame = int(name.rsplit(" ", 1)[1])
        answer = [token for token in batch.labels[index].tolist() if token != IGNORE_INDEX][:-1]
        subtasks = sampler.prompter.subtasks(answer)
        last = min(frame + tiny.CHUNK, 9)
        expected = tuple(text for i, text in enumerate(tiny.SUBTASKS) if frame <= 5 * i + 4 and last >= 5 * i)
        assert subtasks == expected


def instructions_of(sampler: WindowSampler, batch: Batch) -> list[str]:
    """The instruction of each sample: the text before its first image placeholder."""
    prompter = sampler.prompter
    texts = []
    for row in batch.tokens.tolist():
        start = row.index(prompter.start)
        texts.append(prompter.tokenizer.decode(row[start + 1 : row.index(prompter.image)]).strip())
    return texts


@pytest.fixture
def paraphrases(tmp_path) -> str:
    path = tmp_path / "i.json"
    path.write_text(json.dumps({task: [f"{task} now", f"please {task}"] for task in tiny.INSTRUCTIONS}))
    return str(path)


def test_every_sample_gets_a_paraphrase_of_its_task(datasets, paraphrases):
    sampler = make_sampler(datasets, instructions=[paraphrases, None])
    batch = sample_batch(sampler, size=200)
    counts = collections.Counter()
    for name, text in zip(batch.ids, instructions_of(sampler, batch), strict=True):
        task = tiny.INSTRUCTIONS[int(name.split()[-3]) % 2]
        assert text in ([task] if "videos" in name else [f"{task} now", f"please {task}"])
        counts[text] += "actions" in name
    assert min(count for text, count in counts.items() if text not in tiny.INSTRUCTIONS) > 10
    assert instructions_of(sampler, sample_batch(sampler, size=200)) == instructions_of(sampler, batch)


def test_without_paraphrases_the_random_draws_stay_the_same(datasets):
    first, again = sample_batch(make_sampler(datasets)), sample_batch(make_sampler(datasets, instructions=[None, None]))
    assert first.ids == again.ids
    assert torch.equal(first.tokens, again.tokens)


def test_instruction_dropout_applies_to_paraphrases(datasets, paraphrases):
    sampler = make_sampler(datasets[:1], instructions=[paraphrases], instruction_dropout=0.5)
    texts = instructions_of(sampler, sample_batch(sampler, size=200))
    assert 60 < texts.count("") < 140


def test_a_task_without_paraphrases_is_refused_on_construction(datasets, tmp_path):
    (tmp_path / "i.json").write_text(json.dumps({tiny.INSTRUCTIONS[0]: ["x"]}))
    with pytest.raises(ValueError, match=f"no paraphrases for the task {tiny.INSTRUCTIONS[1]!r}"):
        make_sampler(datasets, instructions=[str(tmp_path / "i.json"), None])


def test_a_dataset_is_opened_as_configured(datasets, tmp_path):
    root = Path(shutil.copytree(datasets[0].root, tmp_path / "d"))
    (root / "meta/wla_robot.json").unlink()
    config = DatasetConfig(path=str(root), columns=Columns(cameras={"top": "front"}))
    assert list(config.open().cameras) == ["top", "wrist"]
    assert DatasetConfig(path=str(root), robot=tiny.robot_spec()).open().robot_spec == tiny.robot_spec()
    changed = config.override(['columns.cameras={"head": "front"}', "weight=2", "instructions=i.json"])
    assert (changed.columns.cameras, changed.weight, changed.instructions) == ({"head": "front"}, 2.0, "i.json")


class RecordingPrompter(ChatPrompter):
    """Records the previous subtasks of each sample, and whether it has images of the past."""

    calls: list[tuple[tuple[str, ...], bool]]

    def sample(self, instruction, state, subtasks, *, memory=(), current_subtasks=(), has_history=True):
        self.calls.append(((*memory, *current_subtasks), has_history))
        return super().sample(instruction, state, subtasks, has_history=has_history)


def recording(images: dict[str, int]) -> RecordingPrompter:
    """A prompter of the published layout in language mode, with images of three steps before."""
    config = ChatPromptConfig(queries=tiny_qwen.QUERIES, language=True, history=3)
    prompter = RecordingPrompter(config, tiny_qwen.tokenizer(), dict.fromkeys(images, 1))
    prompter.calls = []
    return prompter


@pytest.mark.parametrize("cache_frames", [True, False])
def test_images_of_other_times_are_of_the_same_episode(datasets, cache_frames):
    images = {"first front": 32, "history front": 16, "history2 front": 16, **tiny.CAMERAS}
    sampler = make_sampler(
        datasets[:1], prompter=recording(images), images=images, settings={"cache_frames": cache_frames}
    )
    batch = sample_batch(sampler, size=40)
    frames = datasets[0].frames("front")
    for index, name in enumerate(batch.ids):
        episode, frame = (int(part) for part in name.split()[-3::2])
        start = datasets[0].episodes[episode].start
        assert np.array_equal(batch.images["first front"][index], frames[start])
        assert np.array_equal(batch.images["front"][index], frames[start + frame])
        for past, name in ((3, "history front"), (6, "history2 front")):
            back = frames[start + max(0, frame - past)]
            assert torch.equal(batch.images[name][index], resize(back[None], 16)[0])
        assert np.array_equal(batch.subgoal[index], frames[start + min(frame + tiny.CHUNK, 9)])


def test_prompts_have_the_previous_subtasks_once_there_is_a_past(datasets):
    images = {"first front": 32, "history front": 16, **tiny.CAMERAS}
    prompter = recording(images)
    batch = sample_batch(make_sampler(datasets[:1], prompter=prompter, images=images), size=40)
    for name, (previous, past) in zip(batch.ids, prompter.calls, strict=True):
        frame = int(name.split()[-1])
        assert past == (frame >= 3)
        assert previous == (tiny.SUBTASKS[: 1 if frame <= 5 else 2] if past else ())


def test_without_the_first_frame_prompts_have_the_subtasks_of_the_last_steps(datasets):
    images = {"history front": 16, **tiny.CAMERAS}
    prompter = recording(images)
    batch = sample_batch(make_sampler(datasets[:1], prompter=prompter, images=images), size=40)
    for name, (previous, _) in zip(batch.ids, prompter.calls, strict=True):
        frame = int(name.split()[-1])
        recent = [tiny.SUBTASKS[step // 5] for step in range(frame - 3, frame + 1)] if frame >= 3 else []
        assert previous == tuple(dict.fromkeys(recent))


def test_the_subgoal_has_its_own_size(datasets):
    batch = sample_batch(make_sampler(datasets[:1], subgoal_size=48))
    assert batch.subgoal.shape == (64, 48, 48, 3)


def test_actions_of_a_dataset_can_be_left_out(datasets):
    batch = sample_batch(make_sampler(datasets[:1], settings={"actions": False}))
    assert not batch.action_mask.any()
    assert batch.subgoal_mask.any()


def test_states_of_a_different_robot_are_zero_and_need_actions_left_out(datasets):
    statistics = VectorStatistics.of([np.ones((2, 5), np.float32)])
    other = Normalizer(statistics, name="state", dimensions="abcde")
    robot = replace(tiny.transform(), state=other, state_dim=5)
    assert not sample_batch(make_sampler(datasets[:1], robot=robot, settings={"actions": False})).state.any()
    with pytest.raises(ValueError, match="state has 3 dimensions, its statistics 5"):
        make_sampler(datasets[:1], robot=robot)


def test_weights_are_given_for_all_datasets_or_none(datasets):
    with pytest.raises(ValueError, match="videos: no weight, other datasets have one; give all or none"):
        make_sampler(datasets, weights=[0.5, None])


def memory_prompter() -> Prompter:
    config = tiny.PROMPT.replace(memory=MemoryConfig(tokens=400))
    return Prompter(config, tiny.tokenizer(), {"front": 4, "wrist": 1})


def memories_of(sampler: WindowSampler, batch: Batch) -> list[str]:
    """The memory in each prompt: the text between the state and the end of the user's turn."""
    prompter = sampler.prompter
    texts = []
    for row in batch.tokens.tolist():
        last = max(i for i, token in enumerate(row) if token == prompter.image)
        texts.append(prompter.tokenizer.decode(row[last + 1 + tiny.STATE : row.index(prompter.stop, last)]).strip())
    return texts


def test_prompts_have_the_memory_and_the_subtasks_of_the_last_prediction(datasets):
    errors = MemoryAugmentation(
        staleness=(2, 2), memory_dropout=0, previous_subtask_dropout=0, item_dropout=0, item_duplication=0
    )
    sampler = make_sampler(datasets[:1], prompter=memory_prompter(), memory_augmentation=errors)
    batch = sample_batch(sampler)
    first, second = tiny.SUBTASKS
    for name, text in zip(batch.ids, memories_of(sampler, batch), strict=True):
        predicted_at = int(name.rsplit(" ", 1)[1]) - 2
        current = [first] * (predicted_at <= 4) + [second] * (predicted_at + tiny.CHUNK >= 5)
        memory = [first] if predicted_at >= 5 else []
        listed = [
            " ".join(f"{item};" for item in items) for items in ((memory, current) if predicted_at >= 0 else ([], []))
        ]
        assert text.replace(" ", "") == f"done:{listed[0]}now:{listed[1]}".replace(" ", "")


def test_memory_errors_reach_the_prompts(datasets):
    always = MemoryAugmentation(staleness=(1, 1), memory_dropout=1)
    sampler = make_sampler(datasets[:1], prompter=memory_prompter(), memory_augmentation=always)
    assert set(memories_of(sampler, sample_batch(sampler))) == {"done: now:"}
    no_previous = MemoryAugmentation(staleness=(1, 1), memory_dropout=0, previous_subtask_dropout=1)
    sampler = make_sampler(datasets[:1], prompter=memory_prompter(), memory_augmentation=no_previous)
    assert all(text.endswith("now:") for text in memories_of(sampler, sample_batch(sampler)))
    no_item = MemoryAugmentation(staleness=(1, 1), memory_dropout=0, item_dropout=1, item_duplication=0)
    sampler = make_sampler(datasets[:1], prompter=memory_prompter(), memory_augmentation=no_item)
    assert all(text.startswith("done: now:") for text in memories_of(sampler, sample_batch(sampler)))


def test_prompts_have_the_memory_of_a_policy_where_it_acted(datasets, tmp_path):
    replay = MemoryReplay(
        frames=np.arange(0, 20, 2),
        memories=[("press the button",)] * 10,
        subtasks=[("reach the red block",)] * 10,
    )
    replay.save(tmp_path / "memory.parquet")
    settings = {"memory_replay": str(tmp_path / "memory.parquet")}
    always = MemoryAugmentation(policy_memory_fraction=1.0)
    sampler = make_sampler(datasets[:1], prompter=memory_prompter(), memory_augmentation=always, settings=settings)
    batch = sample_batch(sampler)
    assert set(memories_of(sampler, batch)) == {"done: press the button; now: reach the red block;"}
    assert {int(name.rsplit(" ", 1)[1]) for name in batch.ids} == {0, 2, 4, 6, 8}
    sampler = make_sampler(
        datasets[:1],
        prompter=memory_prompter(),
        memory_augmentation=MemoryAugmentation(policy_memory_fraction=0.5),
        settings=settings,
    )
    fraction = np.mean(["press" in text for text in memories_of(sampler, sample_batch(sampler, size=400))])
    assert 0.4 < fraction < 0.6


def test_only_executed_chunks_are_sampled(tmp_path):
    action_executed = [True] * 6 + [False] * 2 + [True] * 6
    with DatasetWriter(tmp_path / "data", tiny.robot_spec()) as writer:
        for _ in range(2):
            for step in range(14):
                seen = tiny.observation(step)
                writer.add_frame(seen.images, seen.state, np.zeros(tiny.ACTION, np.float32), "reach")
            writer.end_episode("go", keep=True, action_executed=action_executed)
    batch = sample_batch(make_sampler([LeRobotDataset(tmp_path / "data")]), size=200)
    frames = {int(name.rsplit(" ", 1)[1]) for name in batch.ids}
    assert frames == {0, 1, 2, *range(8, 14)}  # chunks of four, cut at the end of the episode
    with pytest.raises(ValueError, match="nowhere were 7 recorded actions executed one after the other"):
        make_sampler([_without_executed_end(LeRobotDataset(tmp_path / "data"))], chunk=7)


def _without_executed_end(dataset: LeRobotDataset) -> LeRobotDataset:
    """The dataset with the actions of its last frames not executed either."""
    executed = tuple([True] * 6 + [False] * 8)
    dataset.episodes = tuple(replace(episode, action_executed=executed) for episode in dataset.episodes)
    return dataset


def test_cameras_that_a_video_lacks_are_black_and_a_dataset_with_actions_needs_all(tmp_path):
    spec = video_robot_spec(10.0, 32)
    with DatasetWriter(tmp_path / "clips", spec, with_actions=False) as writer:
        for _ in range(10):
            writer.add_frame({"front": np.full((32, 32, 3), 90, np.uint8)}, np.zeros(1, np.float32), None)
        writer.end_episode("pour water", keep=True)
    clips = [LeRobotDataset(tmp_path / "clips")]
    batch = sample_batch(make_sampler(clips, settings={"actions": False}))
    assert batch.images["wrist"].shape == (64, 16, 16, 3)
    assert not batch.images["wrist"].any()
    assert (batch.images["front"].float() - 90).abs().max() < 4
    assert not batch.action_mask.any()
    assert batch.subgoal_mask.any()
    with pytest.raises(ValueError, match="no camera 'wrist'"):
        make_sampler(clips)
    with pytest.raises(ValueError, match="no camera 'wrist'"):
        make_sampler(clips, settings={"actions": False}, primary="wrist")
