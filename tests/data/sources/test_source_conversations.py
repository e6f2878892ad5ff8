"""Instruction data and Ferret-Bench."""

from __future__ import annotations

import json

import pytest

from refkit.data.records import read_records
from refkit.data.sources import SourceError, import_source

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def talk(*texts):
    return [{"from": "human" if place % 2 == 0 else "gpt", "value": text} for place, text in enumerate(texts)]


def entry(**changes):
    return {
        "id": 1,
        "file_name": "COCO_train2014_000000000009.jpg",
        "width": 100,
        "height": 80,
        "annotation": [
            {"bbox": [10, 10, 20, 20], "segmentation": SQUARE},
            {"segmentation": [[50, 50, 60, 50, 60, 60]]},
        ],
        "conversations": talk("What is <region1>?", "A dog.", "And <region2>?", "A cat near <region1>."),
    } | changes


def imported(tmp_path, *entries, **options):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(list(entries)))
    options.setdefault("name", "osprey.own.train")
    return read_records(import_source("conversations", path, tmp_path / "o", **options)[0])


def test_every_answer_is_a_record(tmp_path):
    header, records = imported(tmp_path, entry())
    assert header.task == ["caption"]
    assert [record.id for record in records] == ["osprey.own.0.0", "osprey.own.0.1"]
    assert [record.text for record in records] == ["What is <region1>?", "And <region2>?"]
    assert [record.references for record in records] == [["A dog."], ["A cat near <region1>."]]
    assert records[0].targets[0].box == (10, 10, 30, 30)
    assert (records[1].targets[0].box, records[1].targets[0].mask is None) == (None, False)
    assert records[0].facts is None
    assert records[1].facts == {"history": [["What is <region1>?", "A dog."]]}
    assert records[0].object == records[1].object
    assert records[0].image.id == 9


def test_questions_about_several_regions(tmp_path):
    both = entry(conversations=talk("How do <region2> and <region1> differ?", "In size.", "Why?", "Age."))
    header, records = imported(tmp_path, both)
    assert records == []
    assert header.extra["left_out"] == {"question about more than 1 region(s)": 2}
    _, records = imported(tmp_path, both, most_regions=0)
    assert [[target.id for target in record.targets] for record in records] == [[2, 1], [1, 2]]


def test_descriptions_answer_a_standing_question(tmp_path):
    _, records = imported(tmp_path, entry(description=["<region1>: A dog.", "<region2>: A\ncat."]))
    assert [record.text for record in records] == [
        "Describe <region1> in detail.",
        "Describe <region2> in detail.",
    ]
    assert [record.references for record in records] == [["A dog."], ["A\ncat."]]


def test_conversations_without_regions_are_about_the_picture(tmp_path):
    (tmp_path / "sizes.json").write_text('{"9.jpg": [100, 80]}')
    plain = {"id": "a", "image": "9.jpg", "conversations": talk("<image>\nWhat is it?", "A park.")}
    _, records = imported(tmp_path, plain, sizes=tmp_path / "sizes.json", name="llava.own.train")
    assert records[0].text == "What is it?"
    assert records[0].targets[0].box == (0, 0, 100, 80)
    with pytest.raises(SourceError, match="give --sizes"):
        imported(tmp_path, plain)
    with pytest.raises(SourceError, match=r"size is not known .*8\.jpg"):
        imported(tmp_path, dict(plain, image="8.jpg"), sizes=tmp_path / "sizes.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conversations": talk("Hello?")}, "in turn"),
        ({"conversations": talk("Hello?", " ")}, "is empty"),
        ({"conversations": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "b"}]}, "in turn"),
        ({"conversations": talk("<region3>?", "a")}, "names region 3, the entry has 2"),
        ({"annotation": [{"bbox": None}]}, "neither bbox nor segmentation"),
        ({"annotation": [{"bbox": [90, 0, 30, 30]}]}, "leaves its image"),
        ({"description": ["A dog"]}, "does not begin with"),
        ({"width": "wide"}, "another type"),
    ],
)
def test_entries_that_cannot_be_read(tmp_path, change, message):
    with pytest.raises(SourceError, match=message):
        imported(tmp_path, entry(**change))
    header, _ = imported(tmp_path, entry(**change), entry(), skip_invalid=True)
    assert sum(header.extra["skipped_invalid"].values()) == 1


def bench(tmp_path, *questions, answers=True):
    folder = tmp_path / "refer_reason"
    folder.mkdir(exist_ok=True)
    (folder / "question.jsonl").write_text("\n".join(map(json.dumps, questions)))
    if answers:
        (folder / "answer.jsonl").write_text('{"question_id": 0, "text": "A dog."}')
    (tmp_path / "sizes.json").write_text('{"000000000009.jpg": [200, 100]}')
    return import_source("ferret-bench", folder, tmp_path / "o", sizes=tmp_path / "sizes.json")


QUESTION = {
    "question_id": 0,
    "image": "000000000009.jpg",
    "category": "refer_reason",
    "text": "Why [0.5, 0.100, 1, 0.600] and [0.1,0.1,0.2,0.2]?",
}


def test_ferret_bench(tmp_path):
    header, [record] = read_records(bench(tmp_path, QUESTION)[0])
    assert header.name == "ferret-bench.refer-reason.test"
    assert record.id == "ferret-bench.refer-reason.0"
    assert record.text == "Why <region1> and <region2>?"
    assert record.targets[0].box == (100, 10, 200, 60)
    assert len(record.targets) == 2
    assert record.references == ["A dog."]
    assert record.extra["question"] == QUESTION["text"]
    _, [record] = read_records(bench(tmp_path, dict(QUESTION, question_id=7))[0])
    assert record.references is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "What?"}, "holds no region"),
        ({"text": "What [0.5, 0.5, 0.2, 0.2]?"}, "no area"),
        ({"image": "7.jpg"}, "size of the picture"),
    ],
)
def test_ferret_bench_questions_that_cannot_be_read(tmp_path, change, message):
    with pytest.raises(SourceError, match=message):
        bench(tmp_path, dict(QUESTION, **change))


def test_ferret_bench_answers_without_numbers(tmp_path):
    bench(tmp_path, QUESTION)
    (tmp_path / "refer_reason/answer.jsonl").write_text('{"text": "A dog."}')
    with pytest.raises(SourceError, match="question_id"):
        bench(tmp_path, QUESTION, answers=False)
