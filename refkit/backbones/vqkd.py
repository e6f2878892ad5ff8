"""VQ-KD: a picture as a grid of codes from a learned vocabulary, the targets of masked image modeling.

Peng et al., "BEiT v2: Masked Image Modeling with Vector-Quantized Visual Tokenizers", 2022, section 2.2;
OneRef takes its released tokenizer as it is. Parameters have their published names; the transformer is timm's
``Beit``, whose blocks are the same. Its decoder is needed for training only: `refkit.models.VQKDPretrain`.

Notation: ``B`` batch, ``N`` patches, ``C`` width, ``K`` codes of ``D`` channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, broadcast
from timm.models.beit import Beit
from torch import Tensor, nn

from refkit.backbones.inputs import InputError
from refkit.backbones.state import StateDigest, WeightError, load_strictly, locate, read_state_dict
from refkit.registry import MODELS

Precision = Literal["float32", "bfloat16"]
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_TRICK = 0.1  # DINO's guard against a floor that yields one row less; it shifts the resized table
_ELSEWHERE = ("decoder.", "decode_task_layer.", "loss", "teacher", "scaling", "quantize.embedding.")
_OWN_CODEBOOK = "quantize.embedding.weight"
_INSIDE = "visual_tokenizer."


@dataclass(frozen=True, slots=True)
class VQKDSize:
    """All numbers that a visual tokenizer is built from.

    Attributes:
        width, layers, heads: of the encoder; its perceptrons are four times as wide.
        image_size, patch_size: side of the pictures that the position table is made for, and of a patch, in
            pixels.
        codes: entries of the codebook.
        code_width: channels of a code.
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    image_size: int = 224
    patch_size: int = 16
    codes: int = 8192
    code_width: int = 32

    def __post_init__(self) -> None:
        if min(getattr(self, field.name) for field in fields(self)) < 1:
            raise ValueError(f"size of VQ-KD: every number must be positive, got {self}")
        if self.width % self.heads or self.image_size % self.patch_size:
            raise ValueError(
                f"size of VQ-KD: width {self.width} must be a multiple of heads {self.heads}, image_size "
                f"{self.image_size} one of patch_size {self.patch_size}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid at ``image_size``."""
        side = self.image_size // self.patch_size
        return side, side


def vqkd_size(size: str | Mapping[str, Any] | VQKDSize) -> VQKDSize:
    """Sizes from ``base`` (the only published tokenizer), a mapping of `VQKDSize`'s fields, or the sizes.

    Raises:
        ValueError: another name, unknown fields, or numbers that do not fit each other.
    """
    if isinstance(size, VQKDSize):
        return size
    if isinstance(size, str):
        if size != "base":
            raise ValueError(f"no VQ-KD {size!r}; published: base, or give numbers")
        return VQKDSize()
    known = [field.name for field in fields(VQKDSize)]
    if unknown := sorted(set(size) - set(known)):
        raise ValueError(f"size of VQ-KD: unknown {', '.join(unknown)}; known: {', '.join(known)}")
    return VQKDSize(**size)


class Codebook(nn.Module):
    """``K`` directions; a vector is the one it is nearest to.

    Attributes:
        embedding: ``weight (K, D)``; unit rows where it was trained. It learns by moving averages, never by
            gradients.
        cluster_size: ``(K,)`` moving average of how many patches of a training batch a code stood for; all
            zero before the first batch.
    """

    cluster_size: Tensor

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, width)
        self.embedding.weight.requires_grad_(False)
        with torch.no_grad():
            self.embedding.weight.copy_(F.normalize(self.embedding.weight, dim=-1))
        self.register_buffer("cluster_size", torch.zeros(codes))

    @torch.no_grad()
    def learn(self, features: Tensor, codes: Tensor, decay: float) -> None:
        """Move every code that a batch used towards the mean of the vectors it stands for (BEiT v2).

        All processes must call it, and all arrive at the same codebook.

        Args:
            features: unit vectors ``(B, N, D)``.
            codes: ``(B, N)`` int64 that stand for them.
            decay: share of the old code that stays.
        """
        flat, index = features.float().flatten(0, 1), codes.flatten()
        counts = torch.zeros_like(self.cluster_size).index_add_(0, index, torch.ones_like(index).float())
        sums = torch.zeros_like(self.embedding.weight).index_add_(0, index, flat)
        all_reduce(counts)
        all_reduce(sums)
        self.cluster_size.lerp_(counts, 1 - decay)
        weight = self.embedding.weight
        target = torch.where(counts[:, None] > 0, F.normalize(sums, dim=-1), weight)
        weight.copy_(F.normalize(weight.lerp(target, 1 - decay), dim=-1))

    @torch.no_grad()
    def restart(self, features: Tensor, below: float) -> None:
        """Replace codes whose ``cluster_size`` is less than ``below`` by vectors of a batch, drawn at random.

        All processes must call it; the first one's vectors are taken.

        Args:
            features: unit vectors ``(B, N, D)``.
            below: patches of a batch; infinity for all codes, before the first batch.
        """
        dead = (self.cluster_size < below).nonzero().flatten()
        if not len(dead):
            return
        flat = features.float().flatten(0, 1)
        rounds = -(-len(dead) // len(flat))
        drawn = torch.cat([torch.randperm(len(flat), device=flat.device) for _ in range(rounds)])
        fresh = flat[drawn[: len(dead)]].contiguous()
        broadcast(fresh)
        self.embedding.weight[dead] = fresh
        self.cluster_size[dead] = len(flat) / len(self.cluster_size)

    def forward(self, features: Tensor) -> Tensor:
        """Index ``(B, N)`` int64 of the nearest code by squared distance, of unit vectors ``(B, N, D)``."""
        codebook = self.embedding.weight.float()
        lengths = codebook.square().sum(dim=1)
        # One picture at a time: with 8192 codes, the distances of a batch would be the largest tensor by far.
        nearest = [(lengths - 2 * rows @ codebook.T).argmin(dim=1) for rows in features.float()]
        return torch.stack(nearest)


@MODELS.register_module()
class VQKD(nn.Module):
    """Encoder and codebook of VQ-KD: pixels in, codes out.

    Args:
        size: ``base`` or numbers, see `VQKDSize`.
        weights: None (random) or a file: released, imported by ``refkit zoo import --layout vqkd``, or of a
            `VQKDPretrain`. What only training needs (decoder, statistics) is passed over.
        precision: in which the encoder computes codes, whatever the precision around it. Bfloat16 costs less
            and changes some codes.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] | VQKDSize = "base",
        weights: str | Path | None = None,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        if precision not in _PRECISIONS:
            raise ValueError(f"precision={precision!r}; expected one of {', '.join(_PRECISIONS)}")
        self.size = vqkd_size(size)
        self.precision = precision
        width = self.size.width
        self.encoder = transformer(self.size, self.size.layers)
        self.quantize = Codebook(self.size.codes, self.size.code_width)
        self.encode_task_layer = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, self.size.code_width)
        )
        self._digest = StateDigest()
        if weights is not None:
            load_strictly(self, tokenizer_state(weights), str(weights))

    def features(self, pixels: Tensor) -> Tensor:
        """What is compared with the codebook, before it is scaled to length one.

        Args:
            pixels: ``(B, 3, H, W)`` float in [0, 1], padding 0, not normalised.

        Returns:
            ``(B, N, D)`` float32.

        Raises:
            InputError: another shape, type or range.
        """
        _check_pixels(pixels, self.size.patch_size)
        tokens = patch_tokens(self.encoder, pixels * 255.0 / 127.5 - 1.0)
        return self.encode_task_layer(tokens).float()

    @torch.no_grad()
    def codes(self, pixels: Tensor) -> Tensor:
        """Codes ``(B, N)`` int64 of ``pixels`` (see `features`), row-major, in `precision`."""
        device, bfloat16 = pixels.device.type, self.precision == "bfloat16"
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            features = self.features(pixels)
        with torch.autocast(device, enabled=False):
            return self.quantize(F.normalize(features, dim=-1))

    def digest(self) -> str:
        """Hexadecimal digest of everything that decides about codes: weights, sizes, precision.

        It is computed again only after a weight has changed.
        """
        tensors = self.state_dict()
        del tensors["quantize.cluster_size"]
        return self._digest(tensors, f"{self.size} {self.precision}")


def transformer(size: VQKDSize, layers: int, patch_size: int | None = None, channels: int = 3) -> Beit:
    """One of VQ-KD's two transformers: absolute positions, no layer scale, a norm for the patch tokens only.

    Args:
        size: of the tokenizer.
        layers: number of blocks.
        patch_size: 1 for the decoder, whose picture is the grid of codes.
        channels: of the picture.
    """
    patch = size.patch_size if patch_size is None else patch_size
    return Beit(
        img_size=size.grid[0] * patch,
        patch_size=patch,
        in_chans=channels,
        num_classes=0,
        global_pool="avg",
        embed_dim=size.width,
        depth=layers,
        num_heads=size.heads,
    )


def patch_tokens(module: Any, picture: Tensor) -> Tensor:
    """Normalised patch tokens ``(B, N, C)`` of a `transformer` for a picture ``(B, channels, H, W)``."""
    patches = module.patch_embed.proj(picture)
    grid = patches.shape[-2], patches.shape[-1]
    class_token = module.cls_token.expand(len(patches), -1, -1)
    tokens = torch.cat((class_token.to(patches.dtype), patches.flatten(2).transpose(1, 2)), dim=1)
    tokens = tokens + resize_positions(module.pos_embed, grid)
    for block in module.blocks:
        tokens = block(tokens)
    return module.fc_norm(tokens[:, 1:])


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """A table ``(1, 1 + n, C)`` of a square grid, class position first, for another grid.

    Bicubic by the *scale factors* ``(rows + 0.1) / side`` and ``(columns + 0.1) / side``, corners not
    aligned: asking for the size instead gives other entries and so other codes (OneRef,
    ``modeling_vqkd.py``; spec 5.2). A table that fits is returned as it is.
    """
    side = round((positions.shape[1] - 1) ** 0.5)
    if (side, side) == tuple(grid):
        return positions
    planes = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    factors = tuple((length + _TRICK) / side for length in grid)
    resized = F.interpolate(planes, scale_factor=factors, mode="bicubic", align_corners=False)
    return torch.cat((positions[:, :1], resized.flatten(2).transpose(1, 2)), dim=1)


def tokenizer_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `VQKD` from a file of any of the kinds that it takes.

    Raises:
        WeightError: unreadable file, or none of a VQ-KD.
    """
    state = read_state_dict(locate(path))
    if any(name.startswith(_INSIDE) for name in state):
        state = {name: value for name, value in state.items() if name.startswith(_INSIDE)}
    state = {name.removeprefix(_INSIDE): value for name, value in state.items()}
    if _OWN_CODEBOOK not in state or not any(name.startswith("encoder.blocks.") for name in state):
        seen = ", ".join(sorted({name.split(".")[0] for name in state})[:8])
        raise WeightError(f"{path}: no VQ-KD in it (names begin with {seen})")
    return {
        name: value
        for name, value in state.items()
        if name == _OWN_CODEBOOK or not name.startswith(_ELSEWHERE)
    }


def _check_pixels(pixels: Tensor, patch: int) -> None:
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
        raise InputError(
            f"pixels of the visual tokenizer: expected floats (B, 3, H, W), got {pixels.dtype} "
            f"{tuple(pixels.shape)}"
        )
    if pixels.shape[-1] % patch or pixels.shape[-2] % patch:
        raise InputError(
            f"pixels of the visual tokenizer: {pixels.shape[-1]} x {pixels.shape[-2]} is not a multiple of "
            f"the patch, {patch}"
        )
    low, high = torch.stack(pixels.aminmax()).tolist()
    if low < 0 or high > 1:
        raise InputError(
            f"pixels of the visual tokenizer run from {low:.3g} to {high:.3g}: it takes [0, 1], not "
            "normalised pictures and not bytes"
        )
