#!/bin/bash
#SBATCH --job-name=slurm-nb
#SBATCH --output=/home/alice/.local/state/slurm-nb/jobs/%j_0_log.out
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@900

# Starts Jupyter on this node, and reports in the job's output where it listens.
# Needs bash, coreutils, findutils, grep (and openssl for --tls), the Python below, and the kit:
# slurm-nb's functions and Jupyter settings, which slurm-nb put into the state directory when it
# printed this script. slurm-nb keeps the kit for 30 days after its last use; after that, print
# this script again (--dry-run).
# `sbatch THIS-FILE` works as well: `slurm-nb tunnel-cmd JOBID` then prints how to connect.

# shellcheck disable=SC2034  # the kit's functions use the variables
# shellcheck disable=SC1090,SC1091  # sourced files are on the node
# shellcheck disable=SC2016,SC1003  # quoted text is literal
set -u
# Slurm signals 15 minutes before the end (--signal above). Note it, as bash would exit.
slurm_nb_signalled=
trap 'slurm_nb_signalled=yes' USR1

python=/usr/bin/python3
slurm_nb_own_python=/opt/slurm-nb/bin/python
# If the Python of these has no Jupyter, slurm-nb starts its own.
slurm_nb_brought_by=
inside=() # with --container: the words that go before the interpreter
slurm_nb_notebook_dir=/home/alice
slurm_nb_state_dir=/home/alice/.local/state/slurm-nb
slurm_nb_kit_dir=$slurm_nb_state_dir/kits/(hash of the kit)
slurm_nb_node=${SLURMD_NODENAME:-$HOSTNAME}
node=$slurm_nb_node # for your and your site's lines

# Without Slurm (--cluster local) the arguments are the job's id and the time when the job ends.
if [ $# -gt 0 ]; then
  slurm_nb_cluster=local
  slurm_nb_job_id=$1
  shift
else
  slurm_nb_cluster=${SLURM_CLUSTER_NAME:-}
  slurm_nb_job_id=${SLURM_JOB_ID:?run this script with sbatch}
fi

# The session's directory, which only you can read; Jupyter's token goes there.
slurm_nb_session_dir=$slurm_nb_state_dir/sessions/$slurm_nb_cluster/$slurm_nb_job_id
(umask 077 && mkdir -p "$slurm_nb_session_dir") || exit 1
chmod 700 "${slurm_nb_session_dir%/*}" "$slurm_nb_session_dir" # a default ACL beats the umask
chmod 600 "$slurm_nb_state_dir/jobs/${slurm_nb_job_id}_0_log.out" 2>/dev/null
# An earlier job with the same id may have left files there that belong to another submission.
slurm_nb_submission='' # empty when you print this script
if [ ! -f "$slurm_nb_session_dir/submission" ] ||
  [ "$(cat "$slurm_nb_session_dir/submission")" != "$slurm_nb_submission" ]; then
  rm -f "$slurm_nb_session_dir"/{nonce,ended.json,witness.json}
  [ -n "$slurm_nb_submission" ] || rm -f "$slurm_nb_session_dir/session.json"
  (umask 077 && printf %s "$slurm_nb_submission" >"$slurm_nb_session_dir/submission.new") || exit 1
  chmod 600 "$slurm_nb_session_dir/submission.new"
  rm -f "$slurm_nb_session_dir"/{token,open.html,activity.json}
  mv "$slurm_nb_session_dir/submission.new" "$slurm_nb_session_dir/submission" || exit 1
fi
# A token from before the job was requeued must open nothing.
rm -f "$slurm_nb_session_dir/token" "$slurm_nb_session_dir/open.html" \
  "$slurm_nb_session_dir/activity.json"

# slurm-nb reads the lines `slurm-nb WHAT: {...}` of the job's output. They carry this random
# number, so that a notebook cannot print such a line. A requeued run keeps it.
if [ ! -s "$slurm_nb_session_dir/nonce" ]; then
  (umask 077 && od -An -v -tx1 -N16 /dev/urandom | tr -d ' \n' >"$slurm_nb_session_dir/nonce.new") || exit 1
  chmod 600 "$slurm_nb_session_dir/nonce.new"
  mv "$slurm_nb_session_dir/nonce.new" "$slurm_nb_session_dir/nonce" || exit 1
fi
slurm_nb_nonce=$(cat "$slurm_nb_session_dir/nonce")
slurm_nb_tell() { # slurm_nb_tell started|notice|failed|stopping|ended MORE-JSON
  printf '\nslurm-nb %s: {"cluster": "%s", "job_id": "%s", "submission": "%s", "nonce": "%s"%s}\n' \
    "$1" "$slurm_nb_cluster" "$slurm_nb_job_id" "$slurm_nb_submission" "$slurm_nb_nonce" "$2"
}
slurm_nb_tell started ", \"began_at\": $(date +%s)"

# Use the kit only if it is complete and unchanged: its name is the hash of SHA256SUMS.
if ! (cd "$slurm_nb_kit_dir" && [ "$(sha256sum <SHA256SUMS)" = "${PWD##*/}  -" ] &&
  sha256sum --check --status SHA256SUMS && [ "$(printf '%s ' *)" = 'SHA256SUMS slurm_nb_kit ' ]); then
  slurm_nb_text="the kit ${slurm_nb_kit_dir##*/} is missing or damaged on $slurm_nb_node"
  slurm_nb_cure="submit again, or print a script that you kept again: slurm-nb submit --dry-run"
  slurm_nb_tell failed ", \"text\": \"$slurm_nb_text\", \"cure\": \"$slurm_nb_cure\", \"known\": true"
  slurm_nb_tell ended ', "exit_code": 1'
  exit 1
fi
. "$slurm_nb_kit_dir/slurm_nb_kit/functions.sh"

# From here on the job cleans up after itself. Create its private directory on this node.
slurm_nb_begin "$@"

# The environment that Jupyter runs in.
slurm_nb_enter_environment

slurm_nb_leave_environment # and finds the interpreter


# Pass the options to the kit; kernels do not see these variables.
export SLURM_NB_IDLE_TIMEOUT_S=3600
export SLURM_NB_UI=notebook
export SLURM_NB_LISTEN=port SLURM_NB_ROUTE=jump
export SLURM_NB_PEERS=user SLURM_NB_TERMINALS=yes
export SLURM_NB_AUTH=token SLURM_NB_DEBUGGER=no
slurm_nb_hand_over

# Start Jupyter in the kit's directory: Python would import a file such as token.py in your
# directory instead of its own. preflight.py checks everything that Jupyter needs.
cd "$slurm_nb_kit_dir" || exit 1
${inside[@]+"${inside[@]}"} "$python" -m slurm_nb_kit.preflight notebook --no-browser &
slurm_nb_wait_for $! # ends the job with Jupyter's exit code, or Jupyter with the job
