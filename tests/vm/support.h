// support.h: an address space without page tables, and drawings of its map.
//
// A drawing has one character per page from kBase on:
//   .  nothing                      A  private anonymous, read and write
//   R  the same, read only          N  the same, no access
//   S  shared anonymous             F  private file, page offset = page of the drawing
//   l  A, locked (so touched)       G  A that grows down
//   Z  A, sealed                    ?  anything else
// A small letter is a VMA that has an anon_vma; | separates neighbours that look the same.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "pervma/pervma.h"
#include "vm/design_spaces.h"
#include "vm/open_file.h"

namespace pervma::test {

inline constexpr Address kBase{0x1000'0000};
constexpr Address page_at(uint64_t n) noexcept { return kBase + PageCount{n}; }
constexpr uint64_t bytes_of_pages(uint64_t n) noexcept { return n * kPageSize; }

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

 private:
  static void erase(std::set<uint64_t>& from, Range r) {
    from.erase(from.lower_bound(r.start.page()), from.lower_bound(r.end.page()));
  }
  mutable std::mutex mutex_;
  std::set<uint64_t> pages_;
  std::set<uint64_t> guards_;
};

template <class L>
class TestSpace final : public BasicAddressSpace<L> {
 public:
  using Base = BasicAddressSpace<L>;
  TestSpace(VmContext& context, FakeMmu& mmu, const SpaceOptions& options)
      : Base(context, mmu, options), fake_(mmu) {}
  ~TestSpace() override { this->exit(); }

  FaultOutcome handle_fault(Address a, Access access, FaultOrigin,
                            const std::stop_token&) override {
    if (on_fault) on_fault();
    const MmapRead read(this->mm_);
    auto* v = this->vma_at(a);
    if (v == nullptr || fake_.has_guard(a)) return FaultOutcome::map_error;
    const VmaFlags f = v->flags();
    if (access == Access::write ? !f.has(VmaFlag::write) : (f & kAccessFlags).empty()) {
      return FaultOutcome::access_error;
    }
    if (access == Access::write && !v->is_shared() && !this->prepare_anon_vma(*v)) {
      return FaultOutcome::out_of_memory;
    }
    fake_.touch(a);
    return FaultOutcome::resolved;
  }
  FaultOutcome fault_in(typename Base::VmaT& v, Address a, Access access) noexcept override {
    if (access == Access::write && !v.is_shared() && !this->prepare_anon_vma(v)) {
      return FaultOutcome::out_of_memory;
    }
    fake_.touch(a);
    return FaultOutcome::resolved;
  }
  FaultOutcome load(Address a, std::span<std::byte>) override {
    return handle_fault(a, Access::read, FaultOrigin::user, {});
  }
  FaultOutcome store(Address a, std::span<const std::byte>) override {
    return handle_fault(a, Access::write, FaultOrigin::user, {});
  }
  Result<void> copy_out(Address, std::span<std::byte>) override { return {}; }
  Result<void> copy_in(Address, std::span<const std::byte>) override { return {}; }
  FaultCounters fault_counters() const noexcept override { return {}; }

  std::function<void()> on_fault;  // before each

  bool grow_stack_to(Address a) {
    const MmapWrite write(this->mm_);
    return this->expand_stack(a) != nullptr;
  }

 private:
  FakeMmu& fake_;
};

inline SpaceOptions small_space(Design design) {
  SpaceOptions o;
  o.design = design;
  o.lowest = kBase;
  o.top = kBase + PageCount{65536};
  o.mmap_base = o.top;
  return o;
}

// One space, and drawings of it.
template <class L>
class SpaceTest : public ::testing::Test {
 protected:
  SpaceTest() { remake(small_space(design_of<L>())); }

  void remake(const SpaceOptions& options) {
    space_.reset();
    space_ = std::make_unique<TestSpace<L>>(context_, mmu_, options);
  }
  TestSpace<L>& space() { return *space_; }

  Result<Address> map(uint64_t page, uint64_t pages, Prot prot, MapFlags more = MapFlags::none,
                      FileRef file = {}, uint64_t pgoff = 0) {
    MapFlags flags = more | MapFlags::fixed;
    if (!any(flags & MapFlags::type_mask)) flags = flags | MapFlags::private_;
    if (!file) flags = flags | MapFlags::anonymous;
    return space_->map({.address = page_at(page),
                        .length = bytes_of_pages(pages),
                        .prot = prot,
                        .flags = flags,
                        .file = std::move(file),
                        .offset = bytes_of_pages(pgoff)},
                       {});
  }
  int unmap(uint64_t page, uint64_t pages) {
    return error_of(space_->unmap(page_at(page), bytes_of_pages(pages), {}));
  }
  int protect(uint64_t page, uint64_t pages, Prot prot) {
    return error_of(space_->protect(page_at(page), bytes_of_pages(pages), prot, {}));
  }
  int advise(uint64_t page, uint64_t pages, Advice advice) {
    return error_of(space_->advise(page_at(page), bytes_of_pages(pages), advice, {}));
  }
  // Moves to a place; the result's page, or minus the errno.
  int64_t move(uint64_t from, uint64_t pages, uint64_t new_pages, uint64_t to,
               RemapFlags more = RemapFlags::none) {
    return place_of(space_->remap({.old_address = page_at(from),
                                   .old_length = bytes_of_pages(pages),
                                   .new_length = bytes_of_pages(new_pages),
                                   .flags = RemapFlags::maymove | RemapFlags::fixed | more,
                                   .new_address = page_at(to)},
                                  {}));
  }
  int64_t resize(uint64_t from, uint64_t pages, uint64_t new_pages,
                 RemapFlags flags = RemapFlags::none) {
    return place_of(space_->remap({.old_address = page_at(from),
                                   .old_length = bytes_of_pages(pages),
                                   .new_length = bytes_of_pages(new_pages),
                                   .flags = flags},
                                  {}));
  }
  bool write(uint64_t page) {
    return space_->handle_fault(page_at(page), Access::write, FaultOrigin::user, {}) ==
           FaultOutcome::resolved;
  }

  void build(const std::string& drawing) {
    uint64_t page = 0;
    for (size_t i = 0; i < drawing.size();) {
      size_t end = i;
      while (end < drawing.size() && drawing[end] == drawing[i]) ++end;
      const uint64_t pages = end - i;
      if (drawing[i] != '.') build_one(drawing[i], page, pages);
      page += pages;
      i = end;
    }
    std::string expected = drawing;
    while (expected.ends_with('.')) expected.pop_back();
    ASSERT_EQ(draw(), expected) << "the drawing cannot be built this way";
  }

  std::string draw() {
    std::string text;
    uint64_t page = 0;
    char last = '.';
    for (const VmaInfo& v : space_->vmas()) {
      const uint64_t start = v.range.start.page() - kBase.page();
      if (start > page) last = '.';
      text.append(start - page, '.');
      const char letter = letter_of(v);
      if (letter == last) text += '|';
      text.append(v.range.pages().value, letter);
      page = start + v.range.pages().value;
      last = letter;
    }
    EXPECT_EQ(space_->check(), "");
    return text;
  }

  template <class T>
  static int error_of(const Result<T>& r) {
    return r ? 0 : static_cast<int>(r.error());
  }
  static int64_t place_of(const Result<Address>& r) {
    if (!r) return -static_cast<int64_t>(r.error());
    return static_cast<int64_t>(r->page()) - static_cast<int64_t>(kBase.page());
  }

  static constexpr Prot kRw = Prot::read | Prot::write;

  VmContext context_;
  FakeMmu mmu_;
  FileRef file_ = open_named("/lib/some.so");
  std::unique_ptr<TestSpace<L>> space_;

 private:
  void build_one(char letter, uint64_t page, uint64_t pages) {
    const char kind = static_cast<char>(std::toupper(letter));
    const bool touched = letter != kind;
    Result<Address> made = std::unexpected(Error::inval);
    switch (kind) {
      case 'A':
      case 'Z': made = map(page, pages, kRw); break;
      case 'R': made = map(page, pages, touched ? kRw : Prot::read); break;
      case 'N': made = map(page, pages, touched ? kRw : Prot::none); break;
      case 'S': made = map(page, pages, kRw, MapFlags::shared); break;
      case 'F': made = map(page, pages, kRw, MapFlags::private_, file_, page); break;
      case 'L': made = map(page, pages, kRw, MapFlags::locked); break;
      case 'G': made = map(page, pages, kRw, MapFlags::growsdown); break;
      default: break;
    }
    ASSERT_TRUE(made) << letter;
    if (touched && kind != 'L') {
      ASSERT_TRUE(write(page));
      if (kind == 'R') {
        ASSERT_EQ(protect(page, pages, Prot::read), 0);
      }
      if (kind == 'N') {
        ASSERT_EQ(protect(page, pages, Prot::none), 0);
      }
    }
    if (kind == 'Z') {
      ASSERT_TRUE(space_->seal(page_at(page), bytes_of_pages(pages), {}));
    }
  }

  static char letter_of(const VmaInfo& v) {
    const VmaFlags f = v.flags;
    const bool rw = f.has_all(VmaFlag::read | VmaFlag::write);
    char letter = '?';
    if (f.has(VmaFlag::sealed))
      letter = 'Z';
    else if (f.has(VmaFlag::locked))
      letter = 'L';
    else if (f.has(VmaFlag::growsdown))
      letter = 'G';
    else if (f.has(VmaFlag::shared))
      letter = 'S';
    else if (v.has_file)
      letter = 'F';
    else if (rw)
      letter = 'A';
    else if (f.has(VmaFlag::read))
      letter = 'R';
    else if ((f & kAccessFlags).empty())
      letter = 'N';
    return v.anon_vma != 0 ? static_cast<char>(std::tolower(letter)) : letter;
  }
};

using EveryDesign = AllDesigns::Apply<::testing::Types>;
// Those that lock VMAs for read.
using LockingDesigns =
    ::testing::Types<RwsemLock, RwsemSplitLock, CountLock, RefcountLock, ScalableLock>;

}  // namespace pervma::test
