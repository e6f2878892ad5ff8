"""The published DynRefer layout computes what the released code computes (reduced depth, true widths)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published_weights import GOLDEN, fill

from refkit.backbones.region import RegionEncoder
from refkit.backbones.region_align import deformable_sampling
from refkit.zoo.layouts.dynrefer import RULES
from refkit.zoo.layouts.renaming import published_name

FOLDER = GOLDEN / "dynrefer"
TOWER = {"type": "EVATower", "layers": 2}
EXACT = {"rtol": 0, "atol": 2e-5}
LOOSE = {"rtol": 0, "atol": 1e-4}

pytestmark = [pytest.mark.xdist_group("full-size"), pytest.mark.filterwarnings("ignore::UserWarning")]


def pack(name):
    return np.load(FOLDER / f"{name}.npz")


def normal(name, *shape):
    """Inputs of the pack: about N(0, 1), made from their name."""
    return fill(f"inputs.{name}", shape) * float(np.sqrt(np.prod(shape[1:])))


def close(ours, expected, name="", **tolerance):
    np.testing.assert_allclose(ours.detach().numpy(), expected, err_msg=name, **(tolerance or EXACT))


def statistics(tensor):
    values = tensor.detach().double()
    return [float(f) for f in (values.mean(), values.std(unbiased=False), values.abs().sum(), values.norm())]


def filled(module, prefix):
    """``module`` with the values of its published names; ``prefix`` is where it stands in the model."""
    state = module.state_dict()
    named = {name: fill(published_name(prefix + name, RULES), value.shape) for name, value in state.items()}
    module.load_state_dict(named)
    return module.eval()


@pytest.fixture(scope="module")
def encoder():
    return filled(RegionEncoder(TOWER), "backbone.")


@torch.no_grad()
def test_vision_tower_and_its_norm(encoder):
    expected = pack("vit_reduced")
    raw = encoder.tower(normal("images", 6, 3, 224, 224))
    close(raw[:, ::16, ::44], expected["raw_probe"])
    np.testing.assert_allclose(statistics(raw)[1:], expected["raw_stat"][1:], rtol=1e-5)
    normed = encoder.norm(raw)
    close(normed[:, ::16, ::44], expected["ln_probe"])
    np.testing.assert_allclose(normed.flatten(1).double().norm(dim=1), expected["per_image_l2"], rtol=1e-5)


def test_roi_align_is_not_shifted_by_half_a_pixel():
    from torchvision.ops import roi_align

    expected = pack("roi_align")
    boxes = torch.from_numpy(expected["boxes"])
    cells = roi_align(normal("roi_feat", 3, 4, 16, 16), boxes, (16, 16), 1 / 14, 2, aligned=False)
    close(cells, expected["out"])


def test_deformable_sampling():
    value = normal("dcn_value", 1, 16, 16, 64).permute(0, 3, 1, 2)
    sampled = deformable_sampling(value, 1.5 * normal("dcn_offset_mask", 1, 16, 16, 112), groups=4)
    close(sampled.permute(0, 2, 3, 1), pack("deform_op")["out"], **LOOSE)


@torch.no_grad()
def test_align_module(encoder):
    expected = pack("align_module")
    reference, view = normal("align_ref", 2, 1408, 16, 16), normal("align_tgt", 2, 1408, 16, 16)
    close(encoder.align.offsets(reference, view)[:, ::2, ::2], expected["offset_mask"], **LOOSE)
    value = encoder.align.value_proj(view.movedim(1, -1))
    close(value[:, ::4, ::4, ::11], expected["value_probe"], **LOOSE)
    close(encoder.align(reference, view)[:, ::11], expected["out_probe"], **LOOSE)


@torch.no_grad()
def test_alignment_and_fusion_of_views(encoder):
    expected = pack("align_fusion")
    tokens = normal("view_embeds", 6, 257, 1408).unflatten(0, (2, 3))
    regions = torch.from_numpy(expected["region_boxes"])
    cells = encoder.align_views(tokens, regions).flatten(0, 1).flatten(2).transpose(1, 2)
    aligned = torch.cat((tokens.flatten(0, 1)[:, :1], cells), dim=1)
    close(aligned[:, ::8, ::22], expected["aligned_probe"], **LOOSE)
    close(encoder.fuse(tokens, regions)[:, :, ::16], expected["fused_probe"], **LOOSE)


@torch.no_grad()
def test_qformer(encoder):
    expected = pack("qformer")
    states = encoder.qformer.hidden_states(normal("visual_embeds", 2, 257, 1408))
    close(states[-1], expected["last_hidden"])
    np.testing.assert_allclose([float(s.double().norm()) for s in states], expected["hidden_l2"], rtol=1e-5)
