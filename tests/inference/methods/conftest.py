"""One small peer per method for all tests, and two pictures with their questions."""

import pytest
import torch
from tiny_peers import sample, save_peer

from refkit.inference.methods import method_names
from refkit.inference.peers.peer import load_peer

SHORT = {"max_new_tokens": "6"}
SETTINGS = {"florence-2": SHORT, "kosmos-2": SHORT}


@pytest.fixture(scope="session")
def peer_folders(tmp_path_factory):
    """Folder of a random peer by method; made when asked for."""
    made = {}

    def folder(method):
        if method not in made:
            made[method] = save_peer(method, tmp_path_factory.mktemp(method) / f"tiny-{method}")
        return made[method]

    return folder


@pytest.fixture
def load(peer_folders):
    """Loads ``hf:method`` on the CPU with settings."""

    def load(method, precision="float32", **settings):
        given = SETTINGS.get(method, {}) | {key: str(value) for key, value in settings.items()}
        return load_peer(f"hf:{method}", str(peer_folders(method)), given, "cpu", precision)

    return load


@pytest.fixture(params=method_names())
def method(request):
    """Every method in turn."""
    return request.param


@pytest.fixture
def samples():
    """Pictures of unequal sizes and questions of unequal lengths, a picture asked about twice among them."""
    asked = [
        sample("a", "the red dog", 80, 60),
        sample("b", "a cat", 50, 90, 1),
        sample("c", "a man on the left", 80, 60),
    ]
    asked[2].image = asked[0].image
    return asked


@pytest.fixture
def forward():
    """Calls a model without gradients."""

    def forward(model, **inputs):
        with torch.inference_mode():
            return model(**inputs)

    return forward
