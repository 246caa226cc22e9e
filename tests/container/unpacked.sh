#!/usr/bin/env bash
# The checks of run.sh on an unpacked image, run as Apptainer runs one: the caller's own user, root read-only,
# no daemon. Bubblewrap does the isolation, with a fresh /tmp, no network and none of the caller's variables.
#
#   tests/container/unpacked.sh [FOLDER]      dataset and outputs are kept in FOLDER (a new one in $TMPDIR)
#
# ENGINE=docker|podman, IMAGE=bidsreg:test    where the image is taken from
# ROOTFS=FOLDER                               an image that is unpacked already
# APP_ARGS=--sloppy                           options for the full run
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/container/checks.sh"
command -v bwrap >/dev/null || { say 'bwrap (bubblewrap) is not here.' >&2; exit 2; }
# shellcheck disable=SC2034
OWNER=$(id -u)

if [[ -z ${ROOTFS:-} ]]; then
  find_engine
  ROOTFS=$PLACE/rootfs
  step "Unpack ${IMAGE:=bidsreg:test} into $ROOTFS"
  mkdir -p "$ROOTFS"
  name=$("$ENGINE" create "$IMAGE")
  "$ENGINE" export "$name" | tar -x -C "$ROOTFS" --exclude 'dev/*' --no-same-owner
  "$ENGINE" rm "$name" >/dev/null
fi
# where the checks mount folders; bwrap cannot make them in a read-only root
mkdir -p "$ROOTFS"/{bids,out,data,scratch,home/reader}

# the image's variables, without the engine; Apptainer writes them into the image in the same way
VARIABLES=()
while IFS='=' read -r name value; do
  VARIABLES+=(--setenv "$name" "$value")
done < <(variables "$ROOT/Dockerfile")

inside() {
  local home=/tmp options=()
  while [[ $1 == -* ]]; do
    case $1 in
      -ro) options+=(--ro-bind "$2" "$3"); shift 3 ;;
      -rw) options+=(--bind "$2" "$3"); shift 3 ;;
      -home) home=$2; shift 2 ;;
    esac
  done
  bwrap --unshare-all --die-with-parent --clearenv "${VARIABLES[@]}" --setenv HOME "$home" \
    --setenv PATH /opt/bidsreg/bin:/usr/local/bin:/usr/bin:/bin --ro-bind "$ROOTFS" / --proc /proc --dev /dev --tmpfs /tmp "${options[@]}" --chdir /tmp "$@"
}

check_image
