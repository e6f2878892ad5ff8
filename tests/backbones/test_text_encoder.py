"""Text embeddings: the same as the whole CLIP's, computed once, never stale, never damaged."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny
import torch

from refkit.backbones import CLIPBackbone, CLIPTextEncoder, WordTokenizer
from refkit.backbones.text_table import TextTables
from refkit.backbones.tokenizer import TokenizerError
from refkit.zoo.weights import save_weights

TEXTS = ["red circle", "dog", "the big star left of a cat"]


@pytest.fixture
def words(tmp_path):
    return tiny.word_tokenizer(tmp_path)


def encoder(words, seed=0, **settings):
    torch.manual_seed(seed)
    return CLIPTextEncoder(tiny.SIZE, words, **settings).eval()


def test_half_of_a_clip_says_what_the_whole_says(words, tmp_path):
    whole = CLIPBackbone(tiny.SIZE, pooled=True).eval()
    half = encoder(words, weights=save_weights(whole, tmp_path / "clip.safetensors"))
    inputs = {"images": torch.zeros(3, 3, 32, 32), "token_ids": words(TEXTS)}
    torch.testing.assert_close(half.encode(TEXTS), whole(inputs).sentence)
    torch.testing.assert_close(half.encode(TEXTS[1:2]), half.encode(TEXTS)[1:2])


def test_without_projection_it_gives_the_towers_own_width(words, tmp_path):
    whole = encoder(words)
    file = save_weights(CLIPBackbone(tiny.SIZE), tmp_path / "clip.safetensors")
    plain = encoder(words, projection=False, weights=file)
    assert plain.width == 32 and plain.text_projection is None
    projected = encoder(words, weights=file)
    torch.testing.assert_close(projected.encode(TEXTS), projected.text_projection(plain.encode(TEXTS)))
    assert not torch.equal(whole.encode(TEXTS), projected.encode(TEXTS))


def test_a_table_comes_from_disk_the_second_time(words, tmp_path):
    first = encoder(words, cache=tmp_path / "tables")
    table = first.table(TEXTS)
    torch.testing.assert_close(table, first.encode(TEXTS).detach())
    again, passes = encoder(words, cache=tmp_path / "tables"), []
    again.text_model.final_layer_norm.register_forward_hook(lambda *_: passes.append(1))
    assert torch.equal(again.table(TEXTS), table) and not passes
    again.table(TEXTS[:2])
    assert passes
    assert len(list((tmp_path / "tables").rglob("*.safetensors"))) == 2


def test_other_weights_words_or_sizes_are_other_tables(words, tmp_path):
    tower = encoder(words)
    digests = {tower.digest(), encoder(words, seed=1).digest()}
    with torch.no_grad():
        tower.text_projection.weight[0, 0] += 1
    digests.add(tower.digest())
    swapped = [*words.words[:2], *words.words[2:-2][::-1], *words.words[-2:]]
    digests.add(encoder(WordTokenizer(swapped, words.context_length)).digest())
    assert len(digests) == 4
    assert encoder(words).digest() == encoder(words).digest()


def damaged(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [damaged, lambda path: path.write_bytes(b"short")], ids=["a bit", "cut"])
def test_damaged_tables_are_made_again(harm, tmp_path, caplog):
    tables = TextTables(tmp_path)
    right = torch.arange(12.0).view(3, 4)
    tables.get("tower", TEXTS, lambda: right)
    harm(tables.path("tower", TEXTS))
    assert torch.equal(tables.get("tower", TEXTS, lambda: right), right)
    assert "damaged table of text embeddings" in caplog.text
    caplog.clear()
    assert torch.equal(tables.get("tower", TEXTS, lambda: torch.zeros(3, 4)), right)
    assert not caplog.text


def test_nothing_is_computed_in_training_mode(words):
    tower = encoder(words).train()
    np.testing.assert_array_equal(tower.table(TEXTS), tower.table(TEXTS))
    assert tower.training


@pytest.mark.parametrize("text", ["", "  ", "..."])
def test_names_without_a_word_are_refused(words, text):
    with pytest.raises(TokenizerError, match=r"is empty|no word that the text encoder knows"):
        encoder(words).table(["dog", text])
