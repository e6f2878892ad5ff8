"""The house rules that a reader relies on, checked on the source: import direction, sizes, no unsafe loading."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "refkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE = 450
LONGEST_FUNCTION = 80

SHARED = {"structures", "rle", "registry", "data"}
PARTS = SHARED | {"losses", "backbones", "heads", "models"}
MAY_IMPORT = {
    "structures": set(),
    "rle": set(),
    "losses": {"structures"},
    "metrics": {"structures", "rle"},
    "data": {"structures", "rle", "registry"},
    "leaderboard": {"metrics", "data", "structures", "rle"},
    "backbones": SHARED | {"losses"},
    "heads": SHARED | {"losses"},
    "models": PARTS - {"models"},
    "zoo": PARTS,
    "engine": PARTS | {"metrics", "leaderboard", "zoo"},
    "inference": PARTS | {"metrics", "leaderboard", "zoo", "engine"},
}
"""Folder → folders that it may import, at any depth. What is not listed (``cli``, files at the top) may import all.

After `architecture.md`: cli → inference, leaderboard, zoo, engine → models → heads, backbones → losses, structures;
``data`` and ``metrics`` know ``structures`` and the mask format ``rle`` only. A head never imports a backbone, nor a backbone a head. The table has
no cycle, so no folder needs another one that needs it.
"""

LIGHT = (
    "metrics",
    "leaderboard",
    "cli",
    "doctor",
    "structures",
    "rle",
    "data/records",
    "data/schema",
    "data/digest",
)
HEAVY = {"torch", "torchvision", "mmengine", "transformers", "open_clip", "timm", "peft"}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_of(node: ast.AST, inside_functions: bool):
    """Names of imported modules with their lines; imports for type checkers only are none."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import at line {child.lineno}: write the full name"
            yield from (
                (f"{child.module}.{alias.name}" if child.module == "refkit" else child.module, child.lineno)
                for alias in child.names
            )
        elif inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports_of(child, inside_functions)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_one_way(path):
    folder = folder_of(path)
    if folder not in MAY_IMPORT:
        return
    allowed = MAY_IMPORT[folder] | {folder, "version", "__version__"}
    for module, line in imports_of(tree_of(path), inside_functions=True):
        parts = module.split(".")
        if parts[0] == "refkit" and len(parts) > 1:
            assert parts[1] in allowed, f"refkit/{name_of(path)}:{line} imports {module}"


def test_the_allowed_directions_have_no_cycle():
    placed = set()
    while len(placed) < len(MAY_IMPORT):
        ready = {name for name, needs in MAY_IMPORT.items() if needs & MAY_IMPORT.keys() <= placed} - placed
        assert ready, f"a cycle among {sorted(MAY_IMPORT.keys() - placed)}"
        placed |= ready


def test_the_check_of_directions_sees_imports():
    source = "from refkit.models.hivg import HiVG\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import numpy\n"
    tree = ast.parse(source)
    assert list(imports_of(tree, inside_functions=True)) == [("refkit.models.hivg", 1), ("numpy", 5)]
    assert list(imports_of(tree, inside_functions=False)) == [("refkit.models.hivg", 1)]


def reached_at_import(start: Path) -> set[str]:
    """Foreign packages that importing a module imports, found by following refkit's own modules."""
    waiting, seen, foreign = [start], set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module, _ in imports_of(tree_of(path), inside_functions=False):
            parts = module.split(".")
            if parts[0] != "refkit":
                foreign.add(parts[0])
                continue
            for depth in range(1, len(parts) + 1):
                base = PACKAGE.joinpath(*parts[1:depth])
                waiting += [
                    file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()
                ]
    return foreign


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path).startswith(LIGHT)], ids=name_of)
def test_light_parts_import_no_heavy_library(path):
    assert not reached_at_import(path) & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_sizes(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{name_of(path)} has {lines} lines"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{name_of(path)}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_unsafe_is_loaded(path):
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        where = f"{name_of(path)}:{node.lineno}"
        assert called not in ("pickle.load", "pickle.loads", "eval", "exec", "yaml.load"), where
        assert keywords.get("weights_only") != "False", where
        assert keywords.get("allow_pickle") != "True", where
        assert keywords.get("shell") != "True", where
