// range_map.h: a map from ranges of 64-bit addresses to values, for many threads that look ranges
// up and hold them, while a few insert, split, merge, change and remove.
//
// A lookup takes no lock of the map: it walks a tree under RCU, raises a 4-byte count in the range
// it finds, and checks its bounds. A writer waits only for those who hold a range it touches.
// Everything a writer section did ends for readers at once, when the section ends.
//
//   auto map = RangeMap<Region*>::create().value();
//   map.write()->insert(Range{a, b}, region);
//   if (auto guard = map.find(address)) use(guard->value());   // nobody changes it meanwhile
//
// Ranges are half-open, not empty, do not overlap, and end at 2^64-1 at most. No call throws but
// check(), whose report is text, and what a visitor of the caller's throws.
// Errors: inval (an empty or inverted range), exist, noent, nomem (nothing changed), intr (a stop
// was requested while waiting, nothing changed), deadlk: the calling thread holds a guard or a
// writer section of this map, and would sooner or later wait for itself.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "pervma/address.h"
#include "pervma/detail/range_core.h"
#include "pervma/detail/range_value.h"
#include "pervma/error.h"
#include "pervma/range_guard.h"
#include "pervma/range_writer.h"

namespace pervma {

// The merge rule of a map whose ranges stay apart. A rule of your own is a type with
//   bool operator()(Range left, const Value&, Range right, const Value&) const noexcept
// that says whether adjacent ranges may become one, with the left one's value.
struct NeverMerge {};

template <class Value>
struct RangeMapOptions {
  // Called for every retired range when its last holder has left, by that thread or, if nobody
  // holds it, by the writer when its section has ended: under no lock, before the value is
  // destroyed. May call the map, where the thread itself may. A lookup that meets the range just
  // then counts as a holder, whatever it answers: so this may be called inside find(), try_find()
  // and find_next(), and must not want a lock that a caller of those holds.
  void (*on_retired)(void* context, Range range, const Value& value) noexcept = nullptr;
  void* context = nullptr;
  // Tests: true makes an allocation of ranges or tree nodes fail.
  bool (*fail_allocation)(void* context) = nullptr;
  void* fail_context = nullptr;
};

template <class Value, class Merge = NeverMerge>
class RangeMap {
  using Stored = detail::RangeValue<Value>;

 public:
  using Guard = RangeGuard<Value>;
  using Entry = RangeEntry<Value>;
  using Options = RangeMapOptions<Value>;
  using Writer = RangeWriter<Value>;

  // Error::nomem: no memory.
  static Result<RangeMap> create(const Options& options = {}, Merge merge = {}) noexcept {
    std::unique_ptr<Shared> shared(new (std::nothrow) Shared{options, std::move(merge)});
    if (shared == nullptr) return std::unexpected(Error::nomem);
    detail::RangeCore* core =
        detail::RangeCore::create(ops_of(*shared), options.fail_allocation, options.fail_context);
    if (core == nullptr) return std::unexpected(Error::nomem);
    return RangeMap(std::move(shared), core);
  }
  RangeMap(RangeMap&& other) noexcept
      : shared_(std::move(other.shared_)), core_(std::exchange(other.core_, nullptr)) {}
  RangeMap& operator=(RangeMap&& other) noexcept {
    std::swap(shared_, other.shared_);
    std::swap(core_, other.core_);
    return *this;
  }
  // Destroys every value. Aborts, with a line that says so, when a guard is left. Waits for an RCU
  // grace period.
  ~RangeMap() {
    if (core_ != nullptr) detail::RangeCore::destroy(core_);
  }

  // --- readers; any thread ---------------------------------------------------------------------

  // Holds the range with this address against removal and change; noent: there is none. Waits only
  // for a writer section that touches the range. About 30 ns among a thousand ranges.
  Result<Guard> find(Address address, const std::stop_token& stop = {}) const noexcept {
    return guard_of(core_->find(address.value, stop));
  }
  // The first range that ends behind `from` and begins before `end`.
  Result<Guard> find_next(Address from, Address end,
                          const std::stop_token& stop = {}) const noexcept {
    return guard_of(core_->find_next(from.value, end.value, stop));
  }

  // Never waits: lock-free. The only lookup for a thread that holds a guard of this map.
  struct Tried {
    RangeTry outcome;
    Guard guard;
  };
  Tried try_find(Address address) const noexcept {
    const detail::RangePin pin = core_->try_find(address.value);
    return {outcome_of(pin.error), Guard(core_, pin.range)};
  }

  // A copy of the range and its value, whole at one moment, without any write to memory that
  // another thread reads. Waits only for a writer section that touches the range. About 15 ns.
  Result<Entry> find_fast(Address address, const std::stop_token& stop = {}) const noexcept
    requires Stored::kWords
  {
    uint64_t words[2 + Stored::kCount];
    const int error = core_->copy(address.value, words, stop);
    if (error != 0) return std::unexpected(Error{error});
    return entry_of(words);
  }
  // The same, and never waits: nothing when a writer is in the way, too.
  std::optional<Entry> try_find_fast(Address address) const noexcept
    requires Stored::kWords
  {
    uint64_t words[2 + Stored::kCount];
    if (core_->try_copy(address.value, words) != 0) return std::nullopt;
    return entry_of(words);
  }

  // Calls visit(const Guard&) for every range that meets the window, in order, until it answers
  // false (if it answers at all). Beside writers every step goes forward, and what is in the map
  // during the whole journey is met. One range is held at a time, by this thread.
  template <class Visit>
  Result<size_t> for_each(Range window, Visit&& visit, const std::stop_token& stop = {}) const {
    size_t count = 0;
    for (Address from = window.start; from < window.end; ++count) {
      const Result<Guard> guard = find_next(from, window.end, stop);
      if (!guard && guard.error() == Error::noent) break;
      if (!guard) return std::unexpected(guard.error());
      from = guard->range().end;
      if constexpr (std::is_void_v<std::invoke_result_t<Visit&, const Guard&>>) {
        visit(*guard);
      } else if (!visit(*guard)) {
        return count + 1;
      }
    }
    return count;
  }

  // Where `bytes` addresses in a row are free inside the window: the lowest or highest such place;
  // noent: there is none. Takes the map lock for read. Another thread may take the place first:
  // inside a writer section, RangeWriter::find_gap() and insert() belong together.
  Result<Address> find_gap(Range window, uint64_t bytes, GapSide side = GapSide::lowest,
                           const std::stop_token& stop = {}) const noexcept {
    uint64_t at = 0;
    const int error = core_->find_gap(window, bytes, side, stop, &at);
    if (error != 0) return std::unexpected(Error{error});
    return Address{at};
  }

  // --- the writer; any thread, one at a time ---------------------------------------------------

  // Begins a writer section; waits for the one that is in, in order. A stop ends this wait and
  // those of the section for readers.
  Result<Writer> write(std::stop_token stop = {}) noexcept {
    const int error = core_->begin_write(stop);
    if (error != 0) return std::unexpected(Error{error});
    return Writer(core_, std::move(stop));
  }

  RangeMapStats stats() const noexcept { return core_->stats(); }
  // Checks every structure under the map lock; empty when all is well, else what is wrong.
  std::string check() const { return core_->check(); }

 private:
  struct Shared {
    Options options;
    Merge merge;
  };

  RangeMap(std::unique_ptr<Shared> shared, detail::RangeCore* core) noexcept
      : shared_(std::move(shared)), core_(core) {}

  static detail::RangeValueOps ops_of(const Shared& shared) noexcept {
    detail::RangeValueOps ops{.words = Stored::kCount,
                              .destroy = nullptr,
                              .may_merge = nullptr,
                              .rule = &shared.merge,
                              .retired = nullptr,
                              .context = const_cast<Options*>(&shared.options)};
    if constexpr (!Stored::kWords) ops.destroy = &destroy;
    if constexpr (!std::same_as<Merge, NeverMerge>) ops.may_merge = &may_merge;
    if (shared.options.on_retired != nullptr) ops.retired = &retired;
    return ops;
  }
  static bool may_merge(const void* rule, Range left, const void* left_storage, Range right,
                        const void* right_storage) noexcept {
    return (*static_cast<const Merge*>(rule))(left, Stored::get(left_storage), right,
                                              Stored::get(right_storage));
  }
  static void destroy(void*, void* storage) noexcept { Stored::destroy(storage); }
  static void retired(void* context, Range range, void* storage) noexcept {
    const auto& options = *static_cast<const Options*>(context);
    options.on_retired(options.context, range, Stored::get(storage));
  }

  Result<Guard> guard_of(detail::RangePin pin) const noexcept {
    if (pin.error != 0) [[unlikely]]
      return std::unexpected(Error{pin.error});
    return Guard(core_, pin.range);
  }
  static Entry entry_of(const uint64_t* words) noexcept
    requires Stored::kWords
  {
    return {Range{Address{words[0]}, Address{words[1] + 1}}, Stored::from_words(words + 2)};
  }
  static RangeTry outcome_of(int error) noexcept {
    if (error == 0) return RangeTry::found;
    return error == ENOENT ? RangeTry::nothing : RangeTry::contended;
  }

  std::unique_ptr<Shared> shared_;
  detail::RangeCore* core_;
};

}  // namespace pervma
