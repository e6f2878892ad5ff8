"""Region captioning: every score of the fixtures and of published captions, with and without Java."""

from __future__ import annotations

import json
import sys
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_fixtures import fixture, read_jsonl, values

from refkit.data.records import ImageRef, Record
from refkit.metrics import java_tools, meteor
from refkit.metrics.captions import per_expression, per_region, score_captions
from refkit.metrics.java_tools import CaptionToolError, LineProgram
from refkit.metrics.meteor import COUNTS, meteor_score
from refkit.metrics.ngrams import NgramTable, bleu, rouge_l
from refkit.metrics.protocol import ProtocolError
from refkit.metrics.tokens import JAVA, PORT, one_line, tokenize
from refkit.structures import Prediction

UNITS = {"caption/region": "per-region", "caption/expression": "per-expression"}
SAME = {"cider": "cider", "rouge_l": "rouge_l"} | {f"bleu{order}": f"bleu_{order}" for order in range(1, 5)}


def installed():
    try:
        java_tools.find_java()
        java_tools.find_jar("meteor", "meteor-1.5.jar")
    except CaptionToolError:
        return False
    return True


needs_tools = pytest.mark.skipif(not installed(), reason="needs Java and pip install 'refkit[captions]'")


def caption_pairs(samples):
    for sample in samples:
        record = Record(
            sample["id"], ImageRef(f"{sample['id']}.jpg", 10, 10), references=sample["references"]
        )
        yield record, Prediction(sample["id"], caption=sample["hypothesis"])


@pytest.mark.parametrize("protocol", UNITS)
def test_scores_equal_the_reference_without_java(protocol, without_java):
    """With the port of the tokeniser, which the result names."""
    reference = fixture("captions")
    expected = reference.expected[UNITS[protocol]]
    found, evaluation = values(protocol, caption_pairs(reference.samples))
    for ours, theirs in SAME.items():
        assert found[ours] == pytest.approx(expected[theirs], abs=reference.tolerance), ours
    assert np.isnan(found["meteor"])
    assert evaluation.tools == {"tokenizer": PORT}
    assert "METEOR is not reported: there is no 'java'" in evaluation.warnings[0]
    assert "17 evaluated items" in evaluation.warnings[1] or protocol == "caption/expression"


def test_every_item_equals_the_reference(without_java):
    reference = fixture("captions")
    for protocol, unit in UNITS.items():
        items = (per_region if protocol == "caption/region" else per_expression)(
            caption_pairs(reference.samples)
        )
        scores = score_captions(items.candidates, items.references)
        wanted = list(reference.per_sample[unit].values())
        assert scores.cider == pytest.approx([one["cider"] for one in wanted], abs=reference.tolerance)
        assert scores.rouge_l == pytest.approx([one["rouge_l"] for one in wanted], abs=reference.tolerance)


def test_line_separators_count_as_one_blank(without_java):
    reference = fixture("captions")
    part = reference.line_separators
    found, _ = values("caption/region", caption_pairs(part["samples"]))
    expected = part["expected"]["per-region"]
    for ours, theirs in SAME.items():
        assert found[ours] == pytest.approx(expected[theirs], abs=reference.tolerance), ours
    assert one_line("a\u2028b\u2029c\vd\fe\r\nf\x85g\x00h") == "a b c d e  f g h"


@needs_tools
@pytest.mark.slow
def test_everything_equals_the_reference_with_java():
    reference = fixture("captions")
    texts = [text for one in reference.samples for text in (one["hypothesis"], *one["references"])]
    made = tokenize(texts)
    assert made.tokenizer == JAVA
    found = made.tokens
    for sample in reference.samples:
        expected = reference.tokens[sample["id"]]
        assert " ".join(found[sample["hypothesis"]]) == expected["hypothesis"]
        assert [" ".join(found[text]) for text in sample["references"]] == expected["references"]
    parts = [(reference.samples, reference.expected, reference.per_sample)]
    parts.append(tuple(reference.line_separators[key] for key in ("samples", "expected", "per_sample")))
    for samples, expectations, per_sample in parts:
        for protocol, unit in UNITS.items():
            if unit in expectations:
                check_all(protocol, samples, expectations[unit], per_sample[unit], reference.tolerance)


def check_all(protocol, samples, expected, per_sample, tolerance):
    numbers, evaluation = values(protocol, caption_pairs(samples))
    wanted = SAME | {"meteor": "meteor", "meteor_mean": "meteor_mean_of_items"}
    for ours, theirs in wanted.items():
        assert numbers[ours] == pytest.approx(expected[theirs], abs=tolerance), (protocol, ours)
    assert not any("METEOR" in warning for warning in evaluation.warnings)
    assert evaluation.tools == {"tokenizer": JAVA, "meteor": meteor.VERSION}
    if protocol == "caption/region":
        means = [per_sample[sample["id"]]["meteor"] for sample in samples]
        assert evaluation.per_sample["meteor"] == pytest.approx(means, abs=tolerance)


@pytest.mark.shared
def test_published_captions(shared, without_java):
    """Seven files of generated expressions: every score but METEOR, from refkit's own tokens."""
    check_published(shared, (*SAME.items(),))


@needs_tools
@pytest.mark.shared
@pytest.mark.slow
def test_published_captions_with_java(shared):
    check_published(shared, (*SAME.items(), ("meteor", "meteor"), ("meteor_mean", "meteor_mean_of_items")))


def check_published(shared, keys):
    real = json.loads((shared / "fixtures/eval/captions_real.json").read_text())
    assert len(real["files"]) == 7
    for name, part in real["files"].items():
        pairs = list(published_pairs(shared, name, part["split"]))
        assert len({record.object for record, _ in pairs}) == part["scored"]
        found, _ = values("caption/region", pairs)
        for ours, theirs in keys:
            assert found[ours] == pytest.approx(part["expected"][theirs], abs=real["tolerance"]), (name, ours)


def published_pairs(shared, name, split):
    """One record per expression; all expressions of an object are answered with its first sentence."""
    sentences = {}
    for one in json.loads((shared / "data" / name).read_text())["predictions"]:
        sentences.setdefault(one["ref_id"], one["sent"])
    objects = defaultdict(list)
    for row in read_jsonl(shared / f"data/refcoco_full_eval/{split}.jsonl.gz"):
        objects[row["ref_id"]] += row["expressions"]
    for number, expressions in objects.items():
        for place, text in enumerate(expressions):
            identity = f"{number}.{place}"
            if number in sentences:
                record = Record(identity, ImageRef(f"{number}.jpg", 10, 10), text, object=str(number))
                yield record, Prediction(identity, caption=sentences[number])


def expressions(*texts, name="o"):
    return [
        Record(f"{name}{index}", ImageRef("a.jpg", 9, 9), text, object=name)
        for index, text in enumerate(texts)
    ]


def test_units(without_java):
    first, second = expressions("a red cup", "the cup")
    alone = Record("x", ImageRef("b.jpg", 9, 9), "a dog")
    pairs = [
        (first, None),
        (alone, Prediction("x", caption="dog")),
        (second, Prediction("o1", caption="red cup")),
    ]
    items = per_region(pairs)
    assert items.candidates == ["red cup", "dog"]
    assert items.references == [["a red cup", "the cup"], ["a dog"]]
    assert (items.owners, items.n) == ([0, 1], 3)
    items = per_expression(pairs)
    assert items.candidates == ["", "dog", "red cup"]
    assert items.owners == [0, 1, 2]


def test_an_object_with_two_captions_is_told(without_java):
    records = expressions("a red cup", "the cup")
    pairs = [(one, Prediction(one.id, caption=f"cup {one.id}")) for one in records]
    _, evaluation = values("caption/region", pairs)
    assert any("1 records are answered with another caption" in warning for warning in evaluation.warnings)
    assert evaluation.per_sample["rouge_l"][0] > 0
    assert np.isnan(evaluation.per_sample["rouge_l"][1])


def test_no_caption_scores_nothing(without_java):
    records = expressions("a red cup", "the cup", "mug")
    answers = [None, Prediction("o1"), Prediction("o2", caption="", status="ok")]
    for protocol in UNITS:
        found, evaluation = values(protocol, zip(records, answers, strict=True))
        assert (found["cider"], found["rouge_l"], found["bleu1"]) == (0.0, 0.0, pytest.approx(0.0))
        assert evaluation.invalid.tolist() == [False, True, True]


def test_a_record_without_words_is_refused():
    with pytest.raises(ProtocolError, match="record 'a' has neither references nor a text"):
        values("caption/region", [(Record("a", ImageRef("a.jpg", 9, 9)), None)])


words = st.lists(st.sampled_from("abcde"), max_size=8)


@given(words, words)
def test_longest_common_subsequence(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            table[i + 1, j + 1] = table[i, j] + 1 if left == right else max(table[i, j + 1], table[i + 1, j])
    common = table[-1, -1]
    if not common:
        assert rouge_l(a, [b]) == 0.0
    else:
        precision, recall = common / len(a), common / len(b)
        wanted = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
        assert rouge_l(a, [b]) == pytest.approx(wanted)


@given(
    st.lists(st.tuples(words, st.lists(words.filter(bool), min_size=1, max_size=3)), min_size=2, max_size=6)
)
def test_cider_and_bleu_equal_plain_loops(items):
    table = NgramTable([one for one, _ in items], [several for _, several in items])
    assert table.cider() == pytest.approx(plain_cider(items))
    sums = table.bleu_sums()
    for row, (candidate, references) in enumerate(items):
        grams = counted(candidate)
        most = defaultdict(int)
        for reference in references:
            for gram, count in counted(reference).items():
                most[gram] = max(most[gram], count)
        matches = [sum(min(c, most[g]) for g, c in grams.items() if len(g) == k) for k in range(1, 5)]
        guesses = [max(len(candidate) - k + 1, 0) for k in range(1, 5)]
        closest = min((abs(len(one) - len(candidate)), len(one)) for one in references)[1]
        assert sums[row].tolist() == [*matches, *guesses, len(candidate), closest]
    assert ((bleu(sums.sum(axis=0)) >= 0) & (bleu(sums.sum(axis=0)) <= 1)).all()


def counted(tokens_of):
    found = defaultdict(int)
    for size in range(1, 5):
        for start in range(len(tokens_of) - size + 1):
            found[tuple(tokens_of[start : start + size])] += 1
    return found


def plain_cider(items):
    frequency = defaultdict(int)
    for _, references in items:
        for gram in set().union(*(counted(one) for one in references)):
            frequency[gram] += 1

    def weigh(tokens_of):
        return {
            g: c * (np.log(len(items)) - np.log(max(1, frequency[g]))) for g, c in counted(tokens_of).items()
        }

    scores = []
    for candidate, references in items:
        ours, total = weigh(candidate), 0.0
        for reference in references:
            theirs = weigh(reference)
            gap = max(len(candidate) - 1, 0) - max(len(reference) - 1, 0)
            for size in range(1, 5):
                norm = np.prod(
                    [sum(v**2 for g, v in w.items() if len(g) == size) ** 0.5 for w in (ours, theirs)]
                )
                shared = sum(
                    min(v, theirs.get(g, 0)) * theirs.get(g, 0) for g, v in ours.items() if len(g) == size
                )
                total += shared / norm * np.exp(-(gap**2) / 72) / 4 if norm else 0.0
        scores.append(10 * total / len(references))
    return scores


def test_meteor_from_counts():
    """Counts as the program reports them for two captions, and its own scores of them."""
    counts = np.zeros((2, COUNTS))
    counts[0, [0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 22]] = [5, 4, 2, 1, 3, 3, 1, 1, 4, 4, 4]
    counts[1, [0, 1, 2, 4, 5, 20, 21, 22]] = [6, 2, 3, 1, 1, 1, 1, 1]
    assert meteor_score(counts) == pytest.approx([0.39408867, 0.17391304], abs=1e-8)
    assert meteor_score(np.zeros(COUNTS)) == 0.0


ECHO = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"


def test_programs_answer_every_line_or_say_why():
    program = LineProgram((sys.executable, "-c", ECHO), "echo")
    lines = [f"line {number}" for number in range(5000)]
    assert program.ask(lines) == [line.upper() for line in lines]
    assert program.ask(["again"]) == ["AGAIN"]
    program.close()
    broken = LineProgram((sys.executable, "-c", "import sys; sys.exit('no memory left')"), "broken")
    with pytest.raises(CaptionToolError, match="broken ended after 0 of 2 lines; it said: no memory left"):
        broken.ask(["a", "b"])
    silent = LineProgram((sys.executable, "-c", "import time; time.sleep(60)"), "silent", patience=0.2)
    with pytest.raises(CaptionToolError, match=r"silent gave no answer for 0 seconds after 0 of 1 lines"):
        silent.ask(["a"])


def test_a_program_that_answers_too_much_is_refused():
    twice = "import sys\nfor line in sys.stdin: print(line, end=''); print(line, end='')"
    program = LineProgram((sys.executable, "-c", twice), "doubling")
    with pytest.raises(CaptionToolError, match="more than 2 answers to 2 lines"):
        program.ask_once(["a", "b"])
    program.close()


def test_a_text_cannot_forge_the_separator():
    assert meteor._line("a ||| b", ["x |||y"]) == "SCORE ||| x y ||| a b"
    assert meteor._line("a", []) == ""


def test_missing_tools_are_named(without_java):
    with pytest.raises(CaptionToolError, match="install a Java runtime"):
        java_tools.find_java()
    with pytest.raises(CaptionToolError, match="install"):
        java_tools.find_jar("meteor", "meteor-0.0.jar")
    made = tokenize(["a  Cup!", ""])
    assert made.tokens == {"a  Cup!": ("a", "cup"), "": ()}
    assert made.tokenizer == PORT
