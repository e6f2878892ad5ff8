"""What a run was: ``run.json`` tells two results apart, ``environment.json`` has the machine's details."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch
from mmengine.utils.dl_utils import collect_env

import refkit
from refkit.data.files import atomic_write

_PACKAGES = ("torch", "torchvision", "mmengine", "transformers", "open_clip_torch", "peft", "numpy")


def describe_run(config: Any, seed: int, processes: int) -> dict[str, Any]:
    """What is known when a run starts: config, code, packages, hardware."""
    return {
        "status": "started",
        "started": now(),
        "command": sys.argv,
        "config": {"file": config.filename, "hash": config.fingerprint},
        "seed": seed,
        "processes": processes,
        "git": git_state(),
        "versions": {
            "refkit": refkit.__version__,
            "python": platform.python_version(),
            **_package_versions(),
        },
        "hardware": hardware(),
    }


def update_run(work_dir: str | Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Merge changes into ``run.json`` of a work directory (written whole or not at all).

    Returns:
        The merged content.
    """
    content = read_run(work_dir) | changes
    atomic_write(
        Path(work_dir) / "run.json", json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    )
    return content


def read_run(work_dir: str | Path) -> dict[str, Any]:
    """``run.json`` of a work directory; empty where there is none yet."""
    path = Path(work_dir) / "run.json"
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return content


def write_environment(work_dir: str | Path, settings: dict[str, Any]) -> Path:
    """Write build flags, drivers and runtime settings to ``environment.json`` instead of the terminal."""
    environment: OrderedDict[str, Any] = OrderedDict(collect_env())
    environment.update(settings)
    text = json.dumps(environment, indent=2, ensure_ascii=False, default=str)
    return atomic_write(Path(work_dir) / "environment.json", text + "\n")


def git_state() -> dict[str, Any] | None:
    """Commit and cleanliness of the checkout that the code runs from; None for an installed package."""
    folder = Path(refkit.__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {
            "commit": commit,
            "modified": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def hardware() -> dict[str, Any]:
    """Processor, memory and accelerators, as far as results and speed depend on them."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus,
    }


def processor_name() -> str:
    """Model of the processor, as the system calls it."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _package_versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _PACKAGES if _installed(name)}


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def now() -> str:
    """The current time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
