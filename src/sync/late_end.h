// late_end.h: the end of a thing that may still be made known while it ends.
//
// One grace period is enough for what nobody can find any more when it begins. Here somebody inside
// a read section may leave a pointer to the thing for others to find, after its last holder has
// gone, and takes it away again before his section ends. Who finds that pointer may be in a section
// that began too late for the first period to wait for; but when that period is over no such
// pointer is left, and a second one waits for all who found it.
#pragma once

#include <type_traits>

#include "sync/platform.h"

namespace pervma {

// A member, or a base, of the thing; nothing of it is used before begin().
template <class P>
class BasicLateEnd {
 public:
  using End = void (*)(BasicLateEnd* self);

  // Has `end` run after two grace periods, on the thread that runs RCU callbacks. Never fails,
  // never waits. Once.
  void begin(End end) noexcept {
    rcu_.self = this;
    end_ = end;
    P::call_rcu(&rcu_.head, &after_first);
  }

 private:
  struct Rcu {
    typename P::RcuHead head;
    BasicLateEnd* self;
  };
  static_assert(std::is_standard_layout_v<Rcu>);
  static BasicLateEnd& from(typename P::RcuHead* head) noexcept {
    return *reinterpret_cast<Rcu*>(head)->self;
  }

  static void after_first(typename P::RcuHead* head) {
    P::rcu_callback_begins(head);
    if (P::keep(Site::late_end_waits_again)) {
      P::call_rcu(head, &after_second);
    } else {
      finish(from(head));
    }
    P::rcu_callback_ends();
  }
  static void after_second(typename P::RcuHead* head) {
    P::rcu_callback_begins(head);
    finish(from(head));
    P::rcu_callback_ends();
  }
  static void finish(BasicLateEnd& self) noexcept { self.end_(&self); }

  Rcu rcu_{};
  End end_ = nullptr;
};

}  // namespace pervma
