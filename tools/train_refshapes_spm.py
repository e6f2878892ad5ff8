"""Trains the SentencePiece vocabularies of small models, on RefShapes texts or on captions of your own.

The shipped files are what this writes with its defaults, the second one for the small T5 of captions::

    python tools/train_refshapes_spm.py --out model_zoo/refshapes/refshapes.spm
    python tools/train_refshapes_spm.py --t5 --out model_zoo/refshapes/refshapes_t5.spm

With records of captions, as for configs/dynrefer/dynrefer_small_real_pictures.py, it is made of these::

    python tools/train_refshapes_spm.py --t5 --records a.jsonl b.jsonl --pieces 1000 --out captions.spm

Equal options give equal pieces. Texts of RefShapes are the expressions and captions of drawn scenes,
lower-cased as `SentencePieceTokenizer` reads them, and the closed word list of RefShapes, so that no word of
it is unknown; for T5, captions of objects and prompts of control words, with T5's numbers for special pieces.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
from tqdm import tqdm

from refkit.data.caption_text import normalise_caption
from refkit.data.control_words import control_prompt
from refkit.data.files import atomic_write
from refkit.data.records import iter_records
from refkit.data.refshapes.expressions import vocabulary
from refkit.data.refshapes.region_captions import object_captions, tags_of
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


def caption_texts(seed: int, scenes: int) -> list[str]:
    """Captions of all objects of ``scenes`` scenes, prompts of their tags, and the closed word list."""
    found = list(vocabulary())
    for index in tqdm(range(scenes), desc="RefShapes", unit="scene", disable=None):
        situation = imagine(seed, index, size=32)
        for number, item in enumerate(situation.items):
            found += [*object_captions(situation, number), control_prompt(tags_of(item))]
    return [text.lower() for text in found]


def recorded_texts(files: Sequence[Path]) -> list[str]:
    """References of all records, as `RegionCaption` makes them, and what ends a prompt of control words."""
    records = (record for file in files for record in iter_records(file))
    captions = (normalise_caption(text) for record in records for text in record.references or ())
    return [control_prompt(()), *filter(None, captions)]


def train(lines: list[str], pieces: int = PIECES, t5: bool = False) -> bytes:
    """A SentencePiece model of at most ``pieces`` byte pairs, with SentencePiece's numbers for specials.

    Args:
        lines: texts to learn from.
        pieces: at most.
        t5: T5's numbers in place of SentencePiece's: padding 0, end 1, unknown 2, no beginning.
    """
    model = io.BytesIO()
    specials = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} if t5 else {}
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
        **specials,
    )
    return model.getvalue()


def main() -> None:
    """Reads the options, trains and writes the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the .spm file to write")
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--pieces", type=int, default=PIECES, help="size of the vocabulary, at most")
    parser.add_argument(
        "--t5", action="store_true", help="for the small T5: its numbers, captions and prompts"
    )
    parser.add_argument(
        "--records", type=Path, nargs="+", help="learn from the captions of these records files instead"
    )
    options = parser.parse_args()
    drawn = caption_texts if options.t5 else texts
    lines = recorded_texts(options.records) if options.records else drawn(options.seed, options.scenes)
    print(atomic_write(options.out, train(lines, options.pieces, options.t5)))


if __name__ == "__main__":
    main()
