// notifier.h: for whoever keeps translations of his own (an emulator's TLB, a device's map): told
// before an entry of the page table goes or loses a right, and again when that is done.
#pragma once

#include "pervma/address.h"

namespace pervma {

// Between start and end the pages of the range may change at any moment; before start they have
// not, after end they will not. So: start forgets the translations of the range and lets none be
// made until the matching end; several may be open at once, and overlap. A translation that was
// asked for (AddressSpace::translate) may be kept only if no start came in between; count the
// starts under the lock of the translations, and compare under it. Then none is used after the
// start that ends it has returned, and the page's memory stays as it is until then.
//
// Called by the thread that makes the change, under locks of the space (a VMA or mmap lock, or the
// lock of the pages' mappers): must not call into any space, and must not wait for a thread that
// does.
class PageNotifier {
 public:
  virtual void invalidate_start(Range) noexcept = 0;
  virtual void invalidate_end(Range) noexcept = 0;

 protected:
  ~PageNotifier() = default;
};

}  // namespace pervma
