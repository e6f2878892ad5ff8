"""DynRefer: only the heads that a task needs, frozen parts frozen, any names at run time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_models as tiny
import torch

from refkit.backbones import HiLoRA
from refkit.backbones.tokenizer import TokenizerError
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.heads.caption import CaptionError
from refkit.heads.vocabulary import VocabularyError
from refkit.models.dynrefer import FROZEN, TaskError
from refkit.models.headed import NoAnswerError
from refkit.structures import Prediction
from refkit.zoo.weights import load_weights, save_weights

PARTS = {"tags": "tag", "attributes": "contrast", "categories": "contrast", "caption": "caption"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")

    def make(**changes):
        return tiny.dynrefer_config(folder, **changes)

    return make


@pytest.fixture
def model(config):
    return tiny.build(config()).eval()


def answers(model, tasks=None, count=2, **meta):
    samples = [replace(sample, meta={**sample.meta, **meta}) for sample in tiny.samples(count)]
    return model.predict(tiny.region_inputs(count), samples, tasks)


def heads_run(model, tasks):
    run = []
    hooks = [
        head.region_projection.register_forward_hook(lambda *_, name=name: run.append(name))
        for name, head in model.heads.items()
        if name != "caption"
    ]
    hooks.append(model.heads["caption"].projection.register_forward_hook(lambda *_: run.append("caption")))
    told = answers(model, tasks)
    for hook in hooks:
        hook.remove()
    return run, told


@pytest.mark.parametrize("task", sorted(PARTS))
def test_only_the_heads_of_a_task_are_run(model, task):
    run, told = heads_run(model, [task])
    assert run == (["tag", "caption"] if task == "caption" else [PARTS[task]])
    given = {name for name in PARTS if getattr(told[0], name) is not None}
    assert given == ({"tags", "caption"} if task == "caption" else {task})


def test_all_answers_at_once(model):
    for sample, told in zip(tiny.samples(2), answers(model), strict=True):
        assert told.id == sample.id and told.status == "ok"
        assert set(told.attributes) == {"bright", "dark"} and list(told.categories) == tiny.WORDS[4:7]
        assert all(0 < score < 1 for score in told.attributes.values())
        assert all(score > 0.5 for score in told.tags.values())
        np.testing.assert_allclose(told.boxes, sample.original_boxes)
        assert told.caption and 0 < told.scores[0] <= 1


def test_answers_do_not_depend_on_the_rest_of_the_batch(model):
    together = answers(model, count=3)
    inputs = {name: value[1:2] for name, value in tiny.region_inputs(3).items()}
    alone = model(inputs, tiny.samples(3)[1:2], mode="predict")[0]
    for field in ("attributes", "categories", "tags"):
        expected = getattr(together[1], field)
        assert getattr(alone, field) == pytest.approx(expected, abs=1e-6)
    assert alone.caption == together[1].caption


def test_tags_lead_the_caption_and_words_of_the_user_follow(model):
    prompts = []
    write = model.heads["caption"].write

    def listening(regions, controls):
        prompts.extend(controls)
        return write(regions, controls)

    model.heads["caption"].write = listening
    told = answers(model, ["caption"], control_words=["my dog"])
    assert sorted(prompts) == sorted(",".join([*answer.tags, "my dog"]) + "|" for answer in told)
    assert any(answer.tags for answer in told)
    prompts.clear()
    answers(model, ["caption"], control_words=["my dog"], control="true words|", prompt="what is red ?")
    assert prompts == ["what is red ?"] * 2


def test_a_question_needs_no_tags(model):
    assert all(told.tags is None for told in answers(model, ["caption"], prompt="what is red ?"))
    assert all(told.tags is not None for told in answers(model, ["caption", "tags"], prompt="what is red ?"))


def test_other_tasks_are_refused(model, config):
    with pytest.raises(TaskError, match="answers 'colour'; it answers tags, attributes, categories, caption"):
        answers(model, ["colour"])
    with pytest.raises(TaskError, match="answers 'caption'"):
        tiny.build(config(tasks=["caption"], without=["heads.caption"]))
    with pytest.raises(NoAnswerError, match="no head that answers"):
        answers(tiny.build(config(heads={})))


def test_frozen_parts_are_frozen_and_without_dropout(config):
    model = tiny.build(config()).train()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and not any(name.startswith(FROZEN) for name in trained)
    assert model.freeze == FROZEN
    assert model.backbone.qformer.bert.training and not model.backbone.tower.training
    assert not model.heads["caption"].language_model.model.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    sum(model(tiny.region_inputs(2), tiny.samples(2), mode="loss").values()).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= trained and len(changed) > 0.9 * len(trained)


def test_the_published_language_model_keeps_its_dropout(config):
    model = tiny.build(config(lively=["heads.caption.language_model"])).train()
    language_model = model.heads["caption"].language_model
    assert language_model.model.training
    assert not any(parameter.requires_grad for parameter in language_model.parameters())
    assert not model.eval().heads["caption"].language_model.model.training


def test_low_rank_adapters_open_a_frozen_language_model(config, tmp_path):
    encoder = "heads.caption.language_model.model.encoder.block"
    settings = config(
        adapters={"type": HiLoRA, "preset": None, "groups": {encoder: 1}, "targets": ["q", "v"]}
    )
    model = tiny.build(settings)
    model.enter_stage({"adapt": 1})
    opened = [name for name, p in model.named_parameters() if p.requires_grad and ".lora_" in name]
    assert len(opened) == 4 and all(name.startswith(encoder) for name in opened)
    loss = model(tiny.region_inputs(2), tiny.samples(2), mode="loss")["loss_caption"]
    loss.backward()
    assert all(model.get_parameter(name).grad is not None for name in opened)
    save_weights(model, tmp_path / "m.safetensors")
    other = tiny.build(settings, seed=1)
    load_weights(other, tmp_path / "m.safetensors")
    other.settle()
    model.settle()
    same = [answer.caption for answer in answers(model.eval())]
    assert [answer.caption for answer in answers(other.eval())] == same


def test_any_names_can_be_asked_for(model):
    before = answers(model, ["categories"])[0].categories
    model.set_vocabulary("categories", ["big dog", *tiny.WORDS[4:7]])
    after = answers(model, ["categories"])[0].categories
    assert list(after) == ["big dog", *before]
    assert {name: after[name] for name in before} == pytest.approx(before, abs=1e-6)
    model.set_vocabulary("tags", ["cat"])
    assert all(set(answer.tags) <= {"cat"} for answer in answers(model, ["tags"]))


def test_names_alone_keep_the_prompts_of_the_model(model, tmp_path):
    prompts = {"red": ["the red dog", "red"], "blue": ["blue cat"]}
    model.set_vocabulary("categories", prompts)
    before = answers(model, ["categories"])[0].categories
    (tmp_path / "names.txt").write_text("blue\ndog\n")
    (tmp_path / "names.json").write_text('["blue", "dog"]')
    for names in (["blue", "dog"], tmp_path / "names.txt", str(tmp_path / "names.json")):
        model.set_vocabulary("categories", names)
        after = answers(model, ["categories"])[0].categories
        assert list(after) == ["blue", "dog"]
        assert after["blue"] == pytest.approx(before["blue"], abs=1e-6)
    model.set_vocabulary("categories", ["red"])  # not among the names just before
    assert answers(model, ["categories"])[0].categories["red"] == pytest.approx(before["red"], abs=1e-6)


def test_prompts_that_are_given_win(model, tmp_path):
    (tmp_path / "names.json").write_text('{"red": ["red"]}')
    for names in ({"red": ["red"]}, tmp_path / "names.json"):
        model.set_vocabulary("attributes", {"red": ["blue dog"]})
        own = answers(model, ["attributes"])[0].attributes
        model.set_vocabulary("attributes", names)
        told = answers(model, ["attributes"])[0].attributes
        assert list(told) == ["red"] and told["red"] != pytest.approx(own["red"], abs=1e-6)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("category", "it recognises tags, attributes, categories; did you mean 'categories'?"),
        ("tag", "did you mean 'tags'?"),
        ("contrast", "it recognises tags, attributes, categories$"),
    ],
)
def test_a_task_that_does_not_exist_gets_the_nearest(model, task, message):
    with pytest.raises(TaskError, match=message.replace("?", r"\?")):
        model.set_vocabulary(task, ["cat"])


@pytest.mark.parametrize(
    ("task", "names", "error", "message"),
    [
        ("tags", [], VocabularyError, "an empty vocabulary"),
        ("tags", ["cat", "cat"], VocabularyError, "'cat' stands twice"),
        ("categories", ["cat", " "], VocabularyError, "' ' or a prompt of it is empty"),
        ("attributes", {"bright": []}, VocabularyError, "'bright' has no prompts"),
        ("caption", ["cat"], TaskError, "no head of this model recognises 'caption'"),
    ],
)
def test_unusable_names_are_refused(model, task, names, error, message):
    with pytest.raises(error, match=message):
        model.set_vocabulary(task, names)


def test_a_class_that_tokenises_to_nothing_is_named(model):
    model.set_vocabulary("categories", ["cat", "..."])
    with pytest.raises(TokenizerError, match=r"'\.\.\.' has no word that the text encoder knows"):
        answers(model, ["categories"])


def test_tables_follow_the_weights_of_the_text_encoder(model, config, tmp_path):
    before = answers(model, ["attributes"])[0].attributes
    other = tiny.build(config(), seed=1).eval()
    assert answers(other, ["attributes"])[0].attributes != before
    load_weights(other, save_weights(model, tmp_path / "m.safetensors"))
    assert answers(other, ["attributes"])[0].attributes == before


def test_a_table_made_while_asking_serves_training(model):
    with torch.inference_mode():
        answers(model)
    sum(model(tiny.region_inputs(2), tiny.samples(2), mode="loss").values()).backward()


def test_what_training_lacks_is_named(model, config):
    samples = [replace(sample, text=" ") for sample in tiny.samples(2)]
    with pytest.raises(CaptionError, match="record s0 has no caption"):
        model(tiny.region_inputs(2), samples, mode="loss")
    tagged = [replace(sample, meta={"tags": ["zebra"]}) for sample in tiny.samples(2)]
    with pytest.raises(VocabularyError, match="'zebra' is not among the 18 names"):
        model(tiny.region_inputs(2), tagged, mode="loss")
    lonely = tiny.build(config(text_encoder=None))
    with pytest.raises(VocabularyError, match="has no embeddings"):
        answers(lonely, ["tags"])
    with pytest.raises(ValueError, match="give the model a text_encoder"):
        lonely(tiny.region_inputs(2), tiny.samples(2), mode="loss")


def test_widths_that_do_not_fit_are_refused(config):
    heads = {"tag": {**config()["heads"]["tag"], "text_width": 7}}
    with pytest.raises(ValueError, match="TagHead has text_width=7, the text encoder gives 32"):
        tiny.build(config(heads=heads))


def test_a_model_that_writes_nothing_says_so(model):
    model.heads["caption"].tokenizer.decode = lambda rows: [" "] * len(rows)
    told = answers(model, ["caption"])[0]
    assert isinstance(told, Prediction)
    assert (told.status, told.caption, told.raw) == ("failed", None, "")


def test_views_are_normalised_like_pictures():
    views = torch.randint(0, 256, (2, 3, 3, 8, 8), dtype=torch.uint8)
    made = ReferringPreprocessor()({"inputs": {"views": views}, "data_samples": []})["inputs"]["views"]
    plain = ReferringPreprocessor()({"inputs": {"images": views[1]}, "data_samples": []})["inputs"]["images"]
    assert made.shape == views.shape
    torch.testing.assert_close(made[1], plain)


def test_an_exported_model_needs_no_other_file(config, tmp_path):
    from refkit.inference.export import self_contained
    from refkit.inference.model_config import ModelConfig

    (tmp_path / "tags.txt").write_text("dog\ncat\nred\n")
    words, pieces = tiny.word_tokenizer(tmp_path), tiny.t5_tokenizer(tmp_path)
    settings = config()
    settings["heads"]["tag"]["tags"] = str(tmp_path / "tags.txt")
    settings["text_encoder"].update(
        tokenizer={"type": "WordTokenizer", "vocabulary": str(tmp_path / "words.json"), "context_length": 12},
        cache=str(tmp_path / "tables"),
    )
    settings["heads"]["caption"]["tokenizer"] = {"type": "T5Tokenizer", "model": str(tmp_path / "words.spm")}
    model = tiny.build(settings).eval()
    expected = answers(model)
    stored = self_contained(ModelConfig.checked({"model": settings, "pipeline": []}, "here"), model)
    stored = json.loads(json.dumps(stored.model))
    for file in ("tags.txt", "words.json", "words.spm"):
        (tmp_path / file).unlink()
    other = tiny.build(stored, seed=1).eval()
    other.load_state_dict(model.state_dict())
    assert [vars_of(answer) for answer in answers(other)] == [vars_of(answer) for answer in expected]
    assert other.text_encoder.tokenizer.words == words.words
    assert other.heads["caption"].tokenizer.content == pieces.content


def vars_of(answer):
    return answer.caption, answer.tags, answer.attributes, answer.categories
