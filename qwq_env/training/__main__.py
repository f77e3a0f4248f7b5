"""`accelerate launch -m qwq_env.training recipes/tiny.yaml`: `qwq train` on several processes."""

from __future__ import annotations

import sys

from qwq_env.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
