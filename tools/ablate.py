"""Make a table of ablations: tools/ablate.py TABLE.py [--out DIR] [--seeds N] [--iterations N] [--jobs N] ...

Runs every row of a table config (configs/refshapes/ablation/hivg.py) with several seeds and one budget, and
writes table.md, table.json, table.csv and table.png. Finished runs are kept: the same command goes on.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", help="table config, file or name relative to configs/")
    parser.add_argument("--out", type=Path, help="folder of results (default: work_dirs/ablation/<table>)")
    parser.add_argument("--seeds", type=int, help="runs per row, seeds 0, 1, … (default: as in the table)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--iterations", type=int, help="of every run (default: budget of the table)")
    budget.add_argument(
        "--budget", type=float, metavar="SECONDS", help="of a run: all rows get what the slowest manages"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, with cores of their own")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="run these rows only")
    return parser.parse_args()


def main() -> None:
    """Make the table; leaves with 1 if a run failed, 2 if something cannot be done as asked."""
    arguments = parse_arguments()

    from refkit.cli.main import EXIT_ERROR, EXIT_INTERRUPT, is_users_concern
    from refkit.engine.ablation import Wishes, make_table, read_table

    command = shlex.join(["python", *sys.argv])
    try:
        table = read_table(arguments.table)
        folder = arguments.out or Path("work_dirs/ablation") / Path(table.file).stem
        wishes = Wishes(
            seeds=arguments.seeds,
            iterations=arguments.iterations,
            seconds=arguments.budget,
            jobs=arguments.jobs,
            only=arguments.only,
            command=command,
        )
        rows = make_table(table, folder, wishes)
    except KeyboardInterrupt:
        print("interrupted; finished runs are kept, the same command goes on", file=sys.stderr)
        sys.exit(EXIT_INTERRUPT)
    except Exception as error:
        if not is_users_concern(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)
    failed = sum(len(row.failed) for row in rows)
    if failed:
        sys.exit(f"runs that failed: {failed}; the table says why, the same command tries them again")


if __name__ == "__main__":
    main()
