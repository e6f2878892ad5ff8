"""CLIPSeg: from a coarse map to a mask of the picture, a box and a score."""

import numpy as np
import torch

from refkit import rle


def test_a_map_becomes_mask_box_and_score(load):
    read = load("clipseg").method._read
    coarse = torch.full((32, 32), 0.1)
    coarse[8:16, 4:20] = 0.9
    answer = read(coarse, (64, 96))  # every cell is 2 rows by 3 columns
    mask = rle.decode(answer.mask)
    assert mask.shape == (64, 96)
    np.testing.assert_allclose(answer.boxes, [[12, 16, 60, 32]], atol=1)
    assert mask[16:32, 12:60].mean() > 0.99
    assert answer.scores[0] == np.float32(0.9)
    x0, y0, x1, y1 = answer.boxes[0].astype(int)
    mask[y0:y1, x0:x1] = False
    assert not mask.any()


def test_an_empty_mask_has_no_box(load, samples):
    answer = load("clipseg", mask_threshold=0.9999999).answer(samples[:1])[0]
    assert not rle.decode(answer.mask).any()
    assert len(answer.boxes) == 0
    assert answer.status == "ok"


def test_a_lower_threshold_gives_a_larger_mask(load, samples):
    areas = [
        rle.area(load("clipseg", mask_threshold=threshold).answer(samples[:1])[0].mask)
        for threshold in (0.7, 0.5, 0.3)
    ]
    assert areas[0] < areas[1] < areas[2]
