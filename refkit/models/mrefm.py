"""MRefM: Mask Referring Modeling, OneRef's pre-training.

Xiao et al., "OneRef: Unified One-tower Expression Grounding and Segmentation with Mask Referring Modeling",
NeurIPS 2024, section 3.2. What is hidden is decided by the transforms of the data pipeline; here it is
predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from refkit.models.frozen import raw_pixels
from refkit.models.mask_targets import TargetMaker, required
from refkit.models.oneref import OneRef
from refkit.registry import MODELS
from refkit.structures import Features, ReferringSample

Preset = Literal["published", "paper"]

PRESETS: dict[str, dict[str, str]] = {
    "published": {
        "relation_losses": "off",
        "mlm_input": "raw",
        "relation_softmax": "double",
        "schedule": "alternate",
    },
    "paper": {
        "relation_losses": "on",
        "mlm_input": "product",
        "relation_softmax": "single",
        "schedule": "both",
    },
}
"""Values of the switches: what the released code and scripts do, and what the paper says."""

_SCHEDULES = ("alternate", "both")
_SETTINGS = {
    "patches": ("relation_losses",),
    "words": ("relation_losses", "mlm_input", "relation_softmax"),
}
_STEPS = {"patches": "image_step", "words": "text_step"}
_SEEN = ("images", "padding", "token_ids", "token_padding", "image_index")


@MODELS.register_module()
class MRefM(OneRef):
    """`OneRef` that predicts hidden patches (image step) and hidden words (text step).

    Beside the inputs of every model it reads those of the masking transforms: ``patch_masked (B, N)`` bool,
    ``masked_token_ids (B, T)`` int64 and ``token_masked (B, T)`` bool. Heads that hide nothing, like
    `SimilarityConstraintHead`, learn in both kinds of steps. Where a stage switches off all that hide
    (``without``), it is a fine-tuning in the same run. Weights saved from here are those of a `OneRef`
    with two more heads: ``model.backbone.weights`` of a fine-tuning takes backbone and projections from them.

    Args:
        backbone: `BEiT3Backbone`.
        heads: by name, among them a `MaskedImageHead`, a `MaskedTextHead` or both.
        visual_tokenizer: `VQKD` with its weights; what hidden patches were.
        relation_teacher: a `RelationTeacher` with its weights, for the semantic relation score where it has
            not been computed beforehand (``inputs["semantic_relation"]``).
        code_cache: folder of codes on disk, see `CachedCodes`; for pipelines without random geometry.
        preset: ``published`` or ``paper``: values of the switches that follow, see `PRESETS`.
        relation_losses: ``off`` or ``on``; None = as the preset has it, like all switches.
        mlm_input: ``raw`` or ``product``, see `MaskedTextHead`.
        relation_softmax: ``double`` or ``single``, see `MaskedTextHead`.
        schedule: ``alternate``: even optimizer steps are image steps, odd ones text steps; ``both``: every
            step is both, at the price of two passes. With one masked head alone, every step is of its kind.
        **settings: ``freeze``, ``data_preprocessor``, ``adapters``, ``without``, see `OneRef`.

    Attributes:
        step: number of the optimizer step from 0, within the stage of training where there are stages;
            `refkit.engine` keeps it up to date (`enter_step`).
        targets: tokenizer and teacher, see `TargetMaker`.
    """

    masks_patches = True

    def __init__(
        self,
        backbone: dict[str, Any],
        heads: dict[str, dict[str, Any]],
        visual_tokenizer: dict[str, Any] | None = None,
        relation_teacher: dict[str, Any] | None = None,
        code_cache: str | Path | None = None,
        preset: Preset = "published",
        relation_losses: Literal["off", "on"] | None = None,
        mlm_input: Literal["raw", "product"] | None = None,
        relation_softmax: Literal["double", "single"] | None = None,
        schedule: Literal["alternate", "both"] | None = None,
        **settings: Any,
    ) -> None:
        if preset not in PRESETS:
            raise ValueError(f"preset={preset!r}; expected one of {', '.join(PRESETS)}")
        chosen = {
            "relation_losses": relation_losses,
            "mlm_input": mlm_input,
            "relation_softmax": relation_softmax,
            "schedule": schedule,
        }
        switches = {name: chosen[name] or value for name, value in PRESETS[preset].items()}
        if switches["schedule"] not in _SCHEDULES:
            raise ValueError(f"schedule={schedule!r}; expected one of {', '.join(_SCHEDULES)}")
        super().__init__(backbone, _switched(heads, switches), **settings)
        if not any(_hides(head) for head in self.heads.values()):
            raise ValueError("MRefM has no head that predicts what is hidden; give it a MaskedImageHead")
        self.switches = switches
        self.targets = TargetMaker(visual_tokenizer, relation_teacher, code_cache)
        self.step = 0
        self._check_sizes()

    def enter_step(self, step: int) -> None:
        """Told before every optimizer step; ``step`` counts from 0."""
        self.step = step

    def hidden_now(self) -> tuple[str, ...]:
        """What is hidden in the current step: ``patches``, ``words``, one after the other, or nothing."""
        hiding = [head.hides for head in self.active_heads() if _hides(head)]
        kinds = tuple(kind for kind in _STEPS if kind in hiding)
        if len(kinds) < 2 or self.switches["schedule"] == "both":
            return kinds
        return (kinds[self.step % 2],)

    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """Losses of the current step; where it hides patches and words, equal names are added up.

        In a stage whose heads hide nothing, the step is one of fine-tuning.
        """
        kinds = self.hidden_now()
        if not kinds:
            return super().loss({name: inputs[name] for name in _SEEN if name in inputs}, data_samples)
        losses: dict[str, Tensor] = {}
        for kind in kinds:
            features = self.features(self.hide(inputs, kind))
            for name, value in self._losses(kind, features, inputs, data_samples).items():
                losses[name] = losses[name] + value if name in losses else value
        return losses

    def tensors(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As `OneRef` of what is given; and where patches or words are hidden, by the names of each step.

        With ``patch_masked``: ``image_step_…`` what `OneRef` names, ``mim_logits (K, codes)`` of the hidden
        patches, row-major, ``visual_relation_pred (B, N, 4)``, and with ``pixels`` also ``vq_codes (B, N)``.
        With ``masked_token_ids`` and ``token_masked``: ``text_step_…``, ``mlm_logits (K, V)`` of the hidden
        words and ``semantic_relation_logits (B, T - 2)``.
        """
        given = {"patches": "patch_masked", "words": "masked_token_ids"}
        kinds = [kind for kind, name in given.items() if name in inputs]
        if not kinds:
            return super().tensors({name: inputs[name] for name in _SEEN if name in inputs})
        named: dict[str, Tensor] = {}
        for kind in kinds:
            named.update(self._step_tensors(kind, inputs))
        return named

    def hide(self, inputs: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
        """What the backbone sees when ``patches`` or ``words`` are hidden."""
        seen = {name: inputs[name] for name in _SEEN if name in inputs}
        if kind == "patches":
            return {**seen, "patch_masked": required(inputs, "patch_masked").bool()}
        token_ids = inputs["token_ids"]
        seen.setdefault("token_padding", token_ids == self.backbone.pad_id)
        return {**seen, "token_ids": required(inputs, "masked_token_ids")[:, : token_ids.shape[1]]}

    def _losses(
        self,
        kind: str,
        features: Features,
        inputs: Mapping[str, Tensor],
        samples: Sequence[ReferringSample],
    ) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for head in self.active_heads():
            if not _hides(head):
                losses.update(head.loss(features, samples))
            elif head.hides == kind:
                targets = self._targets(head, features, inputs, samples)
                losses.update(head.loss(features, targets, self.step))
        return losses

    def _targets(
        self, head: Any, features: Features, inputs: Mapping[str, Tensor], samples: Sequence[ReferringSample]
    ) -> Any:
        if head.hides == "patches":
            return self.targets.patches(
                inputs, raw_pixels(inputs, self.data_preprocessor), samples, features.grid
            )
        asked = head.relating and self.targets.has_teacher
        pixels = raw_pixels(inputs, self.data_preprocessor) if asked else None
        text_mask: Any = features.text_mask
        return self.targets.words(inputs, pixels, samples, text_mask)

    def _step_tensors(self, kind: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        features = self.features(self.hide(inputs, kind))
        shared = {"similarity": features.similarity, "language_cls": features.sentence}
        own: dict[str, Tensor] = {}
        for head in self.active_heads():
            if not _hides(head):
                shared |= head.tensors(features)
            elif head.hides == kind:
                own |= head.tensors(features)
        for name, hidden in (("mim_logits", "patch_masked"), ("mlm_logits", "token_masked")):
            if name in own:
                own[name] = own[name][required(inputs, hidden).bool()[:, : own[name].shape[1]]]
        if kind == "patches" and "pixels" in inputs:
            own["vq_codes"] = self.targets.codes(inputs["pixels"])
        prefix = _STEPS[kind]
        return own | {f"{prefix}_{name}": value for name, value in shared.items() if value is not None}

    def _check_sizes(self) -> None:
        """Heads must name as many codes and words as there are."""
        codes, size = self.targets.code_count, getattr(self.backbone, "size", None)
        known = {
            "patches": ("codes", codes, "visual tokenizer"),
            "words": ("vocabulary", getattr(size, "vocab_size", None), "backbone"),
        }
        heads: dict[str, Any] = dict(self.heads)
        for name, head in heads.items():
            if _hides(head):
                argument, there, owner = known[head.hides]
                if there is not None and there != head.content.out_features:
                    raise ValueError(
                        f"heads.{name}: {argument}={head.content.out_features}, but the {owner} has {there}"
                    )


def _hides(head: Any) -> bool:
    return getattr(head, "hides", None) is not None


def _switched(
    heads: Mapping[str, Mapping[str, Any]], switches: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Configs of the heads with the switches that concern them; what a head's own config says wins."""
    result = {}
    for name, head in heads.items():
        kind = MODELS.get(head["type"]) if isinstance(head["type"], str) else head["type"]
        wanted = _SETTINGS.get(getattr(kind, "hides", None) or "", ())
        result[name] = {**{switch: switches[switch] for switch in wanted}, **head}
    return result
