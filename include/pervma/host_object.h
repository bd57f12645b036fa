// host_object.h: backing objects that are there already: files of the host, memory of the caller's.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "pervma/error.h"
#include "pervma/file.h"

namespace pervma {

// A regular file of the host as an object, by pread(2) and pwrite(2), with its own device, inode
// and name. Its size is asked for anew whenever a page of it is looked for: what others cut off is
// a bus error to whoever has not mapped it yet, and to everybody after Engine::truncate(). Sync
// never makes it longer. Open one object per file: two would not share their pages. Faults on its
// cached pages are served under the VMA lock. Errors of open(2); Error::nodev: not a regular file.
// May throw std::bad_alloc.
Result<std::shared_ptr<BackingObject>> open_host_file(const char* path, FileMode mode);

// Memory of the caller's as an object that never waits: an image that is there already. A page is
// copied out of it at its first use, and back by sync; the caller keeps it, and leaves it alone
// meanwhile, until the last opening and mapping are gone. May throw std::bad_alloc.
std::shared_ptr<BackingObject> make_memory_object(std::span<std::byte> memory,
                                                  FileIdentity identity = {});

}  // namespace pervma
