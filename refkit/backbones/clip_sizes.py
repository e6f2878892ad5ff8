"""How large a CLIP is: explicit numbers, or the name of a published model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import CLIPConfig

OPENAI_NAMES = {
    "openai/clip-vit-base-patch32": "ViT-B-32",
    "openai/clip-vit-base-patch16": "ViT-B-16",
    "openai/clip-vit-large-patch14": "ViT-L-14",
    "openai/clip-vit-large-patch14-336": "ViT-L-14-336",
}
"""transformers' names of models whose sizes open_clip lists too, so that no network is needed for them."""


# What open_clip says about a CLIP of the original architecture; any other key is a different architecture.
_VISION_KEYS = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout"}
_TEXT_KEYS = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_TOP_KEYS = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}


class CLIPSizeError(ValueError):
    """Sizes that do not describe a CLIP, or a name that nothing knows."""


@dataclass(frozen=True, slots=True)
class TowerSize:
    """Width, depth and heads of one transformer; ``feedforward`` is four times the width unless given."""

    width: int
    layers: int
    heads: int
    feedforward: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise CLIPSizeError(f"width {self.width} cannot be split over {self.heads} heads")
        if not self.feedforward:
            object.__setattr__(self, "feedforward", 4 * self.width)


@dataclass(frozen=True, slots=True)
class CLIPSize:
    """All numbers that a CLIP is built from.

    Attributes:
        embed: width of the space shared by pictures and sentences.
        image_size, patch_size: side of the square input and of a patch, in pixels.
        vision, text: the two towers.
        vocab_size, context_length: ids and positions of the text tower.
        activation: ``quick_gelu`` (OpenAI's weights) or ``gelu``.
    """

    embed: int
    image_size: int
    patch_size: int
    vision: TowerSize
    text: TowerSize
    vocab_size: int = 49408
    context_length: int = 77
    activation: str = "quick_gelu"

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise CLIPSizeError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid."""
        side = self.image_size // self.patch_size
        return side, side

    def to_config(self) -> CLIPConfig:
        """transformers' configuration of the same model."""
        from transformers import CLIPConfig

        return CLIPConfig(
            projection_dim=self.embed,
            vision_config={
                **_tower_config(self.vision, self.activation),
                "image_size": self.image_size,
                "patch_size": self.patch_size,
                "projection_dim": self.embed,
            },
            text_config={
                **_tower_config(self.text, self.activation),
                "vocab_size": self.vocab_size,
                "max_position_embeddings": self.context_length,
                "projection_dim": self.embed,
                "bos_token_id": self.vocab_size - 2,
                "eos_token_id": self.vocab_size - 1,
                "pad_token_id": 0,
            },
        )


def clip_size(size: str | Mapping[str, Any] | CLIPSize) -> CLIPSize:
    """Sizes from a mapping of numbers or a model's name.

    Names are open_clip's (``ViT-B-16``) or transformers' (``openai/clip-vit-base-patch16``, or a local
    folder with a ``config.json``). The four OpenAI models and all of open_clip's need no network.

    Raises:
        CLIPSizeError: an unknown name (the nearest one is offered) or numbers that do not fit together.
    """
    if isinstance(size, CLIPSize):
        return size
    if isinstance(size, Mapping):
        return _from_numbers(size)
    import open_clip

    config = open_clip.get_model_config(OPENAI_NAMES.get(size, size))
    if config is not None:
        return _from_open_clip(size, config)
    if "/" in size:
        return _from_transformers(size)
    known = [*open_clip.list_models(), *OPENAI_NAMES]
    near = difflib.get_close_matches(size, known, n=3)
    raise CLIPSizeError(f"no CLIP is called {size!r}; near: {', '.join(near) or 'nothing'}")


def _tower_config(tower: TowerSize, activation: str) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "intermediate_size": tower.feedforward,
        "hidden_act": activation,
    }


def _from_numbers(size: Mapping[str, Any]) -> CLIPSize:
    numbers = dict(size)
    try:
        for tower in ("vision", "text"):
            if isinstance(numbers.get(tower), Mapping):
                numbers[tower] = TowerSize(**numbers[tower])
        return CLIPSize(**numbers)
    except TypeError as error:
        raise CLIPSizeError(f"CLIP sizes {dict(size)}: {error}") from error


def _from_open_clip(name: str, config: dict[str, Any]) -> CLIPSize:
    vision, text = config["vision_cfg"], config["text_cfg"]
    other = [*(vision.keys() - _VISION_KEYS), *(text.keys() - _TEXT_KEYS), *(config.keys() - _TOP_KEYS)]
    if other or not isinstance(vision.get("layers"), int):
        found = ", ".join(sorted({*other})) or "no transformer"
        raise CLIPSizeError(f"{name!r} is not a plain CLIP (its description has {found})")
    head_width = vision.get("head_width", 64)
    return CLIPSize(
        embed=config["embed_dim"],
        image_size=vision["image_size"],
        patch_size=vision["patch_size"],
        vision=TowerSize(
            vision["width"],
            vision["layers"],
            vision["width"] // head_width,
            int(vision["width"] * vision.get("mlp_ratio", 4.0)),
        ),
        text=TowerSize(
            text["width"], text["layers"], text["heads"], int(text["width"] * text.get("mlp_ratio", 4.0))
        ),
        vocab_size=text.get("vocab_size", 49408),
        context_length=text.get("context_length", 77),
    )


def _from_transformers(name: str) -> CLIPSize:
    from transformers import CLIPConfig

    config: Any = CLIPConfig.from_pretrained(name)
    vision, text = config.vision_config, config.text_config
    return CLIPSize(
        embed=config.projection_dim,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        vision=_tower_of(vision),
        text=_tower_of(text),
        vocab_size=text.vocab_size,
        context_length=text.max_position_embeddings,
        activation=vision.hidden_act,
    )


def _tower_of(config: Any) -> TowerSize:
    return TowerSize(
        config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size
    )
