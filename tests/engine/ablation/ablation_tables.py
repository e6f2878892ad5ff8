"""Tables over the toy model of `engine_toy`, written where a test wants them."""

from __future__ import annotations

from pathlib import Path

TOY = Path(__file__).with_name("ablation_toy_config.py")
ROWS = (
    dict(name="base", label="lr 0.05"),
    dict(name="slow", label="lr 0.001", options={"optim_wrapper.optimizer.lr": 0.001}),
    dict(name="broken", label="lr far too high", options={"optim_wrapper.optimizer.lr": 1e30}),
)
METRICS = ({"key": "rec/miou", "label": "mIoU", "percent": True}, {"key": "rec/acc50", "label": "Acc@0.5"})


def write_table(folder: Path, **changes) -> Path:
    """A table config; entries set to None are left out."""
    entries = {
        "title": "Learning rates on squares",
        "config": str(TOY),
        "metrics": list(METRICS),
        "seeds": 2,
        "budget": {"iterations": 6},
        "rows": list(ROWS),
        **changes,
    }
    file = folder / "rates.py"
    lines = [f"{name} = {value!r}" for name, value in entries.items() if value is not None]
    file.write_text("\n".join(lines), "utf-8")
    return file
