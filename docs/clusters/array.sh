#!/usr/bin/env bash
# One Slurm job for each subject, then one for the whole study. Run it on a machine that has sbatch:
#
#   bash array.sh BIDS_DIR OUTPUT_DIR [options of bidsreg ...]
#
# The same command again does what is missing. In the environment:
#   BIDSREG      the program, e.g. "apptainer run --cleanenv -B /data bidsreg.sif"  [bidsreg]
#   SUBJECTS     labels, e.g. "01 02"                                             [all in BIDS_DIR]
#   WORK         folder for intermediate files, seen by all machines              [OUTPUT_DIR-work]
#   SBATCH_ARGS  of each job                                                      [--cpus-per-task=2 --mem=5G -t 2:00:00]
#   GROUP_ARGS   of the job for the study                                         [--mem=4G -t 1:00:00]
#   AT_ONCE      jobs at once                                                     [50]
set -euo pipefail

if (($# < 2)); then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
  exit 2
fi

read -ra program <<<"${BIDSREG:-bidsreg}"
bids=$1 out=$2
shift 2

if [[ -n "${SLURM_ARRAY_TASK_ID:-}" ]]; then # a job of the array: one subject
  subject=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$BIDSREG_INDEX/subjects.txt")
  limits=(--nprocs "${SLURM_CPUS_PER_TASK:-1}")
  [[ -n "${SLURM_MEM_PER_NODE:-}" ]] && limits+=(--mem "${SLURM_MEM_PER_NODE}MB")
  exec "${program[@]}" "$bids" "$out" participant --participant-label "$subject" --bids-database-dir "$BIDSREG_INDEX" \
    -w "$BIDSREG_WORK" --skip-bids-validation "${limits[@]}" "$@"
fi

mkdir -p "$out" "${WORK:-${out%/}-work}"
bids=$(cd "$bids" && pwd)
out=$(cd "$out" && pwd)
BIDSREG_WORK=$(cd "${WORK:-$out-work}" && pwd)
find "$BIDSREG_WORK" -maxdepth 1 -name 'index.*' -mtime +7 -exec rm -rf {} +
BIDSREG_INDEX=$(mktemp -d "$BIDSREG_WORK/index.XXXXXX") # a new one each time: files may have come or gone
export BIDSREG_WORK BIDSREG_INDEX

if [[ -n "${SUBJECTS:-}" ]]; then
  read -ra subjects <<<"$SUBJECTS"
else
  subjects=()
  for folder in "$bids"/sub-*/; do
    folder=${folder%/}
    subjects+=("${folder##*/sub-}")
  done
fi
printf '%s\n' "${subjects[@]#sub-}" >"$BIDSREG_INDEX/subjects.txt"

# one index for all jobs; also says at once what cannot be used
"${program[@]}" "$bids" "$out" participant --participant-label "${subjects[@]}" \
  --bids-database-dir "$BIDSREG_INDEX" -w "$BIDSREG_WORK" --dry-run "$@" >"$BIDSREG_INDEX/plan.txt"

mkdir -p "$out/logs/slurm"
read -ra asked <<<"${SBATCH_ARGS:---cpus-per-task=2 --mem=5G -t 2:00:00}"
array=$(sbatch --parsable --job-name=bidsreg -o "$out/logs/slurm/%A_%a.out" \
  --array="1-${#subjects[@]}%${AT_ONCE:-50}" "${asked[@]}" "$0" "$bids" "$out" "$@")

# the page of the study, whatever became of the subjects: who failed is a row in it
read -ra asked <<<"${GROUP_ARGS:---mem=4G -t 1:00:00}"
group=$(sbatch --parsable --job-name=bidsreg-group -o "$out/logs/slurm/%j.out" --dependency="afterany:${array%%;*}" \
  "${asked[@]}" --wrap "$(printf '%q ' "${program[@]}" "$bids" "$out" group)")

echo "${#subjects[@]} subjects: array job ${array%%;*}, then the study: job ${group%%;*}; what they say: $out/logs/slurm"
