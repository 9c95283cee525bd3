#!/bin/sh
# One connection of `slurm-nb connect`, as a step of the session's job: an sshd for this connection
# alone, on standard input and output. It listens nowhere.
#
# relay.sh CONFIG LOG FROM: sshd's configuration, the job's output, the login node.

for sshd in /usr/sbin/sshd /usr/local/sbin/sshd /usr/lib/ssh/sshd /usr/libexec/openssh/sshd; do
  [ -x "$sshd" ] || continue
  printf 'slurm-nb: a relay from %s begins, step %s.%s\n' \
    "$3" "${SLURM_JOB_ID:-}" "${SLURM_STEP_ID:-}" >>"$2"
  "$sshd" -i -e -f "$1"
  code=$?
  # sshd is two processes, and Slurm keeps the step as long as one of them lives.
  trap '' TERM
  kill -TERM 0
  exit "$code"
done
echo "there is no sshd on ${SLURMD_NODENAME:-$(uname -n)}" >&2
exit 127
