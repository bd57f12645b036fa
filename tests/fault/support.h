// support.h: what the tests of the fault layer share: objects with pages, VMAs outside any map,
// and small helpers.
#pragma once

#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "fault/frame_pool.h"
#include "pervma/pervma.h"
#include "vm/anon_vma.h"
#include "vm/vma.h"

namespace pervma::test {

inline constexpr VmaFlags kRead = VmaFlag::read;
inline constexpr VmaFlags kReadWrite = VmaFlag::read | VmaFlag::write;

// Byte `i` of page `p` of a TestObject.
constexpr std::byte object_byte(uint64_t page, uint64_t i) noexcept {
  return static_cast<std::byte>(page * 37 + i * 3 + 1);
}

// An object in memory, every page with a pattern of its own.
class TestObject final : public BackingObject {
 public:
  TestObject(uint64_t bytes, VmaLockSafety safety) : size_(bytes), safety_(safety) {}

  uint64_t size() const noexcept override { return size_.load(std::memory_order_relaxed); }
  VmaLockSafety vma_lock_safety() const noexcept override { return safety_; }
  const FileIdentity& identity() const noexcept override { return identity_; }

  Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept override {
    reads_.fetch_add(1, std::memory_order_relaxed);
    if (before_read) before_read(index);
    if (fails_.load(std::memory_order_relaxed)) return std::unexpected(Error::io);
    for (uint64_t i = 0; i < kPageSize; ++i) page[i] = object_byte(index, i);
    return {};
  }

  Result<void> write_page(uint64_t index,
                          std::span<const std::byte, kPageSize> page) noexcept override {
    const std::scoped_lock lock(written_mutex_);
    if (fails_.load(std::memory_order_relaxed)) return std::unexpected(Error::io);
    written_[index].assign(page.begin(), page.end());
    ++writes_;
    return {};
  }
  // What was given back, by page.
  std::map<uint64_t, std::vector<std::byte>> written() const {
    const std::scoped_lock lock(written_mutex_);
    return written_;
  }
  // Empty: never given back.
  std::vector<std::byte> written_page(uint64_t index) const {
    const std::scoped_lock lock(written_mutex_);
    const auto found = written_.find(index);
    return found == written_.end() ? std::vector<std::byte>{} : found->second;
  }
  uint64_t writes() const {
    const std::scoped_lock lock(written_mutex_);
    return writes_;
  }
  uint64_t reads() const noexcept { return reads_.load(std::memory_order_relaxed); }
  void fail(bool fails) noexcept { fails_.store(fails, std::memory_order_relaxed); }
  void resize(uint64_t bytes) noexcept { size_.store(bytes, std::memory_order_relaxed); }

  std::function<void(uint64_t index)> before_read;

 private:
  std::atomic<uint64_t> size_;
  const VmaLockSafety safety_;
  const FileIdentity identity_{8, 1, 4711, "/test/object"};
  std::atomic<uint64_t> reads_{0};
  std::atomic<bool> fails_{false};
  mutable std::mutex written_mutex_;
  std::map<uint64_t, std::vector<std::byte>> written_;
  uint64_t writes_ = 0;
};

// A VMA that is in no map: what an Mmu gets to see of one.
class LooseVma : public VmaFields {
 public:
  LooseVma(Range r, VmaFlags flags) noexcept {
    range = r;
    pgoff = r.start.page();
    flags_ = flags;
  }
  LooseVma(Range r, VmaFlags flags, const FileRef& opened, uint64_t page_offset) noexcept
      : LooseVma(r, flags) {
    pgoff = page_offset;
    file = opened.get();
  }
  ~LooseVma() {
    if (AnonVma* anon = anon_vma()) anon->drop();
  }
  LooseVma(const LooseVma&) = delete;
  LooseVma& operator=(const LooseVma&) = delete;

  void set_flags(VmaFlags flags) noexcept { flags_ = flags; }
  void give_anon_vma() noexcept {
    if (anon_vma() == nullptr) {
      anon_vma_.store(AnonVma::create(1, nullptr), std::memory_order_release);
    }
  }
};

constexpr Range pages_at(uint64_t address, uint64_t pages) noexcept {
  return {Address{address}, Address{address + pages * kPageSize}};
}
constexpr Address page_of(Range range, uint64_t page) noexcept {
  return range.start + page * kPageSize;
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) noexcept {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}
template <class T>
std::span<std::byte> writable_bytes_of(T& value) noexcept {
  return std::as_writable_bytes(std::span<T, 1>(&value, 1));
}

}  // namespace pervma::test
