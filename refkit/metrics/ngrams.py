"""BLEU, ROUGE-L and CIDEr-D of tokenised captions, as ``pycocoevalcap`` defines them, in array operations.

Notation: ``n`` items, each a candidate with one or more references; ``m`` references altogether. Source: §2.6
of the evaluation specification; Papineni et al. 2002, Lin 2004, Vedantam et al. 2015.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Tokens = Sequence[str]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ORDERS = 4
ROUGE_BETA = 1.2
CIDER_SIGMA = 6.0
CIDER_SCALE = 10.0
TINY, SMALL = 1e-15, 1e-9


def rouge_l(candidate: Tokens, references: Sequence[Tokens]) -> float:
    """F measure (beta 1.2) of the best precision and the best recall of the longest common subsequence."""
    common = [_longest_common(candidate, reference) for reference in references]
    if not candidate or not any(common):
        return 0.0
    precision = max(common) / len(candidate)
    pairs = zip(common, references, strict=True)
    recall = max(length / len(reference) for length, reference in pairs if reference)
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def _longest_common(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence, one machine word operation per token (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << place
    full = (1 << len(a)) - 1
    column = full
    for token in b:
        matched = column & places.get(token, 0)
        column = ((column + matched) | (column - matched)) & full
    return len(a) - column.bit_count()


class NgramTable:
    """N-grams of the candidates and references of ``n`` items as sparse counts."""

    def __init__(self, candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> None:
        """Count.

        Args:
            candidates: ``n`` token lists; an empty one is no caption.
            references: ``n`` lists of one or more token lists.

        Raises:
            ValueError: an item without a reference.
        """
        if not all(references):
            raise ValueError("a caption without a reference cannot be scored")
        self.n = len(candidates)
        sizes = np.array([len(several) for several in references], np.int64)
        self._owner = np.repeat(np.arange(self.n), sizes)
        texts = [*candidates, *chain.from_iterable(references)]
        lengths = np.array([len(tokens) for tokens in texts], np.int64)
        self._length, self._reference_length = lengths[: self.n], lengths[self.n :]
        self._references_of = sizes
        tables = list(_count_tables(texts, lengths))
        self._candidates = [table[: self.n] for table in tables]
        self._references = [table[self.n :] for table in tables]

    def bleu_sums(self) -> Floats:
        """``(n, 10)``: clipped matches of orders 1 to 4, n-grams of orders 1 to 4, length, and the length of
        the reference that is closest to it (the shorter of two)."""
        matches = [
            candidate.minimum(self._most_often(references)).sum(axis=1)
            for candidate, references in zip(self._candidates, self._references, strict=True)
        ]
        guesses = [np.maximum(self._length - order, 0) for order in range(ORDERS)]
        columns = [np.asarray(column, np.float64).ravel() for column in (*matches, *guesses, self._length)]
        return np.stack([*columns, self._closest_length().astype(np.float64)], axis=1)

    def cider(self) -> Floats:
        """``(n,)`` CIDEr-D: sigma 6, clipped counts, document frequencies of the given references."""
        if not self.n:
            return np.zeros(0)
        difference = np.maximum(self._length - 1, 0)[self._owner] - np.maximum(self._reference_length - 1, 0)
        penalty = np.exp(-(difference**2.0) / (2 * CIDER_SIGMA**2))
        total = np.zeros(len(self._owner))
        for candidates, references in zip(self._candidates, self._references, strict=True):
            weights = np.log(float(self.n)) - np.log(np.maximum(1.0, self._document_frequency(references)))
            a, b = (table.multiply(weights[None, :]).tocsr() for table in (candidates, references))
            total += self._clipped_cosine(a, b) * penalty
        means = np.bincount(self._owner, weights=total / ORDERS, minlength=self.n)
        return CIDER_SCALE * means / self._references_of

    def _clipped_cosine(self, a: sparse.csr_matrix, b: sparse.csr_matrix) -> Floats:
        """``(m,)`` similarity of each reference with its candidate."""
        shared = np.asarray(a[self._owner].minimum(b).multiply(b).sum(axis=1)).ravel()
        norms = _norms(a)[self._owner] * _norms(b)
        return np.divide(shared, norms, out=np.zeros_like(shared), where=norms > 0)

    def _document_frequency(self, references: sparse.csr_matrix) -> Floats:
        """In how many items a reference holds each n-gram."""
        present = self._by_item() @ (references > 0).astype(np.float64)
        return np.asarray((present > 0).sum(axis=0), np.float64).ravel()

    def _most_often(self, references: sparse.csr_matrix) -> sparse.csr_matrix:
        """``(n, V)`` how often the reference that holds it most often holds each n-gram."""
        table = references.tocoo()
        keys = self._owner[table.row] * np.int64(max(table.shape[1], 1)) + table.col
        order = np.lexsort((table.data, keys))
        last = np.append(keys[order][1:] != keys[order][:-1], True) if len(order) else order.astype(bool)
        kept = order[last]
        entries = (table.data[kept], (self._owner[table.row[kept]], table.col[kept]))
        return sparse.csr_matrix(entries, shape=(self.n, table.shape[1]))

    def _by_item(self) -> sparse.csr_matrix:
        m = len(self._owner)
        return sparse.csr_matrix((np.ones(m), (self._owner, np.arange(m))), shape=(self.n, m))

    def _closest_length(self) -> Ints:
        distance = np.abs(self._reference_length - self._length[self._owner])
        order = np.lexsort((self._reference_length, distance, self._owner))
        first = np.cumsum(self._references_of) - self._references_of
        return self._reference_length[order[first]]


def _norms(table: sparse.csr_matrix) -> Floats:
    return np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())


def _count_tables(texts: Sequence[Tokens], lengths: Ints) -> Iterator[sparse.csr_matrix]:
    """For orders 1 to 4, ``(texts, V)`` counts of the n-grams that occur."""
    numbers: dict[str, int] = {}
    words = np.array(
        [numbers.setdefault(token, len(numbers)) for token in chain.from_iterable(texts)], np.int64
    )
    rows = np.repeat(np.arange(len(texts)), lengths)
    place = np.arange(len(words)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    starts = np.arange(len(words))
    grams = words
    for order in range(ORDERS):
        if order:
            inside = place[starts] + order < lengths[rows[starts]]
            starts, grams = starts[inside], grams[inside]
            longer = grams * np.int64(max(len(numbers), 1)) + words[starts + order]
            grams = np.unique(longer, return_inverse=True)[1].astype(np.int64)
        size = int(grams.max()) + 1 if len(grams) else 1
        table = sparse.csr_matrix((np.ones(len(grams)), (rows[starts], grams)), shape=(len(texts), size))
        table.sum_duplicates()
        yield table


def bleu(sums: Floats) -> Floats:
    """BLEU-1 to BLEU-4 of a corpus.

    Args:
        sums: ``(..., 10)`` sums of `NgramTable.bleu_sums` over items.

    Returns:
        ``(..., 4)``.
    """
    matches, guesses = sums[..., :4], sums[..., 4:8]
    precision = np.cumprod((matches + TINY) / (guesses + SMALL), axis=-1)
    brevity = (sums[..., 8] + TINY) / (sums[..., 9] + SMALL)
    scores = precision ** (1 / np.arange(1, ORDERS + 1))
    return scores * np.exp(np.minimum(0.0, 1 - 1 / brevity))[..., None]
