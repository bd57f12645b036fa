// soft_engine.h: the engine whose spaces have software MMUs: owner of the frames, the page caches
// and the memory of VMAs.
#pragma once

#include <atomic>
#include <memory>

#include "fault/collapser.h"
#include "fault/frame_pool.h"
#include "fault/page_caches.h"
#include "fault/reclaim.h"
#include "fault/swap.h"
#include "pervma/engine.h"
#include "vm/vm_context.h"

namespace pervma {

class SoftEngine final : public Engine {
 public:
  explicit SoftEngine(std::unique_ptr<FramePool> frames) noexcept
      : frames_(std::move(frames)), caches_(*frames_) {}
  ~SoftEngine() override;
  // Before the first space. False: no memory.
  [[nodiscard]] bool use_store(std::shared_ptr<PageStore> store) noexcept;
  [[nodiscard]] bool start_collapser() noexcept { return collapser_.start(); }

  Result<std::unique_ptr<AddressSpace>> create_space(const SpaceOptions&) override;
  Result<std::unique_ptr<AddressSpace>> fork(AddressSpace& parent, const std::stop_token&) override;
  Result<FileRef> open(std::shared_ptr<BackingObject>, FileMode) override;
  void truncate(const FileRef&) noexcept override;
  Result<PageBuffer> alloc_page() noexcept override;
  void free_page(uint32_t frame) noexcept override;
  SwapCounters swap_counters() const noexcept override;
  PageCount frames_used() const noexcept override;
  uint64_t collapse_some(uint64_t places) noexcept override { return collapser_.step(places); }
  void quiesce() noexcept override;

  FramePool& frames() noexcept { return *frames_; }
  PageCaches& caches() noexcept { return caches_; }
  Swap* swap() noexcept { return swap_.get(); }
  Reclaim* reclaim() noexcept { return reclaim_.get(); }
  // How often one call makes room before it says that there is none.
  static constexpr int kMaxRooms = 32;
  // When a frame could not be had: gets some back. No lock of a space is held. False: none to be
  // had.
  bool make_room() noexcept { return reclaim_ != nullptr && reclaim_->make_room(); }
  Collapser& collapser() noexcept { return collapser_; }
  VmContext& vm() noexcept { return vm_; }
  void space_begins() noexcept { spaces_.fetch_add(1, std::memory_order_relaxed); }
  void space_ends() noexcept { spaces_.fetch_sub(1, std::memory_order_relaxed); }

 private:
  const std::unique_ptr<FramePool> frames_;
  PageCaches caches_;
  std::unique_ptr<Swap> swap_;
  std::unique_ptr<Reclaim> reclaim_;  // its thread ends first
  VmContext vm_;
  std::atomic<uint64_t> spaces_{0};
  Collapser collapser_;  // its thread ends first of all
};

// One per design, instantiated in design_*.cpp.
template <VmaLockDesign L>
Result<std::unique_ptr<AddressSpace>> make_space(SoftEngine&, const SpaceOptions&) noexcept;
// `parent` is of this design. Error::inval when it belongs to another engine.
template <VmaLockDesign L>
Result<std::unique_ptr<AddressSpace>> fork_space(SoftEngine&, AddressSpace& parent,
                                                 const std::stop_token&) noexcept;

}  // namespace pervma
