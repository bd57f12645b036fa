#include "vm/mappers.h"

#include <mutex>
#include <new>

#include "sync/assert.h"

namespace pervma {

Mappers* Mappers::create() noexcept { return new (std::nothrow) Mappers(LockTracker::Kind::file); }

void Mappers::drop() noexcept {
  if (refs_.put()) free_later(this);
}

void Mappers::free_later(Mappers* mappers) noexcept {
  mappers->ending_.mappers = mappers;
  mappers->ending_.begin(
      [](BasicLateEnd<NativePlatform>* ending) { delete static_cast<Ending*>(ending)->mappers; });
}

void Mappers::add(MapperLink& vma) noexcept {
  PERVMA_DASSERT(!vma.is_linked());
  const std::scoped_lock guard(lock_);
  vma.space_ |= MapperLink::kLinked;
  vma.next_ = nullptr;
  vma.prev_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = &vma;
  last_ = &vma;
}

void Mappers::remove(MapperLink& vma) noexcept {
  PERVMA_DASSERT(vma.is_linked());
  const std::scoped_lock guard(lock_);
  (vma.prev_ != nullptr ? vma.prev_->next_ : first_) = vma.next_;
  (vma.next_ != nullptr ? vma.next_->prev_ : last_) = vma.prev_;
  vma.next_ = vma.prev_ = nullptr;
  vma.space_ &= ~MapperLink::kLinked;
}

}  // namespace pervma
