from __future__ import annotations

import numpy as np
import pytest
import torch

from refkit.heads import RegionTextHead
from refkit.heads.region_text import box_map
from refkit.structures import Features, Frame, ReferringSample


def sample(*boxes, size=(32, 32)):
    frame = Frame.identity(*size)
    return ReferringSample("s", "the circle", frame, boxes=np.array(boxes, np.float32).reshape(-1, 4))


def test_the_map_marks_patches_whose_point_lies_in_a_box():
    corner = box_map([sample((8, 0, 17, 8))], (4, 4), 0.0).reshape(4, 4)
    centre = box_map([sample((8, 0, 17, 8))], (4, 4), 0.5).reshape(4, 4)
    assert np.argwhere(corner).tolist() == [[0, 1], [0, 2]]
    assert np.argwhere(centre).tolist() == [[0, 1]]


def test_several_boxes_are_united_and_none_gives_an_empty_map():
    maps = box_map([sample((0, 0, 8, 8), (24, 24, 32, 32)), sample()], (4, 4), 0.5)
    assert maps.sum(axis=1).tolist() == [2.0, 0.0]


def test_the_released_targets_come_from_the_corners_of_patches(repository):
    golden = np.load(repository / "tests/golden/hivg_rtcc.npz")
    centre, half = golden["target_boxes"][:, :2] * 224, golden["target_boxes"][:, 2:] * 112
    corners = np.concatenate((centre - half, centre + half), axis=1)
    ours = box_map([sample(box, size=(224, 224)) for box in corners], (14, 14), 0.0)
    # Rasterising can move an edge by up to a pixel: only patches whose corner is that close may differ.
    x, y = np.meshgrid(np.arange(14) * 16.0, np.arange(14) * 16.0)
    for index, (left, top, right, bottom) in enumerate(corners):
        near = (np.minimum(abs(x - left), abs(x - right)) <= 1) | (
            np.minimum(abs(y - top), abs(y - bottom)) <= 1
        )
        assert (ours[index] == golden["target_tokens"][index])[~near.reshape(-1)].all()
        assert near.mean() < 0.2


def test_it_learns_to_point_at_the_patch_that_is_meant():
    torch.manual_seed(0)
    head = RegionTextHead(width=16, hidden=32, decided_at="centre")
    visual = torch.randn(8, 16, 16)
    features = Features(visual, torch.ones(8, 16, dtype=torch.bool), (4, 4), query=visual[:, 5])
    samples = [sample((8, 8, 16, 16)) for _ in range(8)]
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        sum(head.loss(features, samples).values()).backward()
        optimizer.step()
    assert head(features).argmax(dim=1).tolist() == [5] * 8


def test_unknown_point_is_refused():
    with pytest.raises(ValueError, match="decided_at='middle'; expected one of corner, centre"):
        RegionTextHead(width=8, decided_at="middle")
