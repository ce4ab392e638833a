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
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.loader import WindowSampler
from wla.data.memory import MemoryAugmentation, MemoryConfig
from wla.data.memory_replay import MemoryReplay
from wla.data.normalize import MinMaxNormalizer, VectorStatistics
from wla.data.prompts.chat import ChatPromptConfig, ChatPrompter
from wla.data.prompts.nano import Prompter
from wla.data.transforms import resize
from wla.types import IGNORE_INDEX


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> list[LeRobotDataset]:
    root = tmp_path_factory.mktemp("data")
    with_actions = tiny.write_dataset(root / "actions")
    videos = tiny.write_dataset(root / "videos", with_actions=False)
    return [LeRobotDataset(with_actions), LeRobotDataset(videos)]


def loader(datasets, weights=None, instructions=None, sources=None, **changes) -> WindowSampler:
    statistics = tiny.statistics()
    nothing = [None] * len(datasets)
    configs = [
        DatasetConfig(path=str(dataset.root), weight=weight, instructions=file, **(sources or {}))
        for dataset, weight, file in zip(datasets, weights or nothing, instructions or nothing, strict=True)
    ]
    values = {
        "datasets": datasets,
        "configs": configs,
        "prompter": Prompter(tiny.PROMPT, tiny.tokenizer(), {"front": 4, "wrist": 1}),
        "state_normalizer": MinMaxNormalizer(statistics.state, dim=tiny.STATE, name="state"),
        "action_normalizer": MinMaxNormalizer(statistics.action, dim=tiny.ACTION, name="action"),
        "action_dim": tiny.ACTION,
        "images": tiny.CAMERAS,
        "primary": "front",
        "subgoal_size": 32,
        "chunk": tiny.CHUNK,
        "memory_augmentation": MemoryAugmentation(),
    }
    return WindowSampler(**{**values, **changes})


def draw(batches: WindowSampler, size: int = 64, seed: int = 0) -> Batch:
    return batches.sample_batch(size, np.random.default_rng(seed))


def test_shapes_and_masks_at_episode_ends(datasets):
    batch = draw(loader(datasets[:1]))
    assert batch.images["front"].shape == (64, 32, 32, 3)
    assert batch.images["wrist"].shape == (64, 16, 16, 3)
    seen = set()
    for index, name in enumerate(batch.ids):
        frame = int(name.rsplit(" ", 1)[1])
        left = 10 - frame
        assert batch.action_mask[index, :, 0].tolist() == [step < left for step in range(tiny.CHUNK)]
        assert bool(batch.subgoal_mask[index]) == (frame + tiny.CHUNK < 10)
        seen.add(frame)
    assert seen == set(range(10))


def test_windows_with_a_subgoal_are_all_of_them_and_no_others(datasets):
    batch = draw(loader(datasets, with_subgoal=True), size=128)
    assert batch.subgoal_mask.all()
    assert {int(name.rsplit(" ", 1)[1]) for name in batch.ids} == set(range(10 - tiny.CHUNK))
    with pytest.raises(ValueError, match="no episode is longer than 10 frames"):
        loader(datasets, with_subgoal=True, chunk=10)


def test_actions_and_states_are_the_dataset_s(datasets):
    batch = draw(loader(datasets[:1]))
    dataset = datasets[0]
    starts = {episode.index: episode.start for episode in dataset.episodes}
    for index, name in enumerate(batch.ids):
        words = name.split()
        frame = starts[int(words[-3])] + int(words[-1])
        torch.testing.assert_close(batch.state[index], torch.from_numpy(dataset.state[frame]))
        torch.testing.assert_close(batch.actions[index, 0], torch.from_numpy(dataset.actions[frame] * 10))
        torch.testing.assert_close(batch.images["front"][index], torch.from_numpy(dataset.frames("front")[frame]))


def test_a_batch_is_decided_by_its_generator(datasets):
    batches = loader(datasets)
    first, again, other = draw(batches), draw(batches), draw(batches, seed=1)
    assert first.ids == again.ids
    assert torch.equal(first.tokens, again.tokens)
    assert first.ids != other.ids


def test_mixtures_follow_their_weights_and_mask_missing_actions(datasets):
    batch = draw(loader(datasets, weights=[1.0, 3.0]), size=400)
    videos = torch.tensor(["videos" in name for name in batch.ids])
    assert 0.65 < videos.float().mean() < 0.85
    assert not batch.action_mask[videos].any()
    assert batch.action_mask[~videos].any(dim=2).any(dim=1).all()
    assert batch.subgoal_mask[videos].any()


def test_instructions_are_emptied_as_often_as_asked(datasets):
    batches = loader(datasets[:1], instruction_dropout=0.5)
    tokens = draw(batches, size=400).tokens
    start, image = batches.prompter.start, batches.prompter.image
    emptied = ((tokens[:, :-1] == start) & (tokens[:, 1:] == image)).any(dim=1)
    assert 0.4 < emptied.float().mean() < 0.6


def test_blind_samples_see_nothing_and_learn_words_only(datasets):
    batches = loader(datasets, image_dropout=0.5)
    batch = draw(batches, size=400)
    blind = (batch.images["front"] == 0).flatten(1).all(dim=1)
    assert 0.4 < blind.float().mean() < 0.6
    assert not batch.images["wrist"][blind].any()
    assert not batch.state[blind].any()
    assert (batch.state[~blind] != 0).any(dim=1).all()
    middle = batches.prompter.location_tokens(np.zeros(tiny.STATE, np.float32))
    for tokens in batch.tokens[blind].tolist():
        end = len(tokens) - tokens[::-1].index(batches.prompter.image)
        assert tokens[end : end + tiny.STATE] == middle
    assert not batch.action_mask[blind].any()
    assert not batch.subgoal_mask[blind].any()
    assert (batch.labels[blind] != IGNORE_INDEX).any(dim=1).all()
    assert batch.action_mask[~blind].any()
    assert batch.subgoal_mask[~blind].any()


def test_subtask_windows_become_labels(datasets):
    batches = loader(datasets[:1])
    batch = draw(batches)
    for index, name in enumerate(batch.ids):
        frame = int(name.rsplit(" ", 1)[1])
        answer = [token for token in batch.labels[index].tolist() if token != IGNORE_INDEX][:-1]
        spoken = batches.prompter.subtasks(answer)
        last = min(frame + tiny.CHUNK, 9)
        want = tuple(text for i, text in enumerate(tiny.SUBTASKS) if frame <= 5 * i + 4 and last >= 5 * i)
        assert spoken == want


def spoken(batches: WindowSampler, batch: Batch) -> list[str]:
    """The instruction of each sample: the words before its first image placeholder."""
    prompter = batches.prompter
    texts = []
    for row in batch.tokens.tolist():
        start = row.index(prompter.start)
        texts.append(prompter.tokenizer.decode(row[start + 1 : row.index(prompter.image)]).strip())
    return texts


@pytest.fixture
def phrasings(tmp_path) -> str:
    path = tmp_path / "i.json"
    path.write_text(json.dumps({task: [f"{task} now", f"please {task}"] for task in tiny.INSTRUCTIONS}))
    return str(path)


def test_every_sample_gets_a_phrasing_of_its_task(datasets, phrasings):
    batches = loader(datasets, instructions=[phrasings, None])
    batch = draw(batches, size=200)
    counts = collections.Counter()
    for name, text in zip(batch.ids, spoken(batches, batch), strict=True):
        task = tiny.INSTRUCTIONS[int(name.split()[-3]) % 2]
        assert text in ([task] if "videos" in name else [f"{task} now", f"please {task}"])
        counts[text] += "actions" in name
    assert min(count for text, count in counts.items() if text not in tiny.INSTRUCTIONS) > 10
    assert spoken(batches, draw(batches, size=200)) == spoken(batches, batch)


def test_without_phrasings_the_draws_stay_what_they_were(datasets):
    first, again = draw(loader(datasets)), draw(loader(datasets, instructions=[None, None]))
    assert first.ids == again.ids
    assert torch.equal(first.tokens, again.tokens)


def test_instructions_are_emptied_with_phrasings_too(datasets, phrasings):
    batches = loader(datasets[:1], instructions=[phrasings], instruction_dropout=0.5)
    texts = spoken(batches, draw(batches, size=200))
    assert 60 < texts.count("") < 140


def test_a_task_without_phrasings_is_found_at_once(datasets, tmp_path):
    (tmp_path / "i.json").write_text(json.dumps({tiny.INSTRUCTIONS[0]: ["x"]}))
    with pytest.raises(ValueError, match=f"no phrasings for the task {tiny.INSTRUCTIONS[1]!r}"):
        loader(datasets, instructions=[str(tmp_path / "i.json"), None])


def test_a_dataset_is_opened_as_its_configuration_says(datasets, tmp_path):
    root = Path(shutil.copytree(datasets[0].root, tmp_path / "d"))
    (root / "meta/wla_robot.json").unlink()
    config = DatasetConfig(path=str(root), columns=Columns(cameras={"top": "front"}))
    assert list(config.open().cameras) == ["top", "wrist"]
    assert DatasetConfig(path=str(root), robot=tiny.robot_spec()).open().robot_spec == tiny.robot_spec()
    changed = config.override(['columns.cameras={"head": "front"}', "weight=2", "instructions=i.json"])
    assert (changed.columns.cameras, changed.weight, changed.instructions) == ({"head": "front"}, 2.0, "i.json")


class Looking(ChatPrompter):
    """Looks three steps back and writes down what it is told."""

    told: list[tuple[tuple[str, ...], bool]]

    def sample(self, instruction, state, subtasks, *, memory=(), current_subtasks=(), has_history=True):
        self.told.append(((*memory, *current_subtasks), has_history))
        return super().sample(instruction, state, subtasks, has_history=has_history)


def looking(images: dict[str, int]) -> Looking:
    """Of the published prompts in language mode."""
    config = ChatPromptConfig(queries=tiny_qwen.QUERIES, language=True, history=3)
    prompter = Looking(config, tiny_qwen.tokenizer(), dict.fromkeys(images, 1))
    prompter.told = []
    return prompter


@pytest.mark.parametrize("cache_frames", [True, False])
def test_images_of_other_times_are_those_of_the_episode(datasets, cache_frames):
    images = {"first front": 32, "history front": 16, **tiny.CAMERAS}
    batches = loader(datasets[:1], prompter=looking(images), images=images, sources={"cache_frames": cache_frames})
    batch = draw(batches, size=40)
    frames = datasets[0].frames("front")
    for index, name in enumerate(batch.ids):
        episode, frame = (int(word) for word in name.split()[-3::2])
        start = datasets[0].episodes[episode].start
        assert np.array_equal(batch.images["first front"][index], frames[start])
        assert np.array_equal(batch.images["front"][index], frames[start + frame])
        back = frames[start + max(0, frame - 3)]
        assert torch.equal(batch.images["history front"][index], resize(back[None], 16)[0])
        target = start + min(frame + tiny.CHUNK, 9)
        assert np.array_equal(batch.subgoal[index], frames[target])


def test_prompts_are_told_what_was_before_and_whether_it_was(datasets):
    images = {"first front": 32, "history front": 16, **tiny.CAMERAS}
    prompter = looking(images)
    batch = draw(loader(datasets[:1], prompter=prompter, images=images), size=40)
    for name, (previous, past) in zip(batch.ids, prompter.told, strict=True):
        frame = int(name.split()[-1])
        assert past == (frame >= 3)
        assert previous == (tiny.SUBTASKS[: 1 if frame <= 5 else 2] if past else ())


def test_without_the_first_frame_only_the_last_steps_are_told(datasets):
    images = {"history front": 16, **tiny.CAMERAS}
    prompter = looking(images)
    batch = draw(loader(datasets[:1], prompter=prompter, images=images), size=40)
    for name, (previous, _) in zip(batch.ids, prompter.told, strict=True):
        frame = int(name.split()[-1])
        spoken = [tiny.SUBTASKS[step // 5] for step in range(frame - 3, frame + 1)] if frame >= 3 else []
        assert previous == tuple(dict.fromkeys(spoken))


def test_the_target_has_its_own_size_and_other_shapes_get_borders(datasets):
    batch = draw(loader(datasets[:1], subgoal_size=48))
    assert batch.subgoal.shape == (64, 48, 48, 3)


def test_actions_that_are_not_wanted_are_not_learned(datasets):
    batch = draw(loader(datasets[:1], sources={"actions": False}))
    assert not batch.action_mask.any()
    assert batch.subgoal_mask.any()


def test_states_of_another_robot_are_only_taken_without_actions(datasets):
    statistics = VectorStatistics.of([np.ones((2, 5), np.float32)])
    other = MinMaxNormalizer(statistics, dim=5, name="state")
    assert not draw(loader(datasets[:1], state_normalizer=other, sources={"actions": False})).state.any()
    with pytest.raises(ValueError, match="state has 3 dimensions, its statistics 5"):
        loader(datasets[:1], state_normalizer=other)


def test_weights_are_for_all_datasets_or_none(datasets):
    with pytest.raises(ValueError, match="videos: no weight, other datasets have one; give all or none"):
        loader(datasets, weights=[0.5, None])


def remembering() -> Prompter:
    config = tiny.PROMPT.replace(memory=MemoryConfig(tokens=400))
    return Prompter(config, tiny.tokenizer(), {"front": 4, "wrist": 1})


def told(batches: WindowSampler, batch: Batch) -> list[str]:
    """What each prompt says of the past: the words between the state and the end of the user's turn."""
    prompter = batches.prompter
    texts = []
    for row in batch.tokens.tolist():
        last = max(i for i, token in enumerate(row) if token == prompter.image)
        texts.append(prompter.tokenizer.decode(row[last + 1 + tiny.STATE : row.index(prompter.stop, last)]).strip())
    return texts


def test_prompts_tell_what_was_finished_and_said_when_the_policy_spoke_last(datasets):
    errors = MemoryAugmentation(
        staleness=(2, 2), memory_dropout=0, previous_subtask_dropout=0, item_dropout=0, item_duplication=0
    )
    batches = loader(datasets[:1], prompter=remembering(), memory_augmentation=errors)
    batch = draw(batches)
    first, second = tiny.SUBTASKS
    for name, text in zip(batch.ids, told(batches, batch), strict=True):
        spoke = int(name.rsplit(" ", 1)[1]) - 2
        running = [first] * (spoke <= 4) + [second] * (spoke + tiny.CHUNK >= 5)
        memory = [first] if spoke >= 5 else []
        listed = [" ".join(f"{item};" for item in items) for items in ((memory, running) if spoke >= 0 else ([], []))]
        assert text.replace(" ", "") == f"done:{listed[0]}now:{listed[1]}".replace(" ", "")


def test_errors_reach_the_prompts_and_forgetting_is_total(datasets):
    everything = MemoryAugmentation(staleness=(1, 1), memory_dropout=1)
    batches = loader(datasets[:1], prompter=remembering(), memory_augmentation=everything)
    assert set(told(batches, draw(batches))) == {"done: now:"}
    windowless = MemoryAugmentation(staleness=(1, 1), memory_dropout=0, previous_subtask_dropout=1)
    batches = loader(datasets[:1], prompter=remembering(), memory_augmentation=windowless)
    assert all(text.endswith("now:") for text in told(batches, draw(batches)))
    dropped = MemoryAugmentation(staleness=(1, 1), memory_dropout=0, item_dropout=1, item_duplication=0)
    batches = loader(datasets[:1], prompter=remembering(), memory_augmentation=dropped)
    assert all(text.startswith("done: now:") for text in told(batches, draw(batches)))


def test_what_a_policy_remembered_is_told_where_it_acted(datasets, tmp_path):
    own = MemoryReplay(
        frames=np.arange(0, 20, 2),
        memories=[("press the button",)] * 10,
        subtasks=[("reach the red block",)] * 10,
    )
    own.save(tmp_path / "own.parquet")
    sources = {"memory_replay": str(tmp_path / "own.parquet")}
    always = MemoryAugmentation(policy_memory_fraction=1.0)
    batches = loader(datasets[:1], prompter=remembering(), memory_augmentation=always, sources=sources)
    batch = draw(batches)
    assert set(told(batches, batch)) == {"done: press the button; now: reach the red block;"}
    assert {int(name.rsplit(" ", 1)[1]) for name in batch.ids} == {0, 2, 4, 6, 8}
    batches = loader(
        datasets[:1],
        prompter=remembering(),
        memory_augmentation=MemoryAugmentation(policy_memory_fraction=0.5),
        sources=sources,
    )
    share = np.mean(["press" in text for text in told(batches, draw(batches, size=400))])
    assert 0.4 < share < 0.6


def test_only_chunks_that_were_executed_are_drawn(tmp_path):
    action_executed = [True] * 6 + [False] * 2 + [True] * 6
    with DatasetWriter(tmp_path / "data", tiny.robot_spec()) as writer:
        for _ in range(2):
            for step in range(14):
                seen = tiny.observation(step)
                writer.add_frame(seen.images, seen.state, np.zeros(tiny.ACTION, np.float32), "reach")
            writer.end_episode("go", keep=True, action_executed=action_executed)
    batch = draw(loader([LeRobotDataset(tmp_path / "data")]), size=200)
    frames = {int(name.rsplit(" ", 1)[1]) for name in batch.ids}
    assert frames == {0, 1, 2, *range(8, 14)}  # chunks of four; past the end there is nothing to follow
    with pytest.raises(ValueError, match="nowhere were 7 recorded actions executed one after the other"):
        loader([_cut(LeRobotDataset(tmp_path / "data"))], chunk=7)


def _cut(dataset: LeRobotDataset) -> LeRobotDataset:
    """The dataset, its last frames not executed either."""
    never = tuple([True] * 6 + [False] * 8)
    dataset.episodes = tuple(replace(episode, action_executed=never) for episode in dataset.episodes)
    return dataset


def test_cameras_that_a_video_lacks_are_black_but_a_demonstration_must_have_them(tmp_path):
    spec = video_robot_spec(10.0, 32)
    with DatasetWriter(tmp_path / "clips", spec, with_actions=False) as writer:
        for _ in range(10):
            writer.add_frame({"front": np.full((32, 32, 3), 90, np.uint8)}, np.zeros(1, np.float32), None)
        writer.end_episode("pour water", keep=True)
    clips = [LeRobotDataset(tmp_path / "clips")]
    batch = draw(loader(clips, sources={"actions": False}))
    assert batch.images["wrist"].shape == (64, 16, 16, 3)
    assert not batch.images["wrist"].any()
    assert (batch.images["front"].float() - 90).abs().max() < 4
    assert not batch.action_mask.any()
    assert batch.subgoal_mask.any()
    with pytest.raises(ValueError, match="no camera 'wrist'"):
        loader(clips)
    with pytest.raises(ValueError, match="no camera 'wrist'"):
        loader(clips, sources={"actions": False}, primary="wrist")
