"""The search for the best views."""

import itertools
import runpy

import pytest

from refkit.data.views import CANDIDATES
from refkit.engine.config import ConfigError, RefkitConfig
from refkit.engine.view_prior import score_views, search_views, views_of


def test_two_views_are_compared_completely():
    asked = []

    def score(ratios):
        asked.append(ratios)
        return -abs(ratios[0] - 0.62)

    found = search_views(score, 2)
    assert found.best == (0.6,)
    assert found.score == pytest.approx(-0.02)
    assert sorted(asked) == [(ratio,) for ratio in CANDIDATES]
    assert list(found.tried) == asked


def test_more_views_end_in_a_local_optimum_and_nothing_is_asked_twice():
    asked = []

    def score(ratios):
        asked.append(ratios)
        return -((ratios[0] - 0.7) ** 2) - (ratios[1] - 0.3) ** 2 - 0.1 * ratios[0] * ratios[1]

    found = search_views(score, 3)
    assert len(set(asked)) == len(asked) < 40
    assert all(len(set(ratios)) == 2 for ratios in asked)
    best = max(itertools.permutations(CANDIDATES, 2), key=score)
    assert found.best == best


def test_of_equal_scores_the_first_stays():
    assert search_views(lambda ratios: 1.0, 3).best == (0.1, 0.2)
    for views in (1, 12):
        with pytest.raises(ValueError, match="expected 2 to 11"):
            search_views(lambda ratios: 1.0, views)


def config(pipeline):
    made = RefkitConfig({"val_dataloader": {"dataset": {"datasets": [{"pipeline": pipeline}]}}})
    return made


def test_views_stand_in_the_pipeline():
    assert views_of(config([{"type": "Pad"}, {"type": "RegionViews", "views": 2}])) == 2
    assert views_of(config([{"type": "RegionViews"}])) == 3
    with pytest.raises(ConfigError, match="no RegionViews"):
        views_of(config([{"type": "Pad"}]))


def test_weights_that_are_not_there(tmp_path):
    made = config([{"type": "RegionViews", "views": 2}])
    with pytest.raises(ConfigError, match="no such weights"):
        score_views(made, tmp_path / "none.pth", (0.4,), "mAP", tmp_path)
    transform = made.val_dataloader.dataset.datasets[0].pipeline[0]
    assert transform["selection"] == [0.0, 0.4]


def test_the_tool_names_what_is_wrong(tmp_path, monkeypatch, capsys, repository):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["view_prior.py", "none.py", "w.pth", "--task", "t", "--metric", "m"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(repository / "tools/view_prior.py"), run_name="__main__")
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: no config 'none.py'")
    assert not list(tmp_path.iterdir())
