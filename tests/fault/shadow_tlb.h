// shadow_tlb.h: an emulator's TLB, by the rules of notifier.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "pervma/address_space.h"

namespace pervma::test {

class ShadowTlb final : public PageNotifier {
 public:
  explicit ShadowTlb(const AddressSpace& space) : space_(space) {}

  void invalidate_start(Range range) noexcept override {
    const std::scoped_lock lock(mutex_);
    ++starts_;
    open_.push_back(range);
    for (Fill* f : fills_) f->is_late = f->is_late || range.contains(f->page);
    pages_.erase(pages_.lower_bound(range.start.page_down().value),
                 pages_.lower_bound(range.end.value));
  }
  void invalidate_end(Range range) noexcept override {
    const std::scoped_lock lock(mutex_);
    const auto found = std::find(open_.begin(), open_.end(), range);
    if (found == open_.end()) {
      ++unmatched_ends_;
    } else {
      open_.erase(found);
    }
  }

  // Keeps nothing while it is not told.
  void pause() {
    const std::scoped_lock lock(mutex_);
    paused_ = true;
    for (Fill* f : fills_) f->is_late = true;
    pages_.clear();
  }
  void resume() {
    const std::scoped_lock lock(mutex_);
    paused_ = false;
  }

  // Remembers where the page is, if it is there.
  void fill(Address a, Access access) {
    Fill fill{a.page_down()};
    {
      const std::scoped_lock lock(mutex_);
      fill.is_late = paused_ || std::any_of(open_.begin(), open_.end(),
                                            [&](Range r) { return r.contains(fill.page); });
      if (fill.is_late) return;
      fills_.push_back(&fill);
    }
    std::byte* const page = space_.translate(a, access);
    const std::scoped_lock lock(mutex_);
    std::erase(fills_, &fill);
    if (page == nullptr || fill.is_late) return;
    if (pages_.size() >= kMost) pages_.erase(pages_.begin());
    pages_[key(a, access)] = page;
  }
  // Shows the page's memory to use(std::byte*), as a device would touch it: nobody gets past a
  // start meanwhile. False: there is no translation.
  template <class Use>
  bool with_page(Address a, Access access, Use use) {
    const std::scoped_lock lock(mutex_);
    const auto found = pages_.find(key(a, access));
    if (found == pages_.end()) return false;
    use(found->second);
    return true;
  }
  // How many of the translations are not what the page table says. While this has the lock nobody
  // gets past a start.
  int stale() {
    const std::scoped_lock lock(mutex_);
    int n = 0;
    for (const auto& [k, page] : pages_) {
      const Access access = (k & 1) != 0 ? Access::write : Access::read;
      if (space_.translate(Address{k & ~uint64_t{1}}, access) != page) ++n;
    }
    return n;
  }
  size_t size() {
    const std::scoped_lock lock(mutex_);
    return pages_.size();
  }
  uint64_t starts() {
    const std::scoped_lock lock(mutex_);
    return starts_;
  }
  // Starts without an end, and ends without a start.
  size_t open() {
    const std::scoped_lock lock(mutex_);
    return open_.size() + unmatched_ends_;
  }

 private:
  static constexpr size_t kMost = 1024;
  // One that asks the page table at this moment.
  struct Fill {
    Address page;
    bool is_late = false;  // a change of the page has begun since
  };
  static uint64_t key(Address a, Access access) {
    return a.page_down().value | (access == Access::write ? 1u : 0u);
  }
  const AddressSpace& space_;
  std::mutex mutex_;
  uint64_t starts_ = 0;
  std::vector<Range> open_;
  size_t unmatched_ends_ = 0;
  std::vector<Fill*> fills_;
  bool paused_ = false;
  std::map<uint64_t, std::byte*> pages_;
};

}  // namespace pervma::test
