// file.h: what a mapping shows. A BackingObject is the embedder's object with pages (a file, a
// snapshot, a device's memory); a FileRef is one opening of it in one engine. Two openings of one
// object share its pages but never merge, as two open file descriptions never do in Linux.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "pervma/address.h"
#include "pervma/error.h"

namespace pervma {

// How a backing object appears in /proc/PID/maps.
struct FileIdentity {
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  uint64_t inode = 0;
  std::string name;
};

// Whether faults on the object's pages may be served under the VMA lock. A fault that may not is
// served under the mmap lock instead.
enum class VmaLockSafety : uint8_t {
  unaudited,  // nothing is promised: never
  audited,  // read_page() takes no lock that is ever held while calling into the space: pages that
            // are cached; others are read in without any lock of the space
  memory,   // besides, read_page() never waits: always
};

// An object with pages. Implemented by the embedder; every method may be called from any thread
// at any time while an opening exists, and must not call back into an address space.
class BackingObject {
 public:
  virtual ~BackingObject() = default;
  BackingObject(const BackingObject&) = delete;
  BackingObject& operator=(const BackingObject&) = delete;

  // Size in bytes now. A page that begins at or beyond it gives a bus error. Whoever makes it
  // smaller says so afterwards with Engine::truncate().
  virtual uint64_t size() const noexcept = 0;
  // Fills `page`, which is zero, with page `index` of the object; bytes beyond the size must stay
  // zero. Called once per page of an engine's cache, again only after it failed. May wait, unless
  // the object is VmaLockSafety::memory.
  virtual Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept = 0;
  // Keeps what was stored to the page through shared mappings: called by AddressSpace::sync(), and
  // only with pages that may have been written since the last time. May wait. What was not synced
  // when the last opening goes is lost. By default nothing is kept, and nothing is an error.
  virtual Result<void> write_page(uint64_t /*index*/,
                                  std::span<const std::byte, kPageSize> /*page*/) noexcept {
    return {};
  }
  virtual VmaLockSafety vma_lock_safety() const noexcept { return VmaLockSafety::unaudited; }
  virtual const FileIdentity& identity() const noexcept = 0;

 protected:
  BackingObject() = default;
};

enum class FileMode : uint8_t { read_only, read_write };

class OpenFile;  // src/vm/open_file.h

// A counted reference to one opening. Copying and dropping are lock-free; empty by default.
class FileRef {
 public:
  FileRef() noexcept = default;
  explicit FileRef(OpenFile* adopted) noexcept : file_(adopted) {}  // takes over one count
  FileRef(const FileRef& other) noexcept;
  FileRef(FileRef&& other) noexcept : file_(std::exchange(other.file_, nullptr)) {}
  FileRef& operator=(FileRef other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~FileRef();

  OpenFile* get() const noexcept { return file_; }
  OpenFile* release() noexcept { return std::exchange(file_, nullptr); }
  explicit operator bool() const noexcept { return file_ != nullptr; }

 private:
  OpenFile* file_ = nullptr;
};

}  // namespace pervma
