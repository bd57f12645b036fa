#include "fault/frame_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <thread>
#include <utility>

#include "fault/stripe.h"

namespace pervma {

namespace {

constexpr uint64_t kHuge = uint64_t{1} << 21;

constexpr uint64_t round_up(uint64_t n, uint64_t to) noexcept { return (n + to - 1) / to * to; }

// The compiler would make one slow string instruction of a known size: the library's loop takes
// half the time.
void zero_page(std::byte* page) noexcept {
  std::size_t size = kPageSize;
  asm("" : "+r"(size));
  std::memset(page, 0, size);
}

}  // namespace

std::unique_ptr<FramePool> FramePool::create(PageCount frames) noexcept {
  if (frames.value == 0 || frames.value > kMaxFrames - 2) return nullptr;
  const uint64_t limit = frames.value + kZeroFrame.number + 1;
  const uint64_t metas = round_up(limit * sizeof(FrameMeta), kHuge);
  const uint64_t data = round_up(limit << kPageShift, kHuge);
  const uint64_t mapped = metas + data + kHuge;
  void* mapping = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  auto* base = static_cast<std::byte*>(mapping);
  // Aligned, so that 512 frames can be one huge page of the host's.
  const uint64_t skip =
      round_up(reinterpret_cast<uint64_t>(base), kHuge) - reinterpret_cast<uint64_t>(base);
  std::byte* area = base + skip + metas;
  // A hint: one host fault per 2 MiB where it is followed.
  (void)::madvise(area, data, MADV_HUGEPAGE);
  auto* first_meta = reinterpret_cast<FrameMeta*>(base + skip);
  std::unique_ptr<FramePool> pool(
      new (std::nothrow) FramePool(base, mapped, area, first_meta, static_cast<uint32_t>(limit)));
  if (pool == nullptr) ::munmap(mapping, mapped);
  return pool;
}

FramePool::FramePool(std::byte* mapping, uint64_t mapped, std::byte* area, FrameMeta* metas,
                     uint32_t limit) noexcept
    : mapping_(mapping),
      mapped_(mapped),
      area_(area),
      metas_(metas),
      limit_(limit),
      fresh_(kZeroFrame.number + 1) {
  grace_.pool = this;
  FrameMeta* zero = new (&metas_[kZeroFrame.number]) FrameMeta;
  zero->refs.store(1, std::memory_order_relaxed);
}

FramePool::~FramePool() {
  while (is_retiring()) rcu_barrier();
  PERVMA_ASSERT_OP(in_use(FrameUse::page), ==, 0u);   // A page was leaked.
  PERVMA_ASSERT_OP(in_use(FrameUse::table), ==, 0u);  // A page table was leaked.
  ::munmap(mapping_, mapped_);
}

Frame FramePool::alloc(FrameUse use, Fill fill, Patience patience) noexcept {
  if (budget_.load(std::memory_order_relaxed) >= 0 && !spend_budget()) return {};
  Cache& cache = caches_[current_stripe(kStripes)];
  uint32_t item = take(cache, use, Source::used_before);
  if (item == 0 && patience == Patience::wait) [[unlikely]] {
    (void)hurry();
    item = take(cache, use, Source::any);
    if (item == 0) item = take_slowly(use);
  }
  if (item == 0) return {};
  const Frame frame{item & ~kZeroed};
  if (fill == Fill::zero && (item & kZeroed) == 0) zero_page(data(frame));
  PERVMA_DASSERT_OP(meta(frame).refs.load(std::memory_order_relaxed), ==, 0u);
  // Relaxed: others learn of the frame by the entry or the cache slot that is published later.
  meta(frame).refs.store(1, std::memory_order_relaxed);
  return frame;
}

void FramePool::give_back(Frame frame, FrameUse use, Fill contents) noexcept {
  PERVMA_DASSERT_OP(meta(frame).refs.load(std::memory_order_relaxed), ==, 1u);
  meta(frame).refs.store(0, std::memory_order_relaxed);
  meta(frame).mappers.store(nullptr, std::memory_order_relaxed);
  Cache& cache = caches_[current_stripe(kStripes)];
  SpinGuard guard(cache.lock);
  if (cache.count == kCached) spill(cache);
  cache.items[cache.count++] = frame.number | (contents == Fill::zero ? kZeroed : 0);
  add_used(cache, use, -1);
}

void FramePool::hold(Frame frame) noexcept {
  const uint32_t before = meta(frame).refs.fetch_add(1, std::memory_order_relaxed);
  PERVMA_ASSERT_OP(before, <, uint32_t{1} << 31);  // More sharers than can be counted.
  PERVMA_DASSERT_OP(before, >, 0u);
}

bool FramePool::try_hold(Frame frame) noexcept { return FrameWord::try_hold(meta(frame).refs); }

// In one piece: every page that goes comes through here.
[[gnu::flatten]] void FramePool::drop(Frame frame, FrameGather& gather) noexcept {
  if (!drop_one(frame)) return;
  chain_up(gather, frame);
  gather.pages_++;
}

// Whether it was the last reference.
bool FramePool::drop_one(Frame frame) noexcept {
  const uint32_t before = FrameWord::drop(meta(frame).refs);
  PERVMA_ASSERT_OP(before, !=, 0u);
  if (before != 1) return false;
  FrameWord::clear_owner(meta(frame).mappers);
  meta(frame).dirty.store(0, std::memory_order_relaxed);
  return true;
}

void FramePool::drop_table(Frame frame, FrameGather& gather) noexcept {
  PERVMA_DASSERT_OP(meta(frame).refs.load(std::memory_order_relaxed), ==, 1u);
  meta(frame).refs.store(0, std::memory_order_relaxed);
  chain_up(gather, frame);
  gather.tables_++;
}

void FramePool::chain_up(FrameGather& gather, Frame frame) noexcept {
  meta(frame).next = gather.head_;
  if (gather.head_ == 0) gather.tail_ = frame.number;
  gather.head_ = frame.number;
}

void FramePool::retire(FrameGather& gather) noexcept {
  if (gather.empty()) return;
  {
    Cache& cache = caches_[current_stripe(kStripes)];
    SpinGuard guard(cache.lock);
    if (gather.pages_ != 0) add_used(cache, FrameUse::page, -int64_t{gather.pages_});
    if (gather.tables_ != 0) add_used(cache, FrameUse::table, -int64_t{gather.tables_});
  }
  bool start = false;
  {
    SpinGuard guard(retire_lock_);
    join(retired_, {{gather.head_, gather.tail_},
                    {gather.block_head_, gather.block_tail_},
                    gather.pages_ + gather.tables_});
    pending_.store(retired_.count + waiting_.count, std::memory_order_relaxed);
    if (!grace_runs_) {
      grace_runs_ = start = true;
      waiting_ = std::exchange(retired_, Waiting{});
    }
  }
  gather.head_ = gather.tail_ = gather.block_head_ = gather.block_tail_ = 0;
  gather.pages_ = gather.tables_ = 0;
  if (start) start_grace_period();
}

void FramePool::start_grace_period() noexcept { call_rcu(&grace_.head, &after_grace_period); }

void FramePool::after_grace_period(rcu_head* head) {
  rcu_callback_begins(head);
  reinterpret_cast<GraceHead*>(head)->pool->reuse_waited();
  rcu_callback_ends();
}

void FramePool::join(Waiting& to, const Waiting& more) noexcept {
  append(to.frames, more.frames);
  append(to.blocks, more.blocks);
  to.count += more.count;
}

void FramePool::make_free(const Waiting& ready) noexcept {
  SpinGuard guard(free_lock_);
  append(dirty_, ready.frames);
  append(blocks_, ready.blocks);
}

// Nothing is there any more when somebody was in a hurry.
void FramePool::reuse_waited() noexcept {
  Waiting ready;
  {
    SpinGuard guard(retire_lock_);
    ready = std::exchange(waiting_, Waiting{});
    pending_.store(retired_.count, std::memory_order_relaxed);
    ++in_hand_;
  }
  make_free(ready);
  bool again = false;
  {
    SpinGuard guard(retire_lock_);
    --in_hand_;
    again = retired_.count != 0;
    grace_runs_ = again;
    if (again) waiting_ = std::exchange(retired_, Waiting{});
  }
  // When it does not go on, the pool may be destroyed from here on.
  if (again) start_grace_period();
}

// The readers that could still see one of these frames began before it was retired, and so before
// the grace period that begins here; it does not matter that one for the callback began, too.
bool FramePool::hurry() noexcept {
  if (rcu_is_reading()) return false;
  Waiting ready;
  {
    SpinGuard guard(retire_lock_);
    if (retired_.count + waiting_.count == 0) return false;
    ready = std::exchange(waiting_, Waiting{});
    join(ready, std::exchange(retired_, Waiting{}));
    pending_.store(0, std::memory_order_relaxed);
    ++in_hand_;
  }
  const auto begin = std::chrono::steady_clock::now();
  rcu_synchronize();
  if (std::chrono::steady_clock::now() - begin > kLongWait) {
    skips_.store(kSkipped, std::memory_order_relaxed);
  }
  make_free(ready);
  SpinGuard guard(retire_lock_);
  --in_hand_;
  return true;
}

bool FramePool::is_worth_waiting() noexcept {
  if (pending_.load(std::memory_order_relaxed) < kWorthWaiting) return false;
  const int skips = skips_.load(std::memory_order_relaxed);
  if (skips > 0) skips_.store(skips - 1, std::memory_order_relaxed);
  return skips == 0;
}

uint32_t FramePool::take(Cache& cache, FrameUse use, Source source) noexcept {
  SpinGuard guard(cache.lock);
  if (cache.count == 0) refill(cache, source);
  if (cache.count == 0) return 0;
  add_used(cache, use, 1);
  return cache.items[--cache.count];
}

// Looks into every cache, then waits for frames on their way back. Others may be faster to those,
// and may take and retire all that is free between a question and the look that follows it. So it
// gives up only when none was on its way before and after several looks, or after many rounds.
uint32_t FramePool::take_slowly(FrameUse use) noexcept {
  constexpr int kIdleLooks = 3;
  int idle_looks = 0;
  for (int round = 0; round < kMaxRounds; round++) {
    // Asked before looking: what comes back in between is found.
    const bool more_to_come = is_coming();
    for (Cache& cache : caches_) {
      if (const uint32_t item = take(cache, use, Source::any); item != 0) return item;
    }
    if (rcu_is_reading()) break;
    if (!more_to_come && !is_coming()) {
      if (++idle_looks == kIdleLooks) break;
    } else {
      idle_looks = 0;
      wait_for_retired();
    }
  }
  return 0;
}

void FramePool::refill(Cache& cache, Source source) noexcept {
  SpinGuard guard(free_lock_);
  if (source == Source::used_before && dirty_.head == 0 && is_worth_waiting()) return;
  while (cache.count < kBatch) {
    if (dirty_.head != 0) {
      cache.items[cache.count++] = pop(dirty_);
    } else if (clean_.head != 0) {
      cache.items[cache.count++] = pop(clean_) | kZeroed;
    } else {
      break;
    }
  }
  // Downwards, so that frames are handed out in rising order and share the host's huge pages.
  const uint32_t n = std::min(kBatch - std::min(cache.count, kBatch), limit_ - fresh_);
  for (uint32_t i = n; i > 0; i--) {
    const uint32_t number = fresh_ + i - 1;
    new (&metas_[number]) FrameMeta;
    cache.items[cache.count++] = number | kZeroed;
  }
  fresh_ += n;
  if (cache.count == 0 && break_block()) {
    while (cache.count < kBatch) cache.items[cache.count++] = pop(dirty_);
  }
}

void FramePool::spill(Cache& cache) noexcept {
  SpinGuard guard(free_lock_);
  for (unsigned i = 0; i < kBatch; i++) {
    const uint32_t item = cache.items[--cache.count];
    push((item & kZeroed) != 0 ? clean_ : dirty_, item & ~kZeroed);
  }
}

uint32_t FramePool::pop(Chain& chain) noexcept {
  const uint32_t number = chain.head;
  chain.head = metas_[number].next;
  if (chain.head == 0) chain.tail = 0;
  return number;
}

void FramePool::push(Chain& chain, uint32_t number) noexcept {
  metas_[number].next = chain.head;
  if (chain.head == 0) chain.tail = number;
  chain.head = number;
}

// In front: what was used last is most likely still in the CPU's caches.
void FramePool::append(Chain& chain, Chain more) noexcept {
  if (more.head == 0) return;
  metas_[more.tail].next = chain.head;
  if (chain.head == 0) chain.tail = more.tail;
  chain.head = more.head;
}

void FramePool::add_used(Cache& cache, FrameUse use, int64_t n) noexcept {
  std::atomic<int64_t>& used = cache.used[static_cast<unsigned>(use)];
  used.store(used.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

bool FramePool::is_retiring() noexcept {
  SpinGuard guard(retire_lock_);
  return grace_runs_ || in_hand_ != 0;
}

bool FramePool::is_coming() noexcept {
  SpinGuard guard(retire_lock_);
  return retired_.count + waiting_.count != 0 || in_hand_ != 0;
}

// What others have in hand is free in a moment, when they do not lose their CPU.
void FramePool::wait_for_retired() noexcept {
  constexpr int kYields = 16;
  PERVMA_ASSERT(!rcu_is_reading());
  for (int round = 0; round < kMaxRounds && is_coming(); ++round) {
    if (hurry()) continue;
    if (round < kYields) {
      std::this_thread::yield();
    } else {
      rcu_barrier();
    }
  }
}

void FramePool::make_present(PageCount count) noexcept {
  const uint64_t n = std::min<uint64_t>(count.value, limit_);
  if (n == 0 || ::madvise(area_, n << kPageShift, MADV_POPULATE_WRITE) == 0) return;
  // A kernel that does not know the advice: a write to each page does the same.
  for (uint64_t i = 0; i < n; ++i) {
    *reinterpret_cast<volatile char*>(area_ + (i << kPageShift)) = 0;
  }
}

uint64_t FramePool::in_use(FrameUse use) const noexcept {
  int64_t sum = 0;
  for (const Cache& cache : caches_) {
    sum += cache.used[static_cast<unsigned>(use)].load(std::memory_order_relaxed);
  }
  return sum < 0 ? 0 : static_cast<uint64_t>(sum);
}

void FramePool::fail_after(uint64_t n) noexcept {
  budget_.store(static_cast<int64_t>(n), std::memory_order_relaxed);
}
void FramePool::fail_never() noexcept { budget_.store(-1, std::memory_order_relaxed); }

bool FramePool::spend_budget() noexcept {
  int64_t left = budget_.load(std::memory_order_relaxed);
  while (left > 0) {
    if (budget_.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return true;
  }
  return left < 0;
}

}  // namespace pervma
