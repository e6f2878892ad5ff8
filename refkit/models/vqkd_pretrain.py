"""Training of a visual tokenizer: codes from which a teacher's features can be told.

Peng et al., "BEiT v2", 2022, section 2.2 and equation 3. A small twin needs a tokenizer of its own; the
released one stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.backbones.inputs import InputError
from refkit.backbones.vqkd import VQKD, patch_tokens, transformer
from refkit.losses.mask_referring import cosine_distance
from refkit.models.base import ReferringModel
from refkit.models.frozen import Frozen, raw_pixels
from refkit.models.headed import NoAnswerError
from refkit.registry import MODELS
from refkit.structures import Prediction, ReferringSample


@MODELS.register_module()
class VQKDPretrain(ReferringModel):
    """`VQKD` with a decoder that maps codes to the patch features of a frozen CLIP.

    Args:
        visual_tokenizer: `VQKD`; weights saved from here are what its ``weights`` reads.
        teacher: `CLIPBackbone` with ``weights``, on the same patch grid; its pixel statistics are those of
            the data preprocessor.
        decoder_layers: blocks of the decoder; 3 as published.
        decay: of the codebook's moving averages; 0.99 as published.
        restart_below: codes that stand for fewer patches of a batch, on average, begin again as vectors of
            the batch. BEiT v2 has nothing like it (0); a small encoder that learns fast soon uses few codes
            without it.
        commitment: coefficient of the distance between a vector and its code; 1 as published.
        freeze: see `ReferringModel`.
        data_preprocessor: see `ReferringModel`.
    """

    def __init__(
        self,
        visual_tokenizer: Mapping[str, Any],
        teacher: Mapping[str, Any],
        decoder_layers: int = 3,
        decay: float = 0.99,
        restart_below: float = 0.0,
        commitment: float = 1.0,
        freeze: Sequence[str] = (),
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__(data_preprocessor, freeze)
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: expected a share in [0, 1)")
        self.decay = decay
        self.restart_below = restart_below
        self.commitment = commitment
        self.teacher = Frozen({**teacher, "pooled": True})  # pooled: with all blocks and the projection
        self.visual_tokenizer: VQKD = MODELS.build(dict(visual_tokenizer))
        size, width = self.visual_tokenizer.size, self.visual_tokenizer.size.width
        self.decoder = transformer(size, decoder_layers, patch_size=1, channels=size.code_width)
        self.decode_task_layer = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, self.teacher.module.size.embed)
        )
        self.apply_freeze()

    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_reconstruction``, ``loss_commitment``, and the figure ``code_perplexity``.

        The perplexity of the batch's codes is the number of codes that it uses evenly; the codebook learns in
        training mode only.
        """
        vectors = self._vectors(inputs)
        book = self.visual_tokenizer.quantize
        if self.training and not book.cluster_size.any():
            book.restart(vectors.detach(), torch.inf)
        codes = book(vectors.detach())
        nearest = book.embedding(codes)  # a copy: what the codebook learns now is for the next batch
        if self.training:
            book.learn(vectors.detach(), codes, self.decay)
            book.restart(vectors.detach(), self.restart_below)
        # Straight through: the decoder sees codes, the encoder gets its gradient as if it had been seen.
        decoded = self._decode(vectors + (nearest - vectors).detach())
        return {
            "loss_reconstruction": cosine_distance(decoded, self._target(inputs)),
            "loss_commitment": self.commitment * F.mse_loss(vectors, nearest),
            "code_perplexity": _perplexity(codes, len(book.cluster_size)),
        }

    def predict(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> list[Prediction]:
        """Not what this model is for.

        Raises:
            NoAnswerError: always.
        """
        raise NoAnswerError(
            "VQKDPretrain trains a visual tokenizer and says nothing about where something is; give its "
            "weights to the visual_tokenizer of MRefM"
        )

    def tensors(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``vq_codes (B, N)`` and the features they stand for, ``reconstruction (B, N, D)``."""
        vectors = self._vectors(inputs)
        codes = self.visual_tokenizer.quantize(vectors)
        nearest = self.visual_tokenizer.quantize.embedding(codes)
        return {"vq_codes": codes, "reconstruction": self._decode(nearest)}

    def _vectors(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Unit vectors ``(B, N, D)`` of the patches, to be replaced by codes."""
        return F.normalize(self.visual_tokenizer.features(raw_pixels(inputs, self.data_preprocessor)), dim=-1)

    def _decode(self, vectors: Tensor) -> Tensor:
        rows, columns = self.visual_tokenizer.size.grid
        tokens = patch_tokens(self.decoder, vectors.transpose(1, 2).unflatten(2, (rows, columns)))
        return self.decode_task_layer(tokens).float()

    @torch.no_grad()
    def _target(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The teacher's patch features ``(B, N, D)`` in the space it shares with words."""
        images = inputs["images"]
        no_words = torch.zeros(len(images), 1, dtype=torch.int64, device=images.device)
        teacher = self.teacher.on(images.device)
        features = teacher({"images": images, "token_ids": no_words})
        if features.grid != self.visual_tokenizer.size.grid:
            raise InputError(
                f"the teacher has a patch grid of {features.grid}, the visual tokenizer one of "
                f"{self.visual_tokenizer.size.grid}: give both the same image and patch size"
            )
        target: Tensor = teacher.project_visual(features.visual)
        return target


def _perplexity(codes: Tensor, count: int) -> Tensor:
    """``exp(-sum p log p)`` of how often each of ``count`` codes occurs."""
    shares = torch.bincount(codes.flatten(), minlength=count) / codes.numel()
    return torch.special.entr(shares).sum().exp()
