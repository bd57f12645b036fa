#include "vm/anon_vma.h"

#include <new>

namespace pervma {

AnonVma::AnonVma(uint64_t id, AnonVma* parent) noexcept
    : Mappers(LockTracker::Kind::anon),
      id_(id),
      parent_(parent),
      root_(parent != nullptr ? parent->root_ : this) {
  if (parent_ != nullptr) {
    parent_->hold();
    parent_->children_.fetch_add(1, std::memory_order_relaxed);
  } else {
    children_.store(1, std::memory_order_relaxed);  // The root counts itself.
  }
}

AnonVma* AnonVma::create(uint64_t id, AnonVma* parent) noexcept {
  return new (std::nothrow) AnonVma(id, parent);
}

void AnonVma::drop() noexcept {
  AnonVma* a = this;
  while (a != nullptr && a->refs_.put()) {  // A loop: families can be long.
    AnonVma* const parent = a->parent_;
    if (parent != nullptr) parent->children_.fetch_sub(1, std::memory_order_relaxed);
    free_later(a);
    a = parent;
  }
}

AnonAncestors* AnonAncestors::create(const AnonAncestors* base, AnonVma* last) noexcept {
  const uint32_t base_size = base != nullptr ? base->size() : 0;
  const uint32_t size = base_size + 1;
  void* memory = ::operator new(sizeof(AnonAncestors) + size * sizeof(AnonVma*), std::nothrow);
  if (memory == nullptr) return nullptr;
  auto* chain = new (memory) AnonAncestors(size);
  for (uint32_t i = 0; i < base_size; ++i) chain->items()[i] = base->at(i);
  chain->items()[base_size] = last;
  for (uint32_t i = 0; i < size; ++i) chain->items()[i]->hold();
  return chain;
}

void AnonAncestors::drop() noexcept {
  if (!refs_.put()) return;
  for (uint32_t i = 0; i < size_; ++i) items()[i]->drop();
  this->~AnonAncestors();
  ::operator delete(this);
}

}  // namespace pervma
