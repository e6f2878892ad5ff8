"""Bring the region of one view to where it is in another: DynRefer's align module on a portable operator.

DynRefer, section 3.2 and appendix; the released code uses DCNv4, whose arithmetic is reproduced here with
``grid_sample``, so that no extension has to be built. (torchvision's ``deform_conv2d`` gives the same values,
but as a depthwise convolution its way back took seven to thirteen times as long on a CPU.)

Notation: ``M`` pairs of views, ``D`` channels, ``h, w`` cells of the grid, ``G`` groups of channels,
``P = 9`` taps of a 3 x 3 kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SIDE = 3
_TAPS = _SIDE * _SIDE
_PER_GROUP = 3 * _TAPS
_MULTIPLE = 8  # the released layer is padded to a multiple of this; what is beyond is never read


def deformable_sampling(value: Tensor, offset_mask: Tensor, groups: int) -> Tensor:
    """Weighted sums of bilinear samples around every cell; DCNv4 with kernel 3, stride 1, padding 1.

    Cell ``(y, x)`` of a group gets ``sum_p weight_p * value(y - 1 + j + dy_p, x - 1 + i + dx_p)`` over the
    taps ``p = 3 i + j`` (``i`` column, ``j`` row). Weights are neither normalised nor squashed; beyond the
    grid is zero. Computed in float32.

    Args:
        value: ``(M, D, h, w)``.
        offset_mask: ``(M, h, w, at least 27 G)``; for every group 9 pairs ``(dx, dy)`` in cells and then 9
            weights. Channels beyond are ignored.
        groups: ``G``, divides ``D``.

    Returns:
        ``(M, D, h, w)`` in the type of ``value``.
    """
    pairs, channels, height, width = value.shape
    parts = offset_mask[..., : groups * _PER_GROUP].float().unflatten(-1, (groups, _PER_GROUP))
    offsets, weights = parts[..., : 2 * _TAPS].unflatten(-1, (_TAPS, 2)), parts[..., 2 * _TAPS :]
    with torch.autocast(value.device.type, enabled=False):
        grid = _places(height, width, value.device) + offsets
        # grid_sample counts from -1 at the first cell to 1 at the last.
        span = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=value.device)
        grid = (2 * grid / span - 1).permute(0, 3, 1, 2, 4, 5).reshape(pairs * groups, height, -1, 2)
        grouped = value.float().reshape(pairs * groups, channels // groups, height, width)
        taps = F.grid_sample(grouped, grid, padding_mode="zeros", align_corners=True)
        taps = taps.view(pairs, groups, channels // groups, height, width, _TAPS)
        sampled = torch.einsum("mgchwp,mhwgp->mgchw", taps, weights)
    return sampled.reshape(pairs, channels, height, width).to(value.dtype)


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """``(h, w, 1, P, 2)``: where ``(x, y)`` the taps of every cell stand before they are moved, in cells."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    tap = torch.arange(_TAPS, device=device)
    taps = torch.stack((tap // _SIDE, tap % _SIDE), dim=-1) - 1
    return torch.stack((x, y), dim=-1)[:, :, None, None] + taps


class DeformableAlign(nn.Module):
    """One view's region features resampled to fit another's; names as published (``cvem_align``).

    It starts as zeros: `offset_mask` begins at zero, so all weights do.

    Args:
        width: channels ``D`` of the features.
        groups: that share offsets and weights; 4 in DynRefer.
    """

    def __init__(self, width: int, groups: int = 4) -> None:
        super().__init__()
        if width % groups:
            raise ValueError(f"align: width {width} cannot be split over {groups} groups")
        self.groups = groups
        self.value_proj = nn.Linear(width, width)
        # 2 D channels in, D groups: output c reads channels 2 c and 2 c + 1 of [view, reference], so the
        # first half of the outputs sees the view alone and the second half the reference (as released).
        self.offset_mask_dw = nn.Conv2d(2 * width, width, 3, padding=1, groups=width)
        self.offset_mask = nn.Linear(width, -(-groups * _PER_GROUP // _MULTIPLE) * _MULTIPLE)
        self.output_proj = nn.Linear(width, width)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.offset_mask.weight)
        nn.init.zeros_(self.offset_mask.bias)

    def forward(self, reference: Tensor, view: Tensor) -> Tensor:
        """``view (M, D, h, w)`` aligned to ``reference (M, D, h, w)``: ``(M, D, h, w)``."""
        value = self.value_proj(view.movedim(1, -1)).movedim(-1, 1)
        sampled = deformable_sampling(value, self.offsets(reference, view), self.groups)
        aligned: Tensor = self.output_proj(sampled.movedim(1, -1)).movedim(-1, 1)
        return aligned

    def offsets(self, reference: Tensor, view: Tensor) -> Tensor:
        """``(M, h, w, channels)`` as `deformable_sampling` takes it."""
        mixed = self.offset_mask_dw(torch.cat((view, reference), dim=1))
        return self.offset_mask(mixed.movedim(1, -1))
