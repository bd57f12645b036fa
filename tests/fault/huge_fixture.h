// huge_fixture.h: a space with memory that begins at a boundary of huge pages, for their tests.
#pragma once

#include "tests/fault/space_fixture.h"
#include "vm/vma_rules.h"

namespace pervma::test {

inline constexpr uint64_t kHuge = kHugePageSize / kPageSize;
inline constexpr Address kBase{0x40000000};  // a boundary of huge pages

class HugePage : public SpaceFixture {
 protected:
  using SpaceFixture::SpaceFixture;

  // Fresh memory of `n` huge pages' size at kBase.
  Range map_huge(uint64_t n, Prot prot = kRw, MapFlags flags = kAnon) {
    return map_at(kBase, n * kHuge, prot, flags);
  }
  // The same, with a word in every page, as one page each.
  Range filled(uint64_t n) {
    const Range r = map_huge(n);
    for (uint64_t p = 0; p < n * kHuge; ++p) write64(page_of(r, p), p + 1);
    return r;
  }
  Range collapsed(uint64_t n) {
    const Range r = filled(n);
    EXPECT_EQ(collapse(r), 0);
    EXPECT_EQ(huge_pages(), n);
    return r;
  }
  void expect_filled(AddressSpace& space, Range r, uint64_t from, uint64_t to) {
    for (uint64_t p = from; p < to; ++p) ASSERT_EQ(read64(space, page_of(r, p)), p + 1) << p;
  }
  void expect_filled(Range r) { expect_filled(*space_, r, 0, r.pages().value); }

  // 0, or the error.
  int advise(Range r, Advice advice) {
    const Result<void> done = space_->advise(r.start, r.bytes(), advice);
    return done ? 0 : static_cast<int>(done.error());
  }
  int collapse(Range r) { return advise(r, Advice::collapse); }
  uint64_t huge_pages(AddressSpace& space) const { return space.statistics().pages.huge / kHuge; }
  uint64_t huge_pages() const { return huge_pages(*space_); }
  static Range part(Range r, uint64_t first, uint64_t count) {
    return pages_at(page_of(r, first).value, count);
  }
};

}  // namespace pervma::test
