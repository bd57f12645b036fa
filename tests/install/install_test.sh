#!/usr/bin/env bash
# install_test.sh BUILD CMAKE GENERATOR CXX VERSION: installs BUILD into an empty
# directory, moves it, and builds the consumers beside this file against it, once with find_package
# and once with pkg-config.
set -euo pipefail
build=$1 cmake=$2 generator=$3 cxx=$4 version=$5
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The tree is moved after the install: a path of the build machine in it breaks the consumer.
"$cmake" --install "$build" --prefix "$work/staging" >/dev/null
mv "$work/staging" "$work/prefix"

"$cmake" -S "$here" -B "$work/build" -G "$generator" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$work/prefix" -DPERVMA_EXPECTED_VERSION="$version" >"$work/log" ||
  { cat "$work/log"; exit 1; }
"$cmake" --build "$work/build" >"$work/log" || { cat "$work/log"; exit 1; }
"$work/build/consumer" | grep -Fx "pervma $version"
"$work/build/consumer_c" | grep -Fx "pervma $version"
swap=no
if [ -x "$work/build/consumer_swap" ]; then
  swap=yes
  "$work/build/consumer_swap" | grep -Fx "pervma $version"
fi

pc=$(find "$work/prefix" -name pervma.pc)
export PKG_CONFIG_PATH=${pc%/*}
# Word splitting of the flags is what pkg-config's output is made for.
# shellcheck disable=SC2046
"$cxx" -std=c++23 "$here/consumer.cpp" -o "$work/consumer" \
  $(pkg-config --cflags --libs "pervma = $version")
"$work/consumer" | grep -Fx "pervma $version"
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Wpedantic -Werror -c "$here/consumer_c.c" -o "$work/consumer_c.o" \
  $(pkg-config --cflags "pervma = $version")
# shellcheck disable=SC2046
"$cxx" "$work/consumer_c.o" -o "$work/consumer_c" $(pkg-config --libs "pervma = $version")
"$work/consumer_c" | grep -Fx "pervma $version"
if [ $swap = yes ]; then
  # shellcheck disable=SC2046
  cc -std=c11 -c "$here/consumer_swap.c" -o "$work/consumer_swap.o" $(pkg-config --cflags pervma_compressed)
  # shellcheck disable=SC2046
  "$cxx" "$work/consumer_swap.o" -o "$work/consumer_swap" $(pkg-config --libs pervma_compressed)
  "$work/consumer_swap" | grep -Fx "pervma $version"
fi

if grep -RIl -e "$build" -e "$work/staging" "$work/prefix/lib" "$work/prefix/include"; then
  echo "the installed files above name the build or the staging directory" >&2
  exit 1
fi
echo "find_package and pkg-config: the C++ and C consumers build and run"
