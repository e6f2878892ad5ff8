"""Trains the SentencePiece vocabulary of the small models on RefShapes texts.

The shipped ``model_zoo/refshapes/refshapes.spm`` is what this writes with its defaults::

    python tools/train_refshapes_spm.py --out model_zoo/refshapes/refshapes.spm

Equal options give equal pieces. Texts are the expressions and captions of drawn scenes, lower-cased as
`SentencePieceTokenizer` reads them, and the closed word list of RefShapes, so that no word of it is unknown.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import sentencepiece
from tqdm import tqdm

from refkit.data.files import atomic_write
from refkit.data.refshapes.expressions import vocabulary
from refkit.data.refshapes.world import imagine

SEED = 20
SCENES = 300
PIECES = 200


def texts(seed: int, scenes: int) -> list[str]:
    """Expressions and captions of ``scenes`` scenes, and the closed word list, lower-cased."""
    found = list(vocabulary())
    for index in tqdm(range(scenes), desc="RefShapes", unit="scene", disable=None):
        situation = imagine(seed, index, size=32)
        found += [expression.text for expression in situation.expressions]
        found += [text for item in situation.items for text in (item.caption, item.located_caption)]
    return [text.lower() for text in found]


def train(lines: list[str], pieces: int = PIECES) -> bytes:
    """A SentencePiece model of at most ``pieces`` byte pairs, with SentencePiece's numbers for specials."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=pieces,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def main() -> None:
    """Reads the options, trains and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the .spm file to write")
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--pieces", type=int, default=PIECES, help="size of the vocabulary, at most")
    options = parser.parse_args()
    print(atomic_write(options.out, train(texts(options.seed, options.scenes), options.pieces)))


if __name__ == "__main__":
    main()
