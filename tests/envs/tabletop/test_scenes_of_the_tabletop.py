from __future__ import annotations

from wla.envs.registry import load_family, make_env


def test_views_point_at_the_objects_they_name() -> None:
    family = load_family("tabletop")
    assert family.sample_scene is not None
    assert family.objects is not None
    env = make_env("tabletop", task="place")
    strongest = {"red": [0], "green": [1], "blue": [2], "yellow": [0, 1]}
    hits, total = 0, 0
    for seed in range(12):
        image = family.sample_scene(env, seed)["images"]["front"]
        for block in (found for found in family.objects(env, ["front"]) if found.name.endswith("block")):
            u, v, *_ = block.views["front"]
            pixel = image[int(96 * v), int(96 * u)].astype(int)
            channels = strongest[block.name.split()[0]]
            hits += min(pixel[channels]) > max(pixel[i] for i in range(3) if i not in channels) + 30
            total += 1
    env.close()
    assert total >= 24
    assert hits >= 0.75 * total  # the arm hides some
