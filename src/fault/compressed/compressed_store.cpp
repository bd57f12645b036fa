// compressed_store.cpp: a page store in memory, compressed by lz4 or zstd. In a library of its own,
// so that an embedder without it needs neither.
#include <lz4.h>
#include <zstd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "pervma/page_store.h"

namespace pervma {

namespace {

struct FreeContext {
  void operator()(ZSTD_CCtx* c) const noexcept { (void)ZSTD_freeCCtx(c); }
  void operator()(ZSTD_DCtx* c) const noexcept { (void)ZSTD_freeDCtx(c); }
};
struct FreeMemory {
  void operator()(std::byte* p) const noexcept { std::free(p); }
};

// A page that one word repeated fills, kept as that word: all zeros, most often.
bool is_one_word(std::span<const std::byte, kPageSize> page) noexcept {
  return std::memcmp(page.data(), page.data() + sizeof(uint64_t), kPageSize - sizeof(uint64_t)) ==
         0;
}

class CompressedStore final : public PageStore {
 public:
  explicit CompressedStore(const CompressedStoreOptions& options) noexcept : options_(options) {}

  bool init() noexcept {
    pages_.reset(new (std::nothrow) Page[options_.capacity.value]);
    if (pages_ == nullptr) return false;
    if (options_.compression == Compression::lz4) return true;
    for (Lane& lane : lanes_) {
      lane.compress.reset(ZSTD_createCCtx());
      lane.decompress.reset(ZSTD_createDCtx());
      if (lane.compress == nullptr || lane.decompress == nullptr) return false;
    }
    return true;
  }

  uint64_t capacity() const noexcept override { return options_.capacity.value; }
  Speed speed() const noexcept override { return Speed::memory; }

  Result<void> write(uint64_t number,
                     std::span<const std::byte, kPageSize> page) noexcept override {
    Lane& lane = lane_of(number);
    const std::scoped_lock lock(lane.mutex);
    std::size_t size = sizeof(uint64_t);
    const std::byte* from = page.data();
    if (!is_one_word(page)) {
      size = compress(lane, page);
      from = size < kPageSize ? lane.buffer.data() : page.data();
      if (size >= kPageSize) size = kPageSize;  // Stays as it is.
    }
    if (bytes_.fetch_add(size, std::memory_order_relaxed) + size > options_.memory) {
      bytes_.fetch_sub(size, std::memory_order_relaxed);
      return std::unexpected(Error::nomem);
    }
    auto* kept = static_cast<std::byte*>(std::malloc(size));
    if (kept == nullptr) {
      bytes_.fetch_sub(size, std::memory_order_relaxed);
      return std::unexpected(Error::nomem);
    }
    std::memcpy(kept, from, size);
    pages_[number].bytes.reset(kept);
    pages_[number].size = static_cast<uint16_t>(size);
    return {};
  }

  Result<void> read(uint64_t number, std::span<std::byte, kPageSize> page) noexcept override {
    Lane& lane = lane_of(number);
    const std::scoped_lock lock(lane.mutex);
    const Page& kept = pages_[number];
    if (kept.size == sizeof(uint64_t)) {
      for (std::size_t i = 0; i < kPageSize; i += kept.size) {
        std::memcpy(&page[i], kept.bytes.get(), kept.size);
      }
      return {};
    }
    if (kept.size == kPageSize) {
      std::memcpy(page.data(), kept.bytes.get(), kPageSize);
      return {};
    }
    if (kept.bytes == nullptr || !decompress(lane, kept, page)) return std::unexpected(Error::io);
    return {};
  }

  void discard(uint64_t number) noexcept override {
    const std::scoped_lock lock(lane_of(number).mutex);
    bytes_.fetch_sub(pages_[number].size, std::memory_order_relaxed);
    pages_[number] = {};
  }

 private:
  struct Page {
    std::unique_ptr<std::byte, FreeMemory> bytes;
    uint16_t size = 0;
  };
  // Threads with other pages do not wait for each other.
  struct alignas(64) Lane {
    std::mutex mutex;
    std::unique_ptr<ZSTD_CCtx, FreeContext> compress;
    std::unique_ptr<ZSTD_DCtx, FreeContext> decompress;
    std::array<std::byte, 2 * kPageSize> buffer;  // what a page compresses to at worst, and more
  };
  static constexpr unsigned kLanes = 16;

  Lane& lane_of(uint64_t number) noexcept { return lanes_[number % kLanes]; }

  // The size in the lane's buffer; a page's or more: not worth it.
  std::size_t compress(Lane& lane, std::span<const std::byte, kPageSize> page) const noexcept {
    if (options_.compression == Compression::lz4) {
      const int n = LZ4_compress_default(reinterpret_cast<const char*>(page.data()),
                                         reinterpret_cast<char*>(lane.buffer.data()), kPageSize,
                                         static_cast<int>(lane.buffer.size()));
      return n > static_cast<int>(sizeof(uint64_t)) ? static_cast<std::size_t>(n) : kPageSize;
    }
    const std::size_t n = ZSTD_compressCCtx(lane.compress.get(), lane.buffer.data(),
                                            lane.buffer.size(), page.data(), kPageSize, 1);
    return ZSTD_isError(n) == 0 && n > sizeof(uint64_t) ? n : kPageSize;
  }
  bool decompress(Lane& lane, const Page& kept,
                  std::span<std::byte, kPageSize> page) const noexcept {
    if (options_.compression == Compression::lz4) {
      return LZ4_decompress_safe(reinterpret_cast<const char*>(kept.bytes.get()),
                                 reinterpret_cast<char*>(page.data()), kept.size,
                                 kPageSize) == static_cast<int>(kPageSize);
    }
    return ZSTD_decompressDCtx(lane.decompress.get(), page.data(), kPageSize, kept.bytes.get(),
                               kept.size) == kPageSize;
  }

  const CompressedStoreOptions options_;
  std::unique_ptr<Page[]> pages_;
  std::array<Lane, kLanes> lanes_;
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace

Result<std::unique_ptr<PageStore>> make_compressed_store(
    const CompressedStoreOptions& options) noexcept {
  if (options.capacity.value == 0 || options.memory == 0) return std::unexpected(Error::inval);
  auto store = std::unique_ptr<CompressedStore>(new (std::nothrow) CompressedStore(options));
  if (store == nullptr || !store->init()) return std::unexpected(Error::nomem);
  return std::unique_ptr<PageStore>(std::move(store));
}

}  // namespace pervma
