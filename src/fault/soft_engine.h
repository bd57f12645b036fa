// soft_engine.h: the engine whose spaces have software MMUs: owner of the frames, the page caches
// and the memory of VMAs.
#pragma once

#include <atomic>
#include <memory>

#include "fault/frame_pool.h"
#include "fault/page_caches.h"
#include "pervma/engine.h"
#include "vm/vm_context.h"

namespace pervma {

class SoftEngine final : public Engine {
 public:
  explicit SoftEngine(std::unique_ptr<FramePool> frames) noexcept
      : frames_(std::move(frames)), caches_(*frames_) {}
  ~SoftEngine() override;

  Result<std::unique_ptr<AddressSpace>> create_space(const SpaceOptions&) override;
  Result<std::unique_ptr<AddressSpace>> fork(AddressSpace& parent, const std::stop_token&) override;
  Result<FileRef> open(std::shared_ptr<BackingObject>, FileMode) override;
  PageCount frames_used() const noexcept override;
  void quiesce() noexcept override;

  FramePool& frames() noexcept { return *frames_; }
  PageCaches& caches() noexcept { return caches_; }
  VmContext& vm() noexcept { return vm_; }
  void space_begins() noexcept { spaces_.fetch_add(1, std::memory_order_relaxed); }
  void space_ends() noexcept { spaces_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  const std::unique_ptr<FramePool> frames_;
  PageCaches caches_;
  VmContext vm_;
  std::atomic<uint64_t> spaces_{0};
};

// One per design, instantiated in design_*.cpp.
template <VmaLockDesign L>
Result<std::unique_ptr<AddressSpace>> make_space(SoftEngine&, const SpaceOptions&) noexcept;
// `parent` is of this design. Error::inval when it belongs to another engine.
template <VmaLockDesign L>
Result<std::unique_ptr<AddressSpace>> fork_space(SoftEngine&, AddressSpace& parent,
                                                 const std::stop_token&) noexcept;

}  // namespace pervma
