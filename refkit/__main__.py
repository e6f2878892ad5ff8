"""``python -m refkit`` is ``refkit``; ``torchrun -m refkit train`` needs it."""

from refkit.cli.main import main

if __name__ == "__main__":
    main()
