#!/usr/bin/env bash
# The whole of refkit in one go, on the embedded data set: train, evaluate, predict, score, look, ask, rank.
#
#   ./tools/quickstart.sh
#   ./tools/quickstart.sh --all-families    the leaderboard also gets the twins that ship with refkit
#
# Needs Python 3.11 or newer and nothing else; about ten minutes on two CPU cores after installation.
# Safe to run twice: an interrupted training continues, finished steps are not repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
all_families=no
case "$*" in
  "") ;;
  --all-families) all_families=yes ;;
  *) echo "usage: $0 [--all-families]" >&2; exit 2 ;;
esac
source tools/environment.sh
ensure_environment ""

run="work_dirs/quickstart"       # training: logs, checkpoints
out="outputs/quickstart"         # everything made from the trained model
records="$out/refshapes.seed1.val.jsonl"
objects="$out/refshapes.seed1-objects.val.jsonl"
predictions="$out/hivg-tiny.predictions.jsonl"
mkdir -p "$out"

step() { printf '\n\033[1m%s\033[0m\n' "$1"; }
show() { printf '  $ %s\n' "$*"; "$@"; }

step "1. Train the small twin of HiVG on RefShapes, and evaluate it on scenes it has never seen"
# Two processes with half a batch each use two cores better than one process with two threads.
cores=$(python -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")
processes=$((cores > 1 ? 2 : 1))
export OMP_NUM_THREADS=$((cores / processes)) MKL_NUM_THREADS=$((cores / processes))
show torchrun --standalone --nproc-per-node "$processes" tools/train.py configs/refshapes/hivg_tiny.py \
  --work-dir "$run" --resume --cfg-options train_dataloader.batch_size=$((50 / processes))
unset OMP_NUM_THREADS MKL_NUM_THREADS

step "2. Write those scenes as records and pictures"
show refkit data import refshapes --seed 1 --scenes 200 --images "$out/images" --out "$out"

step "3. Predict: a file that anybody can score"
rm -f "$predictions"
show refkit predict "$records" --model "$run" --out "$predictions" --data-root "$out" --batch-size 64 \
  --page "$out/predictions.png"

step "4. Score it, beside trivial answers"
show refkit score "$records" "$predictions" --by kind --baselines --json "$out/score.json"

step "5. Put it on a leaderboard"
show refkit leaderboard add "$records" "$predictions" --method HiVG-tiny --setting single_dataset \
  --overlap-images 0 --baselines --folder "$out/leaderboard"
if [ "$all_families" = yes ]; then
  # every model of the zoo that answers with boxes, whichever family it is of
  for twin in $(refkit zoo list --head box); do
    rm -f "$out/$twin.predictions.jsonl"
    show refkit predict "$records" --model "$twin" --out "$out/$twin.predictions.jsonl" --data-root "$out" --batch-size 64
    show refkit leaderboard add "$records" "$out/$twin.predictions.jsonl" --method "$twin" --setting single_dataset \
      --overlap-images 0 --note "published weights of the model zoo" --folder "$out/leaderboard"
  done
  # and every one that says what is in a region, on boards of words
  show refkit data import refshapes --about objects --seed 1 --scenes 200 --images "$out/images" --out "$out"
  for twin in $(refkit zoo list --head caption); do
    rm -f "$out/$twin.predictions.jsonl"
    show refkit predict "$objects" --model "$twin" --out "$out/$twin.predictions.jsonl" --data-root "$out" \
      --batch-size 64 --page "$out/$twin.png"
    for protocol in caption/region attributes/box recognition/top1; do
      show refkit leaderboard add "$objects" "$out/$twin.predictions.jsonl" --protocol "$protocol" --method "$twin" \
        --setting single_dataset --overlap-images 0 --note "published weights of the model zoo" --folder "$out/leaderboard"
    done
  done
fi
show refkit leaderboard build "$out/site" --folder "$out/leaderboard"

step "6. Ask about one picture"
picture=$(find "$out/images" -name '*.png' | sort | head -n 1)
sentence=$(python -c "import json, sys; print(json.loads(open(sys.argv[1]).read().splitlines()[1])['text'])" "$records")
show refkit ground "$picture" "$sentence" --model "$run" --out "$out/ground.png"

cat <<EOF

Done. Where everything is:
  $run                     checkpoints, logs (tensorboard --logdir $run)
  $records     the questions and their answers
  $predictions  the model's answers
  $out/predictions.png     answers drawn beside the truth
  $out/score.json          the numbers
  $out/site/index.html     the leaderboard: open it in a browser

What to type next (first: source ${REFKIT_VENV:-.venv}/bin/activate):
  refkit ground YOUR_PICTURE.png "the left circle" --model $run --out found.png
  refkit data import --help          your own annotations, or RefCOCO, ReferIt, Flickr30k
  refkit train configs/refshapes/hivg_tiny_long.py    the same twin, trained longer
  refkit --help
EOF
