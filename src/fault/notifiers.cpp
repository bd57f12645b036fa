#include "fault/notifiers.h"

#include <new>

#include "sync/rcu.h"

namespace pervma {

Result<void> Notifiers::add(PageNotifier& notifier) noexcept {
  List* const old = list_.load(std::memory_order_relaxed);
  const std::size_t before = old != nullptr ? old->size : 0;
  std::unique_ptr<List> more(new (std::nothrow) List);
  if (more == nullptr) return std::unexpected(Error::nomem);
  more->who.reset(new (std::nothrow) std::atomic<PageNotifier*>[before + 1]);
  if (more->who == nullptr) return std::unexpected(Error::nomem);
  for (std::size_t i = 0; i < before; ++i) {
    PageNotifier* const n = old->who[i].load(std::memory_order_relaxed);
    if (n != nullptr) more->who[more->size++].store(n, std::memory_order_relaxed);
  }
  more->who[more->size++].store(&notifier, std::memory_order_relaxed);
  BasicNotifierWord<NativePlatform, List>::set(list_, more.release());
  if (old != nullptr) rcu_synchronize();
  delete old;
  return {};
}

void Notifiers::remove(PageNotifier& notifier) noexcept {
  List* const list = list_.load(std::memory_order_relaxed);
  if (list == nullptr) return;
  // A speculative fault that told the start tells the end first; no other begins until the mmap
  // lock is released.
  rcu_synchronize();
  bool empty = true;
  for (std::size_t i = 0; i < list->size; ++i) {
    PageNotifier* const n = list->who[i].load(std::memory_order_relaxed);
    if (n == &notifier) list->who[i].store(nullptr, std::memory_order_relaxed);
    empty = empty && (n == nullptr || n == &notifier);
  }
  if (!empty) return;
  list_.store(nullptr, std::memory_order_relaxed);
  delete list;
}

}  // namespace pervma
