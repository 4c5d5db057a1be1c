#!/usr/bin/env bash
# Several machines by torchrun. Run the same line on each of them, with its own number from 0 on:
#
#   HEAD=10.0.0.1 MACHINES=2 NUMBER=0 recipes/machines.sh --checkpoints /shared/out
#
# HEAD       the address of machine 0, which the others can reach
# PROCESSES  on each machine; without it, one for each GPU that torch sees, or one where there is none
# PORT       at which they meet, 29500 without it
#
# Every machine needs this course, after make setup, and sees the folder of the checkpoints.
set -euo pipefail
course=$(cd "$(dirname "$0")/.." && pwd)

: "${HEAD:?name the address of machine 0, as in HEAD=10.0.0.1}"
: "${MACHINES:?say how many machines there are, as in MACHINES=2}"
: "${NUMBER:?say which machine this is, from 0 on, as in NUMBER=0}"
gpus=$("$course/.venv/bin/python" -c 'import torch; print(torch.cuda.device_count())')
processes=${PROCESSES:-$((gpus > 0 ? gpus : 1))}

export PYTHONPATH=$course/labs
exec "$course/.venv/bin/torchrun" --nnodes "$MACHINES" --node_rank "$NUMBER" \
  --nproc_per_node "$processes" --master_addr "$HEAD" --master_port "${PORT:-29500}" \
  -m experiments.outgrow_train "$@"
