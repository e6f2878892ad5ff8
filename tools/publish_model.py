"""Write a trained model as one file for the model zoo and print its entry for metafile.yml.

Example: python tools/publish_model.py work_dirs/quickstart --out hivg_tiny.safetensors --half
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    """Load a work folder or checkpoint, save it self-contained, describe the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="work folder or checkpoint .pth")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--half", action="store_true", help="store weights as float16: half the size")
    options = parser.parse_args()

    import yaml

    from refkit.cli.main import is_users_concern
    from refkit.inference.inferencer import load_model
    from refkit.zoo.index import file_sha256

    try:
        written = load_model(options.model, device="cpu").save(options.out, options.half)
    except Exception as error:
        if not is_users_concern(error):
            raise
        sys.exit(f"error: {error}")
    entry = {
        "Name": written.stem,
        "In Collection": "?",
        "Config": "?",
        "Weights": written.name,
        "SHA256": file_sha256(written),
        "Size": written.stat().st_size,
    }
    print(yaml.safe_dump([entry], sort_keys=False), end="")


if __name__ == "__main__":
    main()
