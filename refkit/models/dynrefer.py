"""DynRefer: regions at a resolution that changes, embedded once, described by one head per task.

Zhao et al., "DynRefer: Delving into Region-level Multimodal Tasks via Dynamic Resolution", CVPR 2025.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from refkit.data.validation import nearest
from refkit.heads.caption import CaptionHead, matched_text_of, prompt_of
from refkit.heads.recogniser import RecognitionHead
from refkit.heads.vocabulary import Names, Vocabulary
from refkit.models.compact import store_as_run
from refkit.models.headed import HeadedModel, NoAnswerError, merged
from refkit.registry import MODELS
from refkit.structures import Features, Prediction, ReferringSample

TASKS = ("tags", "attributes", "categories", "caption")
"""What a region can be asked for: fields of `Prediction`."""

FROZEN = (
    "backbone.tower",
    "backbone.norm",
    "backbone.qformer.query_tokens",
    "text_encoder",
    "heads.caption.language_model",
)
"""What DynRefer does not train, queries and the norm of the tower included (spec of the checkpoints, 9)."""

_RECOGNISERS = {
    "tags": "TagHead",
    "attributes": "RegionContrastHead",
    "categories": "RegionContrastHead",
}


class TaskError(ValueError):
    """A task that a model has no head for, or names for one that it does not answer."""


@MODELS.register_module()
class DynRefer(HeadedModel):
    """Nested views of regions in; tags, attributes, categories and captions out.

    Args:
        backbone: `RegionEncoder`.
        heads: by name: `TagHead`, `RegionContrastHead`, `CaptionHead`; their ``width`` is the backbone's.
        text_encoder: `CLIPTextEncoder`, for what the recognition heads compare regions with.
        tasks: answered by default; all that the heads can do unless given.
        freeze: names of parts that are not trained and stay in evaluation mode; by default those of `FROZEN`
            that the model has.
        lively: names of frozen modules whose dropout works in training all the same. The released code
            freezes ``heads.caption.language_model`` and leaves it in training mode.
        data_preprocessor: see MMEngine.
        adapters: `HiLoRA`, for the language model for example, see `ReferringModel`.
        without: names of heads that are switched off (``heads.caption``).
        compact: store frozen matrices of tower and language model in the half precision in which they are
            run (``tower_precision``, ``precision`` of the caption head): the same results in half the memory.
    """

    reads_text = False

    def __init__(
        self,
        backbone: dict[str, Any],
        heads: dict[str, dict[str, Any]],
        text_encoder: dict[str, Any] | None = None,
        tasks: Sequence[str] | None = None,
        freeze: Sequence[str] | None = None,
        lively: Sequence[str] = (),
        data_preprocessor: Any = None,
        adapters: dict[str, Any] | None = None,
        without: Sequence[str] = (),
        compact: bool = False,
    ) -> None:
        super().__init__(data_preprocessor, (), adapters, without)
        self.backbone = MODELS.build(backbone)
        self.heads = self.build_heads(heads, self.backbone.width)
        self.text_encoder: Any = None if text_encoder is None else MODELS.build(text_encoder)
        self._check_widths()
        self.tasks = self._answerable() if tasks is None else self._checked(tasks)
        self._prompts: dict[str, dict[str, list[str]]] = {}
        self.lively = tuple(lively)
        self.freeze = self._present(FROZEN) if freeze is None else tuple(freeze)
        self._require_modules("lively", self.lively)
        self.register_load_state_dict_post_hook(_forget_tables)
        self.apply_freeze()
        if compact:
            self._store_as_run()

    def features(self, inputs: Mapping[str, Tensor], attention: bool = False) -> Features:
        """Embeddings of the regions; there are no maps to ask for."""
        return self.backbone(inputs)

    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """Losses of all heads; see there for what they read from the samples."""
        features = self.features(inputs)
        heads = self.active_heads()
        self._fill_tables(heads, ("tags",))
        if any("sentence" in head.needs for head in heads):
            features.sentence = self._texts().encode([matched_text_of(sample) for sample in data_samples])
        losses: dict[str, Tensor] = {}
        for head in heads:
            losses.update(head.loss(features, data_samples))
        return losses

    @torch.no_grad()
    def predict(
        self,
        inputs: dict[str, Tensor],
        data_samples: Sequence[ReferringSample],
        tasks: Sequence[str] | None = None,
    ) -> list[Prediction]:
        """One answer per region; only the heads that the tasks need are run.

        Tags that a head finds lead the caption, in the order of the list, before the control words of
        ``meta["control_words"]``; so they are part of an answer with a caption. An instruction in
        ``meta["prompt"]`` takes the place of both, and then no tags are looked for.

        Args:
            inputs: see `RegionEncoder.forward`.
            data_samples: ``B`` samples.
            tasks: out of `TASKS`, by default the model's.

        Raises:
            TaskError: a task that no head answers.
            NoAnswerError: there is no head at all.
        """
        asked = self.tasks if tasks is None else self._checked(tasks)
        if not asked:
            raise NoAnswerError("this DynRefer has no head that answers, or was asked for nothing")
        return self.describe(self.features(inputs), data_samples, asked)

    def describe(
        self, features: Features, data_samples: Sequence[ReferringSample], tasks: Sequence[str]
    ) -> list[Prediction]:
        """`predict`, from embeddings that are there already, for tasks that heads answer."""
        led = "caption" in tasks and not all(sample.meta.get("prompt") for sample in data_samples)
        wanted = (*tasks, "tags") if led else tuple(tasks)
        heads = self._needed(wanted)
        self._fill_tables(heads, wanted)
        answers = [Prediction(sample.id) for sample in data_samples]
        for head in heads:
            if isinstance(head, CaptionHead):
                controls = [
                    prompt_of(sample, answer.tags or ())
                    for sample, answer in zip(data_samples, answers, strict=True)
                ]
                told = head.predict(features, data_samples, controls=controls)
            else:
                told = head.predict(features, data_samples, wanted)
            answers = [merged(pair) for pair in zip(told, answers, strict=True)]
        return answers

    def tensors(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``fused (B, 1 + N, D)``, what the Q-Former reads, ``region_tokens (B, Q, C)``, what it makes of it,
        and what the heads say: ``<task>_scores (B, P)``, ``visual_prefix (B, Q, W)``.
        """
        features = self.features(inputs)
        heads = self.active_heads()
        self._fill_tables(heads, TASKS)
        assert features.image is not None and features.regions is not None
        fused = torch.cat((features.image[:, None], features.visual), dim=1)
        return {"fused": fused, "region_tokens": features.regions} | self.head_tensors(features)

    def set_vocabulary(self, task: str, names: Names) -> None:
        """Answer a recognition task with other names from now on.

        A name without prompts keeps those that the model knew for it; one that is new to the model is asked
        for by itself.

        Args:
            task: ``tags``, ``attributes`` or ``categories``.
            names: see `refkit.heads.vocabulary.Names`; prompts that are given always win.

        Raises:
            TaskError: no head answers it.
            VocabularyError: unusable names.
        """
        heads = {type(head).__name__: head for head in reversed(self._recognisers())}
        able = [name for name, kind in _RECOGNISERS.items() if kind in heads]
        if task not in able:
            raise TaskError(
                f"no head of this model recognises {task!r}; it recognises {', '.join(able) or 'nothing'}"
                f"{_offer(task, able)}"
            )
        head = heads[_RECOGNISERS[task]]
        known = self._prompts.setdefault(task, {})
        known |= head.tables()[task].as_names() if task in head.tables() else {}
        table = Vocabulary(names, head.text_width, known)
        head.vocabularies[task] = table.to(next(head.parameters()).device)
        self.tasks = tuple(dict.fromkeys((*self.tasks, task)))

    def train(self, mode: bool = True) -> DynRefer:
        """As `ReferringModel.train`, but `lively` parts follow ``mode`` although they are frozen."""
        super().train(mode)
        for name in self.lively:
            nn.Module.train(self.get_submodule(name), mode)
        return self

    def _needed(self, asked: Sequence[str]) -> list[Any]:
        """Heads in the order in which they are run: captions last, for tags lead them."""
        heads = [head for head in self.active_heads() if not set(asked).isdisjoint(head.tasks)]
        return sorted(heads, key=lambda head: isinstance(head, CaptionHead))

    def _recognisers(self) -> list[RecognitionHead]:
        return [head for head in self.active_heads() if isinstance(head, RecognitionHead)]

    def _answerable(self) -> tuple[str, ...]:
        able = {task for head in self.active_heads() for task in head.tasks}
        return tuple(task for task in TASKS if task in able)

    def _checked(self, tasks: Iterable[str]) -> tuple[str, ...]:
        asked, able = tuple(tasks), self._answerable()
        if unknown := [task for task in asked if task not in able]:
            raise TaskError(
                f"no head of this model answers {unknown[0]!r}; it answers {', '.join(able) or 'nothing'}"
                f"{_offer(unknown[0], able)}"
            )
        return asked

    def _present(self, names: Iterable[str]) -> tuple[str, ...]:
        own = [name for name, _ in self.named_parameters()]
        return tuple(name for name in names if any((each + ".").startswith(name + ".") for each in own))

    def _store_as_run(self) -> None:
        writers = [head for head in self.heads.values() if isinstance(head, CaptionHead)]
        parts = [(head.language_model, head.precision.dtype) for head in writers]
        for part, dtype in [(self.backbone.tower, self.backbone.precision), *parts]:
            if dtype is not None:
                store_as_run(part, dtype)

    def _check_widths(self) -> None:
        for head in self._recognisers():
            if self.text_encoder is not None and head.text_width != self.text_encoder.width:
                raise ValueError(
                    f"{type(head).__name__} has text_width={head.text_width}, the text encoder gives "
                    f"{self.text_encoder.width}: set text_width={self.text_encoder.width}"
                )

    def _texts(self) -> Any:
        if self.text_encoder is None:
            raise ValueError("regions are compared with captions: give the model a text_encoder to train it")
        return self.text_encoder

    def _fill_tables(self, heads: Iterable[Any], tasks: Iterable[str]) -> None:
        """Embed the prompts of the vocabularies that are about to be read and are not embedded yet."""
        if self.text_encoder is None:
            return
        wanted = set(tasks)
        for head in heads:
            for task, table in head.tables().items() if isinstance(head, RecognitionHead) else ():
                if task in wanted and table.embeddings is None:
                    table.fill(self.text_encoder.table(table.prompts))


def _offer(name: str, names: Sequence[str]) -> str:
    near = nearest(name, names)
    return f"; did you mean {near!r}?" if near else ""


def _forget_tables(model: DynRefer, keys: Any) -> None:
    """Other weights of the text encoder make other tables."""
    for module in model.modules() if model.text_encoder is not None else ():
        if isinstance(module, Vocabulary):
            module.embeddings = None
