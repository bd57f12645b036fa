// vma_lock_none.h: the design without a VMA lock, as Linux was before 6.4: every fault takes the
// mmap lock for read. It keeps the marks, so that "this VMA is write-locked" can still be asserted.
#pragma once

#include <cstdint>
#include <string_view>

#include "sync/vma_lock.h"
#include "sync/vma_mark.h"

namespace pervma {

template <class P>
class BasicMmapLockDesign {
 public:
  static constexpr std::string_view kName = "mmap_lock";
  static constexpr ReadKind kReadKind = ReadKind::none;
  static constexpr FarPlace kFarPlace = FarPlace::second_line;
  static constexpr bool kFreesByRcu = false;

  using Space = BasicMmapLock<P>;
  using StopToken = typename P::StopToken;
  using Token = NoToken;
  using Attempt = ReadAttempt<Token>;

  using Near = BasicVmaMark<P>;
  struct Far {
    typename P::template Atomic<uint32_t> attached{0};
  };

  static bool init(Near& near, Far& far, const Space& owner) noexcept {
    PERVMA_ASSERT(is_detached(far));
    near.init(owner);
    return true;
  }
  static void retire(Near&, Far& far) noexcept { PERVMA_ASSERT(is_detached(far)); }

  static Attempt begin_read(Near&, Far&, const Space&) noexcept { return {ReadTry::contended, {}}; }
  static Attempt start_read_locked(Near&, Far&, const Space&) noexcept {
    return {ReadTry::contended, {}};
  }
  static bool still_valid(const Near&, const Space&, const Token&) noexcept { return false; }
  static void end_read(Far&, const Token&) noexcept {
    const bool a_read_began = false;
    PERVMA_ASSERT(a_read_began);
  }

  [[nodiscard]] static bool lock_write(Near& near, Far&, Space& space,
                                       const StopToken& = {}) noexcept {
    space.assert_held_write();
    near.set(space);
    return true;
  }
  static void attach(Near& near, Far& far, Space& space) noexcept {
    PERVMA_ASSERT(is_write_locked(near, space));
    PERVMA_ASSERT(is_detached(far));
    far.attached.store(1, std::memory_order_relaxed);
  }
  static void detach(Near& near, Far& far, Space& space) noexcept {
    PERVMA_ASSERT(is_write_locked(near, space));
    PERVMA_ASSERT(!is_detached(far));
    far.attached.store(0, std::memory_order_relaxed);
  }

  static bool is_write_locked(const Near& near, const Space& space) noexcept {
    return near.is_write_locked(space);
  }
  static bool is_detached(const Far& far) noexcept {
    return far.attached.load(std::memory_order_relaxed) == 0;
  }
  // Nobody read-locks a VMA of this design: the question is answered by the mmap lock.
  static bool is_read_locked_or_more(const Near& near, const Far&, const Space& space) noexcept {
    return is_write_locked(near, space);
  }
  static uint32_t reader_count(const Far&) noexcept { return 0; }
};

}  // namespace pervma
