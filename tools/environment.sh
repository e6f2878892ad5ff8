#!/usr/bin/env bash
# Sourced by quickstart.sh and test.sh: makes or reuses the virtual environment and activates it.
#
#   REFKIT_VENV    another folder for the environment (default: .venv in the checkout)
#   REFKIT_PYTHON  the Python to make it with (default: the first of python3.12, python3.11, python3 that fits)

find_python() {
  local candidate
  for candidate in "${REFKIT_PYTHON:-}" python3.12 python3.11 python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      echo "$candidate"
      return 0
    fi
  done
  echo "refkit needs Python 3.11 or newer with the venv module (on Debian: apt-get install python3-venv)." >&2
  echo "Install one, or name it: REFKIT_PYTHON=/path/to/python $0" >&2
  return 1
}

# ensure_environment EXTRAS: EXTRAS as in "pip install refkit[EXTRAS]", may be empty.
ensure_environment() {
  local extras="$1" venv="${REFKIT_VENV:-.venv}" python wanted stamp
  if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python) || return 1
    echo "Creating the environment $venv with $("$python" --version)"
    "$python" -m venv "$venv" || return 1
  fi
  # shellcheck disable=SC1091
  source "$venv/bin/activate"
  wanted=$(cat setup.cfg pyproject.toml requirements.lock | sha256sum | cut -d' ' -f1)
  stamp="$venv/refkit-installed-${extras:-base}"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "Installing refkit and what it needs: about 5 GB, two minutes on a fast connection"
    python -m pip install --quiet --upgrade pip setuptools wheel || return 1
    python -m pip install --constraint requirements.lock --editable ".${extras:+[$extras]}" || return 1
    # yapf, which MMEngine imports, writes its grammars where two first processes at once read half a file.
    python -c "import yapf" || return 1
    echo "$wanted" >"$stamp"
  fi
}
