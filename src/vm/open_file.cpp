#include "vm/open_file.h"

namespace pervma {

FileRef::FileRef(const FileRef& other) noexcept : file_(other.file_) {
  if (file_ != nullptr) file_->hold();
}

FileRef::~FileRef() {
  if (file_ != nullptr) file_->drop();
}

}  // namespace pervma
