"""Captions: T5 and decoder-only models, padding that changes nothing, prompts, scores."""

from __future__ import annotations

import math

import pytest
import tiny_models as tiny
import torch
from tiny_describer import silence

from refkit.backbones import PretrainedTokenizer
from refkit.heads import CaptionHead, CausalWriter, T5Writer
from refkit.heads.language_model import LanguageModelError
from refkit.structures import Features

LLAMA = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
T5 = {"vocab_size": 96, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
WRITERS = {
    "t5": {"type": T5Writer, "size": T5},
    "llama": {"type": CausalWriter, "family": "llama", "size": LLAMA},
    "qwen2": {"type": CausalWriter, "family": "qwen2", "size": LLAMA},
}


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    llama = PretrainedTokenizer(tiny.llama_tokenizer(folder))
    return {"t5": tiny.t5_tokenizer(folder), "llama": llama, "qwen2": llama}


@pytest.fixture(params=sorted(WRITERS))
def head(request, vocabularies):
    torch.manual_seed(0)
    made = CaptionHead(
        width=12, language_model=WRITERS[request.param], tokenizer=vocabularies[request.param], longest=6
    )
    torch.nn.init.normal_(made.projection.weight)
    return made.eval()


def features(count=3):
    regions = torch.randn(count, 4, 12, generator=torch.Generator().manual_seed(0))
    return Features(regions, torch.ones(count, 4, dtype=torch.bool), (2, 2), regions=regions)


PROMPTS = ["|", "red,circle,left|", "dog|"]


def test_sentences_do_not_depend_on_the_padding_of_others(head):
    regions = features().regions
    together = head.write(regions, PROMPTS)
    alone = [head.write(regions[row : row + 1], [text])[0] for row, text in enumerate(PROMPTS)]
    assert [text for text, _ in together] == [text for text, _ in alone]
    for (_, ours), (_, expected) in zip(together, alone, strict=True):
        assert math.log(ours) == pytest.approx(math.log(expected), abs=1e-3)


def test_losses_do_not_depend_on_the_padding_of_others(head):
    model, regions = head.language_model, features().regions
    captions = ["the red circle", "a big dog left of the star", "cat"]

    def logits(rows):
        prompt = head._controls([PROMPTS[row] for row in rows], regions)
        text = head._ids([captions[row] for row in rows], regions, begin=False, end=True)
        return model.logits(*head.prefix(regions[rows], *prompt), *text), text

    together, (_, mask) = logits([0, 1, 2])
    for row in range(3):
        alone, _ = logits([row])
        torch.testing.assert_close(together[row][mask[row].bool()], alone[0], atol=1e-5, rtol=1e-4)


def test_a_head_learns_a_caption_from_regions_and_prompts_alone(head):
    samples = tiny.samples(3)
    head.language_model.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in head.parameters() if p.requires_grad], lr=0.1)
    history = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = head.loss(features(), samples)["loss_caption"]
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert head.memory.grad.any()
    assert history[-1] < 0.99 * history[0]


def test_the_penalty_reaches_every_repeated_token(head):
    """transformers' own setting spares tokens behind a padded prefix of a decoder-only model."""
    head.search.update(repetition_penalty=50.0, num_beams=1)
    regions = features().regions
    read = head.prefix(regions, *head._controls(PROMPTS, regions))
    ids, _ = head.language_model.write(*read, **head.search, **head._special_ids())
    for row in ids.tolist():
        words = [token for token in row if token not in (head.tokenizer.pad_id, head.tokenizer.eos_id)]
        assert len(set(words)) == len(words)


def test_batches_of_any_size_write_the_same(head):
    samples = tiny.samples(3)
    expected = [answer.caption for answer in head.predict(features(), samples, controls=PROMPTS)]
    head.batch = 1
    assert [answer.caption for answer in head.predict(features(), samples, controls=PROMPTS)] == expected


def test_one_beam_scores_the_words_it_wrote(head):
    """Without penalty and beams the score is the product of the probabilities of the tokens."""
    head.search.update(num_beams=1, repetition_penalty=1.0)
    regions, (prompt,) = features(1).regions, PROMPTS[1:2]
    read = head.prefix(regions, *head._controls([prompt], regions))
    ids, score = head.language_model.write(*read, **head.search, **head._special_ids())
    written = ids[:, 1:] if isinstance(head.language_model, T5Writer) else ids
    chances = head.language_model.logits(*read, written, torch.ones_like(written)).log_softmax(dim=-1)
    expected = chances.gather(2, written[..., None]).sum()
    torch.testing.assert_close(score[0], expected, atol=1e-4, rtol=1e-4)


def test_a_language_model_that_writes_nothing_has_failed(head):
    silence(head.language_model.model, head.tokenizer.eos_id)
    for beams in (1, 3):
        head.search["num_beams"] = beams
        for told in head.predict(features(), tiny.samples(3), controls=PROMPTS):
            assert (told.status, told.caption, told.boxes, told.scores) == ("failed", None, None, None)


def test_other_tasks_write_nothing(head):
    told = head.predict(features(), tiny.samples(3), tasks=["tags"])
    assert [answer.caption for answer in told] == [None] * 3


def test_half_precision_stays_inside(vocabularies):
    torch.manual_seed(0)
    settings = {"width": 12, "language_model": WRITERS["t5"], "tokenizer": vocabularies["t5"]}
    head = CaptionHead(**settings, precision="bfloat16").eval()
    loss = head.loss(features(), tiny.samples(3))["loss_caption"]
    assert loss.dtype == torch.float32
    with pytest.raises(ValueError, match="precision='half'"):
        CaptionHead(**settings, precision="half")
    with pytest.raises(ValueError, match="beams=0"):
        CaptionHead(**settings, beams=0)


def test_unknown_language_models_are_refused():
    with pytest.raises(LanguageModelError, match="known: flan-t5-xl"):
        T5Writer("flan-t5-small")
    with pytest.raises(LanguageModelError, match="no causal language model 'nothing'"):
        CausalWriter("nothing", {})


def test_the_words_of_t5_are_saved_once():
    state = T5Writer(T5).state_dict()
    assert "model.shared.weight" in state and "model.lm_head.weight" in state
    assert not any("embed_tokens" in name for name in state)
    other = T5Writer(T5)
    other.load_state_dict(state)
    torch.testing.assert_close(other.model.encoder.embed_tokens.weight, state["model.shared.weight"])
