"""Texts to embeddings by the text half of a CLIP, and tables of them that are computed once per machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextModel

from refkit.backbones.clip_sizes import CLIPSize, clip_size
from refkit.backbones.clip_weights import clip_weights
from refkit.backbones.state import StateDigest, load_strictly
from refkit.backbones.text_table import TextTables
from refkit.backbones.tokenizer import Tokenizer, TokenizerError
from refkit.registry import MODELS

_TEXT = "text_model."
_BATCH = 256


@MODELS.register_module()
class CLIPTextEncoder(nn.Module):
    """The text half of a CLIP, transformers' ``CLIPTextModel`` inside.

    Args:
        size: numbers, or the name of a published CLIP, see `clip_size`; its vision half is not built.
        tokenizer: config or object; must be the one the weights were trained with.
        projection: into the space shared with pictures; DynRefer's ViT-L models read what comes before it.
        weights: None (random), a file, a transformers name or an open_clip tag.
        cache: folder for tables of embeddings, see `TextTables`; without it, nothing is written.

    Attributes:
        width: channels of an embedding.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] | CLIPSize,
        tokenizer: Mapping[str, Any] | Tokenizer,
        projection: bool = True,
        weights: str | Path | None = None,
        cache: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.size = numbers = clip_size(size)
        self.tokenizer: Tokenizer = (
            MODELS.build(dict(tokenizer)) if isinstance(tokenizer, Mapping) else tokenizer
        )
        config: Any = numbers.to_config().text_config
        self.text_model: Any = CLIPTextModel(config)
        self.text_projection = (
            nn.Linear(numbers.text.width, numbers.embed, bias=False) if projection else None
        )
        self.width = numbers.embed if projection else numbers.text.width
        self.tables = TextTables(cache) if cache is not None else None
        self._digest = StateDigest()
        if weights is not None:
            state = clip_weights(size if isinstance(size, str) else "", weights)
            kept = {name: v for name, v in state.items() if name.startswith((_TEXT, "text_projection."))}
            spare = () if projection else ("text_projection.*",)
            load_strictly(self, kept, str(weights), allow_unexpected=spare)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Embeddings ``(B, width)`` float32, not normalised, of ``token_ids (B, T)`` int64.

        The text ends at the first position of the largest id. The tower is causal, so padding behind the
        longest text is left out, which changes nothing.
        """
        ends = token_ids.argmax(dim=-1)
        token_ids = token_ids[:, : int(ends.max()) + 1]
        with torch.autocast(token_ids.device.type, enabled=False):
            hidden = self.text_model.embeddings(input_ids=token_ids)
            for block in self.text_model.encoder.layers:
                hidden = block(hidden, None, is_causal=True)
            last = hidden[torch.arange(len(hidden), device=hidden.device), ends]
            last = self.text_model.final_layer_norm(last)
            return last if self.text_projection is None else self.text_projection(last)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings ``(P, width)`` of texts, with gradients where the tower is trained.

        Raises:
            TokenizerError: a text without a single word.
        """
        device = self.text_model.final_layer_norm.weight.device
        return self(self.tokenizer(list(texts)).to(device))

    @torch.no_grad()
    def table(self, texts: Sequence[str]) -> Tensor:
        """Embeddings ``(P, width)`` of a list that is asked for again and again: from disk if it is there.

        Raises:
            TokenizerError: a text without a single word, or with none that the vocabulary has.
        """
        if self.tables is None:
            return self._compute(texts)
        device = self.text_model.final_layer_norm.weight.device
        return self.tables.get(self.digest(), texts, lambda: self._compute(texts)).to(device)

    def digest(self) -> str:
        """Hexadecimal digest of everything that decides about embeddings: weights and vocabulary."""
        tokenizer = self.tokenizer
        words = getattr(tokenizer, "words", None) or getattr(tokenizer, "content", "")
        about = f"{type(tokenizer).__name__} {tokenizer.context_length} {tokenizer.vocab_size} {words}"
        config = self.text_model.config
        about += f" {config.num_attention_heads} {config.hidden_act} {config.layer_norm_eps}"
        return self._digest(self.state_dict(), about)

    def _compute(self, texts: Sequence[str]) -> Tensor:
        self._require_known(texts)
        starts = range(0, len(texts), _BATCH)
        bar = tqdm(
            starts, "embed texts", unit_scale=_BATCH, unit=" texts", delay=2.0, disable=None, leave=False
        )
        was_training, _ = self.training, self.eval()
        parts = [self.encode(texts[start : start + _BATCH]) for start in bar]
        self.train(was_training)
        return torch.cat(parts)

    def _require_known(self, texts: Sequence[str]) -> None:
        """Names that a closed vocabulary reads as unknown words alone would all be the same."""
        unknown = getattr(self.tokenizer, "unk_id", None)
        if unknown is None:
            return
        for text, words in zip(texts, self.tokenizer.encode(list(texts)), strict=True):
            if words and set(words) == {unknown}:
                raise TokenizerError(
                    f"{text!r} has no word that the text encoder knows: take other words for it"
                )
