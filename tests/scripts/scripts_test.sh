#!/usr/bin/env bash
# Feeds the lint scripts small trees: a clean one must pass, and each violation must be found.
set -uo pipefail
scripts=$(cd "$(dirname "$0")/../../scripts" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

fresh_tree() {
  rm -rf "$work/t"
  mkdir -p "$work/t/include/pervma" "$work/t/docs" "$work/t/tools"
  for layer in sync tree vm; do mkdir -p "$work/t/src/$layer"; done
  cd "$work/t" || exit 1
  printf '#include <atomic>\n' >include/pervma/address.h
  printf '#include "pervma/address.h"\n' >src/sync/lock.h
  printf '#include "sync/lock.h"\n' >src/tree/tree.h
  printf '#include "tree/tree.h"\n' >src/vm/vma.h
  printf '#include "vm/vma.h"\n' >tools/main.cpp
  cat >src/sync/ops.h <<'CPP'
refs_.store(1, std::memory_order_release);  // [L1] pairs with [L2]
while (!refs_.compare_exchange_weak(n, n + 1, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {  // [L2] pairs with [L1]
}
n = refs_.load(std::memory_order_relaxed);
CPP
  cat >docs/memory-order.md <<'MD'
| tag | place | order | partner | without it |
|---|---|---|---|---|
| L1 | attach | release | L2 | fields tear |
| L2 | read lock | acquire | L1 | fields tear |
MD
}

# expect SCRIPT TEXT NAME: the script must fail and name TEXT; an empty TEXT means it must pass.
expect() {
  local output status=0
  output=$("$scripts/$1" "$work/t" 2>&1) || status=$?
  if { [ -z "$2" ] && [ $status -eq 0 ] && [ -z "$output" ]; } ||
     { [ -n "$2" ] && [ $status -eq 1 ] && grep -qF -- "$2" <<<"$output"; }; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED %s: %s (exit %d):\n%s\n' "$1" "$3" "$status" "$output"
  fi
}

i=check_include_order
fresh_tree; expect $i "" clean_tree_passes
fresh_tree; echo '#include "vm/vma.h"' >>src/tree/tree.h
expect $i "src/tree/tree.h:2: layer tree includes vm" lower_layer_includes_higher
fresh_tree; mkdir src/range; echo '#include "vm/vma.h"' >src/range/range_map.h
expect $i "layer range includes vm" range_includes_vm
fresh_tree; mkdir src/range; touch src/range/range_map.h
echo '#include "range/range_map.h"' >>src/vm/vma.h
expect $i "layer vm includes range" vm_includes_range
fresh_tree; echo '#include "sync/lock.h"' >>include/pervma/address.h
expect $i "layer pervma includes sync" public_header_includes_internal
fresh_tree; echo '#  include "lock.h"' >>src/sync/lock.h
expect $i 'not written as "layer/file.h"' include_without_layer
fresh_tree; echo '#include "../sync/lock.h"' >>src/tree/tree.h
expect $i 'not written as "layer/file.h"' include_through_dots
fresh_tree; echo '#include <sync/lock.h>' >>src/tree/tree.h
expect $i "write it with quotes" project_header_in_angle_brackets
fresh_tree; echo '#include "sync/gone.h"' >>src/tree/tree.h
expect $i "does not exist" missing_header
fresh_tree; mkdir src/extra; touch src/extra/a.h
expect $i "src/extra: not a layer" unknown_layer
rm -rf "${work:?}/t"; mkdir "$work/t"; expect $i "no source files" empty_tree

m=check_memory_order
fresh_tree; expect $m "" clean_tree_passes
fresh_tree; printf '%s\n' 'refs_.compare_exchange_strong(n, 1,' \
  '    std::memory_order_acquire,  // [L2] pairs with [L1]' \
  '    std::memory_order_acquire);' 'slot.load();' >>src/sync/ops.h
expect $m "" tag_in_the_middle_of_a_statement
fresh_tree; echo 'x.load(std::memory_order_acquire);' >>src/sync/ops.h
expect $m "src/sync/ops.h:6: ordered operation without a tag" untagged_order
fresh_tree; echo 'std::atomic_thread_fence(std::memory_order::seq_cst);' >>src/tree/tree.h
expect $m "src/tree/tree.h:2: ordered operation without a tag" untagged_fence
fresh_tree; printf 'x.load(std::memory_order_acquire);\ny = 1;  // [L2]\n' >>src/sync/ops.h
expect $m "ops.h:6: ordered operation without a tag" tag_of_the_next_statement
fresh_tree; echo 'refs_.load();' >>src/sync/ops.h
expect $m "leaves its memory order out" implicit_load
fresh_tree; printf 'x.fetch_add(f(1),\n            2);\n' >>src/sync/ops.h
expect $m "leaves its memory order out" implicit_fetch_add
fresh_tree; echo 'rcu_assign_pointer(p, q);' >>src/sync/ops.h
expect $m "without a tag" untagged_urcu_publish
fresh_tree; echo 'x.load(std::memory_order_acquire);  // [L3]' >>src/sync/ops.h
expect $m "L3: in the code, without a row" tag_without_row
fresh_tree; echo '| L3 | unlock | release | L2 | x |' >>docs/memory-order.md
expect $m "L3: in docs/memory-order.md, without code" row_without_code
fresh_tree; sed -i 's/| L1 | fields/| L9 | fields/' docs/memory-order.md
expect $m "its partner L9 does not exist" partner_does_not_exist
fresh_tree; sed -i 's/| L1 | fields/| L2 | fields/' docs/memory-order.md
expect $m "L1: its partner L2 does not name it" partner_does_not_agree
fresh_tree; sed -i 's/| L1 | fields/| nobody | fields/' docs/memory-order.md
expect $m "L2: has no partner" no_partner
fresh_tree; sed -i 's/memory_order_release/memory_order_acq_rel/' src/sync/ops.h
expect $m "L1: the table says ['release'], the code ['acq_rel']" order_differs
fresh_tree; rm docs/memory-order.md; expect $m "missing" no_table

s=check_file_size
fresh_tree; expect $s "" clean_tree_passes
fresh_tree; seq 401 | sed 's|^|// |' >src/vm/big.h
expect $s "src/vm/big.h: 401 lines" long_header
fresh_tree; seq 801 | sed 's|^|// |' >src/vm/big.cpp
expect $s "src/vm/big.cpp: 801 lines" long_source

site_tree() {
  fresh_tree
  mkdir -p verify/relacy
  cat >src/sync/site.h <<'CPP'
enum class Site : uint16_t {
  none,
  lock_attach,  // [L1]
  lock_enter,   // [L2]
  lock_refuses_detached,
};
CPP
  cat >src/sync/ops.h <<'CPP'
refs_.store(1, P::order(Site::lock_attach, std::memory_order_release));  // [L1] pairs with [L2]
if (P::keep(Site::lock_refuses_detached) && n == 0) return false;
refs_.fetch_add(1, P::order(Site::lock_enter, std::memory_order_acquire));  // [L2] with [L1]
CPP
  printf 'add<S>("attach", {});\n' >verify/relacy/lock.cpp
  cat >verify/mutants.txt <<'TXT'
lock_attach | src/sync/ops.h | attach: release | lock attach
lock_enter | src/sync/ops.h | read lock: acquire | lock attach
lock_refuses_detached | src/sync/ops.h | the test for 0 | equivalent: a proof
TXT
}

c=check_sites
site_tree; expect $c "" clean_tree_passes
site_tree; sed -i '/^lock_enter/d' verify/mutants.txt
expect $c "no line about lock_enter" site_without_mutant
site_tree; sed -i 's/Site::lock_enter, //' src/sync/ops.h
expect $c "src/sync/ops.h:3: an order outside" order_without_site
site_tree; sed -i 's/\[L2\] with/[L1] with/' src/sync/ops.h
expect $c "lock_enter is [L2] in src/sync/site.h, not here" tag_differs
site_tree; sed -i 's/, *\/\/ \[L2\]/,/' src/sync/site.h
expect $c "lock_enter is an order, and has no tag" site_without_tag
site_tree; sed -i '/^| L2/d' docs/memory-order.md
expect $c "[L2] has no row" tag_without_row
site_tree; sed -i 's/lock attach$/lock detach/' verify/mutants.txt
expect $c "lock_enter: there is no lock detach" scenario_does_not_exist
site_tree; echo 'lock_gone | src/sync/ops.h | x | lock attach' >>verify/mutants.txt
expect $c "lock_gone is not in src/sync/site.h" mutant_without_site
site_tree; sed -i '/lock_refuses/d' src/sync/ops.h
expect $c "lock_refuses_detached is used nowhere" site_without_code

echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
