"""Evaluate weights: tools/test.py CONFIG WEIGHTS [--work-dir DIR] [--cfg-options KEY=VALUE ...].

The same as ``refkit test``; with several processes: torchrun --nproc-per-node 2 tools/test.py CONFIG WEIGHTS.
"""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Parse the arguments that OpenMMLab's tools take and evaluate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="file, or name relative to configs/")
    parser.add_argument("weights", help="checkpoint (.pth) or weights (.safetensors)")
    parser.add_argument("--work-dir", help="predictions and results (default: work_dirs/<config>/test)")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override existing settings"
    )
    parser.add_argument("--launcher", default="auto", choices=["auto", "none", "pytorch", "slurm", "mpi"])
    parser.add_argument("--data-root", help="folder that relative data paths start from")
    options = parser.parse_args()

    from refkit.cli.main import is_users_concern
    from refkit.engine.launch import prepare_config, test

    try:
        config = prepare_config(options.config, options.cfg_options, options.data_root)
        for name, value in test(config, options.weights, options.work_dir, options.launcher).items():
            print(f"{name}: {value:.4f}")
    except Exception as error:
        if not is_users_concern(error):
            raise
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
