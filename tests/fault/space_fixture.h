// space_fixture.h: an engine with one space under the design of the test's parameter, and short
// ways to map, load and store.
#pragma once

#include <gtest/gtest.h>

#include "fault/soft_engine.h"
#include "tests/fault/support.h"

namespace pervma::test {

inline constexpr MapFlags kAnon = MapFlags::private_ | MapFlags::anonymous;
inline constexpr MapFlags kSharedAnon = MapFlags::shared | MapFlags::anonymous;
inline constexpr Prot kRw = Prot::read | Prot::write;

class SpaceFixture : public ::testing::TestWithParam<Design> {
 protected:
  explicit SpaceFixture(const EngineOptions& options = {.frames = {10'000}})
      : engine_(*Engine::create(options)), space_(new_space()) {}
  ~SpaceFixture() override {
    if (space_ != nullptr) {
      EXPECT_EQ(space_->check(), "");
    }
    space_.reset();
    file_ = FileRef{};
    engine_->quiesce();
    EXPECT_EQ(engine_->frames_used(), PageCount{0});
  }

  std::unique_ptr<AddressSpace> new_space() {
    SpaceOptions options;
    options.design = GetParam();
    return *engine_->create_space(options);
  }
  bool has_vma_locks() const {
    return GetParam() != Design::mmap_lock && GetParam() != Design::speculative;
  }
  SoftEngine& soft() { return static_cast<SoftEngine&>(*engine_); }
  FramePool& frames() { return soft().frames(); }

  Range map(uint64_t pages, Prot prot = kRw, MapFlags flags = kAnon) {
    const Result<Address> at =
        space_->map({.length = pages * kPageSize, .prot = prot, .flags = flags});
    EXPECT_TRUE(at);
    return {*at, *at + pages * kPageSize};
  }
  Range map_at(Address at, uint64_t pages, Prot prot = kRw, MapFlags flags = kAnon) {
    EXPECT_TRUE(space_->map({.address = at,
                             .length = pages * kPageSize,
                             .prot = prot,
                             .flags = flags | MapFlags::fixed}));
    return {at, at + pages * kPageSize};
  }
  Range map_file(const FileRef& file, uint64_t pages, MapFlags type, Prot prot = kRw,
                 uint64_t first_page = 0) {
    const Result<Address> at = space_->map({.length = pages * kPageSize,
                                            .prot = prot,
                                            .flags = type,
                                            .file = file,
                                            .offset = first_page * kPageSize});
    EXPECT_TRUE(at);
    return {*at, *at + pages * kPageSize};
  }
  FaultOutcome fault(Address a, Access access) { return space_->handle_fault(a, access); }
  static FaultOutcome load(AddressSpace& space, Address a, uint64_t& value) {
    return space.load(a, writable_bytes_of(value));
  }
  static uint64_t read64(AddressSpace& space, Address a) {
    uint64_t value = 0;
    EXPECT_EQ(load(space, a, value), FaultOutcome::resolved);
    return value;
  }
  uint64_t read64(Address a) { return read64(*space_, a); }
  static void write64(AddressSpace& space, Address a, uint64_t value) {
    EXPECT_EQ(space.store(a, bytes_of(value)), FaultOutcome::resolved);
  }
  void write64(Address a, uint64_t value) { write64(*space_, a, value); }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<AddressSpace> space_;
  FileRef file_;
};

inline std::string design_of(const ::testing::TestParamInfo<Design>& info) {
  return std::string(design_name(info.param));
}

}  // namespace pervma::test
