#!/bin/bash
#SBATCH --job-name=slurm-nb
#SBATCH --output=/home/alice/.local/state/slurm-nb/jobs/%j_0_log.out
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@900

# Starts Jupyter on this node and tells slurm-nb, through the job's output, where it
# listens. Needs bash, coreutils, findutils, grep (and openssl for --tls) and the Python
# below; slurm-nb itself is not needed.
# `sbatch THIS-FILE` works too: `slurm-nb tunnel-cmd JOBID` then prints the way in.

# shellcheck disable=SC2329,SC2317,SC2016,SC1003  # traps call functions; values in quotes are meant literally
# shellcheck disable=SC1090,SC1091  # what is sourced is the node's own
set -u
# Slurm's word that the end is near (--signal above) would end a script that does not expect it.
signalled=
trap 'signalled=yes' USR1

python=/usr/bin/python3
ui=lab
notebook_dir=/home/alice
state_dir=/home/alice/.local/state/slurm-nb
node=${SLURMD_NODENAME:-$HOSTNAME}

# Outside Slurm, `slurm-nb submit --cluster local` gives the job's id as the argument, and after
# it when the job ends, in seconds since the epoch.
if [ $# -gt 0 ]; then
  cluster=local
  job_id=$1
else
  cluster=${SLURM_CLUSTER_NAME:-}
  job_id=${SLURM_JOB_ID:?run this script with sbatch}
fi

session_dir=$state_dir/sessions/$cluster/$job_id
(umask 077 && mkdir -p "$session_dir") || exit 1
chmod 700 "${session_dir%/*}" "$session_dir" # a default ACL beats the umask
# A token that was sent to where an earlier run listened opens nothing any more.
rm -f "$session_dir/token" "$session_dir/open.html" "$session_dir/activity.json"
chmod 600 "$state_dir/jobs/${job_id}_0_log.out" 2>/dev/null

# The job's own lines in its output carry this, so that what a program prints there is not
# taken for one of them. A requeued run keeps it.
nonce_file=$session_dir/nonce
if [ ! -s "$nonce_file" ]; then
  (umask 077 && od -An -v -tx1 -N16 /dev/urandom | tr -d ' \n' >"$nonce_file.new") || exit 1
  chmod 600 "$nonce_file.new"
  mv "$nonce_file.new" "$nonce_file" || exit 1
fi
nonce=$(cat "$nonce_file")

# Lines of the user's may set names of this script, and `rm -rf "$run_dir"` comes in the end: before
# they run, this gets what brings the script's own back.
slurm_nb_own=
tell() { # tell started|failed|stopping|ended MORE-JSON
  eval "$slurm_nb_own"
  printf '\nslurm-nb %s: {"cluster": "%s", "job_id": "%s", "nonce": "%s"%s}\n' \
    "$1" "$cluster" "$job_id" "$nonce" "$2"
}
tell started ''

json() { # json TEXT: as a JSON string, on one line
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}
slurm_nb_sourcing= # yes: lines that are not ours run
tell_failed() {
  slurm_nb_sourcing=
  tell failed ", \"text\": $(json "$1"), \"cure\": $(json "$2"), \"known\": ${3:-true}"
}
fail() { # fail TEXT CURE: a sentence each, which slurm-nb shows to the user
  tell_failed "$@"
  exit 1
}

# What runs in this session carries this mark in its environment, however it was started.
export SLURM_NB_SESSION=$cluster/$job_id

# Ids of this session's processes, but for this shell. A job submitted from a notebook
# inherits the mark and has a Slurm job id of its own. Root reads the marks of others, too.
ours() {
  local environs file
  environs=$(grep -lzxF "SLURM_NB_SESSION=$SLURM_NB_SESSION" /proc/[0-9]*/environ 2>/dev/null)
  if [ "$cluster" != local ] && [ -n "$environs" ]; then
    # shellcheck disable=SC2086  # one word per process: the names hold no blanks
    environs=$(grep -lzxF "SLURM_JOB_ID=$job_id" $environs 2>/dev/null)
  fi
  for file in $environs; do
    [ ! -O "$file" ] || printf '%s\n' "${file//[!0-9]/}"
  done
}

# A kernel that ignores SIGTERM outlives a cancelled job unless it is killed here.
clean_up() {
  local code=$? pid
  eval "$slurm_nb_own"
  set +f
  trap '' TERM INT HUP USR1
  if [ -n "$slurm_nb_sourcing" ] && [ "$code" != 143 ]; then
    tell_failed "what runs for --setup, --module or --env ended the job script on $node: exit code $code" \
      "it runs in the script's own shell, and must not call exit, nor leave set -e on"
  fi
  # First what may start another program while the others are looked for.
  [ -z "$asking" ] || kill -KILL "$asking" 2>/dev/null
  for pid in $(ours); do
    kill -KILL "$pid" 2>/dev/null
  done
  rm -f "$session_dir/token" "$session_dir/open.html" "$session_dir/activity.json"
  [ -z "$run_dir" ] || rm -rf "$run_dir"
  tell ended ", \"exit_code\": $code"
}
run_dir=
asking=
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# Node-local and private (mktemp makes it 0700): sockets, connection files, the kit. A UNIX
# socket's path may have 107 bytes, of which a kernel's takes 79 from here on.
base=$(realpath -e -- "${TMPDIR:-/tmp}" 2>/dev/null)
case $base in
  *[!A-Za-z0-9_./-]* | [!/]* | / | '' | ??????????????????????????????*) base=/tmp ;;
esac
# Below a directory that somebody else may change, a private one can be put away and replaced.
trusted=(-uid 0 -perm -1000 -o -uid 0 ! -perm /022 -o -uid "$(id -u)" ! -perm /022)
folder=$base
while [ "$folder" != / ]; do
  [ -n "$(find "$folder" -maxdepth 0 \( "${trusted[@]}" \) 2>/dev/null)" ] || base=/tmp
  folder=$(dirname "$folder")
done
# A signal waits until the name is known, so that no directory stays behind.
make_run_dir() { (trap '' TERM INT HUP && mktemp -d "$1/slurm-nb.XXXXXXXX"); }
run_dir=$(make_run_dir "$base") || run_dir=$(make_run_dir /tmp) ||
  fail "no directory can be made in /tmp on $node" "take another node: --exclude $node"
mkdir -m 700 "$run_dir/kit" "$run_dir/runtime" || exit 1
full() { fail "${run_dir%/*} on $node can't be written: is it full?" "take another node: --exclude $node"; }

# When the job ends, in seconds since the epoch; the kit warns of it on the page.
put_end() { printf '%s\n' "$1" >"$run_dir/end-time.new" && mv "$run_dir/end-time.new" "$run_dir/end-time"; }
ask_end() { # asks Slurm, again before the last minutes and when it should be over: it can be extended
  local end left
  while :; do
    end=$(SLURM_TIME_FORMAT=%s timeout 20 squeue -h -j "$job_id" -o %e)
    [[ $end =~ ^[0-9]+$ ]] || end=${SLURM_JOB_END_TIME:-$(($(date +%s) + 900))}
    put_end "$end" || return
    left=$((end - $(date +%s)))
    if [ "$left" -gt 960 ]; then
      sleep $((left - 900))
    elif [ "$left" -gt 390 ]; then
      sleep $((left - 330))
    else
      sleep $((left > 0 ? left + 60 : 60))
    fi
  done 2>/dev/null
}
time_is_short() {
  interrupted=yes
  [ -z "$asking" ] || kill -KILL "$asking" 2>/dev/null
  ask_end >/dev/null 2>&1 &
  asking=$!
}
trap time_is_short USR1
[ -z "$signalled" ] || time_is_short
[ $# -lt 2 ] || put_end "$2"

cat >"$run_dir/kit/jupyter_config.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/jupyter_config.py)
END-OF-KIT

cat >"$run_dir/kit/jupyter_server_config.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/jupyter_server_config.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_activity.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_activity.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_checks.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_checks.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_idle.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_idle.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_kernel.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_kernel.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_kernels.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_kernels.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_kit.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_kit.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_memory.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_memory.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_notices.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_notices.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_orphan.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_orphan.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_overruled.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_overruled.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_page.js" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_page.js)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_page.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_page.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_sqlite.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_sqlite.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_start.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_start.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_time.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_time.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_versions.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_versions.py)
END-OF-KIT

cat >"$run_dir/kit/slurm_nb_watch.py" <<'END-OF-KIT' || full
(slurm_nb/jobside/slurm_nb_watch.py)
END-OF-KIT

find_module() { # defines `module`, which may be a function of login shells alone
  local file
  # Names of 00-modulepath.sh, lmod.sh, z00_lmod.sh, modules.sh; then what packages install.
  for file in $(grep -liE 'module|lmod' /etc/profile.d/*.sh 2>/dev/null) /etc/profile \
    "${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash" "${MODULESHOME:-/usr/share/modules}/init/bash" \
    /usr/share/Modules/init/bash; do
    type module >/dev/null 2>&1 && return
    [ ! -r "$file" ] || . "$file" >&2
  done
  type module >/dev/null 2>&1
}

load_module() { # load_module NAME: of Lmod or Environment Modules
  find_module || fail "there is no command \`module\` on $node" \
    "leave out --module, or define it with --setup"
  # Environment Modules 3 and 4 say what is wrong, and succeed.
  if ! module load "$1" 2>"$slurm_nb_said" || grep -qE '(^|[: ])ERROR:' "$slurm_nb_said"; then
    cat "$slurm_nb_said"
    fail "the module $1 can't be loaded on $node: $(grep -m 1 -iE 'unable|unknown|error' "$slurm_nb_said")" \
      "\`module avail\` lists the modules there are; --setup 'module use DIRECTORY' adds to them"
  fi
  cat "$slurm_nb_said" >&2
}

find_env() { # find_env NAME: the directory of a conda environment; as conda looks for it
  local name=$1 folder
  local -a roots=("$HOME/.conda" "$HOME"/{miniforge3,mambaforge,miniconda3,anaconda3,micromamba} /opt/conda)
  [ -z "${MAMBA_ROOT_PREFIX:-}" ] || roots=("$MAMBA_ROOT_PREFIX" "${roots[@]}")
  folder=${CONDA_EXE:-$(type -P conda mamba | head -n 1)}
  [ -z "$folder" ] || roots=("${folder%/*/*}" "${roots[@]}")
  roots=("${roots[@]/%//envs}")
  IFS=: read -ra folder_list <<<"${CONDA_ENVS_PATH:-${CONDA_ENVS_DIRS:-}}"
  for folder in ${folder_list[@]+"${folder_list[@]}"} "${roots[@]}"; do
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
  local folder=$1 file
  case $folder in
    */*) ;;
    *)
      folder=$(find_env "$1") || fail "there is no conda environment named $1 on $node" \
        "\`conda env list\` lists them; or name it by its directory: --env /PATH/OF/IT"
      ;;
  esac
  [ -d "$folder" ] || fail "the environment $folder is not there on $node" \
    "make it on a file system that the nodes see"
  [ -x "$folder/bin/python3" ] || fail "the environment $folder has no bin/python3 on $node" \
    "make it with an interpreter that the nodes have too, or name another one: --env"
  export PATH="$folder/bin:$PATH"
  unset PYTHONHOME
  if [ ! -d "$folder/conda-meta" ]; then
    export VIRTUAL_ENV=$folder
    return
  fi
  # What `conda activate` does, without the second that it takes; conda need not be here.
  export CONDA_PREFIX=$folder CONDA_DEFAULT_ENV=$1 CONDA_SHLVL=1
  if [ -s "$folder/conda-meta/state" ]; then # conda env config vars set
    eval "$("$folder/bin/python3" -I -c 'import json, shlex, sys
for name, value in json.load(sys.stdin).get("env_vars", {}).items():
    if name.isidentifier(): print("export %s=%s" % (name, shlex.quote(value)))' \
      <"$folder/conda-meta/state")"
  fi
  for file in "$folder"/etc/conda/activate.d/*.sh; do
    [ ! -r "$file" ] || . "$file"
  done
}

inside=() # words before the interpreter: what brings it into a container
use_container() { # use_container IMAGE
  local program folder
  eval "$slurm_nb_own"
  program=$(type -P apptainer || type -P singularity) ||
    fail "there is neither apptainer nor singularity on $node" \
      "if your site has it as a module: --module apptainer"
  [[ $1 == *://* || -e $1 ]] || fail "the image $1 is not there on $node" \
    "put it on a file system that the nodes see"
  inside=("$program" exec --pwd "$run_dir/kit")
  for folder in "$run_dir" "$state_dir" "$notebook_dir"; do
    [[ $folder != *[,:]* ]] || fail "$folder can't be seen in a container: it holds a comma or a colon" \
      "use a directory without them"
    inside+=(--bind "$folder")
  done
  if [ -n "${SLURM_JOB_GPUS:-}${SLURM_GPUS_ON_NODE:-}${CUDA_VISIBLE_DEVICES:-}" ]; then
    if [ -e /dev/kfd ]; then inside+=(--rocm); else inside+=(--nv); fi
  fi
  inside+=("$1")
}

# What the user and the site run here may not be written for -u, and may use the same names.
for name in IFS cluster job_id node nonce notebook_dir run_dir session_dir state_dir ui; do
  slurm_nb_own+=$(declare -p "$name")$'\n'
done
slurm_nb_said=$run_dir/said slurm_nb_sourcing=yes
set +u

set +aef -u
eval "$slurm_nb_own"
slurm_nb_sourcing=
trap clean_up EXIT
trap 'exit 143' TERM INT HUP

# Libraries that compute in threads take the whole node's CPUs for theirs.
slurm_nb_cpus=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-}}
if [ -n "$slurm_nb_cpus" ]; then
  for slurm_nb_name in OMP OPENBLAS MKL NUMEXPR BLIS NUMBA RAYON JULIA; do
    slurm_nb_name=${slurm_nb_name}_NUM_THREADS
    [ -n "${!slurm_nb_name:-}" ] || export "$slurm_nb_name=$slurm_nb_cpus"
  done
fi

if [ -z "${inside[*]-}" ]; then
  found=$(type -P -- "$python") || fail "there is no Python interpreter $python on $node" \
    "name one that the nodes have: --python PATH, --env or --module"
  python=$found
fi


export SLURM_NB_UI=$ui SLURM_NB_NOTEBOOK_DIR=$notebook_dir SLURM_NB_RUN_DIR=$run_dir
export SLURM_NB_NONCE=$nonce SLURM_NB_IDLE_TIMEOUT_S=3600
export SLURM_NB_LISTEN=port SLURM_NB_ROUTE=direct
export SLURM_NB_AUTH=token SLURM_NB_DEBUGGER=yes
export SLURM_NB_TOKEN_FILE=$session_dir/token SLURM_NB_PASSWORD_FILE=$state_dir/password
export SLURM_NB_JUPYTER_CONFIG_PATH=${JUPYTER_CONFIG_PATH:-}
export SLURM_NB_JUPYTER_RUNTIME_DIR=${JUPYTER_RUNTIME_DIR:-}
export JUPYTER_CONFIG_PATH=$run_dir/kit${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}
export JUPYTER_RUNTIME_DIR=$run_dir/runtime
unset JUPYTER_NO_CONFIG

case $ui in
  lab) module=jupyterlab ;;
  *) module=notebook ;;
esac

# A certificate of this job alone; slurm-nb prints its fingerprint beside the URL.
cat >"$run_dir/openssl.conf" <<'END-OF-CONF'
[req]
distinguished_name = name
x509_extensions = usage
prompt = no
[name]
CN = localhost
[usage]
subjectKeyIdentifier = hash
subjectAltName = DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth
END-OF-CONF
(umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -config "$run_dir/openssl.conf" \
  -keyout "$run_dir/key.pem" -out "$run_dir/certificate.pem" 2>"$run_dir/openssl.log") || {
  cat "$run_dir/openssl.log"
  fail "no certificate can be made on $node: $(tail -n 1 "$run_dir/openssl.log")" \
    "--tls needs openssl on the node: use the jump route, or do without --tls"
}

# Jupyter starts in the kit's directory: a file such as token.py in the user's own
# directory would be imported in place of Python's.
cd "$run_dir/kit" || exit 1
${inside[@]+"${inside[@]}"} "$python" -m slurm_nb_start "$module" --no-browser &
server=$!

stopping=
say_if_time_is_up() {
  local end reason
  read -r end 2>/dev/null <"$run_dir/end-time" || end=${SLURM_JOB_END_TIME:-}
  [[ $end =~ ^[0-9]+$ ]] && [ "$(date +%s)" -ge $((end - 5)) ] || return # clocks differ a little
  # It may have been extended since, and the job cancelled.
  [ "$cluster" = local ] || reason=$(timeout 2 squeue -h -t all -j "$job_id" -o %r 2>/dev/null)
  case ${reason:-TimeLimit} in
    TimeLimit) tell stopping ', "kind": "time", "text": "the time limit was reached"' ;;
  esac
}
stop_server() {
  stopping=yes interrupted=yes
  trap '' TERM INT HUP USR1
  kill -TERM "$server" 2>/dev/null
  say_if_time_is_up
  for _ in {1..50}; do
    kill -0 "$server" 2>/dev/null || return
    sleep 0.2
  done
  kill -KILL "$server" 2>/dev/null
}
trap stop_server TERM INT HUP

while :; do
  interrupted=
  wait "$server"
  code=$?
  [ -n "$interrupted" ] || break # a signal ends the wait, not the server
done
if [ ! -e "$run_dir/python-started" ] && [ -z "$stopping" ]; then
  fail "$python did not start on $node${inside[*]+ in the container}: exit code $code" \
    "another interpreter: --python, --env, --module or --container" false # the output says why
fi
exit "$code"
