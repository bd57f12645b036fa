// vma_lock.h: what a VMA lock design is. One concept for every design of docs/design.md, from "no
// lock at all" to per-CPU slots, so that all are in one binary and are measured in one run.
//
// A design is a type with static functions only. Its state lies in the VMA in two parts: `Near` on
// the VMA's first, hot line beside the bounds; `Far` on its second line, which readers write. What
// a read must remember until its end (a slot, a sequence) is the `Token`, kept by the read guard.
//
// The guarantee all designs give, and all else rests on: begin_read() may answer `contended` for a
// free VMA, never `locked` for one that is write-locked.
//
// There is no unlock_write(): ending the mmap write hold ends every VMA write lock of the space.
// A read is ended by the thread that began it. Holding a read, a thread never waits for an mmap
// lock, and takes a second VMA by begin_read() only.
#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include "sync/mmap_lock.h"
#include "sync/vma_entry.h"

namespace pervma {

enum class ReadTry : uint8_t {
  locked,     // the VMA is read-locked; now check that its bounds cover the address
  contended,  // a writer is (or may be) in the way, or the design has no readers: take the mmap
              // lock
  detached,   // not in this space any more: look it up again
};

// What a word's refusal means to the reader.
constexpr ReadTry refusal(Entry entry) noexcept {
  return entry == Entry::detached ? ReadTry::detached : ReadTry::contended;
}

// What `locked` is worth.
enum class ReadKind : uint8_t {
  none,       // never said: every fault takes the mmap lock
  validated,  // nothing is kept: what was read is copied, and used only if still_valid() says so
  locked,     // the VMA stays as it is until end_read()
};

// Where in a VMA the part lies that readers write.
enum class FarPlace : uint8_t {
  first_line,   // beside the bounds and the mark, which every fault reads
  second_line,  // apart from them
};

// The outcome of an attempt; the token matters only with `locked`.
template <class Token>
struct [[nodiscard]] ReadAttempt {
  ReadTry outcome;
  [[no_unique_address]] Token token;
};

// A token for designs that have nothing to remember.
struct NoToken {};

// The design's own part of the requirements, by name; each function is described in
// vma_lock_refcount.h. Preconditions: begin_read and start_read_locked run inside an RCU read
// section or with the VMA otherwise kept in memory; the others as their comments say.
template <class L>
concept VmaLockDesign =
    requires(typename L::Near& near, const typename L::Near& cnear, typename L::Far& far,
             const typename L::Far& cfar, typename L::Space& space, const typename L::Space& cspace,
             const typename L::Token& token, const typename L::Space::StopToken& stop) {
      { L::kName } -> std::convertible_to<std::string_view>;
      { L::kReadKind } -> std::convertible_to<ReadKind>;
      { L::kFarPlace } -> std::convertible_to<FarPlace>;
      // Whether the design also runs with VMAs that are freed after an RCU grace period.
      { L::kFreesByRcu } -> std::convertible_to<bool>;

      // A VMA comes out of the allocator / goes back to it (detached, no reader). init() may fail
      // for designs that allocate.
      { L::init(near, far, cspace) } noexcept -> std::same_as<bool>;
      { L::retire(near, far) } noexcept;

      // Readers.
      { L::begin_read(near, far, cspace) } noexcept -> std::same_as<ReadAttempt<typename L::Token>>;
      {
        L::start_read_locked(near, far, cspace)
      } noexcept -> std::same_as<ReadAttempt<typename L::Token>>;
      { L::still_valid(cnear, cspace, token) } noexcept -> std::same_as<bool>;
      { L::end_read(far, token) } noexcept;

      // Writers: the space's mmap lock is held for write.
      { L::lock_write(near, far, space, stop) } noexcept -> std::same_as<bool>;
      { L::attach(near, far, space) } noexcept;
      { L::detach(near, far, space) } noexcept;

      // Questions for assertions and statistics.
      { L::is_write_locked(cnear, cspace) } noexcept -> std::same_as<bool>;
      { L::is_detached(cfar) } noexcept -> std::same_as<bool>;
      { L::is_read_locked_or_more(cnear, cfar, cspace) } noexcept -> std::same_as<bool>;
      { L::reader_count(cfar) } noexcept -> std::same_as<uint32_t>;
    };

// Whether faults are served without the mmap lock; and whether readers keep the VMA meanwhile.
template <class L>
inline constexpr bool kServesFaults = L::kReadKind != ReadKind::none;
template <class L>
inline constexpr bool kLocksVmas = L::kReadKind == ReadKind::locked;

}  // namespace pervma
