#!/usr/bin/env bash
# Build the image and run it for real: random user, no network, read-only root, read-only dataset, no HOME.
#
#   tests/container/run.sh [FOLDER]      dataset and outputs are kept in FOLDER (a new one in $TMPDIR)
#
# ENGINE=docker|podman    what builds and runs (the first there is)
# IMAGE=bidsreg:test      name of the image
# BUILD=no                take the image that is there; BUILD_ARGS='--build-arg TORCH_INDEX=' for the CUDA flavour
# APP_ARGS=--sloppy       options for the full run
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$ROOT/tests/container/checks.sh"

find_engine
IMAGE=${IMAGE:-bidsreg:test}
OWNER=$((20000 + RANDOM))

inside() {
  local mounts=()
  while [[ $1 == -* ]]; do
    case $1 in
      -ro) mounts+=(-v "$2:$3:ro"); shift 3 ;;
      -rw) mounts+=(-v "$2:$3"); shift 3 ;;
      -home) mounts+=(-e "HOME=$2"); shift 2 ;;
    esac
  done
  "$ENGINE" run --rm --network none --read-only --tmpfs /tmp:rw,mode=1777 --user "$OWNER:$OWNER" \
    "${mounts[@]}" --entrypoint "$1" "$IMAGE" "${@:2}"
}

if [[ ${BUILD:-yes} != no ]]; then
  step "Build $IMAGE with $ENGINE"
  read -ra more <<<"${BUILD_ARGS:-}"
  revision=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || true)
  "$ENGINE" build -t "$IMAGE" --build-arg REVISION="$revision" "${more[@]}" "$ROOT"
fi

step "Image $IMAGE"
say "  $("$ENGINE" image inspect --format '{{.Size}}' "$IMAGE" | awk '{printf "%.0f MB", $1 / 1e6}'), of which"
"$ENGINE" history --no-trunc --format '{{.Size}}\t{{.CreatedBy}}' "$IMAGE" |
  awk -F '\t' '$1 !~ /^0 ?B$/ { gsub(/[[:space:]]+/, " ", $2); print "  " $1 "\t" substr($2, 1, 90) }'
label=$("$ENGINE" image inspect --format '{{index .Config.Labels "org.opencontainers.image.version"}}' "$IMAGE")
good "label version $label is what --version says" test "bidsreg $label" = "$(inside bidsreg --version)"
good 'the entry point is bidsreg' test "$("$ENGINE" run --rm --network none "$IMAGE" --version)" = "bidsreg $label"

check_image
