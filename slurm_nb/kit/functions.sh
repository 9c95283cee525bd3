# shellcheck shell=bash
# The functions of the job script, which sources this file after verifying the kit's checksums.
#
# Needs bash, coreutils, findutils and grep. slurm-nb's names begin with slurm_nb_, so that the
# user's lines (--setup, --module, --env, a site's template) can use any other name.
# For templates: fail, find_module, load_module, use_env, use_container.
#
# The script defines: python, inside; slurm_nb_ cluster, job_id, submission, node, nonce, state_dir,
# session_dir, kit_dir, notebook_dir, own_python, brought_by, signalled; the function slurm_nb_tell.

# shellcheck disable=SC2154  # the script defines those
# shellcheck disable=SC2317,SC2329  # traps and the script call functions
# shellcheck disable=SC1090,SC1091  # the node has its own modules and environments

slurm_nb_run_dir=  # the job's directory on this node
slurm_nb_clock=    # the process that queries Slurm for the end of the job
slurm_nb_yours=    # yes: the user's lines are running
slurm_nb_server=   # the process that becomes Jupyter
slurm_nb_stopping= # yes: this script is stopping the server
slurm_nb_woken=    # yes: a signal arrived
slurm_nb_before=   # the Python and Jupyter on PATH before the first module
# A site's older template may not set these two.
slurm_nb_own_python=${slurm_nb_own_python:-$python}
slurm_nb_brought_by=${slurm_nb_brought_by:-}

# --- lines for the login node ---

slurm_nb_json() { # slurm_nb_json TEXT: print it as a JSON string on one line
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}

slurm_nb_tell_failed() {
  slurm_nb_yours=
  slurm_nb_tell failed \
    ", \"text\": $(slurm_nb_json "$1"), \"cure\": $(slurm_nb_json "$2"), \"known\": ${3:-true}"
}

slurm_nb_notice() { slurm_nb_tell notice ", \"text\": $(slurm_nb_json "$1")"; }

slurm_nb_fail() { # slurm_nb_fail TEXT CURE: slurm-nb shows both sentences to the user
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

# Creates the job's directory on this node, and stores the end of the job.
slurm_nb_begin() { # slurm_nb_begin [END]: in seconds since the epoch, in a job without Slurm
  local base
  slurm_nb_set_traps
  [ "$slurm_nb_cluster" = local ] || slurm_nb_raise_limits
  [ -z "$slurm_nb_signalled" ] || slurm_nb_woken=yes
  # Every process of this session has this mark in its environment.
  export SLURM_NB_SESSION=$slurm_nb_cluster/$slurm_nb_job_id
  # slurm-nb keeps the kit for as long as this session.
  (umask 077 && printf '%s\n' "${slurm_nb_kit_dir##*/}" >"$slurm_nb_session_dir/kit")
  chmod 600 "$slurm_nb_session_dir/kit"
  touch -c "$slurm_nb_kit_dir" 2>/dev/null
  base=$(slurm_nb_find_base)
  slurm_nb_run_dir=$(slurm_nb_make_dir "$base") ||
    slurm_nb_run_dir=$(slurm_nb_make_dir /tmp) ||
    slurm_nb_fail "cannot create a directory in /tmp on $slurm_nb_node" \
      "use another node: --exclude $slurm_nb_node"
  slurm_nb_sweep "${slurm_nb_run_dir%/*}"
  slurm_nb_name_run >"$slurm_nb_run_dir/owner"
  mkdir -m 700 "$slurm_nb_run_dir/runtime" ||
    slurm_nb_fail "cannot write to ${slurm_nb_run_dir%/*} on $slurm_nb_node, which may be full" \
      "use another node: --exclude $slurm_nb_node"
  [ -z "$slurm_nb_woken" ] || slurm_nb_time_is_short
  [ $# -eq 0 ] || slurm_nb_put_end "$1"
}

# Slurm passes the soft limits of the login shell to the job, such as its CPU time, and keeps the
# node's hard limits (seen on 22.05).
slurm_nb_raise_limits() {
  local letter hard
  for letter in t v d f; do
    hard=$(ulimit -H "-$letter")
    # A second before the hard limit of CPU time the kernel sends SIGXCPU, which names the cause.
    case $letter$hard in t[0-9]*) ulimit -S -t $((hard - 1)) ;; *) ulimit -S "-$letter" "$hard" ;; esac
    case $letter$hard in
      *unlimited) ;;
      t*) slurm_nb_notice "$slurm_nb_node ends each process after $hard s of CPU time (ulimit -t)" ;;
      f*) slurm_nb_notice "$slurm_nb_node limits each file to $((hard / 1024)) MiB (ulimit -f)" ;;
      *) slurm_nb_notice "$slurm_nb_node limits each process to $((hard / 1024)) MiB (ulimit -$letter)" ;;
    esac
  done
}

# Creates the private node-local directory for sockets and connection files (mktemp makes it 0700).
# Signals wait until the script knows its name, so that no directory is left behind.
slurm_nb_make_dir() { (trap '' TERM INT HUP && mktemp -d "$1/slurm-nb.XXXXXXXX"); }

# Prints the owner of the directory: session, job, boot and process namespace.
slurm_nb_name_run() {
  printf '%s %s %s %s\n' "$SLURM_NB_SESSION" "${SLURM_JOB_ID:-local}" \
    "$(cat /proc/sys/kernel/random/boot_id)" "$(readlink /proc/self/ns/pid)"
}

# Removes directories that the user's killed jobs left: they have no process here any more.
slurm_nb_sweep() { # slurm_nb_sweep DIRECTORY
  local folder mark id boot space
  for folder in "$1"/slurm-nb.*; do
    [ -O "$folder" ] && [ -d "$folder" ] && [ ! -L "$folder" ] && [ "$folder" != "$slurm_nb_run_dir" ] || continue
    read -r mark id boot space 2>/dev/null <"$folder/owner" || continue
    if [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
      [ "$space" = "$(readlink /proc/self/ns/pid)" ] || continue # its processes are invisible here
      ! grep -qzxF "SLURM_NB_SESSION=$mark" /proc/[0-9]*/environ 2>/dev/null || continue
      [ "$id" = local ] ||
        ! grep -qzxF "SLURM_JOB_ID=$id" /proc/[0-9]*/environ 2>/dev/null || continue
    fi
    rm -rf "$folder"
  done
}

# Prints TMPDIR, or /tmp if TMPDIR is unsuitable. The path of a UNIX socket has at most 107 bytes,
# and a kernel's socket needs 79 of them below this directory. A user who can change a directory
# above a private one can replace the private one.
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

# Prints the ids of this session's processes, except this shell. A job submitted from a notebook
# inherits the mark and has its own Slurm job id. Root can read other users' marks as well.
slurm_nb_processes() {
  local environs file
  environs=$(grep -lzxF "SLURM_NB_SESSION=$SLURM_NB_SESSION" /proc/[0-9]*/environ 2>/dev/null)
  if [ "$slurm_nb_cluster" != local ] && [ -n "$environs" ]; then
    # shellcheck disable=SC2086  # one word per process: the names contain no blanks
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
      "the lines of --setup, --module or --env ended the job script on $slurm_nb_node: exit code $code" \
      "they run in the script's own shell: do not call exit or leave set -e on"
  fi
  # End this process first: it could start another program during the search.
  [ -z "$slurm_nb_clock" ] || kill -KILL "$slurm_nb_clock" 2>/dev/null
  for pid in $(slurm_nb_processes); do
    kill -KILL "$pid" 2>/dev/null
  done
  rm -f "$slurm_nb_session_dir/token" "$slurm_nb_session_dir/open.html" \
    "$slurm_nb_session_dir/activity.json"
  rm -rf "$slurm_nb_session_dir/relay"
  [ -z "$slurm_nb_run_dir" ] || rm -rf "$slurm_nb_run_dir"
  slurm_nb_tell ended ", \"exit_code\": $code"
}

# --- when the job ends ---

# Fails if the directory's name may belong to another user: a program that cleans /tmp may have
# removed the directory.
slurm_nb_owns_run_dir() {
  local -a private=(-maxdepth 0 -type d -uid "$(id -u)" ! -perm /077)
  [ -n "$(find "$slurm_nb_run_dir" "${private[@]}" 2>/dev/null)" ]
}

slurm_nb_put_end() { # slurm_nb_put_end END: in seconds since the epoch; the page shows it
  slurm_nb_owns_run_dir || return
  printf '%s\n' "$1" >"$slurm_nb_run_dir/end-time.new" &&
    mv "$slurm_nb_run_dir/end-time.new" "$slurm_nb_run_dir/end-time"
}

slurm_nb_sleep() { # slurm_nb_sleep SECONDS: in a subshell, which ends if the job script is killed
  local until=$((SECONDS + $1))
  while [ "$SECONDS" -lt "$until" ]; do
    kill -0 $$ 2>/dev/null || exit
    sleep $((until - SECONDS < 10 ? until - SECONDS : 10))
  done
}

# Queries Slurm for the end of the job, now and during the last 15 minutes, because an admin can
# extend the limit. A job without a limit has no end, unless Slurm has signalled it.
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
      slurm_nb_sleep $((left - 930)) # the kit warns at 900 s and needs the current limit then
    else
      slurm_nb_sleep 120 # the page removes its warning soon after the limit was extended
    fi
  done 2>/dev/null
}

slurm_nb_time_is_short() { # Slurm's signal calls it, shortly before the end
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

# Lines of the user and the site may fail under -u.
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
  slurm_nb_clean_python
  slurm_nb_find_python
}

# Unsets variables that keep another Python from starting, or Jupyter from ending.
slurm_nb_clean_python() {
  local name
  for name in PYTHONHOME PYTHONINSPECT PYTHONSAFEPATH; do
    [ -z "${!name:-}" ] || slurm_nb_notice "slurm-nb unset $name=${!name}, which breaks Jupyter"
    unset "$name"
  done
}

find_module() { # defines `module`, which may only exist in login shells
  local slurm_nb_file IFS=$' \t\n'
  # First 00-modulepath.sh, lmod.sh, z00_lmod.sh, modules.sh or the like; then files of packages.
  for slurm_nb_file in $(set +f && grep -liE 'module|lmod' /etc/profile.d/*.sh 2>/dev/null) /etc/profile \
    "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" "${MODULESHOME:-/usr/share/modules}/init/bash" \
    /usr/share/Modules/init/bash; do
    type module >/dev/null 2>&1 && return
    [ ! -r "$slurm_nb_file" ] || . "$slurm_nb_file" >&2
  done
  type module >/dev/null 2>&1
}

load_module() { # load_module NAME: with Lmod or Environment Modules
  local slurm_nb_said=$slurm_nb_run_dir/said
  find_module || slurm_nb_fail "there is no command \`module\` on $slurm_nb_node" \
    "leave out --module, or define it with --setup"
  [ -n "$slurm_nb_before" ] || slurm_nb_before=$(slurm_nb_on_path)
  # Environment Modules 3 and 4 print the error and exit with 0.
  if ! module load "$1" 2>"$slurm_nb_said" || grep -qE '(^|[: ])ERROR:' "$slurm_nb_said"; then
    cat "$slurm_nb_said"
    slurm_nb_fail "cannot load the module $1 on $slurm_nb_node: $(
      grep -m 1 -iE 'unable|unknown|error' "$slurm_nb_said"
    )" "list the modules with \`module avail\`, or add a directory: --setup 'module use DIR'"
  fi
  cat "$slurm_nb_said" >&2
}

slurm_nb_find_env() { # slurm_nb_find_env NAME: print the directory of a conda environment, as conda finds it
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
  # Conda lists every environment it creates in this file.
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
          "list them with \`conda env list\`, or give the directory: --env DIR"
      ;;
  esac
  [ -d "$slurm_nb_env" ] || slurm_nb_fail "the environment $slurm_nb_env does not exist on $slurm_nb_node" \
    "create it on a file system that login and compute nodes share"
  [ -x "$slurm_nb_env/bin/python3" ] ||
    slurm_nb_fail "the environment $slurm_nb_env has no bin/python3 on $slurm_nb_node" \
      "create it with an interpreter that the nodes have too, or use another environment: --env DIR"
  export PATH="$slurm_nb_env/bin:$PATH"
  unset PYTHONHOME
  if [ ! -d "$slurm_nb_env/conda-meta" ]; then
    export VIRTUAL_ENV=$slurm_nb_env
    return
  fi
  # Do what `conda activate` does, which takes a second and needs conda on the node.
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
      "load it if your site has it as a module: --module apptainer"
  [[ $1 == *://* || -e $1 ]] || slurm_nb_fail "the image $1 does not exist on $slurm_nb_node" \
    "put it on a file system that login and compute nodes share"
  inside=("$program" exec --pwd "$slurm_nb_kit_dir")
  for folder in "$slurm_nb_run_dir" "$slurm_nb_state_dir" "$slurm_nb_notebook_dir"; do
    [[ $folder != *[,:]* ]] ||
      slurm_nb_fail "the container cannot bind $folder, because the name contains a comma or a colon" \
        "use a directory without them"
    inside+=(--bind "$folder")
  done
  if [ -n "${SLURM_JOB_GPUS:-}${SLURM_GPUS_ON_NODE:-}${CUDA_VISIBLE_DEVICES:-}" ]; then
    if [ -e /dev/kfd ]; then inside+=(--rocm); else inside+=(--nv); fi
  fi
  inside+=("$1")
}

# Limits multithreaded libraries, which would use all CPUs of the node.
slurm_nb_limit_threads() {
  local name cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-}}
  [ -n "$cpus" ] || return 0
  for name in OMP OPENBLAS MKL NUMEXPR BLIS NUMBA RAYON JULIA; do
    name=${name}_NUM_THREADS
    [ -n "${!name:-}" ] || export "$name=$cpus"
  done
}

# Prints the Python and Jupyter on PATH, which modules can change.
slurm_nb_on_path() { printf '%s\n' "$(type -P python3)" "${PYTHONPATH:-}" "$(type -P jupyter)" end; }

# Prints the Python that the modules bring; fails if they bring none.
slurm_nb_module_python() {
  local program line IFS=$' \t\n'
  local -a before now
  mapfile -t before <<<"$slurm_nb_before"
  mapfile -t now < <(slurm_nb_on_path)
  if [ "${before[*]:0:2}" != "${now[*]:0:2}" ]; then
    printf python3
    return
  fi
  program=${now[2]}
  [ -n "$program" ] && [ "$program" != "${before[2]}" ] || return 1
  read -r line 2>/dev/null <"$program" || return 1 # a wheel's script names its interpreter
  line=${line#'#!'}
  [[ ${line##*/} == python* && -x $line ]] && printf %s "$line"
}

slurm_nb_find_python() {
  local found
  [ -z "${inside[*]-}" ] || return 0 # the container has its own
  if [ "$python" = python3 ] && [[ $slurm_nb_brought_by == 'the module'* ]]; then
    if ! python=$(slurm_nb_module_python); then
      python=$slurm_nb_own_python
      slurm_nb_notice "slurm-nb starts its own Jupyter ($python): $slurm_nb_brought_by brings no Python"
    fi
  fi
  found=$(type -P -- "$python") ||
    slurm_nb_fail "there is no Python interpreter $python on $slurm_nb_node" \
      "use one that the nodes have: --python PATH, --env or --module"
  python=$found
}

# --- Jupyter ---

# A certificate for this job only; slurm-nb prints its fingerprint next to the URL.
slurm_nb_make_certificate() {
  local log=$slurm_nb_run_dir/openssl.log
  # Ignore the node's configuration, which may add its own extensions.
  (umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
    -config <(printf '[req]\ndistinguished_name = name\n[name]\n') \
    -addext 'subjectKeyIdentifier = hash' \
    -addext 'subjectAltName = DNS:localhost, IP:127.0.0.1' \
    -addext 'basicConstraints = critical, CA:FALSE' \
    -addext 'keyUsage = critical, digitalSignature' \
    -addext 'extendedKeyUsage = serverAuth' \
    -keyout "$slurm_nb_run_dir/key.pem" -out "$slurm_nb_run_dir/certificate.pem" 2>"$log") || {
    cat "$log"
    slurm_nb_fail "cannot create a certificate on $slurm_nb_node: $(tail -n 1 "$log")" \
      "use the jump route, or leave out --tls, which needs openssl 1.1.1 on the node"
  }
}

# Passes values to the kit's Python code in SLURM_NB_* variables, which kernels do not see.
slurm_nb_hand_over() {
  export SLURM_NB_RUN_DIR=$slurm_nb_run_dir SLURM_NB_NONCE=$slurm_nb_nonce
  export SLURM_NB_SUBMISSION=$slurm_nb_submission
  export SLURM_NB_NOTEBOOK_DIR=$slurm_nb_notebook_dir
  export SLURM_NB_TOKEN_FILE=$slurm_nb_session_dir/token
  export SLURM_NB_PASSWORD_FILE=$slurm_nb_state_dir/password
  if [ -n "${inside[*]-}" ]; then
    export SLURM_NB_INSIDE=yes
  elif [ -n "$slurm_nb_brought_by" ]; then
    export SLURM_NB_BROUGHT_BY=$slurm_nb_brought_by SLURM_NB_OWN_PYTHON=$slurm_nb_own_python
  fi
  # Jupyter reads the kit's configuration; its server restores the user's own directories.
  export SLURM_NB_JUPYTER_CONFIG_PATH=${JUPYTER_CONFIG_PATH:-}
  export SLURM_NB_JUPYTER_RUNTIME_DIR=${JUPYTER_RUNTIME_DIR:-}
  export JUPYTER_CONFIG_PATH=$slurm_nb_kit_dir/slurm_nb_kit${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}
  export JUPYTER_RUNTIME_DIR=$slurm_nb_run_dir/runtime
  unset JUPYTER_NO_CONFIG
}

# Waits for Jupyter, stops it when the job ends, and exits with its exit code.
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
    [ -n "$slurm_nb_woken" ] || break # a signal ends `wait`, not the server
  done
  if [ ! -e "$slurm_nb_run_dir/python-started" ] && [ -z "$slurm_nb_stopping" ]; then
    slurm_nb_fail \
      "$python did not start on $slurm_nb_node${inside[*]+ in the container}: exit code $code" \
      "use another interpreter: --python, --env, --module or --container" false # the output says why
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
  end=${SLURM_JOB_END_TIME:-}
  ! slurm_nb_owns_run_dir || read -r end 2>/dev/null <"$slurm_nb_run_dir/end-time"
  [[ $end =~ ^[0-9]+$ ]] && [ "$(date +%s)" -ge $((end - 5)) ] || return # clocks differ a little
  # An admin may have extended the job, and somebody may have cancelled it.
  [ "$slurm_nb_cluster" = local ] ||
    reason=$(timeout 2 squeue -h -t all -j "$slurm_nb_job_id" -o %r 2>/dev/null)
  case ${reason:-TimeLimit} in
    TimeLimit)
      slurm_nb_tell stopping ', "kind": "time", "text": "the time limit was reached"'
      ;;
  esac
}
