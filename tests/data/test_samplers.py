"""Order is a function of (seed, epoch, rank); evaluation sees everything exactly once."""

import pytest
from torch.utils.data import DataLoader

from refkit.data import samplers
from refkit.data.samplers import EpochSampler, ExactEvalSampler
from refkit.registry import DATA_SAMPLERS


def on_ranks(monkeypatch, ranks, make):
    """The samplers that ``ranks`` processes would make."""
    made = []
    for rank in range(ranks):
        monkeypatch.setattr(samplers, "get_dist_info", lambda rank=rank: (rank, ranks))
        made.append(make())
    return made


def test_every_epoch_is_another_permutation():
    sampler = EpochSampler(range(50), seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    again = EpochSampler(range(50), seed=3)
    again.set_epoch(1)
    assert list(again) == second
    assert list(EpochSampler(range(50), seed=4)) != first
    assert list(EpochSampler(range(5), shuffle=False)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [10, 11, 12, 13])
def test_dropping_and_padding_over_ranks(monkeypatch, size):
    dropped = on_ranks(monkeypatch, 4, lambda: EpochSampler(range(size), seed=1))
    indices = [index for sampler in dropped for index in sampler]
    assert {len(list(sampler)) for sampler in dropped} == {size // 4} == {len(sampler) for sampler in dropped}
    assert len(indices) == len(set(indices)) == size // 4 * 4
    padded = on_ranks(monkeypatch, 4, lambda: EpochSampler(range(size), seed=1, uneven="pad"))
    indices = [index for sampler in padded for index in sampler]
    assert {len(list(sampler)) for sampler in padded} == {-(-size // 4)}
    assert set(indices) == set(range(size))


def test_ranks_together_make_the_single_process_order(monkeypatch):
    whole = list(EpochSampler(range(12), seed=1))
    parts = [list(sampler) for sampler in on_ranks(monkeypatch, 3, lambda: EpochSampler(range(12), seed=1))]
    assert [index for step in zip(*parts, strict=True) for index in step] == whole


def test_padding_a_tiny_set_repeats_it(monkeypatch):
    parts = [list(part) for part in on_ranks(monkeypatch, 4, lambda: EpochSampler(range(2), uneven="pad"))]
    assert [len(part) for part in parts] == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="leaves nothing for each of 4 ranks"):
        on_ranks(monkeypatch, 4, lambda: EpochSampler(range(2)))


def epochs(sampler, count):
    for epoch in range(count):
        sampler.set_epoch(epoch)
        yield list(sampler)


@pytest.mark.parametrize("samples", [3, 7, 10, 25])
def test_epochs_of_another_length_follow_the_passes_through_the_data_set(samples):
    """Ten samples; whatever the length of an epoch, the stream of indices is the same and each pass a permutation."""
    passes = [index for epoch in epochs(EpochSampler(range(10), seed=5), 5) for index in epoch]
    cut = list(epochs(EpochSampler(range(10), seed=5, samples=samples), 50 // samples))
    assert {len(epoch) for epoch in cut} == {samples}
    stream = [index for epoch in cut for index in epoch]
    assert stream == passes[: len(stream)]


def test_epochs_of_another_length_over_ranks(monkeypatch):
    whole = EpochSampler(range(10), seed=5, samples=4)
    parts = on_ranks(monkeypatch, 2, lambda: EpochSampler(range(10), seed=5, samples=4))
    for epoch in range(4):
        for sampler in (whole, *parts):
            sampler.set_epoch(epoch)
        assert [index for step in zip(*parts, strict=True) for index in step] == list(whole)
    with pytest.raises(ValueError, match="at least one sample, got samples=0"):
        EpochSampler(range(10), samples=0)


def test_skip_continues_the_same_epoch_without_loading():
    class Loud(list):
        def __getitem__(self, index):
            loaded.append(index)
            return index

    loaded = []
    data = Loud(range(20))
    sampler = EpochSampler(data, seed=2)
    sampler.set_epoch(3)
    loader = DataLoader(data, batch_size=4, sampler=sampler)
    whole = [batch.tolist() for batch in loader]
    loaded.clear()
    sampler.skip(3 * 4)
    assert [batch.tolist() for batch in loader] == whole[3:]
    assert len(loaded) == 8
    assert len(loader) == 5
    assert [batch.tolist() for batch in loader] == whole
    with pytest.raises(ValueError, match="cannot skip 21 samples of an epoch of 20"):
        sampler.skip(21)


def test_the_data_set_follows_the_epoch():
    class Counting(list):
        epoch = 0

        def set_epoch(self, epoch):
            self.epoch = epoch

    data = Counting(range(4))
    EpochSampler(data).set_epoch(7)
    assert data.epoch == 7


def test_no_seed_asks_for_a_common_one():
    sampler = EpochSampler(range(30), seed=None)
    assert list(sampler) == list(sampler)


def test_a_wrong_rule_is_refused():
    with pytest.raises(ValueError, match="uneven='repeat' is not among 'drop', 'pad'"):
        EpochSampler(range(4), uneven="repeat")


@pytest.mark.parametrize(("size", "ranks"), [(11, 2), (12, 4), (3, 4), (1, 1)])
def test_evaluation_sees_every_sample_once(monkeypatch, size, ranks):
    made = on_ranks(monkeypatch, ranks, lambda: ExactEvalSampler(range(size)))
    assert sorted(index for sampler in made for index in sampler) == list(range(size))
    assert [len(sampler) for sampler in made] == [len(list(sampler)) for sampler in made]


def test_registered_with_the_arguments_of_the_runner():
    for name in ("EpochSampler", "ExactEvalSampler"):
        sampler = DATA_SAMPLERS.build(dict(type=name), default_args=dict(dataset=range(6), seed=1))
        assert sorted(sampler) == list(range(6))


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_neighbours_stay_together_on_one_rank(ranks, monkeypatch):
    dealt = []
    for rank in range(ranks):
        monkeypatch.setattr("refkit.data.samplers.get_dist_info", lambda rank=rank: (rank, ranks))
        sampler = EpochSampler(range(60), together=5)
        order = list(sampler)
        assert len(order) == len(sampler) == 60 // ranks
        for start in range(0, len(order), 5):
            assert order[start] % 5 == 0
            assert order[start : start + 5] == list(range(order[start], order[start] + 5))
        dealt += order
    assert sorted(dealt) == list(range(60))
    assert dealt != list(range(60))


def test_groups_that_do_not_come_out_even_are_refused():
    with pytest.raises(ValueError, match="together=7 does not divide"):
        EpochSampler(range(60), together=7)
