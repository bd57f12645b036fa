// notifier_word.h: the pointer to a space's list of notifiers (notifiers.h), which is exchanged as
// a whole. A template over the platform (sync/site.h).
#pragma once

#include <atomic>

#include "sync/platform.h"

namespace pervma {

template <class P, class List>
struct BasicNotifierWord {
  using Word = typename P::template Atomic<List*>;

  static List* look(const Word& word) noexcept {
    return word.load(P::order(Site::notifiers_look, std::memory_order_acquire));  // [F14] [F15]
  }
  static void set(Word& word, List* list) noexcept {
    word.store(list, P::order(Site::notifiers_set, std::memory_order_release));  // [F15] [F14]
  }
};

}  // namespace pervma
