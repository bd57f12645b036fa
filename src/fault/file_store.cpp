// file_store.cpp: a page store in a file of the host.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include "fault/host_io.h"
#include "pervma/page_store.h"

namespace pervma {

namespace {

class FileStore final : public PageStore {
 public:
  FileStore(int fd, uint64_t capacity) noexcept : fd_(fd), capacity_(capacity) {}
  ~FileStore() override { ::close(fd_); }

  uint64_t capacity() const noexcept override { return capacity_; }
  Speed speed() const noexcept override { return Speed::device; }

  // Frames are aligned as direct I/O wants them.
  Result<void> write(uint64_t number,
                     std::span<const std::byte, kPageSize> page) noexcept override {
    return all_of([&](std::size_t done) {
      return ::pwrite(fd_, page.data() + done, page.size() - done, offset_of(number, done));
    });
  }
  Result<void> read(uint64_t number, std::span<std::byte, kPageSize> page) noexcept override {
    return all_of([&](std::size_t done) {
      return ::pread(fd_, page.data() + done, page.size() - done, offset_of(number, done));
    });
  }
  // Its room is used again.
  void discard(uint64_t) noexcept override {}

 private:
  static off_t offset_of(uint64_t number, std::size_t done) noexcept {
    return static_cast<off_t>((number << kPageShift) + done);
  }
  template <class Transfer>
  static Result<void> all_of(Transfer transfer) noexcept {
    const Result<std::size_t> done = transfer_all(kPageSize, transfer);
    if (!done || *done != kPageSize) return std::unexpected(Error::io);
    return {};
  }

  const int fd_;
  const uint64_t capacity_;
};

}  // namespace

Result<std::unique_ptr<PageStore>> make_file_store(const char* path, PageCount capacity) noexcept {
  if (capacity.value == 0) return std::unexpected(Error::inval);
  constexpr int kFlags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC;
  int fd = ::open(path, kFlags | O_DIRECT, 0600);
  if (fd < 0 && errno == EINVAL)
    fd = ::open(path, kFlags, 0600);  // The file system has no such I/O.
  if (fd < 0) return std::unexpected(static_cast<Error>(errno));
  (void)::unlink(path);
  std::unique_ptr<PageStore> store(new (std::nothrow) FileStore(fd, capacity.value));
  if (store == nullptr) {
    ::close(fd);
    return std::unexpected(Error::nomem);
  }
  if (::ftruncate(fd, static_cast<off_t>(capacity.bytes())) != 0) {
    return std::unexpected(static_cast<Error>(errno));
  }
  return store;
}

}  // namespace pervma
