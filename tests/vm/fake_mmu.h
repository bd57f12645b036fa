// fake_mmu.h: an Mmu without memory: pages as a set of numbers, and what was asked of it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "vm/mmu.h"
#include "vm/open_file.h"

namespace pervma::test {

class NamedObject final : public BackingObject {
 public:
  explicit NamedObject(std::string name) : identity_{8, 3, 77, std::move(name)} {}
  uint64_t size() const noexcept override { return uint64_t{1} << 40; }
  Result<void> read_page(uint64_t, std::span<std::byte, kPageSize>) noexcept override { return {}; }
  const FileIdentity& identity() const noexcept override { return identity_; }

 private:
  const FileIdentity identity_;
};

inline FileRef open_named(std::string name, FileMode mode = FileMode::read_write) {
  return FileRef(new OpenFile(std::make_shared<NamedObject>(std::move(name)), mode, nullptr));
}

// Pages as a set of numbers, and what was asked of it.
class FakeMmu final : public Mmu {
 public:
  void zap(Range r) noexcept override {
    const std::scoped_lock lock(mutex_);
    ++zaps;
    erase(pages_, r);
    erase(guards_, r);
  }
  void discard(Range r) noexcept override {
    const std::scoped_lock lock(mutex_);
    erase(pages_, r);
  }
  void mark_freed(Range) noexcept override {}
  void age(Range) noexcept override {}
  void reclaim(const VmaFields&, Range) noexcept override {}
  Result<void> install_guards(Range r) noexcept override {
    const std::scoped_lock lock(mutex_);
    erase(pages_, r);
    for (uint64_t p = r.start.page(); p < r.end.page(); ++p) guards_.insert(p);
    return {};
  }
  void remove_guards(Range r) noexcept override {
    const std::scoped_lock lock(mutex_);
    erase(guards_, r);
  }
  void free_tables(Range span, Range limits) noexcept override {
    EXPECT_LE(limits.start, span.start);
    EXPECT_GE(limits.end, span.end);
  }
  void protect(Range, VmaFlags) noexcept override {}
  Result<void> move(Range from, Address to) noexcept override {
    const std::scoped_lock lock(mutex_);
    std::set<uint64_t> moved;
    uint64_t done = 0;
    for (uint64_t p = from.start.page(); p < from.end.page(); ++p) {
      if (pages_.count(p) == 0) continue;
      if (move_budget >= 0 && done++ == static_cast<uint64_t>(move_budget)) {
        move_budget = -1;
        pages_.insert(moved.begin(), moved.end());
        return std::unexpected(Error::nomem);
      }
      pages_.erase(p);
      moved.insert(p - from.start.page() + to.page());
    }
    pages_.insert(moved.begin(), moved.end());
    return {};
  }
  Result<void> copy_to(Mmu& child, const VmaFields& vma) noexcept override {
    if (copy_fails) return std::unexpected(Error::nomem);
    if (on_copy) on_copy(vma);
    const std::scoped_lock lock(mutex_);
    for (const uint64_t p : pages_) {
      if (vma.range.contains(Address{p << kPageShift})) {
        static_cast<FakeMmu&>(child).pages_.insert(p);
      }
    }
    return {};
  }
  void residency(const VmaFields&, Range r, std::span<uint8_t> to) const noexcept override {
    for (uint64_t i = 0; i < r.pages().value; ++i) to[i] = has(r.start + PageCount{i}) ? 1 : 0;
  }
  void clear_written(Range r) noexcept override {
    if (on_clear_written) on_clear_written(r);
  }
  void written(Range, std::span<uint8_t>) const noexcept override {}
  Result<void> add_notifier(PageNotifier&) noexcept override {
    if (on_notifier) on_notifier();
    return {};
  }
  void remove_notifier(PageNotifier&) noexcept override {
    if (on_notifier) on_notifier();
  }
  PageUse page_use(Range r) const noexcept override {
    PageUse use;
    for (Address a = r.start; a < r.end; a = a + kPageSize) {
      if (has(a)) ++use.anonymous;
      if (has_guard(a)) ++use.guard;
    }
    return use;
  }
  Result<void> punch_hole(OpenFile&, uint64_t, PageCount) noexcept override {
    ++punches;
    return {};
  }
  Result<void> write_back(OpenFile&, uint64_t, PageCount) noexcept override { return {}; }
  Result<FileRef> create_shared_memory(uint64_t) noexcept override {
    return open_named("/dev/zero (deleted)");
  }

  bool has(Address a) const noexcept {
    const std::scoped_lock lock(mutex_);
    return pages_.count(a.page()) != 0;
  }
  bool has_guard(Address a) const noexcept {
    const std::scoped_lock lock(mutex_);
    return guards_.count(a.page()) != 0;
  }
  void touch(Address a) {
    const std::scoped_lock lock(mutex_);
    pages_.insert(a.page());
  }

  int zaps = 0;
  int punches = 0;
  int64_t move_budget = -1;  // pages that move before one fails
  bool copy_fails = false;
  std::function<void(const VmaFields&)> on_copy;
  std::function<void(Range)> on_clear_written;
  std::function<void()> on_notifier;

 private:
  static void erase(std::set<uint64_t>& from, Range r) {
    from.erase(from.lower_bound(r.start.page()), from.lower_bound(r.end.page()));
  }
  mutable std::mutex mutex_;
  std::set<uint64_t> pages_;
  std::set<uint64_t> guards_;
};

}  // namespace pervma::test
