# setup.sh: functions of run.sh and test.sh: install what is missing, configure, build. Sourced.
# shellcheck shell=bash
# shellcheck disable=SC2034  # The lists are used by those who source this.

PERVMA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What building and running the command takes; and what testing and checking it takes besides.
PERVMA_RUN_PACKAGES=(g++ cmake ninja-build pkgconf liburcu-dev libfmt-dev libcli11-dev
  nlohmann-json3-dev liblzma-dev libzstd-dev liblz4-dev zlib1g-dev systemtap-sdt-dev)
PERVMA_TEST_PACKAGES=(libgtest-dev libgmock-dev clang-19 libclang-rt-19-dev clang-format-19
  clang-tidy-19 python3 relacy-dev xz-utils zstd libabsl-dev libboost-dev libboost-thread-dev
  libtbb-dev)

pervma_die() {
  printf 'pervma: %s\n' "$*" >&2
  exit 1
}

pervma_as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

# Installs those of the named Debian packages that are missing. On another system it only warns:
# CMake will name what it does not find.
pervma_install() {
  local package missing=() log
  if ! command -v dpkg-query >/dev/null; then
    echo "pervma: not a Debian system; expecting the equivalents of: $*" >&2
    return
  fi
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    pervma_die "missing packages, and neither root nor sudo to install them: ${missing[*]}"
  fi
  echo "pervma: installing ${missing[*]}" >&2
  log=$(mktemp)
  # A failing update alone (one dead mirror among several) must not stop an install that works.
  if ! { pervma_as_root apt-get update ||  true
         pervma_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
           --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"
       } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    pervma_die "apt-get could not install: ${missing[*]}"
  fi
  rm -f "$log"
}

# Runs a command without its output; says LABEL when it takes longer than two seconds, and shows
# the end of the output when it fails.
pervma_quietly() {
  local label=$1 log watcher status=0
  shift
  log=$(mktemp)
  # `read` from a pipe that nobody writes is a sleep without a process that outlives the watcher.
  { read -rt 2 <> <(:) || echo "pervma: $label" >&2; } &
  watcher=$!
  "$@" >"$log" 2>&1 || status=$?
  { kill $watcher && wait $watcher; } 2>/dev/null || true
  if [ $status -ne 0 ]; then
    if [ "$(wc -l <"$log")" -gt 40 ]; then
      grep -E 'error|Error|FAILED' "$log" | head -n 20 >&2
      echo '...' >&2
    fi
    tail -n 40 "$log" >&2
    rm -f "$log"
    pervma_die "failed: $label"
  fi
  rm -f "$log"
}

# pervma_configure PRESET [CMAKE-OPTION...]: configures build/PRESET unless it is. A build folder
# that was copied here with its tree is of no use and goes.
pervma_configure() {
  local preset=$1 dir=$PERVMA_ROOT/build/$1
  shift
  if [ -f "$dir/CMakeCache.txt" ] &&
     ! grep -qFx "CMAKE_HOME_DIRECTORY:INTERNAL=$PERVMA_ROOT" "$dir/CMakeCache.txt"; then
    rm -rf "$dir"
  fi
  if [ $# -gt 0 ] || [ ! -f "$dir/build.ninja" ]; then
    (cd "$PERVMA_ROOT" && pervma_quietly "configuring build/$preset" cmake --preset "$preset" "$@")
  fi
}

# pervma_build PRESET [TARGET...]
pervma_build() {
  local preset=$1 targets=()
  shift
  [ $# -gt 0 ] && targets=(--target "$@")
  (cd "$PERVMA_ROOT" &&
    pervma_quietly "building build/$preset (the first time takes minutes)" \
      cmake --build --preset "$preset" "${targets[@]}")
}
