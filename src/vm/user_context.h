// user_context.h: the identity of a UserFaults, as VMAs refer to it: two VMAs merge only when they
// are registered with the same one, or with none. What it does is the fault layer's.
//
// A VMA has no room for a pointer: it has the context's number, in a word with the modes. A number
// is its context's until that ends, which it does only when no VMA has it any more.
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

  // The context with this number. For who has a reference, or a lock that keeps a VMA that has one.
  static UserContext* with_number(uint32_t number) noexcept;
  // 0: there are as many contexts as can be, and no VMA may have this one.
  uint32_t number() const noexcept { return number_; }

  // One more reference for a holder of one, or of a lock that keeps a VMA that has one.
  void hold() noexcept { (void)refs_.get(); }
  void drop() noexcept {
    if (refs_.put()) delete this;
  }

 protected:
  UserContext() noexcept : number_(take_number(this)) { refs_.set(1); }
  virtual ~UserContext();

 private:
  static uint32_t take_number(UserContext* context) noexcept;

  Refcount refs_;
  const uint32_t number_;
};

// Who is told of which faults in a VMA; all bits zero: nobody.
class UserRegistration {
 public:
  constexpr UserRegistration() noexcept = default;
  UserRegistration(const UserContext* context, UserFaultModes modes) noexcept
      : bits_(context == nullptr
                  ? 0
                  : (context->number() << kModeBits) | static_cast<uint32_t>(modes)) {}

  constexpr UserFaultModes modes() const noexcept {
    return UserFaultModes(bits_ & ((1u << kModeBits) - 1));
  }
  UserContext* context() const noexcept {
    return bits_ == 0 ? nullptr : UserContext::with_number(bits_ >> kModeBits);
  }

 private:
  static constexpr unsigned kModeBits = 3;

  uint32_t bits_ = 0;
};

}  // namespace pervma
