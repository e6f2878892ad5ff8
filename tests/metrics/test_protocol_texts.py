"""Protocols are frozen: their texts, the page made of them, and the table of famous numbers."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys

import pytest

from refkit.data.schema import TASKS
from refkit.metrics.known_numbers import KNOWN_NUMBERS
from refkit.metrics.protocol import protocols
from refkit.structures import Prediction

NAMED = """rec/1 rec/transvg rec/mdetr-giou rec/strict-gt rec/inclusive res/1 res/lavt res/cris res/padded-canvas
gres/flag gres/empty-mask grec/giou phrase/any phrase/merged caption/region caption/expression densecap/lua
densecap/python densecap/python-float32 attributes/box recognition/top1 recognition/all"""


def fingerprint(text):
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]


def test_texts_are_frozen(repository):
    """Whoever changes a text changes the meaning of published numbers: that needs a new id."""
    frozen = json.loads((repository / "tests/golden/eval/protocol_texts.json").read_text())
    assert {identifier: fingerprint(one.text) for identifier, one in protocols().items()} == frozen


def test_every_named_protocol_is_there():
    assert set(NAMED.split()) <= set(protocols())


def test_protocols_name_real_tasks_and_fields():
    for protocol in protocols().values():
        assert protocol.task in TASKS
        assert hasattr(Prediction("a"), protocol.answer)
        assert protocol.with_masks == (protocol.answer == "mask")


def test_known_numbers_point_at_protocols():
    assert {one.protocol for one in KNOWN_NUMBERS} <= set(protocols())


@pytest.fixture(scope="module")
def page(repository):
    spec = importlib.util.spec_from_file_location("protocols_page", repository / "tools/protocols_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_the_texts(page, repository):
    stored = (repository / "docs/pages/protocols.md").read_text(encoding="utf-8")
    assert stored == page.render(), "run: python tools/protocols_page.py"
    for identifier in protocols():
        assert stored.count(f"### {identifier} ") == 1


def test_scoring_imports_no_torch(repository):
    code = (
        "import sys; from refkit.metrics.protocol import protocols; protocols(); "
        "import refkit.leaderboard.side_by_side, refkit.cli.score; "
        "sys.exit(', '.join(m for m in ('torch', 'mmengine', 'transformers') if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
