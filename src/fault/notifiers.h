// notifiers.h: who is told of changes to the entries of one space.
//
// The list changes only while nobody can be changing entries (all_locks.h), so a change that told
// the start tells the same listeners the end. A speculative fault has no lock: its change fails
// when the list changed under it, but it may still be telling the end; it is inside a read section,
// which is waited for before anybody goes from the list.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "fault/notifier_word.h"
#include "pervma/error.h"
#include "pervma/notifier.h"
#include "sync/native_platform.h"

namespace pervma {

class Notifiers {
 public:
  struct List {
    std::size_t size = 0;
    // Null: has gone.
    std::unique_ptr<std::atomic<PageNotifier*>[]> who;
  };

  Notifiers() noexcept = default;
  ~Notifiers() { delete list_.load(std::memory_order_relaxed); }
  Notifiers(const Notifiers&) = delete;
  Notifiers& operator=(const Notifiers&) = delete;

  // Nobody changes entries meanwhile. Error::nomem: nothing changed.
  Result<void> add(PageNotifier& notifier) noexcept;
  void remove(PageNotifier& notifier) noexcept;

  const List* list() const noexcept { return BasicNotifierWord<NativePlatform, List>::look(list_); }

 private:
  std::atomic<List*> list_{nullptr};
};

// One change of entries, told at both its ends. A load and a branch when nobody listens. Held
// across the change, outside the locks of page tables.
class [[nodiscard]] Invalidation {
 public:
  Invalidation(const Notifiers& notifiers, Range range) noexcept
      : list_(notifiers.list()), range_(range) {
    if (list_ != nullptr) [[unlikely]]
      start();
  }
  ~Invalidation() {
    if (list_ != nullptr) [[unlikely]]
      end();
  }
  Invalidation(const Invalidation&) = delete;
  Invalidation& operator=(const Invalidation&) = delete;

 private:
  void start() noexcept {
    for (std::size_t i = 0; i < list_->size; ++i) {
      if (PageNotifier* n = at(i)) n->invalidate_start(range_);
    }
  }
  void end() noexcept {
    for (std::size_t i = 0; i < list_->size; ++i) {
      if (PageNotifier* n = at(i)) n->invalidate_end(range_);
    }
  }
  PageNotifier* at(std::size_t i) const noexcept {
    return list_->who[i].load(std::memory_order_relaxed);
  }

  const Notifiers::List* const list_;
  const Range range_;
};

inline Range page_range(Address a) noexcept { return {a.page_down(), a.page_down() + kPageSize}; }

}  // namespace pervma
