#!/usr/bin/env bash
# A Grid Engine of one machine, for the tests: loopback only, no system services, one pretended GPU.
#
#   bash gridengine.sh up      start it; says in one line why it could not
#   bash gridengine.sh env     what a shell has to know: eval "$(bash gridengine.sh env)"
#   bash gridengine.sh down    delete the jobs and stop it
#
# It takes root and Debian's gridengine-master, gridengine-exec and gridengine-client (apt-get install
# --no-install-recommends), and keeps all it has in SGE_FOLDER [$TMPDIR/bidsreg-sge]. Jobs of root may run.
set -euo pipefail

FOLDER=${SGE_FOLDER:-${TMPDIR:-/tmp}/bidsreg-sge}
SHARE=/usr/share/gridengine
LIB=/usr/lib/gridengine
MASTER=$FOLDER/spool/qmaster/qmaster.pid
HOST=$(hostname)
export SGE_ROOT=$FOLDER SGE_CELL=default

# a process that has ended may still be waited for by nobody: a zombie is not alive
running() { grep -q '^State:[[:space:]]*[^Z]' "/proc/$1/status" 2>/dev/null; }
alive() { [[ -s $1 ]] && running "$(<"$1")"; }

# two ports of this machine on which nobody listens
free_ports() {
  local port found=()
  for port in $(shuf -i 20000-29999 -n 50); do
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || found+=("$port")
    ((${#found[@]} < 2)) || break
  done
  echo "${found[@]}"
}

configure() {
  local common=$FOLDER/default/common ports file
  mkdir -p "$common" "$FOLDER"/{spool/qmaster/job_scripts,spool/execd,db}
  for file in bin lib utilbin; do ln -sfn "/var/lib/gridengine/$file" "$FOLDER/$file"; done
  ln -sfn "$SHARE/util" "$FOLDER/util"
  read -ra ports <<<"$(free_ports)"
  printf 'export SGE_ROOT=%s SGE_CELL=default SGE_QMASTER_PORT=%s SGE_EXECD_PORT=%s\n' "$FOLDER" "${ports[@]}" >"$FOLDER/env"
  # shellcheck source=/dev/null
  . "$FOLDER/env"
  echo "$HOST" >"$common/act_qmaster"
  echo "$HOST localhost" >"$common/host_aliases" # else it finds that it is called localhost, and refuses
  printf '%s\n' 'admin_user root' 'default_domain none' 'ignore_fqdn true' 'spooling_method berkeleydb' \
    'spooling_lib libspoolb' "spooling_params $FOLDER/db" "binary_path $LIB" \
    "qmaster_spool_dir $FOLDER/spool/qmaster" 'security_mode none' 'listener_threads 2' 'worker_threads 2' \
    'scheduler_threads 1' >"$common/bootstrap"
  "$LIB/spoolinit" berkeleydb libspoolb "$FOLDER/db" init
  sed -e "s|^execd_spool_dir.*|execd_spool_dir $FOLDER/spool/execd|" -e 's/^min_uid.*/min_uid 0/' \
    -e 's/^min_gid.*/min_gid 0/' -e 's/^reporting_params.*/reporting_params accounting=true accounting_flush_time=00:00:01/' \
    -e 's/^load_report_time.*/load_report_time 0:0:2/' "$SHARE/default-configuration" >"$FOLDER/configuration"
  "$LIB/spooldefaults" configuration "$FOLDER/configuration"
  "$LIB/spooldefaults" complexes "$SHARE/util/resources/centry"
  "$LIB/spooldefaults" usersets "$SHARE/util/resources/usersets"
  "$LIB/spooldefaults" managers root
}

# a host, a queue with two slots, a parallel environment; memory and a pretended GPU are used up by jobs
describe() {
  local memory
  memory=$(awk '/MemTotal/ {print int($2 / 1024 * .9)}' /proc/meminfo)
  qconf -sc | sed -E 's/^(h_vmem .*) NO( +)0 /\1 YES\20 /' >"$FOLDER/complexes"
  echo 'gpu gpu INT <= YES YES 0 0' >>"$FOLDER/complexes"
  qconf -Mc "$FOLDER/complexes"
  qconf -ssconf | sed -e 's/^schedule_interval.*/schedule_interval 0:0:1/' -e 's/^flush_submit_sec.*/flush_submit_sec 1/' \
    -e 's/^flush_finish_sec.*/flush_finish_sec 1/' \
    -e 's/^job_load_adj.*/job_load_adjustments NONE/' >"$FOLDER/scheduler"
  qconf -Msconf "$FOLDER/scheduler"
  qconf -ah "$HOST" || true
  qconf -as "$HOST"
  printf '%s\n' "hostname $HOST" 'load_scaling NONE' "complex_values h_vmem=${memory}M,gpu=1" 'user_lists NONE' \
    'xuser_lists NONE' 'projects NONE' 'xprojects NONE' 'usage_scaling NONE' 'report_variables NONE' >"$FOLDER/host"
  qconf -Ae "$FOLDER/host" || qconf -Me "$FOLDER/host"
  printf '%s\n' 'group_name @allhosts' "hostlist $HOST" >"$FOLDER/hosts"
  qconf -Ahgrp "$FOLDER/hosts"
  qconf -Ap "$SHARE/util/resources/pe/smp"
  qconf -sq | sed -e 's/^qname.*/qname all.q/' -e 's/^hostlist.*/hostlist @allhosts/' -e 's/^slots.*/slots 2/' \
    -e 's/^pe_list.*/pe_list smp/' -e 's/^load_thresholds.*/load_thresholds NONE/' -e 's|^shell .*|shell /bin/bash|' \
    >"$FOLDER/queue"
  qconf -Aq "$FOLDER/queue"
}

start() {
  configure
  "$LIB/sge_qmaster"
  for _ in $(seq 60); do if qconf -sh >/dev/null 2>&1; then break; fi; sleep .5; done
  describe
  "$LIB/sge_execd"
  for _ in $(seq 60); do if qstat -f | grep -qE "^all.q@.* lx-[^ ]+ *$"; then return; fi; sleep .5; done
  return 1
}

up() {
  local program
  for program in "$LIB/sge_qmaster" "$LIB/sge_execd" qsub; do
    command -v "$program" >/dev/null || { echo "no Grid Engine: there is no $program here" >&2; return 1; }
  done
  if alive "$MASTER"; then return; fi
  mkdir -p "$FOLDER"
  if (set -e; start) >"$FOLDER/start.log" 2>&1; then return; fi
  echo "no Grid Engine: it does not start ($(tail -n 1 "$FOLDER/start.log"))" >&2
  down
  return 1
}

down() {
  local file pid
  [[ -e $FOLDER/env ]] || return 0
  # shellcheck source=/dev/null
  . "$FOLDER/env"
  if alive "$MASTER"; then
    timeout 20 qdel -f -u '*' >/dev/null 2>&1 || true
    for _ in $(seq 40); do [[ -n $(timeout 10 qstat 2>/dev/null) ]] || break; sleep .5; done
  fi
  for file in "$FOLDER"/spool/execd/*/execd.pid "$MASTER"; do # it need not know its name as we do
    alive "$file" || continue
    pid=$(<"$file") # the file goes before the process does
    kill "$pid"
    for _ in $(seq 50); do running "$pid" || break; sleep .1; done
    if running "$pid"; then kill -KILL "$pid"; fi
  done
}

case ${1:-} in
  up) up ;;
  down) down ;;
  env) cat "$FOLDER/env" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2 ;;
esac
