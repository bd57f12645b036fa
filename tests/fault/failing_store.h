// failing_store.h: a page store whose writes or reads fail when the test says so.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "pervma/page_store.h"

namespace pervma::test {

class FailingStore final : public PageStore {
 public:
  explicit FailingStore(std::unique_ptr<PageStore> store) : store_(std::move(store)) {}

  uint64_t capacity() const noexcept override { return store_->capacity(); }
  Speed speed() const noexcept override { return store_->speed(); }
  Result<void> write(uint64_t number,
                     std::span<const std::byte, kPageSize> page) noexcept override {
    if (fails(fail_writes, writes_)) return std::unexpected(Error::io);
    return store_->write(number, page);
  }
  Result<void> read(uint64_t number, std::span<std::byte, kPageSize> page) noexcept override {
    if (before_read) before_read();
    if (fails(fail_reads, reads_)) return std::unexpected(Error::io);
    return store_->read(number, page);
  }
  void discard(uint64_t number) noexcept override { store_->discard(number); }

  // 0: none fails; n: every n-th does.
  std::atomic<unsigned> fail_writes{0};
  std::atomic<unsigned> fail_reads{0};
  std::function<void()> before_read;

 private:
  static bool fails(const std::atomic<unsigned>& every, std::atomic<unsigned>& count) noexcept {
    const unsigned n = every.load(std::memory_order_relaxed);
    return n != 0 && count.fetch_add(1, std::memory_order_relaxed) % n == 0;
  }
  const std::unique_ptr<PageStore> store_;
  std::atomic<unsigned> writes_{0};
  std::atomic<unsigned> reads_{0};
};

enum class StoreKind : uint8_t { lz4, zstd, file };

inline std::shared_ptr<FailingStore> make_store(StoreKind kind, PageCount capacity) {
  Result<std::unique_ptr<PageStore>> store =
      kind == StoreKind::file
          ? make_file_store(
                (::testing::TempDir() + "pervma_swap" + std::to_string(::getpid())).c_str(),
                capacity)
          : make_compressed_store(
                {.compression = kind == StoreKind::lz4 ? Compression::lz4 : Compression::zstd,
                 .capacity = capacity});
  EXPECT_TRUE(store);
  return std::make_shared<FailingStore>(std::move(*store));
}

}  // namespace pervma::test
