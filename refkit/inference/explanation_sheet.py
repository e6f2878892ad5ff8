"""Draws an `Explanation` as one picture: answer, maps over the picture, words, accuracy while training."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from refkit.inference.drawing import PREDICTED, Answer, draw_answer
from refkit.inference.explanation import Explanation, PatchMap
from refkit.inference.history import HistoryError, Validation, main_metric
from refkit.metrics.boxes import valid_boxes
from refkit.metrics.rec import top_box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 110
_WIDTH = 12.0
_LARGE, _SMALL = 480, 240
_TALLEST = 1.5  # height over width of a panel; taller pictures leave room at their sides
_INK, _PAPER, _GRID = "#1e1e1e", "#fafaf8", "#d8d8d4"
_BAR, _LINE = "#0072b2", "#d55e00"
_HEAT = "magma"
_SHARE = "share per patch"
_BOX = tuple(channel / 255 for channel in PREDICTED)


def explanation_sheet(
    explanation: Explanation, title: str, history: Sequence[Validation] = ()
) -> Image.Image:
    """`explanation_figure` as a picture."""
    return _picture(explanation_figure(explanation, title, history))


def explanation_figure(explanation: Explanation, title: str, history: Sequence[Validation] = ()) -> Figure:
    """The whole explanation on one page.

    Large: the answer, attention of [REG] over the picture in the last grounding layer and the similarity maps
    there are. Small: the same attention in every layer. Below: attention of [REG] by word, and accuracy over
    the epochs where the model's work folder tells it.

    Args:
        explanation: from `explain`.
        title: which model answered.
        history: from `read_history`; empty without.
    """
    large = _large_panels(explanation)
    height = min(explanation.image.height / explanation.image.width, _TALLEST)
    columns = min(6, max(5, len(explanation.layers)))
    heights = [
        _WIDTH / len(large) * height + 0.9,
        -(-len(explanation.layers) // columns) * (_WIDTH / columns * height + 0.4),
        max(2.6, 0.8 + 0.24 * len(explanation.words)),
    ]
    figure = _figure(_WIDTH, sum(heights) + 0.6)
    figure.suptitle(_heading(explanation.text, title), fontsize=12, color=_INK, parse_math=False)
    parts: Any = figure.subfigures(3, 1, height_ratios=heights)
    maps, layers, below = parts
    _draw_large(maps, explanation, large)
    _draw_layers(layers, explanation, columns)
    left, right = below.subplots(1, 2) if history else (below.subplots(1, 1), None)
    draw_word_attention(left, explanation)
    if right is not None:
        draw_accuracy(right, history)
    return figure


def accuracy_picture(history: Sequence[Validation], metric: str | None = None) -> Image.Image:
    """The accuracy curve of a training run alone.

    Args:
        history: from `read_history`, at least one validation.
        metric: name of a logged metric; by default `main_metric`.

    Raises:
        HistoryError: nothing was validated, or not with that metric.
    """
    figure = _figure(8.0, 4.0)
    draw_accuracy(figure.subplots(), history, metric)
    return _picture(figure)


def draw_accuracy(axes: Axes, history: Sequence[Validation], metric: str | None = None) -> None:
    """Accuracy over the epochs, one band per training stage, the best epoch marked.

    Raises:
        HistoryError: nothing was validated, or not with that metric.
    """
    name = metric or main_metric(history)
    points = [(entry.epoch, entry.metrics[name], entry.stage) for entry in history if name in entry.metrics]
    if name is None or not points:
        raise HistoryError(f"the run holds no validation{f' with {metric!r}' if metric else ''}")
    epochs, values, stages = zip(*points, strict=True)
    axes.plot(epochs, values, color=_LINE, marker="o", markersize=4, linewidth=1.6)
    best = int(np.argmax(values))
    axes.plot(epochs[best], values[best], marker="o", markersize=9, fillstyle="none", color=_INK)
    axes.set_title(f"{name} while training: best {values[best]:.3f} after epoch {epochs[best]}", fontsize=10)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.set_ylim(0, min(1.0, max(values) * 1.25) or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    _mark_stages(axes, epochs, stages)
    _plain_frame(axes)


def draw_word_attention(axes: Axes, explanation: Explanation) -> None:
    """A bar for every word: the share of [REG]'s attention in the last grounding layer."""
    words, shares = zip(*explanation.words, strict=True)
    places = np.arange(len(words))
    bars = axes.barh(places, shares, color=_BAR, height=0.7)
    axes.bar_label(bars, [f"{100 * share:.2g}%" for share in shares], padding=3, fontsize=9, color=_INK)
    axes.set_yticks(places, words, fontsize=10, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max(shares) * 1.18 or 1.0)
    axes.set_xticks([])
    parts = {"picture": "patches", "words": "words", "class token": "prefix", "itself": "itself"}
    sums = ", ".join(f"{shown} {explanation.shares[part]:.0%}" for shown, part in parts.items())
    axes.set_title(f"[REG] looks at: {sums}", fontsize=10)
    _plain_frame(axes)


def _large_panels(explanation: Explanation) -> list[tuple[str, PatchMap | None, str]]:
    """``(title, map, legend of the map)``; the answer has no map."""
    named = [
        (f"attention of [REG], layer {len(explanation.layers)}", explanation.layers[-1], _SHARE),
        ("sentence and patch after fusion", explanation.region_text, "sigmoid of RTCC logit"),
        ("sentence and patch before fusion", explanation.similarity, "cosine"),
    ]
    return [("answer", None, ""), *(panel for panel in named if panel[1] is not None)]


def _draw_large(figure: Any, explanation: Explanation, panels: Sequence[tuple[str, Any, str]]) -> None:
    """The panels side by side, each map with its scale below."""
    pictures, scales = figure.subplots(2, len(panels), height_ratios=(1, 0.035), squeeze=False)
    for axes, scale, (name, map_, label) in zip(pictures, scales, panels, strict=True):
        axes.set_axis_off()
        axes.set_title(name, fontsize=11)
        if map_ is None:
            answer = Answer(explanation.image, explanation.text, explanation.prediction)
            axes.imshow(np.asarray(draw_answer(answer, _LARGE)))
            scale.set_axis_off()
            continue
        heat = _draw_map(axes, explanation, map_, _LARGE)
        bar = figure.colorbar(heat, cax=scale, orientation="horizontal", label=label)
        bar.solids.set_alpha(1.0)
        bar.locator = MaxNLocator(4)
        bar.ax.tick_params(labelsize=9)
        if label == _SHARE:
            bar.formatter = PercentFormatter(xmax=1.0, decimals=None)


def _draw_layers(figure: Any, explanation: Explanation, columns: int) -> None:
    rows = -(-len(explanation.layers) // columns)
    every = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in every:
        axes.set_axis_off()
    for index, (axes, map_) in enumerate(zip(every, explanation.layers, strict=False), start=1):
        _draw_map(axes, explanation, map_, _SMALL)
        axes.set_title(f"layer {index}: {map_.values[map_.shown].sum():.0%} on the picture", fontsize=10)


def _draw_map(axes: Axes, explanation: Explanation, map_: PatchMap, width: int) -> Any:
    """The map in colour over the grey picture, with the answer's box."""
    height = max(1, round(width * explanation.image.height / explanation.image.width))
    grey = explanation.image.convert("L").resize((width, height), Image.Resampling.LANCZOS)
    axes.imshow(np.asarray(grey), cmap="gray", vmin=-40, vmax=330)
    values = map_.over(width, height)
    strength = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    heat = axes.imshow(values, cmap=_HEAT, alpha=0.35 + 0.5 * strength)
    box = np.asarray(top_box(explanation.prediction), np.float64)
    if valid_boxes(box[None])[0]:
        left, top, right, bottom = box * (width / explanation.image.width)
        for ink, stroke in ((_INK, 4), (_BOX, 2)):
            axes.plot(
                (left, right, right, left, left), (top, top, bottom, bottom, top), color=ink, linewidth=stroke
            )
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    return heat


def _mark_stages(axes: Axes, epochs: Sequence[int], stages: Sequence[str]) -> None:
    """A line where a stage begins, and its name."""
    begins = [index for index, stage in enumerate(stages) if index == 0 or stage != stages[index - 1]]
    for index in begins if any(stages) else ():
        if index:
            axes.axvline((epochs[index - 1] + epochs[index]) / 2, color=_INK, linewidth=0.8, linestyle=":")
        axes.annotate(
            stages[index], (epochs[index], 0.02), xycoords=("data", "axes fraction"), fontsize=9, color=_INK
        )


def _figure(width: float, height: float) -> Figure:
    return Figure((width, height), dpi=_DPI, facecolor=_PAPER, layout="constrained")


def _plain_frame(axes: Axes) -> None:
    axes.set_facecolor(_PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _heading(text: str, title: str) -> str:
    lines = textwrap.wrap(f"“{text}”", 110, max_lines=2, placeholder=" …”")
    return "\n".join([*lines, title])


def _picture(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
