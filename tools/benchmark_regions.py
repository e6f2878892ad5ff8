"""Measure DynRefer: tools/benchmark_regions.py [--config CONFIG] [--regions N] [--threads N] [--json FILE]

Random weights. Regions per second, alternatives measured in turn: regions one by one against batches, all
heads against those that a task needs, text tables embedded against read from disk. With --arithmetic:
multiply-adds per region at the published size (EVA ViT-g, FlanT5-XL, three views), counted without weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", default="refshapes/dynrefer_tiny", help="file, or name relative to configs/"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="override existing settings"
    )
    parser.add_argument("--regions", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats; medians are reported")
    parser.add_argument("--threads", type=int, help="of torch on the CPU (default: all cores)")
    parser.add_argument("--device", help="cpu, cuda, …; a GPU if there is one")
    parser.add_argument("--arithmetic", action="store_true", help="count at the published size instead")
    parser.add_argument("--beams", type=int, default=5, help="of --arithmetic (default 5, the paper's)")
    parser.add_argument("--words", type=int, default=10, help="tokens of control words in --arithmetic")
    parser.add_argument("--written", type=int, default=12, help="tokens of a caption in --arithmetic")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of one config, printed as they are told."""
    from refkit.engine.config import load_config
    from refkit.inference.benchmark.regions import RegionBenchmark
    from refkit.inference.inferencer import choose_device

    config = load_config(arguments.config, arguments.cfg_options)
    device = choose_device(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        benchmark = RegionBenchmark(
            config, arguments.regions, device, Path(folder), arguments.repeats, sys.stderr.isatty()
        )
        same = benchmark.same_captions()
        found = benchmark.compare()
    for each in found:
        print(f"{each.what} (of {each.count})")
        for name in each.seconds:
            print(f"  {name:20s} {each.rate(name):10.1f} per second   {each.faster(name):6.2f} x the first")
    print(f"same captions from batches as one by one: {same} of {arguments.regions}")
    figures: dict[str, Any] = {each.what: each.to_json() for each in found}
    return {"config": arguments.config, "device": str(device), "same_captions": same, **figures}


def count(arguments: argparse.Namespace) -> dict[str, Any]:
    """Multiply-adds per region at the published size, printed with the ratios that follow."""
    from refkit.inference.benchmark.region_arithmetic import count_region

    work = count_region(arguments.beams, arguments.words, arguments.written)
    for name, gmac in work.parts.items():
        print(f"{name:12s} {gmac:9.3f} GMAC per region")
    figures = {"all heads": work.total(), "no captions": work.total(captions=False)}
    for task in work.recognition:
        figures[f"{task} only"] = work.total((task,), captions=False)
    whole = figures["all heads"]
    print("GMAC of the whole path, and after the embedding; how many times as much all heads are")
    for name, gmac in figures.items():
        after, all_after = gmac - work.embedding, whole - work.embedding
        print(f"{name:16s} {gmac:9.3f} {whole / gmac:6.2f} x {after:9.3f} {all_after / after:8.2f} x")
    return {"parts": work.parts, "whole path": figures}


def main() -> None:
    """Measure or count, print and write; users' mistakes end with one line."""
    arguments = parse_arguments()
    numbers = (arguments.regions, arguments.repeats, arguments.threads or 1, arguments.beams)
    if min(*numbers, arguments.words, arguments.written) < 1:
        sys.exit("error: all numbers are at least 1")

    import torch

    from refkit.cli.main import is_users_concern
    from refkit.data.files import atomic_write

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        report = count(arguments) if arguments.arithmetic else measure(arguments)
    except Exception as error:
        if not is_users_concern(error):
            raise
        sys.exit(f"error: {error}")
    if arguments.json:
        atomic_write(arguments.json, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
