// page_caches.h: which page cache belongs to which backing object, in one engine; and the making of
// shared anonymous memory, which is an object of zero pages that nobody can open again.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "fault/frame_pool.h"
#include "fault/page_cache.h"
#include "pervma/error.h"
#include "pervma/file.h"
#include "sync/annotations.h"

namespace pervma {

class PageCaches {
 public:
  explicit PageCaches(FramePool& frames) noexcept : frames_(frames) {}
  PageCaches(const PageCaches&) = delete;
  PageCaches& operator=(const PageCaches&) = delete;

  // An opening of the object; all openings that exist at one time share one cache. Error::nomem.
  Result<FileRef> open(std::shared_ptr<BackingObject> object, FileMode mode) noexcept;
  // A new object of zero pages, opened for reading and writing. Error::nomem.
  Result<FileRef> create_shared_memory(uint64_t bytes) noexcept;

  // Caches that exist: 0 when every FileRef is gone.
  [[nodiscard]] uint64_t live() const noexcept { return live_.load(std::memory_order_relaxed); }

 private:
  std::shared_ptr<PageCache> cache_for(BackingObject& object);
  std::shared_ptr<PageCache> make_cache(BackingObject& object);
  void forget(BackingObject& object) noexcept;

  FramePool& frames_;
  std::atomic<uint64_t> live_{0};
  std::atomic<uint64_t> next_inode_{1};
  std::mutex mutex_;  // a leaf lock: no cache is destroyed under it
  std::unordered_map<BackingObject*, std::weak_ptr<PageCache>> caches_;
};

}  // namespace pervma
