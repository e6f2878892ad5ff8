"""What this machine offers and what is missing for which feature. Works, and says so, where nothing is
installed.

Every probe is a small function; none of them imports a heavy library except `accelerator`, which survives a
torch that cannot be imported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from refkit.data.files import data_root
from refkit.version import __version__

JAVA_TIMEOUT_S = 20
GIB = 1024**3
RECORD_SUFFIXES = (".jsonl", ".jsonl.gz")
FEATURES = {
    "scoring": (("numpy", "typer", "rich"), ""),
    "training and inference": (("torch", "torchvision", "transformers", "mmengine"), ""),
    "tests": (("pytest", "hypothesis", "ruff", "mypy"), "dev"),
    "documentation": (("mkdocs-material",), "docs"),
    "web demo": (("gradio",), "demo"),
    "caption metrics": (("pycocoevalcap",), "captions"),
    "answers of PaliGemma, DeepSeek-VL2, Gemini": (("supervision",), "answers"),
    "METEOR and the PTB tokeniser": (("pycocoevalcap", "java"), "captions"),
}
"""Feature → what it needs (distributions, and ``java``), and the extra that brings it."""


@dataclass(frozen=True, slots=True)
class Package:
    """One dependency.

    Attributes:
        name: of the distribution.
        minimum: lowest version that refkit states, empty without one.
        installed: version found, None where it is absent.
        extra: the extra that asks for it, empty for what refkit always needs.
        fits: installed, and no older than the minimum.
    """

    name: str
    minimum: str
    installed: str | None
    extra: str
    fits: bool


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that refkit can do here or not.

    Attributes:
        name: what it is.
        missing: what it lacks; empty when it works.
        remedy: the command or package that helps, empty when nothing is missing.
    """

    name: str
    missing: list[str]
    remedy: str


def diagnose() -> dict[str, Any]:
    """Everything that ``refkit doctor`` reports, ready for JSON."""
    found = packages()
    java = java_version()
    return {
        "refkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": [asdict(package) for package in found],
        "accelerator": accelerator(),
        "cpu": cpu(),
        "memory_gib": memory_gib(),
        "java": java,
        "caches": caches(),
        "data": data_folder(),
        "features": [asdict(feature) for feature in features(found, java is not None)],
    }


def is_healthy(report: dict[str, Any]) -> bool:
    """Whether everything that refkit always needs is there, no older than its minimum, and torch imports."""
    required = [package["fits"] for package in report["packages"] if not package["extra"]]
    return bool(required) and all(required) and not report["accelerator"]["error"]


def packages() -> list[Package]:
    """The dependencies of the installed refkit, required ones first; empty where its metadata is absent."""
    try:
        lines = importlib.metadata.requires("refkit") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = [_package(Requirement(line)) for line in lines]
    return sorted(found, key=lambda package: (package.extra, package.name.lower()))


def _package(requirement: Requirement) -> Package:
    bounds = [bound.version for bound in requirement.specifier if bound.operator in (">=", "==", "~=", ">")]
    installed = _installed(requirement.name)
    return Package(
        name=requirement.name,
        minimum=max(bounds, key=Version, default=""),
        installed=installed,
        extra=_extra(requirement),
        fits=installed is not None and requirement.specifier.contains(installed, prereleases=True),
    )


def _extra(requirement: Requirement) -> str:
    """Markers look like ``extra == "dev"``."""
    text = str(requirement.marker or "")
    return text.partition("extra ==")[2].strip().strip("\"'").partition('"')[0]


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def accelerator() -> dict[str, Any]:
    """Which device torch would use, or why torch cannot be used."""
    report: dict[str, Any] = {"error": "", "torch": None, "device": "cpu", "devices": [], "bf16": None}
    try:
        import torch
        import torchvision
    except Exception as error:  # a broken pair of wheels raises RuntimeError, not ImportError
        return report | {"error": f"{type(error).__name__}: {error}", "device": None}
    report |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        devices = [{"name": one.name, "memory_gib": round(one.total_memory / GIB, 1)} for one in names]
        return report | {"device": "cuda", "devices": devices, "bf16": torch.cuda.is_bf16_supported()}
    if torch.backends.mps.is_available():
        return report | {"device": "mps"}
    return report | {"bf16": cpu()["bf16"]}


def cpu() -> dict[str, Any]:
    """Cores that this process may use, and whether the processor multiplies bfloat16 in hardware."""
    return {"cores": usable_cores(), "of": os.cpu_count(), "bf16": cpu_has_bf16()}


def usable_cores() -> int:
    """Cores that the scheduler gives this process, which a container may have restricted."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_has_bf16() -> bool | None:
    """Whether the processor has bfloat16 instructions (AVX-512 BF16, AMX, or ARM's); None where it cannot be
    told."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return None
    lines = listing.read_text().splitlines()
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"})


def memory_gib() -> dict[str, float | None]:
    """Total and available memory, the total cut to what a container allows; None where it cannot be told."""
    if importlib.util.find_spec("psutil") is None:
        return {"total": None, "available": None}
    import psutil

    memory = psutil.virtual_memory()
    total = min(memory.total, _container_limit() or memory.total)
    return {"total": round(total / GIB, 1), "available": round(min(memory.available, total) / GIB, 1)}


def _container_limit() -> int | None:
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return int(text) if text.isdigit() else None


def java_version() -> str | None:
    """First line of ``java -version``, None without a Java that starts."""
    program = shutil.which("java")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=JAVA_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (done.stderr or done.stdout).splitlines()
    return next((line for line in lines if "version" in line), None)


def caches() -> list[dict[str, Any]]:
    """Folders that can be emptied to save space, with their sizes."""
    return [
        {"name": name, "path": str(path), "gib": round(folder_size(path) / GIB, 2) if path.is_dir() else None}
        for name, path in _cache_folders().items()
    ]


def _cache_folders() -> dict[str, Path]:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    hugging_face = Path(os.environ.get("HF_HOME") or home / "huggingface")
    refkit = os.environ.get("REFKIT_CACHE")
    return {
        "refkit": Path(refkit).expanduser() if refkit else home / "refkit",
        "Hugging Face hub": Path(os.environ.get("HF_HUB_CACHE") or hugging_face / "hub"),
        "torch": Path(os.environ.get("TORCH_HOME") or home / "torch"),
    }


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; links and files that cannot be read count as nothing."""
    return sum(_file_sizes(folder))


def _file_sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(place, name))  # noqa: PTH118 - a million Path objects are slow
            except OSError:
                continue
            yield status.st_size


def data_folder() -> dict[str, Any]:
    """The data root, whether it is there, the records in it, and the space left on its disk."""
    root = data_root()
    there = root.is_dir()
    names = [path.name for path in root.iterdir()] if there else []
    disk = next(parent for parent in (root.absolute(), *root.absolute().parents) if parent.exists())
    return {
        "path": str(root),
        "from": "REFKIT_DATA" if os.environ.get("REFKIT_DATA") else "default",
        "exists": there,
        "records": sorted(name for name in names if name.endswith(RECORD_SUFFIXES)),
        "free_gib": round(shutil.disk_usage(disk).free / GIB, 1),
    }


def features(found: Iterable[Package], has_java: bool) -> list[Feature]:
    """What works here, and the remedy for what does not."""
    known = {str(canonicalize_name(package.name)): package for package in found}
    return [
        _feature(name, [need for need in needs if not _has(need, known, has_java)], extra)
        for name, (needs, extra) in FEATURES.items()
    ]


def _has(need: str, known: dict[str, Package], has_java: bool) -> bool:
    if need == "java":
        return has_java
    package = known.get(canonicalize_name(need))
    return package.fits if package else _installed(need) is not None


def _feature(name: str, missing: list[str], extra: str) -> Feature:
    remedies = []
    if any(need != "java" for need in missing):
        remedies.append(f"pip install -e '.[{extra}]'" if extra else "pip install -e .")
    if "java" in missing:
        remedies.append("install a Java runtime (11 or later) and put `java` on the PATH")
    return Feature(name, missing, "; ".join(remedies))
