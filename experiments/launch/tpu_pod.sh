#!/usr/bin/env bash
# One run on all workers of a Cloud TPU slice.
#
#   export NAME=ssl ZONE=us-west4-a BUCKET=my-bucket
#   tpu_pod.sh create          # TYPE, VERSION and SPOT=1 choose the slice
#   tpu_pod.sh copy            # the committed tree to every worker, and install it
#   tpu_pod.sh mount           # gs://BUCKET as ~/bucket of every worker
#   tpu_pod.sh run RECIPE --workdir ../bucket/runs/RUN [--KEY VALUE ...]   # or doctor
#   tpu_pod.sh stop            # SIGTERM: the run saves and exits with 75
#   tpu_pod.sh delete
#
# tpu_queued.sh does all of it, and again after a preemption. Call either in tmux, where
# the connection stays open. `copy` writes WANDB_API_KEY to a file on the workers.
set -euo pipefail
: "${NAME:?is not set: the name of the slice}" "${ZONE:?is not set: its zone}"
tpu() { gcloud compute tpus tpu-vm "$1" "${@:2}" --zone "$ZONE"; }
everywhere() { tpu ssh "$NAME" --worker=all --command "$1"; }

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
create)
  tpu create "$NAME" --accelerator-type "${TYPE:-v5litepod-256}" \
    --version "${VERSION:-v2-alpha-tpuv5-lite}" ${SPOT:+--spot} ;;
copy)
  folder=$(mktemp -d) # which nobody else can read
  trap 'rm -r "$folder"' EXIT
  git -C "$(dirname "$0")/../.." archive --format=tar.gz -o "$folder/ssljax.tar.gz" HEAD
  printf %s "${WANDB_API_KEY:-}" >"$folder/.wandb-key" # a command line would show it
  tpu scp "$folder/ssljax.tar.gz" "$folder/.wandb-key" "$NAME:" --worker=all
  # The system's Python may be too old; uv brings one.
  everywhere "chmod 600 .wandb-key && mkdir -p ssljax && tar -xzf ssljax.tar.gz -C ssljax &&
    python3 -m pip install -q uv && python3 -m uv venv -q --clear --python 3.12 venv &&
    python3 -m uv pip install -q --python venv/bin/python './ssljax[tpu,log]'"
  ;;
mount)
  apt=https://packages.cloud.google.com/apt key=/usr/share/keyrings/cloud.google.asc
  # Saving a checkpoint renames a directory, which needs the limit. Files that were read
  # stay on the worker, CACHE_MB at most.
  everywhere "command -v gcsfuse >/dev/null || {
      curl -sS $apt/doc/apt-key.gpg | sudo tee $key >/dev/null &&
      echo \"deb [signed-by=$key] $apt gcsfuse-\$(lsb_release -cs) main\" |
        sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null &&
      sudo apt-get -q update && sudo apt-get -qy install gcsfuse; } &&
    mkdir -p bucket && { mountpoint -q bucket || gcsfuse --implicit-dirs \
      --rename-dir-limit 100000 --cache-dir ${CACHE_DIR:-/tmp/gcsfuse} \
      --file-cache-max-size-mb ${CACHE_MB:-60000} ${BUCKET:?is not set} bucket; }"
  ;;
run | doctor)
  [ $# -gt 0 ] || { echo "$verb RECIPE --workdir DIR [--KEY VALUE ...]" >&2; exit 2; }
  everywhere "cd ssljax && export LIBTPU_INIT_ARGS='${LIBTPU_INIT_ARGS:-}' \
    TFDS_DATA_DIR=${TFDS_DATA_DIR:-\$HOME/bucket/tensorflow_datasets} \
    JAX_COMPILATION_CACHE_DIR=${JAX_CACHE:-\$HOME/bucket/jax-cache} &&
    { [ ! -s ../.wandb-key ] || export WANDB_API_KEY=\$(cat ../.wandb-key); } &&
    exec ../venv/bin/ssljax ${verb/run/pretrain} $(printf '%q ' "$@") --devices.distributed"
  ;;
stop) everywhere "pkill -TERM -f '[b]in/ssljax pretrain'" ;;
delete) tpu delete "$NAME" --quiet ;;
*) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
