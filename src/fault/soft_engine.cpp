#include "fault/soft_engine.h"

#include <new>

#include "fault/page_table.h"
#include "sync/rcu.h"

namespace pervma {

Result<std::unique_ptr<Engine>> Engine::create(const EngineOptions& options) {
  std::unique_ptr<FramePool> frames = FramePool::create(options.frames);
  if (frames == nullptr) return std::unexpected(Error::nomem);
  frames->make_present(options.present);
  std::unique_ptr<Engine> engine(new (std::nothrow) SoftEngine(std::move(frames)));
  if (engine == nullptr) return std::unexpected(Error::nomem);
  return engine;
}

SoftEngine::~SoftEngine() {
  PERVMA_ASSERT_OP(spaces_.load(std::memory_order_relaxed), ==,
                   0u);                      // A space outlives its engine.
  PERVMA_ASSERT_OP(caches_.live(), ==, 0u);  // A FileRef outlives its engine.
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

PageCount SoftEngine::frames_used() const noexcept { return {frames_->in_use(FrameUse::page)}; }

void SoftEngine::quiesce() noexcept {
  rcu_barrier();
  frames_->wait_for_retired();
  frames_->trim();
}

}  // namespace pervma
