"""Measure a config: tools/benchmark.py --config CONFIG [--batch-size N] [--threads N] [--json FILE] ...

Random weights. Prints samples/s of data loading, training step and evaluation, peak memory, multiply-adds,
and the share of the matmul peak: the fastest square float32 matrix product of the same run, same threads.
With --naive: how many times faster than the same model run the way research loops do. Files that a config
names and that are not here are stood in for. Heads of models of regions: tools/benchmark_regions.py.
"""

from __future__ import annotations

import argparse
import sys


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="file, or name relative to configs/")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override existing settings"
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats; medians are reported")
    parser.add_argument("--threads", type=int, help="of torch on the CPU (default: all cores)")
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[1024, 2048, 3072], help="of the square matrix products"
    )
    parser.add_argument("--precision", default="both", choices=["both", "float32", "bfloat16"])
    parser.add_argument("--device", help="cpu, cuda, …; a GPU if there is one")
    parser.add_argument(
        "--naive",
        action="store_true",
        help="compare with the same model run in research style, and print the ratios",
    )
    parser.add_argument(
        "--evaluation-only",
        action="store_true",
        help="with --naive: leave training steps and their memory out",
    )
    parser.add_argument("--json", help="write the report as JSON to this file")
    return parser.parse_args()


def main() -> None:
    """Measure and report."""
    arguments = parse_arguments()
    if min(arguments.batch_size, arguments.repeats, arguments.threads or 1, *arguments.sides) < 1:
        sys.exit("error: --batch-size, --repeats, --threads and --sides are at least 1")
    if arguments.evaluation_only and not arguments.naive:
        sys.exit("error: --evaluation-only goes with --naive")

    import torch
    from rich.console import Console

    from refkit.cli.main import is_users_concern
    from refkit.data.files import atomic_write
    from refkit.engine.config import load_config
    from refkit.inference.benchmark.comparison import compare_with_naive
    from refkit.inference.benchmark.run import BenchmarkOptions, run_benchmark
    from refkit.inference.inferencer import choose_device

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    precisions = ("float32", "bfloat16") if arguments.precision == "both" else (arguments.precision,)
    sides, progress = tuple(arguments.sides), sys.stderr.isatty()
    training = not arguments.evaluation_only
    options = BenchmarkOptions(arguments.batch_size, arguments.repeats, precisions, sides, progress, training)
    try:
        device = choose_device(arguments.device)
        if arguments.naive:
            report = compare_with_naive(arguments.config, arguments.cfg_options, device, options)
        else:
            report = run_benchmark(load_config(arguments.config, arguments.cfg_options), device, options)
    except Exception as error:
        if not is_users_concern(error):
            raise
        sys.exit(f"error: {error}")
    Console().print(report.table())
    if arguments.json:
        atomic_write(arguments.json, report.to_json())


if __name__ == "__main__":
    main()
