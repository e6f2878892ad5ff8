#!/usr/bin/env bash
# Runs every check of the project: style, types, tests with coverage, configs, documentation.
#
#   ./tools/test.sh                 everything
#   ./tools/test.sh tests/metrics   the tests of one folder only, no coverage gate
#
# Makes its own environment on first use; see tools/environment.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/environment.sh
ensure_environment dev,docs

export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false NO_MKDOCS_2_WARNING=1
if [ $# -gt 0 ]; then
  exec python -m pytest -n 2 --dist loadgroup "$@"
fi

step() { printf '\n== %s ==\n' "$1"; }
step "Style (ruff)"
ruff check .
ruff format --check .
step "Types (mypy)"
mypy
step "Documentation (mkdocs --strict)"
python -m mkdocs build --strict --quiet -f docs/mkdocs.yml -d "$(mktemp -d)"
echo "built without warnings"
step "Leaderboard (every number with a prediction file, computed again)"
refkit leaderboard check
step "Tests (pytest)"
rm -f .coverage .coverage.*
python -m pytest -n 2 --dist loadgroup --durations=10 --cov=refkit --cov-report=term:skip-covered --cov-fail-under=90
