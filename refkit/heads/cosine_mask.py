"""Mask head of OneRef: patches up-sampled by learned convolutions, compared with the sentence pixel by pixel.

OneRef, section 3.4; official code ``models/`` (``seg_conv1`` … ``bn3``). Three transposed convolutions of
kernel and stride 2 divide every patch into 8 x 8 pixels; as no two of them overlap, each is one matrix
product per token, and batch normalisation is a scale and a shift of its columns. So everything is computed
on tokens, and the sentence is never copied to every pixel.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from refkit.heads.folded_norm import fold_batch, fold_running
from refkit.heads.mask_branch import MaskBranch, cells_to_map
from refkit.registry import MODELS
from refkit.structures import Features

_EPS = 1e-12


@MODELS.register_module()
class CosineMaskHead(MaskBranch):
    """Cosine of the sentence and every pixel, ``s(x, y) = e_t . F(x, y) / |F(x, y)|``.

    ``F = bn(deconv(relu(bn(deconv(… V)))))``: no ReLU after the last step. The cosines are used as logits, as
    published, which keeps all probabilities between 0.27 and 0.73.

    Args:
        width: channels of the tokens, and of the sentence.
        target: ``mask`` (OneRef) or ``box``, see `MaskBranch`.
        steps: how often the grid is doubled; 3 in OneRef (24 x 24 patches become 192 x 192 pixels).
        scale: factor of the cosines, an inverse temperature; 1 in OneRef. From random weights, more learns
            much faster: the losses can then come near zero.
        **settings: of `MaskBranch`: coefficients of the losses, mask rule, resolution.
    """

    needs = ("visual", "sentence")

    def __init__(
        self,
        *,
        width: int,
        target: Literal["box", "mask"] = "mask",
        steps: int = 3,
        scale: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(target=target, **settings)
        if steps < 1 or scale <= 0:
            raise ValueError(f"steps={steps}, scale={scale}; expected at least one step and a scale above 0")
        self.steps = steps
        self.scale = scale
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(width, width, kernel_size=2, stride=2, bias=False) for _ in range(steps)
        )
        # Over tokens (B * N, C) instead of maps (B, C, h, w): the same statistics and the same names.
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(steps))

    def forward(self, features: Features) -> Tensor:
        """Cosines times ``scale``, ``(B, 1, rows * 2 ** steps, columns * 2 ** steps)`` float32."""
        tokens = features.visual
        sentence = self._sentence(features)
        for step in range(self.steps - 1):
            tokens = self.upsample(tokens, step).relu_()
        # The last step is the largest by far: its output is not normalised, and in evaluation one of its four
        # parts is in memory at a time.
        maps, shift = self._folded(self.steps - 1, tokens)
        parts = [cosines(F.linear(tokens, part, shift), sentence) for part in maps]
        cells = torch.stack(parts, dim=-1)
        return cells_to_map(cells.flatten(1) * self.scale, features.grid, self.steps)

    def upsample(self, tokens: Tensor, step: int) -> Tensor:
        """Tokens ``(B, N, C)`` after convolution and normalisation of a step, before ReLU: ``(B, 4N, C)``.

        The four parts of a token stand side by side, row-major.
        """
        norm: Any = self.norms[step]
        if norm.training:
            divided = F.linear(tokens, self._maps(step).flatten(0, 1))
            return norm(divided.reshape(-1, tokens.shape[-1])).view(len(tokens), -1, tokens.shape[-1])
        maps, shift = self._folded(step, tokens)
        divided = F.linear(tokens, maps.flatten(0, 1), shift.repeat(len(maps)))
        return divided.reshape(len(tokens), -1, tokens.shape[-1])

    def tensors(self, features: Features) -> dict[str, Tensor]:
        """``mask_logits (B, 1, rows * 2 ** steps, columns * 2 ** steps)``."""
        return {"mask_logits": self(features)}

    def _folded(self, step: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Matrices ``(4, C, C)`` and shifts ``(C,)`` of a step with its normalisation folded in."""
        norm: Any = self.norms[step]
        return (
            fold_batch(norm, self._maps(step), tokens)
            if norm.training
            else fold_running(norm, self._maps(step))
        )

    def _maps(self, step: int) -> Tensor:
        """The kernel ``(in, out, 2, 2)`` of a step as ``(4, out, in)``: a matrix for each part of a token."""
        convolution: Any = self.convolutions[step]
        return convolution.weight.permute(2, 3, 1, 0).flatten(0, 1)

    def _sentence(self, features: Features) -> Tensor:
        sentence, width = features.sentence, features.visual.shape[-1]
        if sentence is None or sentence.shape[-1] != width:
            found = "none" if sentence is None else f"one of {sentence.shape[-1]} channels"
            raise ValueError(
                f"the cosine mask head compares patches of {width} channels with features.sentence, and "
                f"found {found}; it needs a backbone whose patches and sentence have one width, such as "
                "BEiT3Backbone"
            )
        return F.normalize(sentence.float(), dim=-1, eps=_EPS)


def cosines(tokens: Tensor, sentence: Tensor) -> Tensor:
    """Cosine ``(B, N)`` float32 of tokens ``(B, N, C)`` and a unit vector ``(B, C)`` of each sample."""
    with torch.autocast(tokens.device.type, enabled=False):
        return _Cosines.apply(tokens, sentence)


class _Cosines(torch.autograd.Function):
    """Keeps the tokens as they are, float32 or bfloat16: no normalised copy for the backward pass."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, sentence: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(tokens, dim=-1, dtype=torch.float32).clamp_min_(_EPS)
        cosine = torch.bmm(tokens.float(), sentence[..., None].float())[..., 0] / lengths
        ctx.save_for_backward(tokens, sentence, lengths, cosine)
        return cosine

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        tokens, sentence, lengths, cosine = ctx.saved_tensors
        dtype, weights = tokens.dtype, gradient / lengths
        to_tokens = torch.bmm(weights[..., None].to(dtype), sentence[:, None].to(dtype))
        to_tokens.addcmul_(tokens, (weights * cosine / lengths).to(dtype)[..., None], value=-1)
        to_sentence = torch.bmm(weights[:, None].to(dtype), tokens)[:, 0]
        return to_tokens, to_sentence.to(sentence.dtype)
