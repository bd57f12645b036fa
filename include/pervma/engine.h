// engine.h: what spaces share: frames, page caches, tree nodes and the memory of VMAs. Several
// engines live side by side in one process and know nothing of each other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "pervma/address.h"
#include "pervma/address_space.h"
#include "pervma/design.h"
#include "pervma/error.h"
#include "pervma/file.h"
#include "pervma/page_buffer.h"
#include "pervma/page_store.h"

namespace pervma {

// Who makes huge pages without being asked for each.
enum class CollapserKind : uint8_t {
  by_hand,  // whoever calls Engine::collapse_some()
  thread,   // a thread of the engine, too
};

struct EngineOptions {
  PageCount frames{uint64_t{1} << 24};  // upper bound of memory for pages; reserved, not touched
  PageCount present{0};  // of these, made present at once: no fault of the host later
  // Where pages go when the frames are used up; null: nowhere, and then a fault is out of memory. A
  // thread of the engine keeps some frames free. Several engines may not share one.
  std::shared_ptr<PageStore> swap{};
  CollapserKind collapser = CollapserKind::by_hand;
};

// Is told of every mapping that mmap, mprotect, brk, stack growth or the system itself made or
// changed, as it stands after merging (what perf's MMAP2 records say of a real process).
class MapObserver {
 public:
  struct Change {
    Range range;
    VmaFlags flags;
    uint64_t page_offset;
    const FileIdentity* file;  // null: anonymous; valid during the call
  };
  // Called under the mmap lock for write, in the thread that makes the change: must be short, and
  // must not call into the space.
  virtual void changed(const Change&) noexcept = 0;

 protected:
  ~MapObserver() = default;
};

// Whether set_name() works: it does not on a kernel without CONFIG_ANON_VMA_NAME.
enum class AnonNames : uint8_t { kept, refused };

// Which private memory may become pages of 2 MiB. A huge page is made of the small pages that are
// there, by Advice::collapse or by the engine's collapser, and becomes small pages again wherever a
// part of it is treated differently.
enum class HugePages : uint8_t {
  refused,  // none; Advice::collapse is Error::inval (PR_SET_THP_DISABLE)
  advised,  // what Advice::collapse is given for, and by the collapser what has Advice::hugepage
  always,   // by the collapser all that has not Advice::nohugepage
};

struct SpaceOptions {
  Design design = Design::refcount;
  VmaFree vma_free = VmaFree::at_once;  // Error::inval where the design has no other
  Address lowest{0x10000};              // nothing is mapped below (vm.mmap_min_addr)
  Address top{0x7ffffffff000};          // end of the space
  Address mmap_base{0x7ffff7fff000};    // unhinted mappings are placed below it, top-down
  MapObserver* observer = nullptr;      // must outlive the space
  uint64_t max_map_count = 65530;       // vm.max_map_count
  uint64_t stack_limit = uint64_t{8}
                         << 20;  // bytes that a growing mapping may reach (RLIMIT_STACK)
  uint64_t address_space_limit = ~uint64_t{0};  // bytes that may be mapped (RLIMIT_AS)
  std::optional<uint64_t>
      memlock_limit{};  // bytes (RLIMIT_MEMLOCK); nothing: CAP_IPC_LOCK, no limit
  AnonNames anon_names = AnonNames::kept;
  HugePages huge_pages = HugePages::advised;
};

class Engine {
 public:
  // Reserves the frame area; Error::nomem when the address space of this process has no room.
  static Result<std::unique_ptr<Engine>> create(const EngineOptions& = {});
  virtual ~Engine() = default;  // All spaces and file references must be gone: aborts otherwise.
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  virtual Result<std::unique_ptr<AddressSpace>> create_space(const SpaceOptions& = {}) = 0;
  // Duplicates a space, as fork(2) does: private pages are shared until one side writes them. Takes
  // the parent's mmap lock for write and waits for the readers of each of its VMAs in turn.
  virtual Result<std::unique_ptr<AddressSpace>> fork(AddressSpace& parent,
                                                     const std::stop_token& = {}) = 0;
  // One opening of a backing object; all openings in this engine share its cached pages.
  virtual Result<FileRef> open(std::shared_ptr<BackingObject>, FileMode) = 0;

  // The object behind the opening has become shorter: its pages beyond the end leave the cache and
  // every mapping, private copies included, and the bytes after the end in the last page become
  // zero. An access beyond the end that begins after the call is a bus error. Takes no lock of any
  // space.
  virtual void truncate(const FileRef&) noexcept = 0;

  // A page for the caller to fill and to insert_pages() into a space. Error::nomem.
  virtual Result<PageBuffer> alloc_page() noexcept = 0;

  // What became of pages that were sent to the store; all 0 without one.
  virtual SwapCounters swap_counters() const noexcept = 0;
  // Frames in use by pages, page caches and nothing else.
  virtual PageCount frames_used() const noexcept = 0;
  // A step of the collapser: looks at up to `places` of 2 MiB, going on where the step before
  // ended, through all spaces in turn, and makes huge pages of those that may be
  // (SpaceOptions::huge_pages) and are at least half there. How many it made. Takes the mmap lock
  // of each space only when it is free.
  virtual uint64_t collapse_some(uint64_t places) noexcept = 0;
  // Waits until everything that was freed has become reusable; for tests and idle moments.
  virtual void quiesce() noexcept = 0;

 protected:
  friend class PageBuffer;
  virtual void free_page(uint32_t frame) noexcept = 0;
  Engine() = default;
};

inline PageBuffer::~PageBuffer() {
  if (engine_ != nullptr) engine_->free_page(frame_);
}

}  // namespace pervma
