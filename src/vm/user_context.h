// user_context.h: the identity of a UserFaults, as VMAs refer to it: two VMAs merge only when they
// are registered with the same one, or with none. What it does is the fault layer's.
//
// A VMA's context and modes change under its write lock only (rule R9): a fault that holds the VMA
// may take a reference of its own, and use it when the VMA's lock is gone (rule R15).
#pragma once

#include "pervma/user_fault.h"
#include "sync/native_platform.h"
#include "sync/refcount.h"

namespace pervma {

class UserContext {
 public:
  UserContext(const UserContext&) = delete;
  UserContext& operator=(const UserContext&) = delete;

  // One more reference for a holder of one, or of a lock that keeps a VMA that has one.
  void hold() noexcept { (void)refs_.get(); }
  void drop() noexcept {
    if (refs_.put()) delete this;
  }

 protected:
  UserContext() noexcept { refs_.set(1); }
  virtual ~UserContext() = default;

 private:
  Refcount refs_;
};

}  // namespace pervma
