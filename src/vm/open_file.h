// open_file.h: one opening of a backing object in one engine, as VMAs refer to it.
#pragma once

#include <memory>

#include "pervma/file.h"
#include "sync/native_platform.h"
#include "sync/refcount.h"
#include "vm/mappers.h"

namespace pervma {

// Immutable but for its count. `pages` is the object's cached pages in this engine: made and known
// by the fault layer only, shared by all openings of the object.
class OpenFile {
 public:
  OpenFile(std::shared_ptr<BackingObject> object, FileMode mode, std::shared_ptr<void> pages,
           Mappers* mappers = nullptr) noexcept
      : object_(std::move(object)), pages_(std::move(pages)), mappers_(mappers), mode_(mode) {
    refs_.set(1);
  }

  BackingObject& object() const noexcept { return *object_; }
  FileMode mode() const noexcept { return mode_; }
  void* pages() const noexcept { return pages_.get(); }
  // Who may show the object's pages; belongs to `pages`. Null: nobody asks.
  Mappers* mappers() const noexcept { return mappers_; }

  // One more reference for a holder of one.
  void hold() noexcept { (void)refs_.get(); }
  // Gives one back; the last one destroys the opening.
  void drop() noexcept {
    if (refs_.put()) delete this;
  }

 private:
  ~OpenFile() = default;

  const std::shared_ptr<BackingObject> object_;
  const std::shared_ptr<void> pages_;
  Mappers* const mappers_;
  const FileMode mode_;
  Refcount refs_;
};

}  // namespace pervma
