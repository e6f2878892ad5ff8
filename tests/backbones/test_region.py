"""Views to region embeddings: any tower, any number of views, shared views, and inputs that do not fit."""

from __future__ import annotations

import pytest
import torch
from tiny_models import BEIT3_SIZE, SIZE
from torchvision.ops import deform_conv2d

from refkit.backbones import BEiT3Backbone, CLIPBackbone, RegionEncoder
from refkit.backbones.eva import BEiT3Tower, CLIPTower, EVATower, TimmTower, TowerError
from refkit.backbones.inputs import InputError
from refkit.backbones.region_align import DeformableAlign, deformable_sampling
from refkit.backbones.state import WeightError
from refkit.zoo.weights import save_weights

EVA = {"width": 32, "layers": 2, "heads": 2, "feedforward": 48, "patch_size": 8, "image_size": 32}
QFORMER = {"width": 24, "layers": 2, "heads": 2, "feedforward": 48, "queries": 5}
TOWERS = {
    "eva": {"type": EVATower, **EVA},
    "clip": {"type": CLIPTower, "size": SIZE, "layers": 2},
    "beit3": {"type": BEiT3Tower, "size": BEIT3_SIZE},
    "timm": {"type": TimmTower, "name": "vit_tiny_patch16_224", "image_size": 32, "drop_blocks": 10},
}


def encoder(tower="eva", **changes):
    torch.manual_seed(0)
    settings = {"align_groups": 2, "qformer": QFORMER, **changes}
    return RegionEncoder(TOWERS[tower], **settings).eval()


def batch(regions=2, views=3, side=32):
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[2.0, 3.0, 30.0, 20.0], [8.0, 8.0, 20.0, 30.0], [1.0, 1.0, 5.0, 6.0]])
    return {
        "views": torch.randn(regions, views, 3, side, side, generator=generator),
        "regions": boxes[:views].expand(regions, -1, -1).clone(),
    }


@pytest.mark.parametrize("tower", sorted(TOWERS))
def test_every_tower_gives_embeddings_that_depend_on_views_and_boxes(tower):
    model = encoder(tower)
    if model.align is not None:
        torch.nn.init.normal_(model.align.offset_mask.weight)
    inputs = batch()
    features = model(inputs)
    assert features.regions.shape == (2, 5, 24) and model.width == 24
    assert features.visual.shape == (2, features.grid[0] * features.grid[1], model.tower.width)
    assert features.visual_mask.all() and features.image.shape == (2, model.tower.width)
    for name in inputs:
        changed = inputs[name].clone()
        changed[0, 1] = changed[0, 1] * 0.5
        other = model({**inputs, name: changed}).regions
        assert not torch.allclose(other[0], features.regions[0], atol=1e-6)
        torch.testing.assert_close(other[1], features.regions[1])


@pytest.mark.parametrize(("views", "align"), [(1, True), (2, True), (3, False)])
def test_any_number_of_views_with_and_without_alignment(views, align):
    model = encoder(views=views, align=align)
    assert (model.align is None) == (views == 1 or not align)
    features = model(batch(views=views))
    features.regions.square().sum().backward()
    missing = [name for name, value in model.named_parameters() if value.grad is None]
    assert missing == []


def test_views_shared_by_regions_are_encoded_once():
    model, inputs = encoder(), batch()
    inputs["views"][1, 2] = inputs["views"][0, 0]
    unique = inputs["views"].flatten(0, 1)[:5]
    index = torch.tensor([[0, 1, 2], [3, 4, 0]])
    seen = []
    model.tower.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    shared = model({"views": unique, "view_index": index, "regions": inputs["regions"]})
    torch.testing.assert_close(shared.regions, model(inputs).regions)
    assert seen == [5, 6]


def test_align_starts_silent_and_samples_where_offsets_point():
    align = DeformableAlign(8, groups=2)
    reference, view = torch.randn(2, 1, 8, 4, 4)
    assert not align(reference, view).any()
    offsets = torch.zeros(1, 4, 4, 54)
    offsets[..., 18 + 4] = 1.0  # group 0: the middle tap alone, where it stands
    offsets[..., 27 + 8] = 1.0  # group 1: the middle tap, one column to the right
    offsets[..., 27 + 18 + 4] = 2.0
    sampled = deformable_sampling(view, offsets, groups=2)
    torch.testing.assert_close(sampled[:, :4], view[:, :4])
    torch.testing.assert_close(sampled[:, 4:, :, :3], 2 * view[:, 4:, :, 1:])
    assert not sampled[:, 4:, :, 3].any()
    with pytest.raises(ValueError, match="width 9 cannot be split over 4 groups"):
        DeformableAlign(9)


def test_sampling_is_that_of_a_deformable_convolution():
    """torchvision counts taps row by row and offsets as (dy, dx)."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 6, 5, 7, generator=generator)
    offset_mask = 2 * torch.randn(2, 5, 7, 54, generator=generator)
    parts = offset_mask.unflatten(-1, (2, 27))
    by_rows = [3 * column + row for row in range(3) for column in range(3)]
    offsets = parts[..., :18].unflatten(-1, (9, 2))[..., by_rows, :].flip(-1).flatten(3)
    weights = parts[..., 18:][..., by_rows].flatten(3)
    expected = deform_conv2d(
        value, offsets.movedim(-1, 1), torch.ones(6, 1, 3, 3), padding=1, mask=weights.movedim(-1, 1)
    )
    torch.testing.assert_close(deformable_sampling(value, offset_mask, 2), expected, atol=1e-5, rtol=1e-4)


def test_a_tower_takes_its_half_of_a_clip_file_and_drops_the_rest(tmp_path):
    whole = CLIPBackbone(SIZE, visual_levels=(2,)).eval()
    file = save_weights(whole, tmp_path / "clip.safetensors")
    tower = CLIPTower(SIZE, layers=2, weights=file).eval()
    views = torch.randn(2, 3, 32, 32)
    words = torch.tensor([[38, 3, 39]]).expand(2, -1)
    torch.testing.assert_close(tower(views), whole({"images": views, "token_ids": words}).levels[0])
    with pytest.raises(TowerError, match=r"layers=4: this CLIP has 1 to 3"):
        CLIPTower(SIZE, layers=4)


def test_a_tower_takes_any_beit3_file(tmp_path):
    whole = BEiT3Backbone(BEIT3_SIZE).eval()
    tower = BEiT3Tower(BEIT3_SIZE, weights=save_weights(whole, tmp_path / "beit3.safetensors")).eval()
    views = torch.randn(2, 3, 32, 32)
    seen = torch.nn.functional.normalize(
        whole.vision_head(whole.beit3.encoder.layer_norm.A(tower(views))), dim=-1
    )
    torch.testing.assert_close(seen, whole.see(views))


def test_eva_files_of_more_blocks_and_other_sizes_fit(tmp_path):
    deep = EVATower(**{**EVA, "layers": 3, "image_size": 48})
    state = {f"visual_encoder.{name}": value for name, value in deep.eva.state_dict().items()}
    state |= {"visual_encoder.norm.weight": torch.ones(32), "visual_encoder.head.weight": torch.ones(3, 32)}
    torch.save(state, tmp_path / "eva.pth")
    tower = EVATower(**EVA, weights=tmp_path / "eva.pth")
    torch.testing.assert_close(tower.eva.blocks[1].mlp.fc1.weight, deep.eva.blocks[1].mlp.fc1.weight)
    assert tower.eva.pos_embed.shape == (1, 17, 32)
    with pytest.raises(WeightError, match=r"blocks\.3\.norm1\.weight"):
        EVATower(**{**EVA, "layers": 4}, weights=tmp_path / "eva.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": None}, "no 'views'"),
        ({"views": torch.zeros(2, 2, 3, 32, 32)}, r"views: expected floats \(2, 3, 3, 32, 32\)"),
        ({"views": torch.zeros(2, 3, 3, 32, 32, dtype=torch.uint8)}, "got torch.uint8"),
        ({"regions": torch.zeros(2, 3, 5)}, r"regions: expected floats \(B, 3, 4\)"),
        ({"view_index": torch.zeros(2, 3, dtype=torch.int64)}, r"views: expected floats \(2, 3, 32, 32\)"),
        (
            {"views": torch.zeros(4, 3, 32, 32), "view_index": torch.zeros(2, 2, dtype=torch.int64)},
            r"view_index: expected \(2, 3\)",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change, message):
    inputs = {name: value for name, value in {**batch(), **change}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        encoder()(inputs)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="views=0"):
        encoder(views=0)
    with pytest.raises(ValueError, match="tower_precision='half'"):
        encoder(tower_precision="half")
    with pytest.raises(TowerError, match="'resnet18' is no vision transformer"):
        TimmTower("resnet18", image_size=32)
    with pytest.raises(TowerError, match="no vision transformer with a class token"):
        TimmTower("vit_medium_patch16_gap_256", image_size=32)
    with pytest.raises(TowerError, match="has 12 blocks"):
        TimmTower("vit_tiny_patch16_224", drop_blocks=12, image_size=32)


def test_a_tower_in_bfloat16_is_followed_by_float32():
    model, inputs = encoder(tower_precision="bfloat16"), batch()
    exact = encoder()(inputs).regions
    coarse = model(inputs).regions
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).abs().max() < 0.1
