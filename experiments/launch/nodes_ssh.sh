#!/usr/bin/env bash
# One run on several machines with ssh alone, one process each; the first of them is the
# coordinator.
#
#   HOSTS="node1 node2" nodes_ssh.sh RECIPE --workdir DIR [--KEY VALUE ...]
#
# The repository with its .venv has the same path on every machine (REPO), and so has
# DIR, on a shared file system. COMMAND=doctor checks instead; WANDB_API_KEY is passed on.
# SIGTERM or Ctrl-C here stops every process after the same step. Exit code: 0 done, 75
# rerun the same command to resume, else that of a process that failed.
set -euo pipefail
[ $# -gt 0 ] || { echo "HOSTS='A B' $0 RECIPE --workdir DIR [...]" >&2; exit 2; }
read -ra hosts <<<"${HOSTS:?is not set: the names of the machines}"
REPO=${REPO:-$(cd "$(dirname "$0")/../.." && pwd)}
PORT=${PORT:-8476}
mark=/tmp/ssljax-$PORT # + -INDEX.pid on the machine of that process

environment="TFDS_DATA_DIR=\"${TFDS_DATA_DIR:-\$HOME/tensorflow_datasets}\" \
JAX_COMPILATION_CACHE_DIR=\"${JAX_COMPILATION_CACHE_DIR:-\$HOME/.cache/ssljax-jax}\" \
XLA_FLAGS='${XLA_FLAGS:-}'"

# shellcheck disable=SC2329 # called by the trap
forward() { # ssh does not pass signals on, so each process gets its own by number
  signalled=yes
  for index in "${!hosts[@]}"; do
    ssh -n "${hosts[$index]}" "kill -TERM \$(cat $mark-$index.pid)" || true
  done
}
signalled=
trap forward TERM INT

pids=()
for index in "${!hosts[@]}"; do
  # shellcheck disable=SC2029 # $mark is ours; as input, since a command line shows it
  [ -z "${WANDB_API_KEY:-}" ] || ssh "${hosts[$index]}" \
    "umask 077 && cat >$mark-$index.key" <<<"$WANDB_API_KEY"
  # exec keeps the process number that was written down.
  ssh -n "${hosts[$index]}" "echo \$\$ >$mark-$index.pid && cd $(printf %q "$REPO") &&
    export $environment && { [ ! -e $mark-$index.key ] ||
      export WANDB_API_KEY=\$(cat $mark-$index.key && rm $mark-$index.key); } &&
    exec .venv/bin/ssljax ${COMMAND:-pretrain} $(printf '%q ' "$@") \
      --devices.coordinator ${hosts[0]}:$PORT \
      --devices.processes ${#hosts[@]} --devices.process $index" &
  pids+=($!)
done

result=0
for pid in "${pids[@]}"; do
  code=0
  wait "$pid" || code=$?
  # A trapped signal ends the wait (code 128 + signal), not the process.
  while [ -n "$signalled" ] && [ "$code" -gt 128 ]; do
    signalled=
    code=0
    wait "$pid" || code=$?
  done
  case "$result $code" in "0 "* | "75 "[!0]*) result=$code ;; esac
done
exit "$result"
