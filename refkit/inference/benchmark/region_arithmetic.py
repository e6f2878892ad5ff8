"""Multiply-adds of DynRefer at its published sizes, counted on the meta device: no weights, no pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from refkit.backbones import EVATower, RegionEncoder
from refkit.backbones.region_align import DeformableAlign
from refkit.heads import CaptionHead, RegionContrastHead, T5Writer, TagHead
from refkit.inference.benchmark.absent import ATTRIBUTE_PROMPTS, CATEGORIES, TAGS
from refkit.inference.benchmark.counting import count_work
from refkit.models.dynrefer import DynRefer
from refkit.structures import Features

_BATCH = 16
_TEXT_WIDTH = 1024


@dataclass(frozen=True, slots=True)
class RegionWork:
    """GMAC per region of the parts of DynRefer.

    Attributes:
        embed, recognise, write: by part: from views to the embedding; by task; of the language model.
    """

    embed: dict[str, float]
    recognise: dict[str, float]
    write: dict[str, float]

    @property
    def parts(self) -> dict[str, float]:
        """All of them."""
        return {**self.embed, **self.recognise, **self.write}

    @property
    def embedding(self) -> float:
        """From views to the embedding."""
        return sum(self.embed.values())

    @property
    def recognition(self) -> tuple[str, ...]:
        """Tasks of the recognition heads."""
        return tuple(self.recognise)

    def total(self, tasks: Sequence[str] | None = None, captions: bool = True) -> float:
        """The whole path with some recognition tasks, by default all, and with captions or without."""
        recognised = sum(self.recognise[task] for task in (self.recognise if tasks is None else tasks))
        return self.embedding + recognised + (sum(self.write.values()) if captions else 0.0)


def published_model() -> DynRefer:
    """DynRefer with EVA ViT-g and FlanT5-XL on the meta device; what is not given has its published size."""
    names = [f"name {number}" for number in range(TAGS)]
    language_model = {"type": T5Writer}
    with torch.device("meta"):
        return DynRefer(
            backbone={"type": RegionEncoder, "tower": {"type": EVATower}},
            heads={
                "tag": {"type": TagHead, "tags": names},
                "contrast": {"type": RegionContrastHead, "categories": names[:CATEGORIES]},
                "caption": {"type": CaptionHead, "language_model": language_model, "tokenizer": None},
            },
        ).eval()


def count_region(beams: int, words: int, written: int) -> RegionWork:
    """The work of DynRefer at its published size, three views of a region, as refkit runs it.

    Args:
        beams: of the search.
        words: tokens of control words.
        written: tokens of the caption, its end included. Every one after the second is taken to cost as
            much as the second; attention to the few tokens before it is left out.
    """
    model = published_model()
    with torch.inference_mode():
        written_work = _caption(model, beams, words, written)
        return RegionWork(_embedding(model), _recognition(model), written_work)


def _embedding(model: DynRefer) -> dict[str, float]:
    encoder = model.backbone
    side, width, tokens = encoder.tower.image_size, encoder.tower.width, 1 + encoder.grid[0] * encoder.grid[1]
    # A small part, run really: sampling opens an autocast region, which the meta device does not have.
    align, cells = DeformableAlign(width), torch.zeros(encoder.views - 1, width, *encoder.grid)
    return {
        "tower": _gmac(lambda: encoder.embed_views({"views": _empty(1, encoder.views, 3, side, side)})),
        "align": _gmac(lambda: align(cells, cells)),
        "fusion": _gmac(lambda: encoder.fusion(_empty(1, tokens, width * encoder.views))),
        "Q-Former": _gmac(lambda: encoder.qformer(_empty(1, tokens, width))),
    }


def _recognition(model: DynRefer) -> dict[str, float]:
    """Per region where `_BATCH` share what depends on texts alone."""
    regions = _empty(_BATCH, model.backbone.qformer.queries, model.backbone.width)
    features = Features(regions, regions[..., 0].bool(), (1, regions.shape[1]), regions=regions)
    asked = {
        "tags": ("tag", TAGS),
        "attributes": ("contrast", ATTRIBUTE_PROMPTS),
        "categories": ("contrast", CATEGORIES),
    }
    return {
        task: _gmac(lambda: model.heads[head](features, _empty(texts, _TEXT_WIDTH))) / _BATCH  # noqa: B023
        for task, (head, texts) in asked.items()
    }


def _caption(model: DynRefer, beams: int, words: int, written: int) -> dict[str, float]:
    head: Any = model.heads["caption"]
    writer = head.language_model.model
    length = model.backbone.qformer.queries + words
    regions = _empty(1, model.backbone.qformer.queries, model.backbone.width)
    read = BaseModelOutput(_empty(beams, length, writer.config.d_model))
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    start = torch.zeros(beams, 1, dtype=torch.int64, device="meta")

    def step() -> Any:
        return writer(encoder_outputs=read, decoder_input_ids=start, past_key_values=cache, use_cache=True)

    first, second = _gmac(step), _gmac(step)
    prefix = _empty(1, length, writer.config.d_model)
    encoding = _gmac(lambda: writer.get_encoder()(inputs_embeds=prefix))
    return {
        "T5 encoder": _gmac(lambda: head.projection(regions)) + encoding,
        "first token": first,
        "other tokens": (written - 1) * second,
    }


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def _gmac(run: Callable[[], Any]) -> float:
    return count_work(run).gmac
