"""The naive way computes the same model: same boxes, same losses, and nothing of it stays behind."""

import copy
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_benchmark_run import OPTIONS, write_config
from tiny_models import SIZE

from refkit.engine.config import load_config
from refkit.inference.benchmark.comparison import NAIVE, compare_with_naive, naive_training_step
from refkit.inference.benchmark.naive import research_style
from refkit.inference.benchmark.subject import Subject

CPU = torch.device("cpu")
BRIDGED = {
    "type": "HiVG",
    "data_preprocessor": {
        "type": "ReferringPreprocessor",
        "tokenizer": {"type": "CLIPTokenizer", "context_length": SIZE["context_length"]},
    },
    "backbone": {
        "type": "CLIPBackbone",
        "size": {**SIZE, "vocab_size": 49408},
        "visual_levels": [1, 3],
        "pooled": True,
        "bridge": {"type": "CrossModalBridge", "blocks": [0, 2], "text_levels": [1, 2]},
    },
    "encoder": {"type": "GroundingEncoder", "width": 32, "layers": 2, "heads": 4, "dropout": 0.0},
    "heads": {
        "box": {"type": "BoxHead"},
        "region_text": {"type": "RegionTextHead"},
        "contrast": {"type": "ContrastHead"},
        "mask": {"type": "MaskHead"},
    },
    "adapters": {
        "type": "HiLoRA",
        "groups": {"backbone.clip.vision_model.encoder.layers": 3},
        "dropout": 0.0,
    },
}
STAGES = {"stages": [{"name": "hilora-3", "epochs": 1, "lr": 1e-3, "model": {"adapt": 3}}]}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("naive"), model=BRIDGED, train_cfg=STAGES)


def test_comparison_reports_ratios_and_equal_boxes(config):
    found = compare_with_naive(str(config), (), CPU, OPTIONS)
    assert found.box_difference < 1e-6
    content = json.loads(found.to_json())
    for activity in ("evaluation", "training step"):
        assert set(content["ratio"][activity]) == {NAIVE, "float32", "bfloat16"}
        assert content["ratio"][activity][NAIVE] == 1.0
    assert set(found.peak_memory) == {NAIVE, "float32", "bfloat16"}
    assert min(found.peak_memory.values()) > 50 * 2**20
    assert found.peak_tensors["float32"] < found.peak_tensors[NAIVE] < found.peak_memory[NAIVE]


def test_evaluation_alone_can_be_compared(config):
    found = compare_with_naive(str(config), (), CPU, replace(OPTIONS, training=False))
    assert list(found.seconds) == ["evaluation"]
    assert found.peak_memory == found.peak_tensors == {}


def test_the_naive_way_gives_the_same_losses_and_keeps_its_maps(config, tmp_path):
    torch.manual_seed(0)
    subject = Subject(load_config(config), 4, CPU, tmp_path)
    assert any("lora_A" in name for name, _ in subject.model.named_parameters())
    subject.model.train()
    plain = copy.deepcopy(subject)
    ours = [float(loss) for loss in plain.training_step("float32")().values()]
    assert naive_training_step(subject)() == pytest.approx(ours, rel=1e-4)
    attend = F.scaled_dot_product_attention
    with research_style(subject.model) as maps:
        assert F.scaled_dot_product_attention is not attend
        subject.evaluation("float32")()
    assert F.scaled_dot_product_attention is attend
    assert {tuple(one.shape[1:]) for one in maps} >= {(4, 17, 17), (4, 17, 12), (2, 12, 12)}
    assert "forward" not in vars(subject.model.heads["mask"])
