// vm_context.h: what the spaces of one engine share in this layer: memory for tree nodes and VMAs.
// Thread-safe; outlives every space.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "tree/maple_tree.h"
#include "tree/type_stable_cache.h"
#include "vm/designs.h"
#include "vm/vma.h"

namespace pervma {

class VmContext {
 public:
  NodePool nodes;
  // One space at a time takes all its locks. After the mmap lock.
  std::mutex all_locks;

  VmContext() noexcept = default;
  VmContext(const VmContext&) = delete;
  VmContext& operator=(const VmContext&) = delete;
  ~VmContext() {
    if (frees_by_rcu_.load(std::memory_order_relaxed)) rcu_barrier();
  }

  template <VmaLockDesign L>
  TypeStableCache<Vma<L>>& vmas() noexcept {
    return std::get<TypeStableCache<Vma<L>>>(vmas_);
  }
  // VMAs come back to these caches from RCU callbacks, to be waited for at the end.
  void frees_by_rcu() noexcept { frees_by_rcu_.store(true, std::memory_order_relaxed); }

  // One copy of every name that was ever given, kept until the engine ends: equal names have equal
  // pointers. Null: no memory.
  const char* intern(std::string_view name) noexcept;

  // Identities are numbered from 1 in the order of their making.
  uint64_t next_anon_id() noexcept { return anon_ids_.fetch_add(1, std::memory_order_relaxed) + 1; }

 private:
  template <class... Ls>
  using Caches = std::tuple<TypeStableCache<Vma<Ls>>...>;

  AllDesigns::Apply<Caches> vmas_;
  std::atomic<bool> frees_by_rcu_{false};
  std::atomic<uint64_t> anon_ids_{0};
  std::mutex names_mutex_;  // a leaf lock
  std::set<std::string, std::less<>> names_;
};

inline const char* VmContext::intern(std::string_view name) noexcept {
  const std::scoped_lock lock(names_mutex_);
  try {
    auto found = names_.find(name);
    if (found == names_.end()) found = names_.emplace(name).first;
    return found->c_str();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

}  // namespace pervma
