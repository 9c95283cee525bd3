# shellcheck shell=bash
# The functions of the job script, which sources this file once it has checked the kit's sums.
#
# Plain bash; needs coreutils, findutils and grep. Names of slurm-nb's own begin with slurm_nb_, so
# that lines of the user's (--setup, --module, --env, a site's template) may use any other name.
# For templates: fail, find_module, load_module, use_env, use_container.
#
# From the script: python, inside; slurm_nb_ cluster, job_id, node, nonce, state_dir, session_dir,
# kit_dir, notebook_dir, signalled; the function slurm_nb_tell.

# shellcheck disable=SC2154  # these
# shellcheck disable=SC2317,SC2329  # traps and the script call functions
# shellcheck disable=SC1090,SC1091  # modules and environments are the node's own

slurm_nb_run_dir=  # of this job, on this node
slurm_nb_clock=    # the process that asks when the job ends
slurm_nb_yours=    # yes: lines of the user's run
slurm_nb_server=   # the process that becomes Jupyter
slurm_nb_stopping= # yes: this script has ended it
slurm_nb_woken=    # yes: a signal came

# --- what the login node is told ---

slurm_nb_json() { # slurm_nb_json TEXT: as a JSON string, on one line
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}

slurm_nb_tell_failed() {
  slurm_nb_yours=
  slurm_nb_tell failed \
    ", \"text\": $(slurm_nb_json "$1"), \"cure\": $(slurm_nb_json "$2"), \"known\": ${3:-true}"
}

slurm_nb_fail() { # slurm_nb_fail TEXT CURE: a sentence each, which slurm-nb shows to the user
  slurm_nb_tell_failed "$@"
  [ "$BASHPID" != $$ ] || slurm_nb_set_traps # the user's lines may have set others
  exit 1
}

fail() { slurm_nb_fail "$@"; }

# --- begin and end ---

slurm_nb_set_traps() {
  trap slurm_nb_clean_up EXIT
  trap 'exit 143' TERM INT HUP
  trap slurm_nb_time_is_short USR1
}

# Makes the job's directory on this node, and finds out when the job ends.
slurm_nb_begin() { # slurm_nb_begin [END]: in seconds since the epoch, where Slurm does not say it
  local base
  slurm_nb_set_traps
  [ -z "$slurm_nb_signalled" ] || slurm_nb_woken=yes
  # What runs in this session carries this mark in its environment, however it was started.
  export SLURM_NB_SESSION=$slurm_nb_cluster/$slurm_nb_job_id
  # So that slurm-nb keeps the kit for as long as this session.
  (umask 077 && printf '%s\n' "${slurm_nb_kit_dir##*/}" >"$slurm_nb_session_dir/kit")
  chmod 600 "$slurm_nb_session_dir/kit"
  touch -c "$slurm_nb_kit_dir" 2>/dev/null
  base=$(slurm_nb_find_base)
  slurm_nb_run_dir=$(slurm_nb_make_dir "$base") ||
    slurm_nb_run_dir=$(slurm_nb_make_dir /tmp) ||
    slurm_nb_fail "no directory can be made in /tmp on $slurm_nb_node" \
      "take another node: --exclude $slurm_nb_node"
  mkdir -m 700 "$slurm_nb_run_dir/runtime" ||
    slurm_nb_fail "${slurm_nb_run_dir%/*} on $slurm_nb_node can't be written: is it full?" \
      "take another node: --exclude $slurm_nb_node"
  [ -z "$slurm_nb_woken" ] || slurm_nb_time_is_short
  [ $# -eq 0 ] || slurm_nb_put_end "$1"
}

# Node-local and private (mktemp makes it 0700): sockets and connection files. A signal waits until
# the name is known, so that no directory stays behind.
slurm_nb_make_dir() { (trap '' TERM INT HUP && mktemp -d "$1/slurm-nb.XXXXXXXX"); }

# TMPDIR, or /tmp where that is no place for it. A UNIX socket's path may have 107 bytes, of which a
# kernel's takes 79 from here on. Below a directory that somebody else may change, a private one can
# be put away and replaced.
slurm_nb_find_base() {
  local base folder
  local -a trusted=(-uid 0 -perm -1000 -o -uid 0 ! -perm /022 -o -uid "$(id -u)" ! -perm /022)
  base=$(realpath -e -- "${TMPDIR:-/tmp}" 2>/dev/null)
  case $base in
    *[!A-Za-z0-9_./-]* | [!/]* | / | '' | ??????????????????????????????*) base=/tmp ;;
  esac
  folder=$base
  while [ "$folder" != / ]; do
    [ -n "$(find "$folder" -maxdepth 0 \( "${trusted[@]}" \) 2>/dev/null)" ] || base=/tmp
    folder=$(dirname "$folder")
  done
  printf %s "$base"
}

# Ids of this session's processes, but for this shell. A job submitted from a notebook inherits the
# mark and has a Slurm job id of its own. Root reads the marks of others, too.
slurm_nb_processes() {
  local environs file
  environs=$(grep -lzxF "SLURM_NB_SESSION=$SLURM_NB_SESSION" /proc/[0-9]*/environ 2>/dev/null)
  if [ "$slurm_nb_cluster" != local ] && [ -n "$environs" ]; then
    # shellcheck disable=SC2086  # one word per process: the names hold no blanks
    environs=$(grep -lzxF "SLURM_JOB_ID=$slurm_nb_job_id" $environs 2>/dev/null)
  fi
  for file in $environs; do
    [ ! -O "$file" ] || printf '%s\n' "${file//[!0-9]/}"
  done
}

# A kernel that ignores SIGTERM outlives a cancelled job unless it is killed here.
slurm_nb_clean_up() {
  local code=$? pid IFS=$' \t\n'
  set +ef
  trap '' TERM INT HUP USR1
  export SLURM_NB_SESSION=$slurm_nb_cluster/$slurm_nb_job_id
  if [ -n "$slurm_nb_yours" ] && [ "$code" != 143 ]; then
    slurm_nb_tell_failed \
      "what runs for --setup, --module or --env ended the job script on $slurm_nb_node: exit code $code" \
      "it runs in the script's own shell, and must not call exit, nor leave set -e on"
  fi
  # First what may start another program while the others are looked for.
  [ -z "$slurm_nb_clock" ] || kill -KILL "$slurm_nb_clock" 2>/dev/null
  for pid in $(slurm_nb_processes); do
    kill -KILL "$pid" 2>/dev/null
  done
  rm -f "$slurm_nb_session_dir/token" "$slurm_nb_session_dir/open.html" \
    "$slurm_nb_session_dir/activity.json"
  [ -z "$slurm_nb_run_dir" ] || rm -rf "$slurm_nb_run_dir"
  slurm_nb_tell ended ", \"exit_code\": $code"
}

# --- when the job ends ---

slurm_nb_put_end() { # in seconds since the epoch; the kit warns of it on the page
  printf '%s\n' "$1" >"$slurm_nb_run_dir/end-time.new" &&
    mv "$slurm_nb_run_dir/end-time.new" "$slurm_nb_run_dir/end-time"
}

# Queries Slurm for the end: now, and during the last quarter of an hour, because the limit can be
# extended. A job without a limit has no end, unless Slurm has signalled it.
slurm_nb_watch_end() { # slurm_nb_watch_end [SIGNALLED]
  local end left signalled=${1:-}
  while :; do
    end=$(SLURM_TIME_FORMAT=%s timeout 20 squeue -h -j "$slurm_nb_job_id" -o %e)
    if ! [[ $end =~ ^[0-9]+$ ]]; then
      [ -n "$signalled" ] || return
      end=${SLURM_JOB_END_TIME:-$(($(date +%s) + 900))}
    fi
    slurm_nb_put_end "$end" || return
    left=$((end - $(date +%s)))
    if [ "$left" -gt 960 ]; then
      sleep $((left - 930)) # the kit warns at 900, and must know an extended limit by then
    else
      sleep 120 # the warning goes from the page soon after the limit was extended
    fi
  done 2>/dev/null
}

slurm_nb_time_is_short() { # Slurm has signalled that the end is near
  slurm_nb_woken=yes
  [ -n "$slurm_nb_run_dir" ] || return
  [ -z "$slurm_nb_clock" ] || kill -KILL "$slurm_nb_clock" 2>/dev/null
  slurm_nb_start_clock signalled
}

slurm_nb_start_clock() {
  slurm_nb_watch_end "$@" >/dev/null 2>&1 &
  slurm_nb_clock=$!
  disown "$slurm_nb_clock" # bash would report that it was killed, and `wait` would wait for it
}

# --- environments ---

# What the user and the site run here may not be written for -u.
slurm_nb_enter_environment() {
  slurm_nb_yours=yes
  set +u
}

slurm_nb_leave_environment() {
  set +aefC -u
  IFS=$' \t\n'
  slurm_nb_yours=
  slurm_nb_set_traps
  slurm_nb_limit_threads
  slurm_nb_find_python
}

find_module() { # defines `module`, which may be a function of login shells alone
  local slurm_nb_file IFS=$' \t\n'
  # Names of 00-modulepath.sh, lmod.sh, z00_lmod.sh, modules.sh; then what packages install.
  for slurm_nb_file in $(set +f && grep -liE 'module|lmod' /etc/profile.d/*.sh 2>/dev/null) /etc/profile \
    "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" "${MODULESHOME:-/usr/share/modules}/init/bash" \
    /usr/share/Modules/init/bash; do
    type module >/dev/null 2>&1 && return
    [ ! -r "$slurm_nb_file" ] || . "$slurm_nb_file" >&2
  done
  type module >/dev/null 2>&1
}

load_module() { # load_module NAME: of Lmod or Environment Modules
  local slurm_nb_said=$slurm_nb_run_dir/said
  find_module || slurm_nb_fail "there is no command \`module\` on $slurm_nb_node" \
    "leave out --module, or define it with --setup"
  # Environment Modules 3 and 4 say what is wrong, and succeed.
  if ! module load "$1" 2>"$slurm_nb_said" || grep -qE '(^|[: ])ERROR:' "$slurm_nb_said"; then
    cat "$slurm_nb_said"
    slurm_nb_fail "the module $1 can't be loaded on $slurm_nb_node: $(
      grep -m 1 -iE 'unable|unknown|error' "$slurm_nb_said"
    )" "\`module avail\` lists the modules there are; --setup 'module use DIRECTORY' adds to them"
  fi
  cat "$slurm_nb_said" >&2
}

slurm_nb_find_env() { # slurm_nb_find_env NAME: the directory of a conda environment, found as conda does
  local name=$1 folder IFS=$' \t\n'
  local -a roots=("$HOME/.conda" "$HOME"/{miniforge3,mambaforge,miniconda3,anaconda3,micromamba} /opt/conda)
  local -a folders
  [ -z "${MAMBA_ROOT_PREFIX:-}" ] || roots=("$MAMBA_ROOT_PREFIX" "${roots[@]}")
  folder=${CONDA_EXE:-$(type -P conda mamba | head -n 1)}
  [ -z "$folder" ] || roots=("${folder%/*/*}" "${roots[@]}")
  roots=("${roots[@]/%//envs}")
  IFS=: read -ra folders <<<"${CONDA_ENVS_PATH:-${CONDA_ENVS_DIRS:-}}"
  for folder in ${folders[@]+"${folders[@]}"} "${roots[@]}"; do
    if [ -d "$folder/$name/conda-meta" ]; then
      printf %s "$folder/$name"
      return
    fi
  done
  # Where conda notes each environment that it makes, wherever it is.
  while read -r folder; do
    if [ "${folder##*/}" = "$name" ] && [ -d "$folder/conda-meta" ]; then
      printf %s "$folder"
      return
    fi
  done 2>/dev/null <"$HOME/.conda/environments.txt"
  return 1
}

use_env() { # use_env PATH_OR_NAME
  local slurm_nb_env=$1 slurm_nb_file
  case $slurm_nb_env in
    */*) ;;
    *)
      slurm_nb_env=$(slurm_nb_find_env "$1") ||
        slurm_nb_fail "there is no conda environment named $1 on $slurm_nb_node" \
          "\`conda env list\` lists them; or name it by its directory: --env /PATH/OF/IT"
      ;;
  esac
  [ -d "$slurm_nb_env" ] || slurm_nb_fail "the environment $slurm_nb_env is not there on $slurm_nb_node" \
    "make it on a file system that the nodes see"
  [ -x "$slurm_nb_env/bin/python3" ] ||
    slurm_nb_fail "the environment $slurm_nb_env has no bin/python3 on $slurm_nb_node" \
      "make it with an interpreter that the nodes have too, or name another one: --env"
  export PATH="$slurm_nb_env/bin:$PATH"
  unset PYTHONHOME
  if [ ! -d "$slurm_nb_env/conda-meta" ]; then
    export VIRTUAL_ENV=$slurm_nb_env
    return
  fi
  # What `conda activate` does, without the second that it takes; conda need not be here.
  export CONDA_PREFIX=$slurm_nb_env CONDA_DEFAULT_ENV=$1 CONDA_SHLVL=1
  if [ -s "$slurm_nb_env/conda-meta/state" ]; then # conda env config vars set
    eval "$("$slurm_nb_env/bin/python3" -I -c 'import json, shlex, sys
for name, value in json.load(sys.stdin).get("env_vars", {}).items():
    if name.isidentifier(): print("export %s=%s" % (name, shlex.quote(value)))' \
      <"$slurm_nb_env/conda-meta/state")"
  fi
  for slurm_nb_file in "$slurm_nb_env"/etc/conda/activate.d/*.sh; do
    [ ! -r "$slurm_nb_file" ] || . "$slurm_nb_file"
  done
}

use_container() { # use_container IMAGE
  local program folder
  program=$(type -P apptainer || type -P singularity) ||
    slurm_nb_fail "there is neither apptainer nor singularity on $slurm_nb_node" \
      "if your site has it as a module: --module apptainer"
  [[ $1 == *://* || -e $1 ]] || slurm_nb_fail "the image $1 is not there on $slurm_nb_node" \
    "put it on a file system that the nodes see"
  inside=("$program" exec --pwd "$slurm_nb_kit_dir")
  for folder in "$slurm_nb_run_dir" "$slurm_nb_state_dir" "$slurm_nb_notebook_dir"; do
    [[ $folder != *[,:]* ]] ||
      slurm_nb_fail "$folder can't be seen in a container: it holds a comma or a colon" \
        "use a directory without them"
    inside+=(--bind "$folder")
  done
  if [ -n "${SLURM_JOB_GPUS:-}${SLURM_GPUS_ON_NODE:-}${CUDA_VISIBLE_DEVICES:-}" ]; then
    if [ -e /dev/kfd ]; then inside+=(--rocm); else inside+=(--nv); fi
  fi
  inside+=("$1")
}

# Libraries that compute in threads take the whole node's CPUs for theirs.
slurm_nb_limit_threads() {
  local name cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-}}
  [ -n "$cpus" ] || return 0
  for name in OMP OPENBLAS MKL NUMEXPR BLIS NUMBA RAYON JULIA; do
    name=${name}_NUM_THREADS
    [ -n "${!name:-}" ] || export "$name=$cpus"
  done
}

slurm_nb_find_python() {
  local found
  [ -z "${inside[*]-}" ] || return 0 # the container has its own
  found=$(type -P -- "$python") ||
    slurm_nb_fail "there is no Python interpreter $python on $slurm_nb_node" \
      "name one that the nodes have: --python PATH, --env or --module"
  python=$found
}

# --- Jupyter ---

# A certificate of this job alone; slurm-nb prints its fingerprint beside the URL.
slurm_nb_make_certificate() {
  local log=$slurm_nb_run_dir/openssl.log
  # Not the node's configuration, which may add extensions of its own.
  (umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
    -config <(printf '[req]\ndistinguished_name = name\n[name]\n') \
    -addext 'subjectKeyIdentifier = hash' \
    -addext 'subjectAltName = DNS:localhost, IP:127.0.0.1' \
    -addext 'basicConstraints = critical, CA:FALSE' \
    -addext 'keyUsage = critical, digitalSignature' \
    -addext 'extendedKeyUsage = serverAuth' \
    -keyout "$slurm_nb_run_dir/key.pem" -out "$slurm_nb_run_dir/certificate.pem" 2>"$log") || {
    cat "$log"
    slurm_nb_fail "no certificate can be made on $slurm_nb_node: $(tail -n 1 "$log")" \
      "--tls needs openssl 1.1.1 or later on the node: use the jump route, or do without --tls"
  }
}

# Hands over to the kit what its Python reads in SLURM_NB_* variables; kernels do not get to see them.
slurm_nb_hand_over() {
  export SLURM_NB_RUN_DIR=$slurm_nb_run_dir SLURM_NB_NONCE=$slurm_nb_nonce
  export SLURM_NB_NOTEBOOK_DIR=$slurm_nb_notebook_dir
  export SLURM_NB_TOKEN_FILE=$slurm_nb_session_dir/token
  export SLURM_NB_PASSWORD_FILE=$slurm_nb_state_dir/password
  # The kit's Jupyter configuration goes first; its server gives the user's own directories back.
  export SLURM_NB_JUPYTER_CONFIG_PATH=${JUPYTER_CONFIG_PATH:-}
  export SLURM_NB_JUPYTER_RUNTIME_DIR=${JUPYTER_RUNTIME_DIR:-}
  export JUPYTER_CONFIG_PATH=$slurm_nb_kit_dir/slurm_nb_kit${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}
  export JUPYTER_RUNTIME_DIR=$slurm_nb_run_dir/runtime
  unset JUPYTER_NO_CONFIG
}

# Waits for Jupyter, stops it when the job is told to end, and ends with its exit code.
slurm_nb_wait_for() { # slurm_nb_wait_for PID
  local code
  slurm_nb_server=$1
  if [ -z "$slurm_nb_clock" ] && [ "$slurm_nb_cluster" != local ]; then
    slurm_nb_start_clock # for the page
  fi
  trap slurm_nb_stop_server TERM INT HUP
  while :; do
    slurm_nb_woken=
    wait "$slurm_nb_server"
    code=$?
    [ -n "$slurm_nb_woken" ] || break # a signal ends the wait, not the server
  done
  if [ ! -e "$slurm_nb_run_dir/python-started" ] && [ -z "$slurm_nb_stopping" ]; then
    slurm_nb_fail \
      "$python did not start on $slurm_nb_node${inside[*]+ in the container}: exit code $code" \
      "another interpreter: --python, --env, --module or --container" false # the output says why
  fi
  exit "$code"
}

slurm_nb_stop_server() {
  slurm_nb_stopping=yes slurm_nb_woken=yes
  trap '' TERM INT HUP USR1
  kill -TERM "$slurm_nb_server" 2>/dev/null
  slurm_nb_say_if_time_is_up
  for _ in {1..50}; do
    kill -0 "$slurm_nb_server" 2>/dev/null || return
    sleep 0.2
  done
  kill -KILL "$slurm_nb_server" 2>/dev/null
}

slurm_nb_say_if_time_is_up() {
  local end reason
  read -r end 2>/dev/null <"$slurm_nb_run_dir/end-time" || end=${SLURM_JOB_END_TIME:-}
  [[ $end =~ ^[0-9]+$ ]] && [ "$(date +%s)" -ge $((end - 5)) ] || return # clocks differ a little
  # It may have been extended since, and the job cancelled.
  [ "$slurm_nb_cluster" = local ] ||
    reason=$(timeout 2 squeue -h -t all -j "$slurm_nb_job_id" -o %r 2>/dev/null)
  case ${reason:-TimeLimit} in
    TimeLimit)
      slurm_nb_tell stopping ', "kind": "time", "text": "the time limit was reached"'
      ;;
  esac
}
