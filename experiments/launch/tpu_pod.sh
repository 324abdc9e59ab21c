#!/usr/bin/env bash
# One run on all workers of a Cloud TPU slice.
#
#   export NAME=ssl ZONE=us-west4-a BUCKET=my-bucket
#   tpu_pod.sh create          # TYPE, VERSION and SPOT=1 choose the slice
#   tpu_pod.sh copy            # the committed tree to every worker, and install it
#   tpu_pod.sh mount           # gs://BUCKET as ~/bucket of every worker
#   tpu_pod.sh run RECIPE --workdir ../bucket/runs/RUN [--KEY VALUE ...]
#   tpu_pod.sh stop            # SIGTERM: the run saves and exits with 75
#   tpu_pod.sh delete
#
# After a preemption: create, copy, mount, and the same run again to resume. Call it in
# tmux, where the connection stays open: without one the workers cannot print.
set -euo pipefail
: "${NAME:?is not set: the name of the slice}" "${ZONE:?is not set: its zone}"
tpu() { gcloud compute tpus tpu-vm "$1" "${@:2}" --zone "$ZONE"; }
everywhere() { tpu ssh "$NAME" --worker=all --command "$1"; }

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
create)
  tpu create "$NAME" --accelerator-type "${TYPE:-v5litepod-256}" \
    --version "${VERSION:-v2-alpha-tpuv5-lite}" ${SPOT:+--spot}
  ;;
copy)
  archive=$(mktemp -d)/ssljax.tar.gz
  trap 'rm -r "${archive%/*}"' EXIT
  git -C "$(dirname "$0")/../.." archive --format=tar.gz -o "$archive" HEAD
  tpu scp "$archive" "$NAME:" --worker=all
  # The system's Python may be too old; uv brings one.
  everywhere "mkdir -p ssljax && tar -xzf ssljax.tar.gz -C ssljax &&
    python3 -m pip install -q uv && python3 -m uv venv -q --clear --python 3.12 venv &&
    python3 -m uv pip install -q --python venv/bin/python './ssljax[tpu]'"
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
run)
  [ $# -gt 0 ] || { echo "run RECIPE --workdir DIR [--KEY VALUE ...]" >&2; exit 2; }
  everywhere "cd ssljax && export LIBTPU_INIT_ARGS='${LIBTPU_INIT_ARGS:-}' \
    TFDS_DATA_DIR=${TFDS_DATA_DIR:-\$HOME/bucket/tensorflow_datasets} \
    JAX_COMPILATION_CACHE_DIR=${JAX_CACHE:-\$HOME/jax-cache} &&
    exec ../venv/bin/ssljax pretrain $(printf '%q ' "$@") --devices.distributed"
  ;;
stop) everywhere "pkill -TERM -f '[b]in/ssljax pretrain'" ;;
delete) tpu delete "$NAME" --quiet ;;
*) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
