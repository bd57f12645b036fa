// host_objects.cpp: backing objects that are there already: files of the host, memory of the
// caller's.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "fault/host_io.h"
#include "pervma/host_object.h"

namespace pervma {

namespace {

struct Descriptor {
  explicit Descriptor(int n) noexcept : fd(n) {}
  Descriptor(Descriptor&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

class HostFile final : public BackingObject {
 public:
  HostFile(Descriptor file, const struct stat& status, std::string name)
      : file_(std::move(file)),
        identity_{major(status.st_dev), minor(status.st_dev), status.st_ino, std::move(name)} {}

  // Asked each time: others may cut or extend the file, and nobody tells.
  uint64_t size() const noexcept override {
    struct stat status;
    return ::fstat(file_.fd, &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
  }

  Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept override {
    const Result<std::size_t> done = transfer_all(page.size(), [&](std::size_t from) {
      return ::pread(file_.fd, page.data() + from, page.size() - from, offset_of(index, from));
    });
    if (!done) return std::unexpected(done.error());
    if (*done == 0) return std::unexpected(Error::io);  // The file has become too short for it.
    return {};
  }

  // What lies beyond the end is nobody's: the file is not made longer.
  Result<void> write_page(uint64_t index,
                          std::span<const std::byte, kPageSize> page) noexcept override {
    const uint64_t end = size();
    const uint64_t start = index << kPageShift;
    if (start >= end) return {};
    const std::size_t bytes = std::min<uint64_t>(page.size(), end - start);
    const Result<std::size_t> done = transfer_all(bytes, [&](std::size_t from) {
      return ::pwrite(file_.fd, page.data() + from, bytes - from, offset_of(index, from));
    });
    if (!done || *done != bytes) return std::unexpected(Error::io);
    return {};
  }

  VmaLockSafety vma_lock_safety() const noexcept override { return VmaLockSafety::audited; }
  const FileIdentity& identity() const noexcept override { return identity_; }

 private:
  static off_t offset_of(uint64_t index, std::size_t from) noexcept {
    return static_cast<off_t>((index << kPageShift) + from);
  }

  const Descriptor file_;
  const FileIdentity identity_;
};

class CallersMemory final : public BackingObject {
 public:
  CallersMemory(std::span<std::byte> memory, FileIdentity identity)
      : memory_(memory), identity_(std::move(identity)) {}

  uint64_t size() const noexcept override { return memory_.size(); }
  Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept override {
    const std::span<std::byte> from = part(index);
    if (!from.empty()) std::memcpy(page.data(), from.data(), from.size());
    return {};
  }
  Result<void> write_page(uint64_t index,
                          std::span<const std::byte, kPageSize> page) noexcept override {
    const std::span<std::byte> to = part(index);
    if (!to.empty()) std::memcpy(to.data(), page.data(), to.size());
    return {};
  }
  VmaLockSafety vma_lock_safety() const noexcept override { return VmaLockSafety::memory; }
  const FileIdentity& identity() const noexcept override { return identity_; }

 private:
  std::span<std::byte> part(uint64_t index) const noexcept {
    const uint64_t start = std::min<uint64_t>(index << kPageShift, memory_.size());
    return memory_.subspan(start, std::min<uint64_t>(kPageSize, memory_.size() - start));
  }

  const std::span<std::byte> memory_;
  const FileIdentity identity_;
};

}  // namespace

Result<std::shared_ptr<BackingObject>> open_host_file(const char* path, FileMode mode) {
  const int access = mode == FileMode::read_write ? O_RDWR : O_RDONLY;
  // A pipe is not waited for: it is refused.
  Descriptor file(::open(path, access | O_CLOEXEC | O_NONBLOCK));
  struct stat status;
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0) {
    return std::unexpected(static_cast<Error>(errno));
  }
  if (!S_ISREG(status.st_mode)) return std::unexpected(Error::nodev);
  return std::make_shared<HostFile>(std::move(file), status, path);
}

std::shared_ptr<BackingObject> make_memory_object(std::span<std::byte> memory,
                                                  FileIdentity identity) {
  return std::make_shared<CallersMemory>(memory, std::move(identity));
}

}  // namespace pervma
