// vma_word_place.h: where the word of a VMA's lock lies: on the VMA's first line beside what every
// fault reads (readers then disturb each other's reads of the bounds), on its second line, or in an
// object of its own (no line is shared, and every VMA pays for one more).
#pragma once

#include <new>

#include "sync/cpu.h"
#include "sync/vma_lock.h"

namespace pervma {

struct OnFirstLine {
  static constexpr FarPlace kFarPlace = FarPlace::first_line;
  static constexpr unsigned kOwnObjectBytes = 0;

  template <class P, class Word>
  struct Far {
    bool prepare() noexcept { return true; }
    Word& word() noexcept { return word_; }
    const Word& word() const noexcept { return word_; }

   private:
    Word word_;
  };
};

struct OnSecondLine : OnFirstLine {
  static constexpr FarPlace kFarPlace = FarPlace::second_line;
};

// The object is made when the VMA is first used, and stays with the VMA's memory: stale readers
// follow the pointer, which never changes after that.
struct Apart {
  static constexpr FarPlace kFarPlace = FarPlace::first_line;
  static constexpr unsigned kOwnObjectBytes = kCacheLine;

  template <class P, class Word>
  class Far {
   public:
    Far() noexcept = default;
    Far(const Far&) = delete;
    Far& operator=(const Far&) = delete;
    ~Far() {
      if (object_ == nullptr) return;
      object_->~Object();
      P::deallocate(object_);
    }

    // False: no memory.
    bool prepare() noexcept {
      if (object_ != nullptr) return true;
      void* const memory = P::allocate(sizeof(Object), alignof(Object));
      if (memory != nullptr) object_ = ::new (memory) Object;
      return object_ != nullptr;
    }
    Word& word() noexcept { return object_->word; }
    const Word& word() const noexcept { return object_->word; }
    bool is_prepared() const noexcept { return object_ != nullptr; }

   private:
    struct alignas(kCacheLine) Object {
      Word word;
    };
    Object* object_ = nullptr;
  };
};

}  // namespace pervma
