#!/usr/bin/env bash
# One run on a queued Cloud TPU slice, in a new slice after each preemption until it is
# done.
#
#   export NAME=ssl ZONE=us-west4-a BUCKET=my-bucket SPOT=1
#   tpu_queued.sh RECIPE --workdir ../bucket/runs/RUN [--KEY VALUE ...]
#
# Waits in Google's queue (TYPE and VERSION as in tpu_pod.sh, SPOT=1 for a slice that may
# be taken away), copies the tree, mounts the bucket, checks with `ssljax doctor`, and
# trains. Compiled programs are kept in the bucket, so a new slice does not compile again.
# The slice is deleted at the end, unless KEEP=1, and also on Ctrl-C. Call it in tmux, on a
# machine that stays. Exit code: 0 done, else that of the run.
set -euo pipefail
[ $# -gt 0 ] || { echo "$0 RECIPE --workdir DIR [--KEY VALUE ...]" >&2; exit 2; }
: "${NAME:?is not set: the name of the slice}" "${ZONE:?is not set: its zone}"
: "${BUCKET:?is not set: the bucket of the run folder}"
pod() { bash "$(dirname "$0")/tpu_pod.sh" "$@"; }
queue() { gcloud compute tpus queued-resources "$1" "$NAME" "${@:2}" --zone "$ZONE"; }
state() { queue describe --format 'value(state.state)' 2>&1 || true; }

# shellcheck disable=SC2329 # called by the trap
finish() { [ -n "${KEEP:-}" ] || queue delete --force --quiet || true; }
trap finish EXIT

wait_for_slice() { # and ask for one where there is none, or where it was taken away
  while true; do
    case $(state) in
    ACTIVE) return ;;
    SUSPENDED | FAILED) queue delete --force --quiet || true ;;
    *NOT_FOUND*)
      queue create --node-id "$NAME" --accelerator-type "${TYPE:-v5litepod-256}" \
        --runtime-version "${VERSION:-v2-alpha-tpuv5-lite}" ${SPOT:+--spot}
      ;;
    esac
    sleep "${POLL:-60}"
  done
}

checked=
for attempt in $(seq "${MAX_RESTARTS:-50}"); do
  wait_for_slice
  code=0
  { pod copy && pod mount; } || code=255
  if [ "$code$checked" = 0 ]; then
    pod doctor "$@" --steps 0 || code=$?
    [ "$code" -ne 0 ] || checked=yes
  fi
  [ "$code" -ne 0 ] || pod run "$@" || code=$?
  [ "$code" -ne 0 ] || exit 0
  sleep "${SETTLE:-30}" # a preemption takes a moment to show
  # 75: stopped by a signal, or a process was lost; 255: the connection was. Whatever else
  # the code is, a slice that is gone was taken away.
  case $code in 75 | 255) ;; *) [ "$(state)" != ACTIVE ] || exit "$code" ;; esac
  echo "exit code $code: starting again after attempt $attempt" >&2
done
exit "$code"
