"""Write answers for an external judge: tools/judge_answers.py RECORDS PREDICTIONS OUT

RECORDS are questions imported with `refkit data import ferret-bench`, PREDICTIONS a prediction file with
captions; OUT becomes Ferret-Bench's answer file (.jsonl).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    """Write the answers; leaves with 2 if something cannot be done as asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()

    from refkit.cli.main import EXIT_ERROR, is_users_concern
    from refkit.leaderboard.judge_answers import write_judge_answers

    try:
        answered = write_judge_answers(arguments.records, arguments.predictions, arguments.out)
    except Exception as error:
        if not is_users_concern(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_ERROR)
    print(f"{arguments.out}: {answered} questions answered")


if __name__ == "__main__":
    main()
