// awaited_page.h: a page of a file mapping that a fault has to wait for, remembered while its VMA
// is locked and read in after all locks are gone: who waits with a lock makes everybody wait.
#pragma once

#include <cstdint>

#include "fault/page_cache.h"
#include "vm/vma.h"

namespace pervma {

class AwaitedPage {
 public:
  // Keeps the opening; the VMA may be gone afterwards.
  AwaitedPage(const VmaFields& vma, Address a) noexcept : index_(vma.pgoff_at(a)) {
    vma.file->hold();
    file_ = FileRef(vma.file);
  }

  // Waits. Whether it failed is found out when the fault is served again.
  void bring_in() const noexcept { (void)PageCache::of(*file_.get()).get_or_fill(index_); }

 private:
  FileRef file_;
  uint64_t index_;
};

}  // namespace pervma
