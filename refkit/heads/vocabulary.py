"""Names that a head can answer with: any list, exchanged at run time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

Names = str | Path | Sequence[str] | Mapping[str, Sequence[str]]
"""A list of names, names with their prompts, or a file with either: one name per line, or a JSON object."""


class VocabularyError(ValueError):
    """Names that nothing can be recognised by, and what to do about it."""


class Vocabulary(nn.Module):
    """Names, the prompts that stand for each, and what a text tower made of the prompts.

    The embeddings are no weights of a model: they follow from the names and the text tower.

    Args:
        names: see `Names`.
        width: channels of an embedding.
        known: prompts of names that are given without; a name that has none here either is its own prompt.

    Attributes:
        names: ``K`` names, in order.
        prompts: ``P`` prompts of all names, one name after the other.
        embeddings: ``(P, width)`` float, or None before `fill`.

    Raises:
        VocabularyError: no names, an empty one, one that stands twice, or one without prompts.
    """

    embeddings: Tensor | None
    owner: Tensor

    def __init__(self, names: Names, width: int, known: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__()
        prompts = _prompts(names, known or {})
        self.width = width
        self.names = list(prompts)
        self.prompts = [text for texts in prompts.values() for text in texts]
        rows = [row for row, texts in enumerate(prompts.values()) for _ in texts]
        self.register_buffer("owner", torch.tensor(rows, device="cpu"), persistent=False)
        self.register_buffer("embeddings", None, persistent=False)

    def fill(self, embeddings: Tensor) -> None:
        """Keep the embeddings ``(P, width)`` of `prompts`.

        Raises:
            VocabularyError: of another shape.
        """
        expected = len(self.prompts), self.width
        if tuple(embeddings.shape) != expected:
            raise VocabularyError(
                f"embeddings of a vocabulary: expected {expected}, got {tuple(embeddings.shape)}"
            )
        with torch.inference_mode(False):  # the table outlives the mode in which it is first needed
            self.embeddings = embeddings.detach().clone().to(self.owner.device)

    def filled(self) -> Tensor:
        """The embeddings.

        Raises:
            VocabularyError: there are none yet.
        """
        if self.embeddings is None:
            raise VocabularyError(
                f"the vocabulary of {len(self.names)} names has no embeddings: give the model a "
                "text_encoder, or call fill"
            )
        return self.embeddings

    def as_names(self) -> dict[str, list[str]]:
        """Names with their prompts, from which an equal vocabulary can be built."""
        prompts: dict[str, list[str]] = {name: [] for name in self.names}
        for row, text in zip(self.owner.tolist(), self.prompts, strict=True):
            prompts[self.names[row]].append(text)
        return prompts

    def best(self, scores: Tensor) -> Tensor:
        """The best prompt's score of every name: ``(B, P)`` to ``(B, K)``."""
        if len(self.prompts) == len(self.names):
            return scores
        best = scores.new_full((len(scores), len(self.names)), -torch.inf)
        return best.scatter_reduce(1, self.owner.expand_as(scores), scores, "amax")

    def targets(self, answers: Sequence[Sequence[str]]) -> Tensor:
        """Which names are right: ``(B, K)`` float32, 0 or 1.

        Raises:
            VocabularyError: an answer that is no name of the vocabulary.
        """
        rows = {name: row for row, name in enumerate(self.names)}
        found = torch.zeros(len(answers), len(self.names), device=self.owner.device)
        for index, given in enumerate(answers):
            if unknown := [name for name in given if name not in rows]:
                raise VocabularyError(
                    f"{unknown[0]!r} is not among the {len(rows)} names of the vocabulary; train with the "
                    "list that the data was tagged with"
                )
            found[index, [rows[name] for name in given]] = 1.0
        return found


def _prompts(names: Names, known: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    if isinstance(names, str | Path):
        return _read(Path(names), known)
    if isinstance(names, Mapping):
        prompts = {str(name): [str(text) for text in texts] for name, texts in names.items()}
        if empty := [name for name, texts in prompts.items() if not texts]:
            raise VocabularyError(f"the name {empty[0]!r} has no prompts; give it at least one")
    else:
        prompts = {name: list(known.get(name, [name])) for name in names}
        if len(prompts) < len(names) and all(name.strip() for name in names):
            twice = next(name for name in names if list(names).count(name) > 1)
            raise VocabularyError(f"the name {twice!r} stands twice in the vocabulary; names must differ")
    if not prompts:
        raise VocabularyError("an empty vocabulary: there is nothing to recognise; give at least one name")
    if blank := [name for name, texts in prompts.items() if not all(text.strip() for text in [name, *texts])]:
        raise VocabularyError(f"the name {blank[0]!r} or a prompt of it is empty; a name needs words")
    return prompts


def _read(path: Path, known: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise VocabularyError(f"{path}: no readable list of names ({error})") from error
    try:
        names = [line.strip() for line in content] if isinstance(content, list) else content
        return _prompts(names, known)
    except VocabularyError as error:
        raise VocabularyError(f"{path}: {error}") from error
