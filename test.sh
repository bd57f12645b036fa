#!/usr/bin/env bash
# test.sh: builds and runs every test in the release and dev builds.
# test.sh --all: the source checks first, then the tests in release, ASan (with UBSan) and TSan; the
# sanitizer builds have every assertion and warning of dev.
# test.sh --long: the tests labelled `long`, in release, ASan and TSan; this takes hours.
# Installs what is missing (Debian 12, as root or with sudo).
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/scripts/setup.sh"

presets=(release dev) checks=no select=(--label-exclude '^long$')
case "${1-}" in
  "") ;;
  --all) presets=(release asan tsan) checks=yes ;;
  --long) presets=(release asan tsan) select=(--label-regex '^long$') ;;
  *) pervma_die "test.sh: unknown argument $1 (there are --all and --long)" ;;
esac
[ $# -le 1 ] || pervma_die "test.sh: one argument at most"

pervma_install "${PERVMA_RUN_PACKAGES[@]}" "${PERVMA_TEST_PACKAGES[@]}"
cd "$PERVMA_ROOT"
mkdir -p build
exec 9>build/.lock
flock 9  # Two at once would build into the same folder.

failed=0
if [ $checks = yes ]; then
  scripts/lint || failed=1
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A sanitizer's first report ends its test; ctest then shows it. TSan sleeps for a second at the end of each
# process in which liburcu's thread still runs: a process per test makes half an hour of that.
export TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1 atexit_sleep_ms=0 ${TSAN_OPTIONS-}"
export ASAN_OPTIONS="detect_stack_use_after_return=1 ${ASAN_OPTIONS-}"
export UBSAN_OPTIONS="print_stacktrace=1 ${UBSAN_OPTIONS-}"

for preset in "${presets[@]}"; do
  pervma_configure "$preset" -DPERVMA_BUILD_TESTS=ON
  pervma_build "$preset"
  echo "== tests, build/$preset"
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error --no-label-summary \
    --parallel "$(nproc)" "${select[@]}" 2>&1 9>&- | tee "$log" || failed=1
  summary+=("$preset: $(grep -E 'tests passed, .* failed out of' "$log" || echo 'no tests ran')")
done

echo
printf '%s\n' "${summary[@]}"
printf '%s\n' "${summary[@]}" | awk '
  match($0, /[0-9]+ tests? failed out of [0-9]+/) {
    split(substr($0, RSTART, RLENGTH), w, " "); failed += w[1]; total += w[6]
  }
  END { printf "%d passed, %d failed\n", total - failed, failed }'
[ $failed -eq 0 ] || pervma_die "there are failures, see above"
