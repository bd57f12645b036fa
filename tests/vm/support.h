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
#include "vm/all_locks.h"
#include "vm/design_spaces.h"
#include "vm/fake_mmu.h"
#include "vm/open_file.h"

namespace pervma::test {

inline constexpr Address kBase{0x1000'0000};
constexpr Address page_at(uint64_t n) noexcept { return kBase + PageCount{n}; }
constexpr uint64_t bytes_of_pages(uint64_t n) noexcept { return n * kPageSize; }

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
  FaultOutcome load(Address a, std::span<std::byte>, const std::stop_token&) override {
    return handle_fault(a, Access::read, FaultOrigin::user, {});
  }
  FaultOutcome store(Address a, std::span<const std::byte>, const std::stop_token&) override {
    return handle_fault(a, Access::write, FaultOrigin::user, {});
  }
  Result<void> copy_out(Address, std::span<std::byte>, const std::stop_token&) override {
    return {};
  }
  Result<void> copy_in(Address, std::span<const std::byte>, const std::stop_token&) override {
    return {};
  }
  Result<std::unique_ptr<UserFaults>> create_user_faults(const UserFaultOptions&) override {
    return std::unexpected(Error::nomem);
  }
  Result<void> insert_pages(Address, std::span<PageBuffer>, const std::stop_token&) override {
    return {};
  }
  std::byte* translate(Address, Access) const noexcept override { return nullptr; }
  FaultCounters fault_counters() const noexcept override { return {}; }

  std::function<void()> on_fault;  // before each

  // Runs it under all locks; the caller has the mmap lock for write.
  template <class Run>
  std::optional<Error> with_all_locks(const std::stop_token& stop, Run run) PERVMA_NO_ANALYSIS {
    const auto locks = Base::AllLocks::take(*this, stop);
    if (!locks) return locks.error();
    run();
    return std::nullopt;
  }
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
