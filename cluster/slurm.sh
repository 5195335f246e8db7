#!/bin/bash
#SBATCH --job-name=ms2img
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --exclusive
#SBATCH --signal=B:TERM@120
#
# A Ray cluster on the nodes that Slurm gives, for the length of one command:
#
#   sbatch cluster/slurm.sh convert /lustre/lab/samples.csv /lustre/lab/images
#   sbatch --nodes=2 --gpus-per-node=4 cluster/slurm.sh train /lustre/lab/images --samples ... --assay dpph
#
# Run it where ms2img is on the PATH, from a folder that every node sees. Paths must be shared (Lustre, NFS) or s3://. Two
# minutes before the time limit the command is told to end; hand in the same line again and it goes on from what is done
# (sweep and study: with --resume). Nodes are taken whole (--exclusive), so that the ports are free.
set -euo pipefail

(($#)) || {
  echo "usage: sbatch slurm.sh COMMAND [OPTION ...], as of ms2img" >&2
  exit 2
}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
cpus=${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}
gpus=${SLURM_GPUS_ON_NODE:-0}
role=cpu
((gpus)) && role=gpu

# A token for this job alone, in the home folder, which every node sees; it goes with the job.
private=$HOME/.ms2img/slurm-$SLURM_JOB_ID
umask 077
mkdir -p "$private"
openssl rand -hex 32 > "$private/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$private/token RAY_USAGE_STATS_ENABLED=0

steps=()
# shellcheck disable=SC2317 # the trap calls it
end() {
  kill "${steps[@]}" 2> /dev/null || true
  wait || true
  rm -rf "$private"
}
trap end EXIT

node() { # NODES-OPTIONS -- RAY-START-OPTIONS
  local where=()
  while [[ $1 != -- ]]; do where+=("$1") && shift; done
  shift
  srun --ntasks-per-node=1 --cpus-per-task="$cpus" --overlap "${where[@]}" \
    ray start --block --disable-usage-stats --num-cpus="$cpus" --num-gpus="$gpus" --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    --labels="ms2img.io/role=$role" \
    --object-manager-port=8076 --node-manager-port=8077 --runtime-env-agent-port=8078 --metrics-export-port=8079 \
    --dashboard-agent-listen-port=52365 --dashboard-agent-grpc-port=52366 \
    --min-worker-port=10100 --max-worker-port=11099 "$@" &
  steps+=($!)
}

node --nodes=1 --ntasks=1 --nodelist="$head" -- \
  --head --node-ip-address="$head_ip" --port=6379 --include-dashboard=false --ray-client-server-port=10001
until ray health-check --address="$head_ip:6379" > /dev/null 2>&1; do
  kill -0 "${steps[0]}" || exit 1
  sleep 2
done
if ((${#nodes[@]} > 1)); then
  node --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --exclude="$head" -- --address="$head_ip:6379"
fi

export RAY_ADDRESS=$head_ip:6379
python - "${#nodes[@]}" << 'WAIT'
import sys, time
import ray

ray.init(logging_level="ERROR", log_to_driver=False)
deadline = time.monotonic() + 300
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    if time.monotonic() > deadline:
        sys.exit(f"after five minutes {sum(node['Alive'] for node in ray.nodes())} of {sys.argv[1]} nodes have joined")
    time.sleep(1)
WAIT

# In the background, so that Slurm's signal is heard while it runs; its end is ours.
ms2img "$@" &
command=$!
trap 'kill -TERM "$command" 2> /dev/null || true' TERM
status=0
wait "$command" || status=$?
if kill -0 "$command" 2> /dev/null; then # the signal ended the first wait; the command is letting go
  status=0
  wait "$command" || status=$?
fi
exit "$status"
