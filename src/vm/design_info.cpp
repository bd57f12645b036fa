// What the designs are and cost.
#include <algorithm>
#include <array>

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

struct Words {
  Design design;
  std::string_view what;
  std::string_view reads;
  std::string_view waits_for;
  std::string_view weakness;
};

constexpr std::array<Words, kDesigns.size()> kWords{{
    {Design::mmap_lock, "no VMA lock: every fault takes the mmap lock for read",
     "the line of the mmap lock, which every thread of the space writes",
     "every fault and reader of the space",
     "faults wait for writers of other ranges, and share one cache line"},
    {Design::speculative, "no lock: copy, work, and ask before the commit whether anybody wrote",
     "nothing but the lock of the page's table", "no reader at all",
     "any write to the space sends its faults to the mmap lock; only anonymous pages"},
    {Design::rwsem, "a reader/writer semaphore in the VMA",
     "the VMA's first line, beside the bounds that every fault reads",
     "readers of this VMA; a waiting writer keeps new ones out",
     "readers disturb each other's reads of the bounds (false sharing)"},
    {Design::rwsem_split, "the semaphore in an object of its own", "the line of that object",
     "readers of this VMA; a waiting writer keeps new ones out",
     "a line more of memory per VMA, and one more to fetch per fault"},
    {Design::count, "a signed count, -1 for a writer", "the VMA's second line",
     "a moment without readers of this VMA", "readers that overlap one another starve a writer"},
    {Design::refcount, "a reference count that readers raise and a writer closes",
     "the VMA's second line", "readers of this VMA; a waiting writer keeps new ones out",
     "readers of one VMA on several CPUs share one cache line"},
    {Design::scalable, "refcount, and per-CPU counts for hot VMAs",
     "the VMA's second line; of a hot VMA a line of the CPU's own",
     "readers of this VMA; of a hot one, on every CPU's line in turn",
     "a write to a hot VMA visits a line per CPU; a hot VMA needs more memory"},
}};

static_assert(std::ranges::equal(kWords, kDesigns, {}, &Words::design));

}  // namespace

DesignInfo design_info(Design d) noexcept {
  return with_design(d, [d]<class L>(DesignType<L>) {
    const Words& words = *std::ranges::find(kWords, d, &Words::design);
    DesignInfo info{};
    info.what = words.what;
    info.reads = words.reads;
    info.waits_for = words.waits_for;
    info.weakness = words.weakness;
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
