# shellcheck shell=bash
# What is asked of the image, whatever runs it. Sourced by run.sh and unpacked.sh, which define
#
#   inside [-ro DIR PLACE | -rw DIR PLACE | -home DIR]... PROGRAM [ARGUMENT...]
#       run a program of the image: no network, root read-only, /tmp a fresh tmpfs, the user $OWNER,
#       and DIRs of this machine in their PLACEs; HOME is DIR, which exists only where it was put.
#
# and set OWNER (a user id). APP_ARGS goes to bidsreg's full run, for example APP_ARGS=--sloppy.

PLACE=${1:-$(mktemp -d "${TMPDIR:-/tmp}/bidsreg-container.XXXXXX")}
read -ra APP_ARGS <<<"${APP_ARGS:-}"
COMMON=(participant --skip-bids-validation --nprocs 2)
FAILURES=0

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }

# the first of docker and podman that answers, unless ENGINE names one
find_engine() {
  local name
  for name in ${ENGINE:-docker podman}; do
    if "$name" info >/dev/null 2>&1; then ENGINE=$name; return; fi
  done
  say "${ENGINE:-docker, podman}: not here, or not answering; set ENGINE." >&2
  exit 2
}

# what a Dockerfile sets for those who run the image, a line each; not what depends on the build
variables() {
  awk '/^ENV / { on = 1; sub(/^ENV /, "") } on { print } !/\\$/ { on = 0 }' "$1" | sed 's/ *\\$//; s/^ *//' |
    grep -vE '^(PATH|HOME|PIP_[A-Z_]*|BIDSREG_CONTAINER)='
}

# good WHAT COMMAND...: the command has to succeed
good() {
  local what=$1; shift
  if "$@"; then say "  ok    $what"; else say "  FAIL  $what"; FAILURES=$((FAILURES + 1)); fi
}

# ends CODE COMMAND...: the exit code of the command; what it printed is in $LOG
ends() {
  local code=0 expected=$1; shift
  "$@" >"$LOG" 2>&1 || code=$?
  [[ $code == "$expected" ]] || { say "  exit code $code rather than $expected:"; tail -n 20 "$LOG"; return 1; }
}

# refuses PATTERN COMMAND...: exit code 2 and one line, which says why
refuses() {
  local pattern=$1; shift
  ends 2 "$@" || return 1
  if [[ $(wc -l <"$LOG") != 1 ]] || ! grep -qE "^bidsreg: error: .*$pattern" "$LOG"; then cat "$LOG"; return 1; fi
  sed 's/^/        /' "$LOG"
}

quiet() { ! grep -E 'Traceback|validator did not work|Permission denied|Read-only file system|temporary (cache )?directory|not writable' "$LOG"; }
nothing_compiled() { ! grep -rE 'Compiling kernels|Compiled kernels' "$LOG" "$1/logs"; }
all_there() {
  local file missing=0
  for file in "${OUTPUTS[@]}"; do [[ -s $1/$file ]] || { say "  missing: $file"; missing=1; }; done
  return $missing
}
fingerprint() { (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2); }
owned() {
  local strangers
  strangers=$(inside -ro "$1" /data find /data -mindepth 1 ! -user "$OWNER") || return 1
  [[ -z $strangers ]] || { head <<<"$strangers"; return 1; }
}
folder() { mkdir -p "$PLACE/$1" && chmod 777 "$PLACE/$1"; }

STEM=sub-01/anat/sub-01
OUTPUTS=(dataset_description.json sub-01.html logs/pairs.tsv logs/CITATION.md
  "$STEM"{_desc-preproc_T1w,_desc-brain_mask,_space-T1w_desc-preproc_T2w,_space-T2w_desc-preproc_T1w}.nii.gz
  "$STEM"{_desc-preproc_T2w,_space-T2w_desc-brain_mask,_from-T2w_to-T1w_mode-image_desc-jacobian_xfm}.nii.gz
  "$STEM"{_from-T2w_to-T1w,_from-T1w_to-T2w}_mode-image_xfm.h5
  "$STEM"{_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm,_desc-registration_qc.json})

check_image() {
  local before name
  LOG=$PLACE/log.txt
  for name in bids out home-out home work; do folder $name; done
  BIDS=$PLACE/bids OUT=$PLACE/out

  step "User $OWNER, no network, read-only root, only /tmp writable"
  good '--version' ends 0 inside bidsreg --version
  sed 's/^/        /' "$LOG"
  good '--version without HOME' ends 0 inside env -u HOME bidsreg --version
  good 'bidsreg-pair --help' ends 0 inside bidsreg-pair --help
  good 'bidsreg-benchmark --help' ends 0 inside bidsreg-benchmark --help
  good 'kernels' ends 0 inside python -m bidsreg.registration.numerics.kernels
  good 'are compiled already' test ! -s "$LOG"
  good 'NiftyReg' ends 0 inside python -m bidsreg.programs.niftyreg
  good 'a file in / cannot be written' ends 1 inside touch /opt/bidsreg/file
  good 'there is no network' ends 1 inside python -c 'import socket; socket.create_connection(("192.0.2.1", 80), 5)'

  step 'Example dataset'
  [[ -f $BIDS/dataset_description.json ]] || good 'made' ends 0 inside -rw "$BIDS" /bids python -m bidsreg.app.example /bids
  before=$(fingerprint "$BIDS")

  step 'What cannot work, in one line and with exit code 2'
  good 'output read-only' refuses '/out cannot be written: Read-only' \
    inside -ro "$BIDS" /bids -ro "$OUT" /out bidsreg /bids /out "${COMMON[@]}"
  good 'output in the image' refuses '/output cannot be written: ' \
    inside -ro "$BIDS" /bids bidsreg /bids /output "${COMMON[@]}"
  good 'work folder in a read-only HOME' refuses '/home/reader/work cannot be written: ' \
    inside -ro "$BIDS" /bids -rw "$OUT" /out -ro "$PLACE/home" /home/reader -home /home/reader \
    bidsreg /bids /out "${COMMON[@]}" -w /home/reader/work
  good 'dataset not there' refuses '/nothing is not a folder' inside -rw "$OUT" /out bidsreg /nothing /out "${COMMON[@]}"
  good 'GPU without a GPU' refuses 'PyTorch sees no CUDA device' \
    inside -ro "$BIDS" /bids -rw "$OUT" /out bidsreg /bids /out "${COMMON[@]}" --device cuda
  good 'nothing was left' test -z "$(ls -A "$OUT")"

  step 'Participant level, HOME does not exist'
  SECONDS=0
  good 'exit code 0' ends 0 inside -ro "$BIDS" /bids -rw "$OUT" /out -home /home/nobody \
    bidsreg /bids /out participant --nprocs 2 -w /tmp/work "${APP_ARGS[@]}"
  sed 's/^/        /' "$LOG"
  say "        $SECONDS s"
  good 'no complaint about caches or rights' quiet
  good 'no kernel was compiled' nothing_compiled "$OUT"
  good "${#OUTPUTS[@]} outputs and the report" all_there "$OUT"
  good "all files belong to $OWNER" owned "$OUT"
  good 'as near to the truth as it should be' ends 0 inside -ro "$BIDS" /bids -ro "$OUT" /out \
    python -m bidsreg.app.example --check /bids /out
  sed 's/^/        /' "$LOG"
  good 'the same command again' ends 0 inside -ro "$BIDS" /bids -rw "$OUT" /out \
    bidsreg /bids /out "${COMMON[@]}" -w /tmp/work "${APP_ARGS[@]}"
  good 'finds all done already' grep -q '^1 already done' "$LOG"

  if inside bidsreg --help | grep -qE '\{participant,group\}'; then
    step 'Group level'
    good 'exit code 0' ends 0 inside -ro "$BIDS" /bids -rw "$OUT" /out bidsreg /bids /out group
    sed 's/^/        /' "$LOG"
    good 'table of the group' test -s "$OUT/group_registration.tsv"
    good 'page of the group' test -s "$OUT/group_registration.html"
    good "all files belong to $OWNER" owned "$OUT"
  else
    step 'Group level: this bidsreg has none'
  fi

  step 'Participant level, HOME is read-only, work folder mounted (--sloppy)'
  good 'exit code 0' ends 0 inside -ro "$BIDS" /bids -rw "$PLACE/home-out" /out -rw "$PLACE/work" /scratch \
    -ro "$PLACE/home" /home/reader -home /home/reader bidsreg /bids /out "${COMMON[@]}" --sloppy -w /scratch/of-mine
  good 'no complaint about caches or rights' quiet
  good "${#OUTPUTS[@]} outputs and the report" all_there "$PLACE/home-out"
  good "all files belong to $OWNER" owned "$PLACE/home-out"
  good 'HOME is still empty' test -z "$(ls -A "$PLACE/home")"
  good 'the dataset is as it was' test "$before" = "$(fingerprint "$BIDS")"

  step "$((FAILURES)) failure(s)"
  return $((FAILURES > 0))
}
