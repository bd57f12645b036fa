#!/usr/bin/env bash
# run.sh: replays every recording in traces/ under every lock design.
# run.sh ARGUMENT...: runs the pervma command with these arguments (try: ./run.sh --help).
# Installs what is missing (Debian 12, as root or with sudo) and builds build/release first.
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/scripts/setup.sh"

prepare() {
  pervma_install "${PERVMA_RUN_PACKAGES[@]}"
  mkdir -p "$PERVMA_ROOT/build"
  # Two at once would build into the same folder.
  exec 9>"$PERVMA_ROOT/build/.lock"
  flock 9
  # Tests need more packages than the command does; test.sh switches them on.
  if [ ! -f "$PERVMA_ROOT/build/release/build.ninja" ]; then
    pervma_configure release -DPERVMA_BUILD_TESTS=OFF
  else
    pervma_configure release
  fi
  pervma_build release pervma_tool
  exec 9>&-
}

prepare
if [ $# -gt 0 ]; then
  exec "$PERVMA_ROOT/build/release/pervma" "$@"
fi
cd "$PERVMA_ROOT"
exec build/release/pervma replay traces/*.txt.xz --design all
