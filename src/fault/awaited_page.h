// awaited_page.h: a page of a file mapping, or of the store, that a fault has to wait for:
// remembered while its VMA is locked and read in after all locks are gone: who waits with a lock
// makes everybody wait.
#pragma once

#include <cstdint>
#include <stop_token>
#include <utility>

#include "fault/page_cache.h"
#include "fault/swap.h"
#include "vm/vma.h"

namespace pervma {

class AwaitedPage {
 public:
  // Nothing: what the fault met is gone again.
  AwaitedPage() noexcept = default;
  // Keeps the opening; the VMA may be gone afterwards.
  AwaitedPage(const VmaFields& vma, Address a) noexcept : number_(vma.pgoff_at(a)) {
    vma.file->hold();
    file_ = FileRef(vma.file);
  }
  // Takes over a reference of the slot. Keeps the list that the page leads to once a fault has
  // taken it: by the slot, and while the page is read, this may be the last to have it (mappers.h).
  AwaitedPage(Swap& swap, uint32_t slot, Mappers& list) noexcept
      : swap_(&swap), list_(&list), number_(slot) {
    list.hold();
  }
  AwaitedPage(AwaitedPage&& other) noexcept
      : file_(std::move(other.file_)),
        swap_(std::exchange(other.swap_, nullptr)),
        list_(std::exchange(other.list_, nullptr)),
        number_(other.number_) {}
  AwaitedPage& operator=(AwaitedPage&&) = delete;
  ~AwaitedPage() {
    if (swap_ == nullptr) return;
    swap_->drop(static_cast<uint32_t>(number_));
    list_->drop();
  }

  // Waits. Whether it failed is found out when the fault is served again. False: stopped while
  // another thread reads the page.
  [[nodiscard]] bool bring_in(const std::stop_token& stop) const noexcept {
    if (swap_ != nullptr) {
      return swap_->bring_in(static_cast<uint32_t>(number_), stop) != Swap::End::interrupted;
    }
    if (!file_) return true;
    return PageCache::of(*file_.get()).fill(number_, stop) != PageCache::End::interrupted;
  }

 private:
  FileRef file_;
  Swap* swap_ = nullptr;
  Mappers* list_ = nullptr;
  uint64_t number_ = 0;  // of the page in its object, or of the slot
};

}  // namespace pervma
