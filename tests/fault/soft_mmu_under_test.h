// soft_mmu_under_test.h: the software MMU, for the conformance suite and its own tests.
#pragma once

#include "fault/soft_mmu.h"
#include "tests/fault/mmu_under_test.h"

namespace pervma::test {

class SoftMmuUnderTest final : public MmuUnderTest {
 public:
  struct Memory {
    explicit Memory(PageCount frames) : pool(FramePool::create(frames)), caches(*pool) {}
    const std::unique_ptr<FramePool> pool;
    PageCaches caches;
  };

  explicit SoftMmuUnderTest(PageCount frames = {2000})
      : SoftMmuUnderTest(std::make_shared<Memory>(frames)) {}
  explicit SoftMmuUnderTest(std::shared_ptr<Memory> memory)
      : memory_(std::move(memory)),
        mmu_(*memory_->pool, memory_->caches, memory_->pool->alloc(FrameUse::table, Fill::zero)) {}

  SoftMmu& mmu() override { return mmu_; }
  FramePool& pool() { return *memory_->pool; }
  std::unique_ptr<MmuUnderTest> make_child() override {
    return std::make_unique<SoftMmuUnderTest>(memory_);
  }
  FileRef open(std::shared_ptr<BackingObject> object) override {
    return *memory_->caches.open(std::move(object), FileMode::read_write);
  }

  FaultStep serve(LooseVma& vma, Address a, Access access, FaultHold hold) {
    return mmu_.serve({vma, a, access, hold});
  }
  FaultOutcome touch(LooseVma& vma, Address a, Access access) override {
    FaultStep step = serve(vma, a, access, FaultHold::mmap_lock_may_wait);
    if (step == FaultStep::needs_anon_vma) {
      vma.give_anon_vma();
      step = serve(vma, a, access, FaultHold::mmap_lock_may_wait);
    }
    switch (step) {
      case FaultStep::resolved: return FaultOutcome::resolved;
      case FaultStep::map_error: return FaultOutcome::map_error;
      case FaultStep::bus_error: return FaultOutcome::bus_error;
      default: return FaultOutcome::out_of_memory;
    }
  }
  bool reaches(Address a, Access access) override {
    const PageEntry e = mmu_.entry_at(a);
    switch (access) {
      case Access::write: return e.allows(Right::write);
      case Access::exec: return e.allows(Right::exec);
      case Access::read: break;
    }
    return e.allows(Right::user);
  }
  std::byte read(Address a) override {
    std::byte value{};
    EXPECT_EQ(mmu_.load(a, {&value, 1}), SoftMmu::Reach::done);
    return value;
  }
  void write(Address a, std::byte value) override {
    EXPECT_EQ(mmu_.store(a, {&value, 1}), SoftMmu::Reach::done);
  }

  uint64_t pages() override { return memory_->pool->in_use(FrameUse::page); }
  void fail_after(uint64_t n) override { memory_->pool->fail_after(n); }
  void fail_never() override { memory_->pool->fail_never(); }

 private:
  const std::shared_ptr<Memory> memory_;
  SoftMmu mmu_;
};

}  // namespace pervma::test
