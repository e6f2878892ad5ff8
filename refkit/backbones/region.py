"""Views of a region in, its embedding out: tower, RoIAlign, align module, fusion and Q-Former of DynRefer.

Zhao et al., "DynRefer: Delving into Region-level Multimodal Tasks via Dynamic Resolution", CVPR 2025,
section 3.2. Notation: ``B`` regions of a batch, ``V`` views of each, ``S`` side of a view in pixels, ``D``
channels of the tower, ``N`` patches of a view, ``Q`` tokens of an embedding, ``C`` their channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from refkit.backbones.inputs import InputError
from refkit.backbones.qformer import QFormer
from refkit.backbones.region_align import DeformableAlign
from refkit.registry import MODELS
from refkit.structures import Features

_SAMPLES = 2
_PRECISIONS = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}


@MODELS.register_module()
class RegionEncoder(nn.Module):
    """Embeds regions from one or several nested views of each.

    Args:
        tower: config of a vision tower (`EVATower`, `CLIPTower`, `BEiT3Tower`, `TimmTower`).
        views: ``V``; the width of the fusion depends on it.
        align: bring views 2 to ``V`` to the first by `DeformableAlign`; without it, they are fused as they
            are (tables 7 and 8 of the paper).
        align_groups: of `DeformableAlign`.
        qformer: further settings of `QFormer`.
        tower_precision: ``float32``, or ``float16`` or ``bfloat16`` to run the tower under autocast. The
            published numbers were made with a tower in float16 and all that follows in float32.

    Attributes:
        width: ``C`` of ``Features.regions``.
    """

    def __init__(
        self,
        tower: Mapping[str, Any],
        views: int = 3,
        align: bool = True,
        align_groups: int = 4,
        qformer: Mapping[str, Any] | None = None,
        tower_precision: str = "float32",
    ) -> None:
        super().__init__()
        if views < 1 or tower_precision not in _PRECISIONS:
            raise ValueError(
                f"RegionEncoder: views={views}, tower_precision={tower_precision!r}; expected at least one "
                f"view and one of {', '.join(_PRECISIONS)}"
            )
        self.tower = MODELS.build(dict(tower))
        self.views = views
        self.precision = _PRECISIONS[tower_precision]
        visual = self.tower.width
        self.norm = nn.LayerNorm(visual)
        self.align = DeformableAlign(visual, align_groups) if align and views > 1 else None
        self.fusion = nn.Sequential(nn.Linear(views * visual, visual), nn.ReLU(), nn.Linear(visual, visual))
        self.qformer = QFormer(visual, **(qformer or {}))
        self.width = self.qformer.width

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of a view."""
        side = self.tower.image_size // self.tower.patch_size
        return side, side

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """Embeddings of regions.

        Args:
            inputs: ``regions (B, V, 4)`` float, the box of the region inside each view, xyxy in pixels of
                the view; and either ``views (B, V, 3, S, S)``, normalised floats, the first view being what
                the others are brought to, or ``views (U, 3, S, S)`` with ``view_index (B, V)`` int64 where
                regions share views, each of which then goes through the tower once.

        Returns:
            ``regions (B, Q, C)``; ``visual (B, N, D)`` the fused patches over ``grid``; ``image (B, D)`` the
            fused class token.

        Raises:
            InputError: inputs that do not fit each other or the model.
        """
        self._check(inputs)
        fused = self.fuse(self.embed_views(inputs), inputs["regions"])
        patches = fused[:, 1:]
        return Features(
            visual=patches,
            visual_mask=patches.new_ones(patches.shape[:2], dtype=torch.bool),
            grid=self.grid,
            image=fused[:, 0],
            regions=self.qformer(fused),
        )

    def embed_views(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Normalised tokens ``(B, V, 1 + N, D)`` of all views."""
        views, index = inputs["views"], inputs.get("view_index")
        flat = views if index is not None else views.flatten(0, 1)
        with torch.autocast(flat.device.type, self.precision) if self.precision else nullcontext():
            tokens = self.tower(flat)
        tokens = self.norm(tokens.float())
        return tokens[index] if index is not None else tokens.unflatten(0, views.shape[:2])

    def align_views(self, tokens: Tensor, regions: Tensor) -> Tensor:
        """Region features of every view, brought to the first: ``(B, V, D, h, w)``.

        Args:
            tokens: ``(B, V, 1 + N, D)``.
            regions: ``(B, V, 4)``.
        """
        batch, views = tokens.shape[:2]
        maps = tokens[:, :, 1:].flatten(0, 1).transpose(1, 2).unflatten(2, self.grid)
        number = torch.arange(len(maps), device=maps.device, dtype=maps.dtype)
        boxes = torch.cat((number[:, None], regions.flatten(0, 1).to(maps.dtype)), dim=1)
        cells = roi_align(maps, boxes, self.grid, 1 / self.tower.patch_size, _SAMPLES, aligned=False)
        cells = cells.unflatten(0, (batch, views))
        if self.align is None:
            return cells
        others = views - 1
        reference = cells[:, :1].expand(-1, others, -1, -1, -1)
        aligned = self.align(reference.flatten(0, 1), cells[:, 1:].flatten(0, 1))
        return torch.cat((cells[:, :1], aligned.unflatten(0, (batch, others))), dim=1)

    def fuse(self, tokens: Tensor, regions: Tensor) -> Tensor:
        """Views by channels through the perceptron: ``(B, V, 1 + N, D)`` to ``(B, 1 + N, D)``.

        The class tokens, which no box cuts out, are fused like the patches.
        """
        cells = self.align_views(tokens, regions).flatten(3).transpose(2, 3)
        joined = torch.cat((tokens[:, :, :1], cells), dim=2)
        return self.fusion(joined.transpose(1, 2).flatten(2))

    def _check(self, inputs: Mapping[str, Tensor]) -> None:
        for name in ("views", "regions"):
            if name not in inputs:
                raise InputError(f"inputs have no {name!r} (found: {', '.join(inputs) or 'nothing'})")
        views, regions, index = inputs["views"], inputs["regions"], inputs.get("view_index")
        rows = regions.shape[:1]
        side = self.tower.image_size
        if regions.shape != (*rows, self.views, 4) or not regions.is_floating_point():
            raise InputError(
                f"regions: expected floats (B, {self.views}, 4), one box per view, got {regions.dtype} "
                f"{tuple(regions.shape)}"
            )
        picture = (3, side, side)
        expected = (len(views), *picture) if index is not None else (*rows, self.views, *picture)
        if views.shape != expected or not views.is_floating_point():
            raise InputError(f"views: expected floats {expected}, got {views.dtype} {tuple(views.shape)}")
        if index is not None and index.shape != (*rows, self.views):
            raise InputError(f"view_index: expected {(*rows, self.views)}, got {tuple(index.shape)}")
