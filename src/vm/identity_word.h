// identity_word.h: the pointer to a VMA's anon_vma, which a fault sets beside others that read it.
// A template over the platform (sync/site.h).
#pragma once

#include <atomic>

#include "sync/platform.h"

namespace pervma {

template <class P, class Identity>
struct BasicIdentityWord {
  using Word = typename P::template Atomic<Identity*>;

  // Who sees the identity also sees what its maker wrote into it.
  static Identity* look(const Word& word) noexcept {
    return word.load(P::order(Site::identity_look, std::memory_order_acquire));  // [V1] with [V2]
  }
  static void set(Word& word, Identity* identity) noexcept {
    word.store(identity,
               P::order(Site::identity_set, std::memory_order_release));  // [V2] with [V1]
  }
};

}  // namespace pervma
