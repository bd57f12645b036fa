#include "sync/rcu_retire.h"

#include <new>
#include <type_traits>

#include "sync/assert.h"

namespace pervma {

struct RcuRetire::Batch {
  rcu_head head;
  RcuRetire* owner;
  Batch* next;
  size_t count;
  void* objects[kBatch];
};

RcuRetire::~RcuRetire() {
  // Full batches are with liburcu; the open one need not go there for its grace period.
  const size_t freed = freed_.load(std::memory_order_acquire);  // [R2] pairs with [R1]
  if (freed != handed_over_) rcu_barrier();
  if (open_ != nullptr) {
    if (open_->count != 0) rcu_synchronize();
    free_all(open_);
    delete open_;
  }
  while (spare_ != nullptr) {
    Batch* next = spare_->next;
    delete spare_;
    spare_ = next;
  }
}

bool RcuRetire::reserve(size_t n) noexcept {
  size_t room = spares_ * kBatch;
  if (open_ != nullptr) room += kBatch - open_->count;
  while (room < n) {
    const bool may = may_allocate_ == nullptr || may_allocate_(context_);
    Batch* batch = may ? new (std::nothrow) Batch : nullptr;
    if (batch == nullptr) return false;
    batch->count = 0;
    batch->next = spare_;
    spare_ = batch;
    ++spares_;
    room += kBatch;
  }
  return true;
}

void RcuRetire::retire(void* object) noexcept {
  PERVMA_DASSERT(object != nullptr);
  retired_.store(retired_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (open_ == nullptr) open_ = take_empty_batch();
  if (open_ == nullptr) {
    rcu_synchronize();
    free_(context_, object);
    retired_.store(retired_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    return;
  }
  open_->objects[open_->count++] = object;
  if (open_->count < kBatch) return;
  hand_over();
  if (pending() >= kMaxPending && !rcu_is_reading()) rcu_barrier();
}

void RcuRetire::flush() noexcept {
  if (open_ != nullptr && open_->count != 0) hand_over();
}

size_t RcuRetire::pending() const noexcept {
  // freed_ first: an object that is retired and freed in between must not make the result negative.
  const size_t freed = freed_.load(std::memory_order_relaxed);
  const size_t retired = retired_.load(std::memory_order_relaxed);
  return retired > freed ? retired - freed : 0;
}

RcuRetire::Batch* RcuRetire::take_empty_batch() noexcept {
  if (spare_ == nullptr && !reserve(1)) return nullptr;
  Batch* batch = spare_;
  spare_ = batch->next;
  --spares_;
  return batch;
}

void RcuRetire::hand_over() noexcept {
  Batch* batch = open_;
  open_ = nullptr;
  batch->owner = this;
  handed_over_ += batch->count;
  call_rcu(&batch->head, &RcuRetire::run);
}

void RcuRetire::run(rcu_head* head) {
  static_assert(std::is_standard_layout_v<Batch> && sizeof(Batch) == 1024);
  rcu_callback_begins(head);
  auto* batch = reinterpret_cast<Batch*>(head);
  batch->owner->free_all(batch);
  delete batch;
  rcu_callback_ends();
}

void RcuRetire::free_all(Batch* batch) noexcept {
  for (size_t i = 0; i < batch->count; ++i) free_(context_, batch->objects[i]);
  freed_.fetch_add(batch->count, std::memory_order_release);  // [R1] pairs with [R2]
}

}  // namespace pervma
