"""The benchmark of regions measures what it says, and counts what the published sizes cost."""

import pytest
import torch

from refkit.engine.config import load_config
from refkit.inference.benchmark.region_arithmetic import count_region
from refkit.inference.benchmark.regions import Comparison, RegionBenchmark
from refkit.inference.benchmark.subject import BenchmarkError

SMALL = [
    "model.heads.caption.longest=3",
    "test_dataloader.dataset.scenes=4",
    "test_dataloader.dataset.keep=4",
    "train_dataloader.dataset.scenes=4",
    "train_dataloader.dataset.keep=4",
]


def benchmark(folder, *options, name="refshapes/dynrefer_tiny"):
    torch.manual_seed(0)
    return RegionBenchmark(load_config(name, [*options]), 4, torch.device("cpu"), folder, 1, False)


def test_all_comparisons_of_the_twin(tmp_path):
    subject = benchmark(tmp_path, *SMALL)
    found = {each.what: each for each in subject.compare()}
    assert len(found) == 5 and subject.same_captions() == 4
    heads = found["heads after the embedding"]
    assert list(heads.seconds) == [
        "all heads", "no captions", "attributes only", "tags only", "recognition only"
    ]  # fmt: skip
    assert heads.faster("all heads") == 1 and min(heads.seconds.values()) > 0
    tables = found["tables of text embeddings"]
    assert tables.count > 800 and list(tables.seconds) == ["first time", "from disk"]
    assert "2 beams" in " ".join(found)
    # Control words are of unequal number, or sorting would have nothing to do.
    assert len({len(sample.meta["control_words"]) for sample in subject.samples}) > 2


def test_only_models_that_answer_everything(tmp_path):
    with pytest.raises(BenchmarkError, match="expected a DynRefer"):
        benchmark(tmp_path, name="refshapes/hivg_tiny")


def test_rates_and_ratios():
    compared = Comparison("x", {"slow": 2.0, "fast": 0.5}, 10)
    assert (compared.rate("fast"), compared.faster("fast")) == (20.0, 4.0)
    assert compared.to_json()["slow"] == {"seconds": 2.0, "per_second": 5.0, "faster": 1.0}


def test_arithmetic_of_the_published_size():
    """Figures of the specification, section 15, but tags, whose texts are projected once for 16 regions."""
    work = count_region(beams=2, words=10, written=3)
    expected = {
        "tower": 781,
        "align": 2.12,
        "fusion": 2.04,
        "Q-Former": 6.37,
        "categories": 0.14,
        "T5 encoder": 49,
    }
    for part, gmac in expected.items():
        assert work.parts[part] == pytest.approx(gmac, rel=0.01, abs=0.03), part
    assert 0.75 * 7.38 < work.parts["tags"] < 7.38
    assert work.total() == pytest.approx(sum(work.parts.values()))
    assert work.total(("categories",), captions=False) == work.embedding + work.parts["categories"]
    # A token costs every beam the decoder's weights, but for keys and values of what is read: 1.42 G.
    assert work.parts["other tokens"] == pytest.approx(2 * 2 * 1.425, rel=0.01)
    assert work.parts["first token"] - work.parts["other tokens"] / 2 == pytest.approx(
        2 * 42 * 24 * 2 * 2048**2 / 1e9, rel=0.01
    )
