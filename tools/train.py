"""Train a model: tools/train.py CONFIG [--work-dir DIR] [--resume] [--cfg-options KEY=VALUE ...].

The same as ``refkit train``; with several processes: torchrun --nproc-per-node 2 tools/train.py CONFIG.
Of a config with stages, a part can be trained:
    tools/train.py CONFIG --until-stage warm-up
    tools/train.py CONFIG --from-stage hilora-1
    tools/train.py CONFIG --from-stage 3 --work-dir DIR --cfg-options load_from=best.pth
"""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Parse the arguments that OpenMMLab's tools take and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="file, or name relative to configs/")
    parser.add_argument("--work-dir", help="logs, checkpoints and results (default: work_dirs/<config>)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the work directory")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override existing settings"
    )
    parser.add_argument("--launcher", default="auto", choices=["auto", "none", "pytorch", "slurm", "mpi"])
    parser.add_argument("--data-root", help="folder that relative data paths start from")
    parser.add_argument("--seed", type=int, help="of the whole run")
    parser.add_argument(
        "--deterministic", action="store_true", help="refuse operations that vary between runs"
    )
    parser.add_argument(
        "--from-stage", metavar="NAME|N", help="first stage to train, by name or number from 1"
    )
    parser.add_argument(
        "--until-stage", metavar="NAME|N", help="last stage to train; --resume goes on after it"
    )
    options = parser.parse_args()

    from refkit.cli.main import is_users_concern
    from refkit.engine.launch import prepare_config, train

    try:
        config = prepare_config(
            options.config, options.cfg_options, options.data_root, options.seed, options.deterministic
        )
        stages = (options.from_stage, options.until_stage)
        train(config, options.work_dir, options.resume, options.launcher, *stages)
    except Exception as error:
        if not is_users_concern(error):
            raise
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
