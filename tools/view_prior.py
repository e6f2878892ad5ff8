"""Find the best views for a task: tools/view_prior.py CONFIG WEIGHTS --task NAME --metric NAME [--out FILE]

Evaluates weights on the validation data of a config with fixed views, changing them until none is better, and
prints the entry for `priors` of the selection `task_prior`. Everything tried is written to FILE.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="file or name of a config whose val_dataloader has RegionViews")
    parser.add_argument("weights", type=Path, help="checkpoint or weights")
    parser.add_argument("--task", required=True, help="name of the task in the table of priors")
    parser.add_argument("--metric", required=True, help="what is to be highest, a name of the evaluation")
    parser.add_argument("--out", type=Path, default=Path("view_prior.json"), help="everything tried")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/view_prior"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--cfg-options", nargs="+", default=(), metavar="KEY=VALUE")
    return parser.parse_args()


def search(arguments: argparse.Namespace) -> None:
    """Search, print and write."""
    from refkit.data.files import atomic_write
    from refkit.engine.launch import prepare_config
    from refkit.engine.view_prior import Ratios, score_views, search_views, views_of

    def fresh():  # noqa: ANN202
        return prepare_config(arguments.config, arguments.cfg_options, arguments.data_root)

    def score(ratios: Ratios) -> float:
        value = score_views(fresh(), arguments.weights, ratios, arguments.metric, arguments.work_dir)
        print(f"{[0.0, *ratios]}: {arguments.metric} {value:.4f}", file=sys.stderr)
        return value

    found = search_views(score, views_of(fresh()))
    tried = [{"ratios": list(ratios), "score": value} for ratios, value in found.tried.items()]
    result = {
        "task": arguments.task,
        "metric": arguments.metric,
        "best": list(found.best),
        "score": found.score,
        "tried": tried,
        "origin": "refkit, by tools/view_prior.py on validation data; not a published value",
    }
    atomic_write(arguments.out, json.dumps(result, indent=1) + "\n")
    print(f'priors = {{"{arguments.task}": {list(found.best)}}}  # tools/view_prior.py, {arguments.out}')


def main() -> None:
    """Leaves with 2 if something cannot be done as asked."""
    from refkit.cli.main import EXIT_ERROR, is_users_concern

    try:
        search(parse_arguments())
    except Exception as error:
        if not is_users_concern(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)


if __name__ == "__main__":
    main()
