// What the designs are and cost.
#include "vm/designs.h"
#include "vm/vma.h"

namespace pervma {
namespace {

template <class L>
constexpr uint32_t own_object_bytes() noexcept {
  if constexpr (requires { L::kOwnObjectBytes; }) {
    return L::kOwnObjectBytes;
  } else {
    return 0;
  }
}

constexpr DesignInfo words_of(Design d) noexcept {
  DesignInfo i{};
  switch (d) {
    case Design::mmap_lock:
      i.what = "no VMA lock: every fault takes the mmap lock for read";
      i.reads = "the line of the mmap lock, which every thread of the space writes";
      i.waits_for = "every fault and reader of the space";
      i.weakness = "faults wait for writers of other ranges, and share one cache line";
      break;
    case Design::speculative:
      i.what = "no lock: copy, work, and ask before the commit whether anybody wrote";
      i.reads = "nothing but the lock of the page's table";
      i.waits_for = "no reader at all";
      i.weakness = "any write to the space sends its faults to the mmap lock; only anonymous pages";
      break;
    case Design::rwsem:
      i.what = "a reader/writer semaphore in the VMA";
      i.reads = "the VMA's first line, beside the bounds that every fault reads";
      i.waits_for = "readers of this VMA; a waiting writer keeps new ones out";
      i.weakness = "readers disturb each other's reads of the bounds (false sharing)";
      break;
    case Design::rwsem_split:
      i.what = "the semaphore in an object of its own";
      i.reads = "the line of that object";
      i.waits_for = "readers of this VMA; a waiting writer keeps new ones out";
      i.weakness = "a line more of memory per VMA, and one more to fetch per fault";
      break;
    case Design::count:
      i.what = "a signed count, -1 for a writer";
      i.reads = "the VMA's second line";
      i.waits_for = "a moment without readers of this VMA";
      i.weakness = "readers that overlap one another starve a writer";
      break;
    case Design::refcount:
      i.what = "a reference count that readers raise and a writer closes";
      i.reads = "the VMA's second line";
      i.waits_for = "readers of this VMA; a waiting writer keeps new ones out";
      i.weakness = "readers of one VMA on several CPUs share one cache line";
      break;
    case Design::scalable:
      i.what = "refcount, and per-CPU counts for hot VMAs";
      i.reads = "the VMA's second line; of a hot VMA a line of the CPU's own";
      i.waits_for = "readers of this VMA; of a hot one, on every CPU's line in turn";
      i.weakness = "a write to a hot VMA visits a line per CPU; a hot VMA needs more memory";
      break;
  }
  return i;
}

}  // namespace

DesignInfo design_info(Design d) noexcept {
  return with_design(d, [d]<class L>(DesignType<L>) {
    DesignInfo info = words_of(d);
    info.lock_bytes = static_cast<uint32_t>(sizeof(typename L::Near) + sizeof(typename L::Far)) +
                      own_object_bytes<L>();
    info.vma_bytes = static_cast<uint32_t>(sizeof(Vma<L>)) + own_object_bytes<L>();
    if constexpr (requires { typename L::Slots; }) {
      info.hot_bytes = static_cast<uint32_t>(L::Slots::bytes());
    }
    info.frees_by_rcu = L::kFreesByRcu;
    return info;
  });
}

}  // namespace pervma
