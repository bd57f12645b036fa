// The C functions of objects with pages, and of their mappings.
#include <memory>
#include <string>

#include "capi/c_common.h"
#include "capi/c_handles.h"
#include "pervma/host_object.h"

namespace {

using namespace pervma;
using capi::current_stop;
using capi::error_of;
using capi::guarded;

class CallersObject final : public BackingObject {
 public:
  explicit CallersObject(const pervma_object_options& given)
      : given_(given),
        identity_{given.device_major, given.device_minor, given.inode,
                  given.name != nullptr ? given.name : ""} {}
  ~CallersObject() override {
    if (given_.destroy != nullptr) given_.destroy(given_.context);
  }
  CallersObject(const CallersObject&) = delete;
  CallersObject& operator=(const CallersObject&) = delete;

  uint64_t size() const noexcept override { return given_.get_size(given_.context); }
  Result<void> read_page(uint64_t index, std::span<std::byte, kPageSize> page) noexcept override {
    return result_of(given_.read_page(given_.context, index, page.data()));
  }
  Result<void> write_page(uint64_t index,
                          std::span<const std::byte, kPageSize> page) noexcept override {
    if (given_.write_page == nullptr) return {};
    return result_of(given_.write_page(given_.context, index, page.data()));
  }
  VmaLockSafety vma_lock_safety() const noexcept override {
    return static_cast<VmaLockSafety>(given_.vma_lock_safety);
  }
  const FileIdentity& identity() const noexcept override { return identity_; }

 private:
  static Result<void> result_of(int error) noexcept {
    if (error != 0) return std::unexpected(Error{error});
    return {};
  }

  const pervma_object_options given_;
  const FileIdentity identity_;
};

}  // namespace

struct pervma_object {
  std::shared_ptr<BackingObject> object;
};
struct pervma_file {
  Engine& engine;
  FileRef file;
};

extern "C" {

int pervma_object_create(const pervma_object_options* options, pervma_object** object) {
  pervma_object_options given;
  if (options == nullptr || object == nullptr || !capi::read_sized(options, given)) return EINVAL;
  if (given.get_size == nullptr || given.read_page == nullptr) return EINVAL;
  if (given.vma_lock_safety > PERVMA_OBJECT_MEMORY) return EINVAL;
  return guarded([&] {
    auto made = std::make_unique<pervma_object>();
    // The last: from here on its end calls destroy().
    made->object = std::make_shared<CallersObject>(given);
    *object = made.release();
    return 0;
  });
}

int pervma_object_open(const char* path, int mode, pervma_object** object) {
  if (path == nullptr || object == nullptr) return EINVAL;
  if (mode != PERVMA_FILE_READ_ONLY && mode != PERVMA_FILE_READ_WRITE) return EINVAL;
  return guarded([&] {
    auto made = std::make_unique<pervma_object>();
    Result<std::shared_ptr<BackingObject>> opened = open_host_file(
        path, mode == PERVMA_FILE_READ_WRITE ? FileMode::read_write : FileMode::read_only);
    if (opened) {
      made->object = std::move(*opened);
      *object = made.release();
    }
    return error_of(opened);
  });
}

void pervma_object_release(pervma_object* object) { delete object; }

int pervma_file_open(pervma_engine* engine, pervma_object* object, int mode, pervma_file** file) {
  if (engine == nullptr || object == nullptr || file == nullptr) return EINVAL;
  if (mode != PERVMA_FILE_READ_ONLY && mode != PERVMA_FILE_READ_WRITE) return EINVAL;
  return guarded([&] {
    Result<FileRef> opened =
        engine->engine->open(object->object, mode == PERVMA_FILE_READ_WRITE ? FileMode::read_write
                                                                            : FileMode::read_only);
    if (opened) *file = new pervma_file{*engine->engine, std::move(*opened)};
    return error_of(opened);
  });
}

void pervma_file_close(pervma_file* file) { delete file; }

int pervma_file_truncate(pervma_file* file) {
  if (file == nullptr) return EINVAL;
  file->engine.truncate(file->file);
  return 0;
}

int pervma_mmap_file(pervma_space* space, uint64_t address, uint64_t length, uint32_t prot,
                     uint32_t flags, pervma_file* file, uint64_t offset, uint64_t* at) {
  if (space == nullptr || file == nullptr || at == nullptr) return EINVAL;
  return guarded([&] {
    const Result<Address> mapped = space->space->map({.address = Address{address},
                                                      .length = length,
                                                      .prot = Prot{prot},
                                                      .flags = MapFlags{flags},
                                                      .file = file->file,
                                                      .offset = offset},
                                                     current_stop());
    if (mapped) *at = mapped->value;
    return error_of(mapped);
  });
}

int pervma_msync(pervma_space* space, uint64_t address, uint64_t length, uint32_t flags) {
  if (space == nullptr) return EINVAL;
  return guarded([&] {
    return error_of(space->space->sync(Address{address}, length, SyncFlags{flags}, current_stop()));
  });
}

}  // extern "C"
