#include "fault/page_caches.h"

#include <new>

namespace pervma {

namespace {

// The memory behind MAP_SHARED | MAP_ANONYMOUS, with the identity that Linux shows for it.
class SharedMemory final : public BackingObject {
 public:
  SharedMemory(uint64_t bytes, uint64_t inode)
      : bytes_(bytes), identity_{0, 1, inode, "/dev/zero (deleted)"} {}

  uint64_t size() const noexcept override { return bytes_; }
  Result<void> read_page(uint64_t, std::span<std::byte, kPageSize>) noexcept override {
    return {};  // The page comes zeroed.
  }
  VmaLockSafety vma_lock_safety() const noexcept override { return VmaLockSafety::memory; }
  const FileIdentity& identity() const noexcept override { return identity_; }

 private:
  const uint64_t bytes_;
  const FileIdentity identity_;
};

}  // namespace

Result<FileRef> PageCaches::open(std::shared_ptr<BackingObject> object, FileMode mode) noexcept {
  if (object == nullptr) return std::unexpected(Error::inval);
  try {
    std::shared_ptr<PageCache> cache = cache_for(*object);
    Mappers* const mappers = cache->mappers();
    return FileRef(new OpenFile(std::move(object), mode, std::move(cache), mappers));
  } catch (const std::bad_alloc&) {
    return std::unexpected(Error::nomem);
  }
}

Result<FileRef> PageCaches::create_shared_memory(uint64_t bytes) noexcept {
  const uint64_t inode = next_inode_.fetch_add(1, std::memory_order_relaxed);
  try {
    auto object = std::make_shared<SharedMemory>(bytes, inode);
    std::shared_ptr<PageCache> cache = make_cache(*object);
    Mappers* const mappers = cache->mappers();
    return FileRef(
        new OpenFile(std::move(object), FileMode::read_write, std::move(cache), mappers));
  } catch (const std::bad_alloc&) {
    return std::unexpected(Error::nomem);
  }
}

// A cache is made and destroyed outside the mutex, which its deleter takes.
std::shared_ptr<PageCache> PageCaches::cache_for(BackingObject& object) {
  std::shared_ptr<PageCache> made;
  for (;;) {
    {
      const std::lock_guard guard(mutex_);
      std::weak_ptr<PageCache>& known = caches_[&object];
      if (std::shared_ptr<PageCache> cache = known.lock()) return cache;
      if (made != nullptr) {
        known = made;
        return made;
      }
    }
    made = make_cache(object);
  }
}

std::shared_ptr<PageCache> PageCaches::make_cache(BackingObject& object) {
  Mappers* const mappers = Mappers::create();
  if (mappers == nullptr) throw std::bad_alloc();
  std::unique_ptr<PageCache> cache(new (std::nothrow) PageCache(frames_, object, mappers));
  if (cache == nullptr) {
    mappers->drop();
    throw std::bad_alloc();
  }
  live_.fetch_add(1, std::memory_order_relaxed);
  // Should the control block fail to be allocated, the deleter runs too: the count stays right.
  return {cache.release(), [this, &object](PageCache* p) {
            delete p;
            forget(object);
            live_.fetch_sub(1, std::memory_order_relaxed);
          }};
}

// The object may have been opened again meanwhile: then its entry is of the new cache, and stays.
void PageCaches::forget(BackingObject& object) noexcept {
  const std::lock_guard guard(mutex_);
  const auto found = caches_.find(&object);
  if (found != caches_.end() && found->second.expired()) caches_.erase(found);
}

}  // namespace pervma
