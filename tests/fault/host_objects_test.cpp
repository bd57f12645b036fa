// The objects that are there already: a file of the host, the caller's memory.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fault/space_fixture.h"

namespace pervma {
namespace {

using namespace test;  // NOLINT: the suite speaks its language

constexpr uint64_t kBytes = 3 * kPageSize + 100;

class HostFileTest : public SpaceFixture {
 protected:
  HostFileTest() : path_(::testing::TempDir() + "pervma_file" + std::to_string(::getpid())) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t p = 0; p < 4; ++p) put(p, 100 + p);
    cut(kBytes);
  }
  ~HostFileTest() override {
    ::close(fd_);
    ::unlink(path_.c_str());
  }

  void put(uint64_t page, uint64_t value) {
    EXPECT_EQ(::pwrite(fd_, &value, sizeof value, static_cast<off_t>(page * kPageSize)), 8);
  }
  uint64_t get(uint64_t page) {
    uint64_t value = 0;
    EXPECT_EQ(::pread(fd_, &value, sizeof value, static_cast<off_t>(page * kPageSize)), 8);
    return value;
  }
  void cut(uint64_t bytes) { EXPECT_EQ(::ftruncate(fd_, static_cast<off_t>(bytes)), 0); }
  uint64_t bytes_now() {
    struct stat status{};
    EXPECT_EQ(::fstat(fd_, &status), 0);
    return static_cast<uint64_t>(status.st_size);
  }
  Range map_it(MapFlags type = MapFlags::shared) {
    const Result<std::shared_ptr<BackingObject>> object =
        open_host_file(path_.c_str(), FileMode::read_write);
    EXPECT_TRUE(object);
    file_ = *engine_->open(*object, FileMode::read_write);
    return map_file(file_, 4, type);
  }

  std::string path_;
  int fd_ = -1;
};

TEST_P(HostFileTest, shows_the_file_and_gives_back_what_was_stored) {
  const Range r = map_it();
  for (uint64_t p = 0; p < 4; ++p) EXPECT_EQ(read64(page_of(r, p)), 100 + p);
  EXPECT_EQ(read64(page_of(r, 3) + 104), 0u);  // beyond the end, in the last page
  EXPECT_NE(space_->to_maps().find(path_), std::string::npos);
  write64(page_of(r, 1), 7);
  write64(page_of(r, 3) + 8, 9);
  write64(page_of(r, 3) + 104, 11);  // beyond the end: nobody's
  EXPECT_EQ(get(1), 101u);
  ASSERT_TRUE(space_->sync(r.start, r.bytes(), SyncFlags::sync));
  EXPECT_EQ(get(1), 7u);
  EXPECT_EQ(get(3), 103u);
  EXPECT_EQ(bytes_now(), kBytes);
}

TEST_P(HostFileTest, a_page_is_read_without_the_vma_lock_and_then_mapped_under_it) {
  const Range r = map_it();
  EXPECT_EQ(fault(page_of(r, 0), Access::read), FaultOutcome::resolved);
  const FaultCounters first = space_->fault_counters();
  EXPECT_EQ(fault(page_of(map_file(file_, 4, MapFlags::shared), 0), Access::read),
            FaultOutcome::resolved);
  if (!has_vma_locks()) return;
  EXPECT_EQ(first.retry, 1u);
  EXPECT_EQ(space_->fault_counters().success, first.success + 1);
}

TEST_P(HostFileTest, what_others_cut_off_is_a_bus_error) {
  const Range r = map_it();
  const Range copied = map_file(file_, 4, MapFlags::private_);
  EXPECT_EQ(read64(page_of(r, 1)), 101u);
  write64(page_of(copied, 1), 1);
  cut(kPageSize + 8);
  EXPECT_EQ(fault(page_of(r, 2), Access::read), FaultOutcome::bus_error);  // Nobody told.
  EXPECT_EQ(read64(page_of(r, 1)), 101u);
  cut(kPageSize);
  engine_->truncate(file_);
  EXPECT_EQ(fault(page_of(r, 1), Access::read), FaultOutcome::bus_error);
  EXPECT_EQ(fault(page_of(copied, 1), Access::read), FaultOutcome::bus_error);
  EXPECT_EQ(read64(page_of(r, 0)), 100u);
  cut(2 * kPageSize);
  put(1, 55);
  EXPECT_EQ(read64(page_of(r, 1)), 55u);  // It grew again.
  ASSERT_TRUE(space_->sync(r.start, r.bytes(), SyncFlags::sync));
  EXPECT_EQ(bytes_now(), 2 * kPageSize);
}

TEST_P(HostFileTest, a_page_stored_to_and_then_cut_off_is_not_given_back) {
  const Range r = map_it();
  write64(page_of(r, 2), 5);
  cut(kPageSize);
  ASSERT_TRUE(space_->sync(r.start, r.bytes(), SyncFlags::sync));
  EXPECT_EQ(bytes_now(), kPageSize);
  engine_->truncate(file_);
}

TEST_P(HostFileTest, stores_to_a_file_opened_for_reading_cannot_be_kept) {
  const auto object = open_host_file(path_.c_str(), FileMode::read_only);
  ASSERT_TRUE(object);
  file_ = *engine_->open(*object, FileMode::read_write);
  const Range r = map_file(file_, 1, MapFlags::shared);
  write64(r.start, 5);
  EXPECT_EQ(space_->sync(r.start, r.bytes(), SyncFlags::sync).error(), Error::io);
  EXPECT_EQ(get(0), 100u);
}

TEST_P(HostFileTest, memory_of_the_callers_is_copied_in_and_back) {
  std::vector<std::byte> memory(kPageSize + 16, std::byte{3});
  file_ = *engine_->open(make_memory_object(memory, {.inode = 5, .name = "image"}),
                         FileMode::read_write);
  const Range r = map_file(file_, 3, MapFlags::shared);
  EXPECT_EQ(read64(page_of(r, 1) + 8), 0x0303'0303'0303'0303u);
  EXPECT_EQ(read64(page_of(r, 1) + 16), 0u);
  EXPECT_EQ(fault(page_of(r, 2), Access::read), FaultOutcome::bus_error);
  write64(page_of(r, 1) + 8, 0);
  write64(page_of(r, 1) + 16, 9);  // beyond the end: nobody's
  EXPECT_EQ(memory.back(), std::byte{3});
  ASSERT_TRUE(space_->sync(r.start, r.bytes(), SyncFlags::sync));
  EXPECT_EQ(memory.back(), std::byte{0});
  EXPECT_EQ(memory[kPageSize], std::byte{3});
  if (has_vma_locks()) {
    EXPECT_EQ(space_->fault_counters().retry, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Designs, HostFileTest, ::testing::ValuesIn(kDesigns), test::design_of);

TEST(HostFileOpen, refuses_what_is_no_regular_file) {
  const auto error_of = [](const char* path) {
    return open_host_file(path, FileMode::read_only).error();
  };
  EXPECT_EQ(error_of("/dev/null"), Error::nodev);
  EXPECT_EQ(error_of("/"), Error::nodev);
  EXPECT_EQ(error_of("/no/such/file"), Error::noent);
}

}  // namespace
}  // namespace pervma
