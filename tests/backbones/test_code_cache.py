from __future__ import annotations

import multiprocessing

import pytest
import torch

from refkit.backbones import VQKD, CachedCodes

SIZE = {
    "width": 16,
    "layers": 1,
    "heads": 2,
    "image_size": 16,
    "patch_size": 8,
    "codes": 300,
    "code_width": 4,
}


def tokenizer(seed=0):
    torch.manual_seed(seed)
    return VQKD(SIZE).eval()


def pictures(count, seed=0):
    return torch.randint(0, 256, (count, 3, 16, 16), generator=torch.Generator().manual_seed(seed)) / 255


@pytest.fixture
def asked(monkeypatch):
    """Numbers of pictures that the tokenizer itself was asked for."""
    numbers = []
    original = VQKD.codes

    def codes(self, pixels):
        numbers.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(VQKD, "codes", codes)
    return numbers


def entries(folder):
    return sorted(folder.rglob("*.codes"))


def test_codes_come_from_disk_the_second_time(tmp_path, asked):
    model, pixels = tokenizer(), pictures(3)
    expected = model.codes(pixels)
    first, again = CachedCodes(model, tmp_path), CachedCodes(tokenizer(), tmp_path)
    assert torch.equal(first(pixels), expected) and torch.equal(again(pixels.flip(0)), expected.flip(0))
    assert asked == [3, 3]
    assert (first.counts.misses, first.counts.hits) == (3, 0)
    assert (again.counts.misses, again.counts.hits) == (0, 3)
    assert first(pixels).dtype == torch.int64 and len(entries(tmp_path)) == 3


def test_only_what_is_missing_is_computed_and_doubles_once(tmp_path, asked):
    cached, pixels = CachedCodes(tokenizer(), tmp_path), pictures(4)
    cached(pixels[:2])
    codes = cached(pixels[[0, 2, 2, 3, 1, 2]])
    assert asked == [2, 2]
    assert torch.equal(codes, tokenizer().codes(pixels)[[0, 2, 2, 3, 1, 2]])


def test_other_views_and_other_tokenizers_have_entries_of_their_own(tmp_path):
    pixels = pictures(1)
    cached = CachedCodes(tokenizer(), tmp_path)
    names = [cached.names(view)[0] for view in (pixels, pixels.flip(3), pixels.transpose(2, 3))]
    names.append(CachedCodes(tokenizer(1), tmp_path).names(pixels)[0])
    wide = torch.zeros(1, 3, 8, 32)
    names += [cached.names(wide)[0], cached.names(wide.view(1, 3, 32, 8))[0]]
    assert len(set(names)) == 6
    assert cached.names(pixels + 1e-4)[0] == names[0]  # rounding of the way through normalisation


def damage(path, how):
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-3], "empty": b"", "flipped": content[:2] + b"\1" + content[3:]}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "flipped"])
def test_damaged_entries_are_counted_computed_again_and_replaced(tmp_path, how, caplog):
    pixels = pictures(2)
    expected = CachedCodes(tokenizer(), tmp_path)(pixels)
    damage(entries(tmp_path)[0], how)
    cached = CachedCodes(tokenizer(), tmp_path)
    assert torch.equal(cached(pixels), expected)
    assert (cached.counts.corrupt, cached.counts.hits, cached.counts.misses) == (1, 1, 0)
    assert "damaged entry of the code cache" in caplog.text
    assert torch.equal(cached(pixels), expected) and cached.counts.hits == 3


def test_an_entry_under_the_wrong_name_is_damaged(tmp_path):
    cached, pixels = CachedCodes(tokenizer(), tmp_path), pictures(2)
    expected = cached(pixels)
    first, second = entries(tmp_path)
    second.write_bytes(first.read_bytes())
    assert torch.equal(cached(pixels), expected) and cached.counts.corrupt == 1


def fill(folder, seeds):
    cached = CachedCodes(tokenizer(), folder)
    for seed in seeds:
        cached(pictures(4, seed))


def test_several_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=fill, args=(tmp_path, seeds)) for seeds in ([0, 1, 2], [2, 1, 0])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(entries(tmp_path)) == 12 and not list(tmp_path.rglob("*.tmp"))
    cached = CachedCodes(tokenizer(), tmp_path)
    for seed in range(3):
        assert torch.equal(cached(pictures(4, seed)), tokenizer().codes(pictures(4, seed)))
    assert cached.counts.hits == 12
