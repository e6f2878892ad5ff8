"""Pages of methods that say something about given regions: checked from the seed, with words in the gallery."""

import html
import re

import pytest
from PIL import Image

from refkit.data.records import Header, read_records, write_records
from refkit.data.sources.refshapes import read
from refkit.data.sources.spec import Skips
from refkit.leaderboard.entries.add import MethodCard, add_predictions
from refkit.leaderboard.entries.check import check_entries
from refkit.leaderboard.entries.files import load_entries, read_entry
from refkit.leaderboard.entries.sources import RecordShelf
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.leaderboard.scoring import score
from refkit.leaderboard.site.build import build_site
from refkit.leaderboard.site.gallery import choose
from refkit.structures import Prediction

pytestmark = pytest.mark.usefixtures("module_without_java")

PROTOCOLS = {"caption": "caption/region", "attributes": "attributes/box", "recognition": "recognition/top1"}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Every third answer is wrong."""
    folder = tmp_path_factory.mktemp("words")
    records, answers = folder / "records.jsonl", folder / "answers.predictions.jsonl"
    part = read([], Skips(), about="objects", seed=4, scenes=12)[0]
    write_records(records, part.header, part.records)
    header, found = read_records(records)
    write_predictions(
        answers,
        PredictionHeader.answering(header, "words"),
        (answer(one, place % 3 == 0) for place, one in enumerate(found)),
    )
    for protocol in PROTOCOLS.values():
        card = MethodCard("Words", "single_dataset")
        add_predictions(folder / "board", records, answers, card, protocol, draws=20)
    build_site(folder / "board", folder / "site", RecordShelf())
    return folder


def answer(record, wrong):
    names = {name: (label ^ wrong) * 0.5 for name, label in record.labels.items()}
    return Prediction(
        record.id,
        boxes=[record.targets[0].box],
        caption=HOSTILE if wrong else record.references[0],
        attributes=names,
        categories={"teapot" if wrong else record.targets[0].category: 0.9},
    )


def page(site, task):
    return (site / "site" / "method" / task / "words.html").read_text()


def test_numbers_are_computed_again_from_the_seed(site):
    folder = site / "board"
    report = check_entries(folder, load_entries(folder), RecordShelf())
    assert len(report.equal) == 3 and not report.different and not report.not_computed
    (found,) = read_entry(folder / "caption" / "words.yaml").entry.results
    assert (found.drawn.about, found.drawn.seed) == ("objects", 4)


def test_what_a_missing_program_would_compute_is_no_difference(site):
    """An entry with METEOR, checked where METEOR cannot run; a number that differs is told all the same."""
    folder = site / "board"
    located = [one for one in load_entries(folder) if one.entry.task == "caption"]
    (stated,) = located[0].entry.results
    stated.value["meteor"], stated.value["meteor_interval"] = 0.4, (0.3, 0.5)
    report = check_entries(folder, located, RecordShelf())
    assert not report.equal and not report.different
    assert re.match(
        r"meteor: METEOR is not reported: .* \(the other numbers are equal\)", report.not_computed[0][1]
    )
    stated.value["rouge_l"] = 0.1
    report = check_entries(folder, located, RecordShelf())
    assert "rouge_l: 0.1 in the entry" in report.different[0][1] and not report.not_computed


def test_categories_are_shown_right_and_wrong(site):
    text = page(site, "recognition")
    right, wrong = text.split("<h3>Wrong</h3>")
    assert "<h3>Right</h3>" in right and "<q>teapot</q>" in wrong and "<q>teapot</q>" not in right
    assert len(re.findall("annotated as", wrong)) == 2 * len(re.findall("<q>", wrong)) == 12
    pictures = re.findall(r'<image href="../../(gallery/[^"]+)"', text)
    assert len(set(pictures)) == 12
    assert all(Image.open(site / "site" / picture).format == "JPEG" for picture in pictures)
    assert 'class="predicted"' not in text and "dot predicted" not in text


def test_captions_are_shown_by_their_score_and_escaped(site):
    text = page(site, "caption")
    assert "What became of the answers" not in text
    best, worst = text.split("<h3>Lowest CIDEr</h3>")
    assert "<h3>Highest CIDEr</h3>" in best and html.escape(HOSTILE) in worst
    assert HOSTILE not in text and html.escape(HOSTILE) not in best
    assert "CIDEr 0, annotated as " in worst


def test_attributes_have_intervals_in_groups_and_no_gallery(site):
    text = page(site, "attributes")
    assert "mAP by category" in text and "gallery" not in text
    assert 'class="ci"' in text[text.index("mAP by category") :]


def test_few_captions_are_shown_once(site):
    _, found = read_records(site / "records.jsonl")
    few = found[:8]
    small = Header("toy", "few", "val", task=["caption"])
    answers = {one.id: answer(one, False) for one in few}
    result = score((small, few), (PredictionHeader.answering(small, "m"), answers), "caption/region", draws=0)
    places = [place for side in choose(result.per_sample).values() for place in side]
    assert sorted(places) == list(range(8))
