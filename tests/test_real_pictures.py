"""The configs on annotated photographs: what is imported for them, and their first steps."""

from __future__ import annotations

import copy
import json
import runpy
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from refkit.data.dataset import MissingMaskError
from refkit.data.record_file import RecordFile
from refkit.data.records import iter_records, read_records
from refkit.data.sources import import_source
from refkit.engine import load_config, train
from refkit.inference.inferencer import load_model
from refkit.inference.prediction_run import PredictionRun
from refkit.leaderboard.predictions import read_predictions
from refkit.leaderboard.scoring import score
from refkit.metrics.boxes import paired_iou
from refkit.metrics.ngrams import NgramTable
from refkit.metrics.ptb import ptb_tokens
from refkit.metrics.tokens import one_line
from refkit.registry import DATASETS

pytestmark = [pytest.mark.shared, pytest.mark.usefixtures("module_without_java")]

FOLDER = Path(__file__).resolve().parents[1] / "configs"
RUNS = {
    "hivg/hivg_small_real_pictures.py": ("refcoco.unc.val", ["rec/1"]),
    "oneref/oneref_small_real_pictures.py": ("refcoco-family.mixed.train", ["rec/1", "res/1"]),
}
"""Of every config: records of the short run, and the protocols it reports."""
SPLITS = {
    "refcoco-family.mixed.train": (99, 99, 99),
    "refcoco.unc.val": (40, 6, 17),
    "refcoco.unc.testA": (64, 8, 24),
    "refcoco.unc.testB": (40, 6, 20),
    "refcocoplus.unc.val": (42, 6, 18),
    "refcocoplus.unc.testA": (62, 8, 24),
    "refcocoplus.unc.testB": (39, 6, 18),
    "refcocog.umd.val": (25, 6, 15),
    "refcocog.umd.test": (16, 6, 12),
}
"""Of every split: expressions, pictures, most expressions that one box per picture can answer."""

CAPTIONS = {"all.jsonl": (218, 128, "man", 0.0982), "vg.jsonl": (769, 3, "cables are on the floor", 0.2093)}
"""Of both files of captions: regions, pictures, and of the commonest captions the one with the best CIDEr."""


@pytest.fixture(scope="module")
def data_root(shared, tmp_path_factory):
    """A data root as the headers of the configs describe it."""
    root, source = tmp_path_factory.mktemp("data"), shared / "data" / "refcoco_images"
    regions = shared / "data" / "vg_regions"
    (root / "real" / "images").mkdir(parents=True)
    for picture in (*(source / "images").iterdir(), *(regions / "images").iterdir()):
        (root / "real" / "images" / picture.name).symlink_to(picture)
    lines = [source / "records.jsonl"]
    name = "refcoco-family.mixed.all"
    import_source("jsonl", lines, root / "real" / "all.jsonl", name=name, image_root="real")
    import_source("jsonl", lines, root / "real" / "splits", image_root="real")
    import_source("jsonl", [regions / "records.jsonl"], root / "real" / "vg.jsonl", image_root="real")
    for file in CAPTIONS:
        import_source("captions", [root / "real" / file], root / "real" / "captions" / file, tagger="rules")
    return root


def test_all_expressions_are_imported(data_root):
    header, records = read_records(data_root / "real" / "all.jsonl")
    assert (header.records, header.images) == (427, 128)
    assert "Flickr" in header.licence
    assert len({record.id for record in records}) == 427
    assert all((data_root / "real" / record.image.file).is_file() for record in records)


def test_splits_are_parts_of_what_is_trained_on(data_root):
    trained = {record.id: record for record in read_records(data_root / "real" / "all.jsonl")[1]}
    found, parts = {}, []
    for path in sorted((data_root / "real" / "splits").glob("*.jsonl")):
        header, records = read_records(path)
        found[header.name] = (header.records, header.images)
        parts += records
    assert found == {name: sizes[:2] for name, sizes in SPLITS.items()}
    assert len(parts) == len(trained)
    assert all(trained[record.id] == record for record in parts)


def hits_of_one_box_per_picture(path):
    """The most expressions that are answered right by someone who sees the pictures and ignores the words."""
    boxes = defaultdict(list)
    for record in read_records(path)[1]:
        boxes[record.image.file].append(record.targets[0].box)
    return sum(
        max(
            (paired_iou(np.tile(box, (len(group), 1)), np.array(group)) >= 0.5).sum()
            for box in np.array(group)
        )
        for group in boxes.values()
    )


def test_the_words_are_needed(data_root):
    folder = data_root / "real" / "splits"
    found = {name: hits_of_one_box_per_picture(folder / f"{name}.jsonl") for name in SPLITS}
    assert found == {name: sizes[2] for name, sizes in SPLITS.items()}
    assert hits_of_one_box_per_picture(data_root / "real" / "all.jsonl") == 245


@pytest.fixture(scope="module", params=list(RUNS))
def few_steps(request, data_root, tmp_path_factory):
    """A config's run on eight expressions: its work directory, records and metrics."""
    name, protocols = RUNS[request.param]
    records = data_root / "real" / "splits" / f"{name}.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFKIT_DATA", str(data_root))
        config = load_config(FOLDER / request.param)
        for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
            loader.update(num_workers=0, persistent_workers=False, batch_size=8)
            loader.dataset = copy.deepcopy(loader.dataset)
            loader.dataset.update(records=str(records), max_records=8)
        config.train_cfg.update(max_epochs=10, val_interval=10)
        config.default_hooks.logger.interval = config.default_hooks.runtime_info.interval = 1
        config.log_processor.window_size = 1
        work_dir = tmp_path_factory.mktemp("run")
        return work_dir, records, protocols, train(config, work_dir)


def test_first_steps_learn(few_steps):
    work_dir, _, protocols, metrics = few_steps
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    losses = [entry["loss"] for line in log.read_text().splitlines() if "loss" in (entry := json.loads(line))]
    assert len(losses) == 10
    assert losses[-1] < 0.8 * losses[0]
    assert metrics["rec/miou"] > 0.2  # masks need more steps: their running statistics are at a third
    assert {metrics[f"{protocol.partition('/')[0]}/invalid"] for protocol in protocols} == {0}


def test_prediction_file_scores_as_the_run_did(few_steps):
    work_dir, records, protocols, metrics = few_steps
    predictions = work_dir / "predictions" / f"{records.stem}.jsonl"
    for protocol in protocols:
        result = score(records, predictions, protocol, allow_partial=True)
        family = protocol.partition("/")[0]
        assert {
            f"{family}/{name}": cell.value for name, cell in result.metrics.items()
        }.items() <= metrics.items()


def test_objects_without_a_mask_are_counted_and_left_out(data_root, monkeypatch):
    monkeypatch.setenv("REFKIT_DATA", str(data_root))
    config = load_config(FOLDER / "oneref" / "oneref_small_real_pictures.py")
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert (len(dataset), dataset.skipped) == (192, {"without mask": 235})
    sample = dataset[0]
    assert sample.masks.shape == (1, 192, 192) and sample.masks.dtype == bool
    with pytest.raises(MissingMaskError, match="235 of 427 records"):
        DATASETS.build({**config.train_dataloader.dataset, "without_mask": "refuse"})


@pytest.mark.parametrize("file", list(CAPTIONS))
def test_regions_with_their_captions(data_root, file):
    header, records = read_records(data_root / "real" / "captions" / file)
    assert (header.records, header.images) == CAPTIONS[file][:2]
    assert header.task == ["caption"] and header.extra["tagger"] == "rules"
    said = {record.object: [] for record in records}
    for record in read_records(data_root / "real" / file)[1]:
        said[record.object] += [] if record.text in said[record.object] else [record.text]
    for record in records:
        assert record.references == said[record.object]
        assert len(record.facts["phrases"]) == len(record.references) and len(record.targets) == 1


@pytest.mark.parametrize("file", list(CAPTIONS))
def test_the_commonest_caption_says_little(data_root, file):
    records = data_root / "real" / "captions" / file
    said = [record.references for record in iter_records(records)]
    counts = Counter(text for references in said for text in references)
    tokens = {text: ptb_tokens(one_line(text)) for text in counts}
    theirs = [[tokens[text] for text in references] for references in said]
    commonest = (text for text, count in counts.items() if count == max(counts.values()))
    ciders = {
        text: float(NgramTable([tokens[text]] * len(said), theirs).cider().mean()) for text in commonest
    }
    best = max(ciders, key=ciders.get)
    assert (best, round(ciders[best], 4)) == CAPTIONS[file][2:]


@pytest.fixture(scope="module")
def few_captions(data_root, tmp_path_factory):
    """DynRefer's run on eight regions of each set: its work directory, records and metrics."""
    script = runpy.run_path(str(FOLDER.parent / "tools" / "train_refshapes_spm.py"))
    work_dir, folder = tmp_path_factory.mktemp("run"), data_root / "real" / "captions"
    texts = script["recorded_texts"]([folder / file for file in CAPTIONS])
    (work_dir / "captions.spm").write_bytes(script["train"](texts, 1000, t5=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REFKIT_DATA", str(data_root))
        config = load_config(FOLDER / "dynrefer" / "dynrefer_small_real_pictures.py")
        config.model.heads.caption.tokenizer.model = str(work_dir / "captions.spm")
        for loader in (config.train_dataloader, config.val_dataloader):
            loader.update(num_workers=0, persistent_workers=False, batch_size=8)
            loader.dataset = copy.deepcopy(loader.dataset)
        for part in (*config.train_dataloader.dataset.members, config.val_dataloader.dataset):
            part.update(max_records=8)
        config.train_dataloader.dataset.weights = [1.0, 1.0]
        config.val_evaluator.protocol = "caption/region"
        config.train_cfg.update(max_epochs=10, val_interval=10)
        config.default_hooks.logger.interval = config.default_hooks.runtime_info.interval = 1
        config.log_processor.window_size = 1
        yield work_dir, folder / "vg.jsonl", train(config, work_dir)


def test_first_captions_are_learnt(few_captions):
    work_dir, _, metrics = few_captions
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    losses = [entry["loss"] for line in log.read_text().splitlines() if "loss" in (entry := json.loads(line))]
    assert len(losses) == 20
    assert losses[-1] < 0.6 * losses[0]
    assert metrics["caption/cider"] > 0
    assert metrics["caption/invalid"] == 0


def test_prediction_file_of_captions_is_the_runs_own(few_captions, data_root, tmp_path):
    work_dir, records, metrics = few_captions
    predictions = work_dir / "predictions" / "vg.1_2-captions.all.jsonl"
    result = score(records, predictions, "caption/region", allow_partial=True, draws=0)
    for name, cell in result.metrics.items():
        np.testing.assert_equal(metrics[f"caption/{name}"], cell.value)
    run = PredictionRun(limit=8, data_root=data_root)
    run.execute(load_model(work_dir), RecordFile(records), tmp_path / "again.predictions.jsonl")
    again = read_predictions(tmp_path / "again.predictions.jsonl")[1]
    assert {key: answer.caption for key, answer in again.items()} == {
        key: answer.caption for key, answer in read_predictions(predictions)[1].items()
    }
