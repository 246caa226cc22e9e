#!/usr/bin/env bash
# A Slurm of one machine, for the tests: loopback only, no systemd, no accounting, one pretended GPU.
#
#   bash slurm.sh up      start it; says in one line why it could not
#   bash slurm.sh env     what a shell has to know: eval "$(bash slurm.sh env)"
#   bash slurm.sh down    cancel the jobs and stop it
#
# It takes slurm-wlm and munge (apt-get install --no-install-recommends slurm-wlm munge), and keeps its configuration,
# key, state and logs in SLURM_FOLDER [$TMPDIR/bidsreg-slurm]. SLURM_MEMORY says who ends jobs that take too much
# memory: cgroup (the kernel; needs control groups of version 1 that can be written), poll (Slurm looks every second), or
# none [cgroup where that can be had, else poll].
set -euo pipefail

FOLDER=${SLURM_FOLDER:-${TMPDIR:-/tmp}/bidsreg-slurm}
DAEMONS=(slurmd slurmctld munged)
export SLURM_CONF=$FOLDER/slurm.conf

# a process that has ended may still be waited for by nobody: a zombie is not alive
alive() { [[ -s $FOLDER/$1.pid ]] && grep -q '^State:[[:space:]]*[^Z]' "/proc/$(<"$FOLDER/$1.pid")/status" 2>/dev/null; }

# two ports of this machine on which nobody listens
free_ports() {
  local port found=()
  for port in $(shuf -i 20000-29999 -n 50); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || found+=("$port")
    ((${#found[@]} < 2)) || break
  done
  echo "${found[@]}"
}

# a memory control group below the one in which we are, for this Slurm alone; nothing where we may not make one
memory_group() {
  local own place
  own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
  for place in "/sys/fs/cgroup/memory$own" /sys/fs/cgroup/memory; do # a container may see its own as the root
    if mkdir "$place/bidsreg-slurm-$$" 2>/dev/null; then echo "$place/bidsreg-slurm-$$"; return; fi
  done
}

configure() {
  local host cpus memory ports group task=task/none gather=jobacct_gather/none
  host=$(hostname -s)
  cpus=$(($(nproc) > 2 ? $(nproc) : 2)) # one CPU is called two: jobs have to be able to meet
  memory=$(awk '/MemTotal/ {print int($2 / 1024 * .9)}' /proc/meminfo)
  read -ra ports <<<"$(free_ports)"
  local limit=${SLURM_MEMORY:-}
  case ${limit:-cgroup} in cgroup) group=$(memory_group) ;; esac
  limit=${limit:-$([[ -n ${group:-} ]] && echo cgroup || echo poll)}
  : >"$FOLDER/cgroup.conf"
  case $limit in
    cgroup)
      mkdir -p "$FOLDER/cgroup"
      ln -sfn "$group" "$FOLDER/cgroup/memory"
      printf '%s\n' CgroupPlugin=cgroup/v1 "CgroupMountpoint=$FOLDER/cgroup" ConstrainRAMSpace=yes \
        ConstrainSwapSpace=yes AllowedSwapSpace=0 >"$FOLDER/cgroup.conf"
      task=task/cgroup
      ;;
    poll) gather=jobacct_gather/linux ;;
  esac
  printf 'NodeName=%s Name=gpu File=/dev/null\n' "$host" >"$FOLDER/gres.conf" # without a file Slurm drains the machine
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge.socket
CredType=cred/munge
MpiDefault=none
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.pid
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=$task
JobAcctGatherType=$gather
$([[ $limit == poll ]] && printf '%s\n' JobAcctGatherFrequency=1 JobAcctGatherParams=OverMemoryKill)
AccountingStorageType=accounting_storage/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
DefMemPerCPU=512
ReturnToService=2
KillWait=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:1 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
  mkdir -p "$FOLDER"/{state,spool,munge}
  chmod 755 "$FOLDER" && chmod 700 "$FOLDER/munge"
  (umask 077 && head -c 128 /dev/urandom >"$FOLDER/munge/key")
  munged --force --key-file="$FOLDER/munge/key" --socket="$FOLDER/munge.socket" --pid-file="$FOLDER/munged.pid" \
    --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munge/seed" || return
  slurmctld -c && slurmd -N "$(hostname -s)"
}

# the one line that says what is wrong: of the logs, the first that is an error
why() {
  grep -hE 'fatal:|error:' "$FOLDER"/{slurmctld,slurmd}.log "$FOLDER/start.log" 2>/dev/null | grep -vi pmix | head -n 1
}

up() {
  local program
  for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || { echo "no Slurm: there is no $program here" >&2; return 1; }
  done
  if alive slurmctld && alive slurmd; then return; fi
  mkdir -p "$FOLDER"
  configure
  local end=$((SECONDS + 60))
  if start >"$FOLDER/start.log" 2>&1; then
    while ((SECONDS < end)); do
      if timeout 5 sinfo -h -o %T 2>/dev/null | grep -qE '^(idle|mixed|allocated)$'; then return; fi
      sleep .5
    done
  fi
  echo "no Slurm: it does not start ($(why))" >&2
  down
  return 1
}

down() {
  local daemon
  if alive slurmctld; then timeout 20 scancel -u "$(id -un)" 2>/dev/null || true; fi
  if alive slurmctld; then for _ in $(seq 40); do [[ -n $(squeue -h 2>/dev/null) ]] || break; sleep .25; done; fi
  for daemon in "${DAEMONS[@]}"; do
    if alive "$daemon"; then kill "$(<"$FOLDER/$daemon.pid")" || true; fi
    for _ in $(seq 50); do alive "$daemon" || break; sleep .1; done
  done
  if [[ -L $FOLDER/cgroup/memory ]]; then
    find "$(readlink "$FOLDER/cgroup/memory")" -depth -type d -exec rmdir {} + 2>/dev/null || true
  fi
}

case ${1:-} in
  up) up ;;
  down) down ;;
  env) echo "export SLURM_CONF=$SLURM_CONF" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2 ;;
esac
