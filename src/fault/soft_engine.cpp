#include "fault/soft_engine.h"

#include <new>

#include "fault/page_table.h"
#include "fault/soft_mmu.h"
#include "sync/rcu.h"

namespace pervma {

Result<std::unique_ptr<Engine>> Engine::create(const EngineOptions& options) {
  std::unique_ptr<FramePool> frames = FramePool::create(options.frames);
  if (frames == nullptr) return std::unexpected(Error::nomem);
  frames->make_present(options.present);
  std::unique_ptr<SoftEngine> engine(new (std::nothrow) SoftEngine(std::move(frames)));
  if (engine == nullptr || (options.swap != nullptr && !engine->use_store(options.swap))) {
    return std::unexpected(Error::nomem);
  }
  if (options.collapser == CollapserKind::thread && !engine->start_collapser()) {
    return std::unexpected(Error::nomem);
  }
  return engine;
}

bool SoftEngine::use_store(std::shared_ptr<PageStore> store) noexcept {
  swap_ = Swap::create(*frames_, std::move(store));
  if (swap_ == nullptr) return false;
  reclaim_.reset(new (std::nothrow) Reclaim(*frames_, *swap_));
  return reclaim_ != nullptr && reclaim_->start();
}

SwapCounters SoftEngine::swap_counters() const noexcept {
  return swap_ != nullptr ? swap_->counters() : SwapCounters{};
}

SoftEngine::~SoftEngine() {
  PERVMA_ASSERT_OP(spaces_.load(std::memory_order_relaxed), ==,
                   0u);                      // A space outlives its engine.
  PERVMA_ASSERT_OP(caches_.live(), ==, 0u);  // A FileRef outlives its engine.
  rcu_barrier();  // What spaces and files left to a grace period goes before the engine.
}

Result<std::unique_ptr<AddressSpace>> SoftEngine::create_space(const SpaceOptions& options) {
  if (options.top > PageTable::kEnd) return std::unexpected(Error::inval);
  return with_design(options.design,
                     [&]<class L>(DesignType<L>) { return make_space<L>(*this, options); });
}

Result<std::unique_ptr<AddressSpace>> SoftEngine::fork(AddressSpace& parent,
                                                       const std::stop_token& stop) {
  return with_design(parent.design(),
                     [&]<class L>(DesignType<L>) { return fork_space<L>(*this, parent, stop); });
}

Result<FileRef> SoftEngine::open(std::shared_ptr<BackingObject> object, FileMode mode) {
  return caches_.open(std::move(object), mode);
}

void SoftEngine::truncate(const FileRef& file) noexcept {
  if (!file) return;
  PageCache& cache = PageCache::of(*file.get());
  cache.truncate();
  SoftMmu::unmap_beyond_end(cache);
}

Result<PageBuffer> SoftEngine::alloc_page() noexcept {
  Frame frame = frames_->alloc(FrameUse::page, Fill::none);
  for (int i = 0; !frame && i < kMaxRooms && make_room(); ++i) {
    frame = frames_->alloc(FrameUse::page, Fill::none);
  }
  if (!frame) return std::unexpected(Error::nomem);
  return PageBuffer(*this, frame.number, frames_->data(frame));
}

void SoftEngine::free_page(uint32_t frame) noexcept {
  frames_->give_back(Frame{frame}, FrameUse::page, Fill::none);
}

PageCount SoftEngine::frames_used() const noexcept { return {frames_->in_use(FrameUse::page)}; }

void SoftEngine::quiesce() noexcept {
  if (reclaim_ != nullptr) reclaim_->wait_idle();
  rcu_barrier();
  frames_->wait_for_retired();
  frames_->trim();
}

}  // namespace pervma
