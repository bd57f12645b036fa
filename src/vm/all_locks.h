// all_locks.h: everything of a space at once: all VMAs write-locked and all its lists of mappers
// locked, so that nobody is in the middle of changing an entry of any of its pages. For the coming
// and going of notifiers.
//
// Order: the mmap lock, which the caller holds for write; all VMAs, in a loop of its own, because a
// VMA's reader may hold the lock of a list; the lists of files; those of private memory. Lists are
// shared by spaces, so one space of an engine does this at a time. The end unlocks the lists only:
// VMA write locks end with the mmap lock, and the caller may have had some before (rule R10).
#pragma once

#include "vm/address_space.h"

namespace pervma {

template <VmaLockDesign L>
class BasicAddressSpace<L>::AllLocks {
 public:
  // Error::intr: a stop was requested; what was locked of the lists is unlocked.
  static Result<std::unique_ptr<AllLocks>> take(BasicAddressSpace& space,
                                                const std::stop_token& stop) noexcept
      PERVMA_REQUIRES(space.mm_) {
    std::unique_ptr<AllLocks> locks(new (std::nothrow) AllLocks(space));
    if (locks == nullptr) return std::unexpected(Error::nomem);
    if (!locks->lock_vmas(stop) || !locks->lock_lists(stop, IsFile::yes) ||
        !locks->lock_lists(stop, IsFile::no)) {
      return std::unexpected(Error::intr);
    }
    return locks;
  }
  ~AllLocks() {
    for_each([this](VmaT& v) {
      Mappers* const list = v.joined();
      if (list == nullptr || list->taken_by() != &space_) return true;
      list->set_taken_by(nullptr);
      list->lock().unlock();
      return true;
    });
    space_.context_.all_locks.unlock();
  }
  AllLocks(const AllLocks&) = delete;
  AllLocks& operator=(const AllLocks&) = delete;

 private:
  enum class IsFile : uint8_t { no, yes };

  explicit AllLocks(BasicAddressSpace& space) noexcept : space_(space) {
    space_.context_.all_locks.lock();
  }

  template <class Visit>
  bool for_each(Visit visit) noexcept {
    MapleTree::Cursor cursor(space_.tree_, 0);
    for (void* p = cursor.find(0, kLastIndex); p != nullptr; p = cursor.next(kLastIndex)) {
      if (!visit(*static_cast<VmaT*>(p))) return false;
    }
    return true;
  }
  bool lock_vmas(const std::stop_token& stop) noexcept {
    return for_each([&](VmaT& v) PERVMA_NO_ANALYSIS {
      return v.lock_write(space_.mm_, stop) && !stop.stop_requested();
    });
  }
  bool lock_lists(const std::stop_token& stop, IsFile which) noexcept {
    return for_each([&](VmaT& v) {
      Mappers* const list = v.joined();
      if (list == nullptr || v.is_anonymous() == (which == IsFile::yes)) return true;
      // Only this thread writes this value, so it is never seen by mistake.
      if (list->taken_by() == &space_) return true;
      if (stop.stop_requested()) return false;
      list->lock().lock_one_of_many();
      list->set_taken_by(&space_);
      return true;
    });
  }

  BasicAddressSpace& space_;
};

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::add_notifier(PageNotifier& notifier,
                                                const std::stop_token& stop) {
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  const auto locks = AllLocks::take(*this, stop);
  if (!locks) return std::unexpected(locks.error());
  return mmu_.add_notifier(notifier);
}

template <VmaLockDesign L>
void BasicAddressSpace<L>::remove_notifier(PageNotifier& notifier) {
  const MmapWrite write(mm_);
  for (;;) {
    const auto locks = AllLocks::take(*this, {});
    if (!locks) continue;  // No memory for a few words: whoever frees some ends this.
    mmu_.remove_notifier(notifier);
    return;
  }
}

}  // namespace pervma
