"""Released DynRefer files and the four beside them become one model, at true size and strictly."""

from __future__ import annotations

import json

import pytest
import tiny_models as tiny
import torch
from published_weights import manifest

from refkit.backbones.state import WeightError
from refkit.registry import MODELS
from refkit.zoo.layouts import import_published
from refkit.zoo.layouts.dynrefer import RULES
from refkit.zoo.layouts.dynrefer_sources import TOWERS, read_source
from refkit.zoo.layouts.renaming import published_name

VARIANTS = {
    "eva": ("released_checkpoint_eva", "frozen_eva", "EVA ViT-g"),
    "vit_l": ("released_layout_vit_l", "frozen_vit_l", "ViT-L"),
}
CLIP_TEXT = {"width": 768, "layers": 12, "feedforward": 3072, "vocabulary": 49408, "positions": 77}


def shapes(name):
    names = manifest(f"dynrefer/{name}_manifest.json.gz")
    return {key: meta(shape, getattr(torch, dtype)) for key, (shape, dtype) in names.items()}


def meta(shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def part(state, prefix):
    return {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}


def deeper(state, blocks, last):
    """The vision file's further block and what follows it, which the model leaves out."""
    mark = f"{blocks}.{last - 1}."
    return {name.replace(mark, f"{blocks}.{last}."): v for name, v in state.items() if mark in name}


def transformers_text():
    """The text half of ViT-L/14 in transformers' names, with the vision half's first tensor."""
    text = {
        "embeddings.token_embedding.weight": (49408, 768),
        "embeddings.position_embedding.weight": (77, 768),
    }
    for norm in (
        "final_layer_norm",
        *(f"encoder.layers.{n}.layer_norm{k}" for n in range(12) for k in (1, 2)),
    ):
        text |= {f"{norm}.weight": (768,), f"{norm}.bias": (768,)}
    for n in range(12):
        for name in "qkv":
            text |= linear(f"encoder.layers.{n}.self_attn.{name}_proj", 768, 768)
        text |= linear(f"encoder.layers.{n}.self_attn.out_proj", 768, 768)
        text |= linear(f"encoder.layers.{n}.mlp.fc1", 3072, 768) | linear(
            f"encoder.layers.{n}.mlp.fc2", 768, 3072
        )
    state = {f"text_model.{name}": meta(shape) for name, shape in text.items()}
    return {**state, "text_model.embeddings.position_ids": meta((1, 77)), "logit_scale": meta(())}


def linear(name, rows, columns):
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "tags.txt").write_text("\n".join(f"tag {index}" for index in range(4585)))
    tiny.t5_tokenizer(tmp_path)
    annotations = {
        "attributes": [{"id": 0, "name": "clean:clean/neat", "is_has_att": "is"}],
        "categories": [{"id": 1, "name": "Dog"}],
    }
    (tmp_path / "ovad.json").write_text(json.dumps(annotations))

    def make(variant):
        frozen = shapes(VARIANTS[variant][1])
        vision = part(frozen, "visual_encoder.")
        if variant == "eva":
            vision |= deeper(vision, "blocks", 39) | {
                "norm.weight": meta((1408,)),
                "head.weight": meta((9, 1408)),
            }
            text = {f"text.{name}": v for name, v in part(frozen, "text_encoder.").items()}
            text |= {"visual.cls_token": meta((1, 1, 1408)), "logit_scale": meta(())}
        else:
            vision |= deeper(vision, "resblocks", 21) | {
                "proj": meta((1024, 768)),
                "ln_post.bias": meta((1024,)),
            }
            text = transformers_text()
        blip2 = {name: frozen[name] for name in ("query_tokens", "ln_vision.weight", "ln_vision.bias")}
        return {
            "vision": vision,
            "blip2": blip2 | {"t5_proj.bias": meta((2048,))},
            "language_model": part(frozen, "t5_model."),
            "text": text,
            "tags": str(tmp_path / "tags.txt"),
            "ovad": str(tmp_path / "ovad.json"),
            "tokenizer": str(tmp_path / "words.spm"),
        }

    return make


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_five_files_are_the_whole_model(variant, sources):
    """4.08 billion values with EVA ViT-g (spec 9); nothing is allocated."""
    released = shapes(VARIANTS[variant][0])
    config, weights = import_published("dynrefer", released, **sources(variant))
    with torch.device("meta"):
        model = MODELS.build(config["model"])
    own = model.state_dict()
    assert {name: value.shape for name, value in own.items()} == {n: v.shape for n, v in weights.items()}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    published = {published_name(name, RULES) for name in trained}
    assert published == set(released) - {"Qformer.bert.embeddings.position_ids"}
    assert len(trained) == 347
    values = sum(parameter.numel() for parameter in model.parameters())
    floats = sum(model.get_parameter(name).numel() for name in trained)
    if variant == "eva":
        assert round(values / 1e9, 2) == 4.08 and round(floats / 1e6, 2) == 122.88
        tower = sum(parameter.numel() for parameter in model.backbone.tower.parameters())
        assert round(tower / 1e6, 1) == 985.9
    assert model.tasks == ("tags", "attributes", "categories", "caption")
    assert model.heads["contrast"].vocabularies["categories"].prompts == ["the dog"]
    assert config["pipeline"] == [{"type": "RegionViews", "views": 3, "side": 224}]


def test_names_without_annotations_are_given_at_run_time(sources):
    given = sources("eva") | {"ovad": None}
    config, _ = import_published("dynrefer", shapes("released_checkpoint_eva"), **given)
    assert set(config["model"]["heads"]["contrast"]) == {"type", "text_width"}


def test_every_file_that_is_not_given_is_named(sources):
    with pytest.raises(WeightError) as error:
        import_published("dynrefer", shapes("released_checkpoint_eva"), vision={})
    text = str(error.value)
    assert "vision" not in text.split("Not given")[1]
    for line in (
        "blip2: blip2_pretrained_flant5xl.pth",
        "language_model: google/flan-t5-xl",
        "text: eva_clip_psz14.pt",
        "tags: ram_tag_list.txt",
    ):
        assert line in text
    with pytest.raises(WeightError, match=r"vision: clip_vit_L\.pth"):
        import_published("dynrefer", shapes("released_layout_vit_l"))


def test_each_file_must_be_complete_and_all_complaints_come_at_once(sources):
    state, given = shapes("released_checkpoint_eva"), sources("eva")
    del state["cvem_align.value_proj.bias"]
    state["t5_model.lora_A"] = meta((3,))
    del given["vision"]["blocks.7.attn.q_bias"], given["blip2"]["ln_vision.bias"]
    del given["text"]["text.ln_final.weight"], given["language_model"]["shared.weight"]
    given["vision"]["blocks.3.novelty"] = meta((3,))
    given["language_model"] |= {"lm_head.weight": meta((32128, 1024)), "novelty": meta((3,))}
    with pytest.raises(WeightError) as error:
        import_published("dynrefer", state, **given)
    own, vision, blip2, language, text = str(error.value).split("the checkpoint does not have the layout")[1:]
    assert "1 missing:\n  cvem_align.value_proj.bias" in own and "1 unknown:\n  t5_model.lora_A" in own
    assert "vision (eva_vit_g.pth)" in own and "1 missing:\n  visual_encoder.blocks.7.attn.q_bias" in vision
    assert "1 unknown:\n  visual_encoder.blocks.3.novelty" in vision
    assert "1 missing:\n  ln_vision.bias" in blip2
    assert "1 missing:\n  t5_model.shared.weight" in language and "1 unknown:\n  t5_model.novelty" in language
    assert "t5_model.lm_head.weight: (32128, 1024), expected (32128, 2048)" in language
    assert (
        "text (eva_clip_psz14.pt)" in language and "text_encoder.text_model.final_layer_norm.weight" in text
    )


def test_files_of_another_kind_are_refused(sources):
    given = sources("eva")
    given["text"]["text.novelty"] = meta((3,))
    with pytest.raises(WeightError, match=r"text .*novelty has no place"):
        import_published("dynrefer", shapes("released_checkpoint_eva"), **given)
    with pytest.raises(WeightError, match=r"no released DynRefer in it.*names begin with attr_b"):
        import_published("dynrefer", {"attr_b": meta(())}, **given)


def test_unreadable_names_are_refused(sources, tmp_path):
    state = shapes("released_checkpoint_eva")
    with pytest.raises(WeightError, match=r"none\.txt: no readable list of tags"):
        import_published("dynrefer", state, **{**sources("eva"), "tags": str(tmp_path / "none.txt")})
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(WeightError, match=r"other\.json: no OVAD annotations"):
        import_published("dynrefer", state, **{**sources("eva"), "ovad": str(tmp_path / "other.json")})


def test_a_folder_of_shards_is_one_source(tmp_path):
    torch.save({"lm_head.weight": torch.ones(2, 2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"t5_model.shared.weight": torch.ones(2, 2)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    prefixes, weights = read_source("language_model", tmp_path, TOWERS[0])
    assert prefixes == ("heads.caption.language_model.",)
    assert set(weights) == {f"{prefixes[0]}model.{name}.weight" for name in ("lm_head", "shared")}
    with pytest.raises(WeightError, match=r"no \*\.safetensors"):
        read_source("language_model", tmp_path.parent, TOWERS[0])
