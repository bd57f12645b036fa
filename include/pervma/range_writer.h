// range_writer.h: a writer section of a RangeMap. Made by RangeMap::write().
//
// One thread is in a section at a time, and ends it itself. A change waits for the holders of the
// ranges it touches, and for nobody else; from then until the section ends, readers of these ranges
// wait, and readers of all others do not notice. What was changed is seen all at once when the
// section ends. Inside, the thread looks ranges up with the section's own members.
//
// Every error leaves the map as it was. Values that were removed are destroyed when the section has
// ended, under no lock.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "pervma/address.h"
#include "pervma/detail/range_core.h"
#include "pervma/detail/range_value.h"
#include "pervma/error.h"
#include "pervma/range_guard.h"

namespace pervma {

template <class Value>
class [[nodiscard]] RangeWriter {
  using Stored = detail::RangeValue<Value>;

 public:
  // A range as the section sees it; the reference lasts until the section's next change.
  struct View {
    Range range;
    typename Stored::View value;
  };

  // From RangeMap::write() only.
  RangeWriter(detail::RangeCore* core, std::stop_token stop) noexcept
      : core_(core), stop_(std::move(stop)) {}
  RangeWriter(RangeWriter&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), stop_(std::move(other.stop_)) {}
  RangeWriter& operator=(RangeWriter&&) = delete;
  ~RangeWriter() { end(); }

  // Ends the section; nothing may be called afterwards.
  void end() noexcept {
    if (core_ != nullptr) std::exchange(core_, nullptr)->end_write();
  }

  // exist: it overlaps a range. A failed insert leaves the value with the caller, where Value is
  // assignable. Under a merge rule a neighbour may grow over it instead.
  Result<void> insert(Range range, Value&& value) noexcept {
    detail::RangeHandle* const made = make(value);
    if (made == nullptr) return std::unexpected(Error::nomem);
    return or_unmake(core_->insert(made, range, stop_), made, value);
  }
  Result<void> insert(Range range, const Value& value) noexcept
    requires std::is_nothrow_copy_constructible_v<Value>
  {
    return insert(range, Value(value));
  }

  // Puts many ranges in, all or none: inval: they are not in order; exist: two of them overlap, or
  // one overlaps a range of the map. Values are moved from. No merge rule is asked. Into an empty
  // map, or one of at most 32 times as many ranges, in linear time, and in one step: its tree is
  // built beside it, full nodes level by level, of the ranges that are there and the new ones.
  Result<void> load(std::span<RangeEntry<Value>> entries) noexcept;

  // Makes two ranges of the one that holds the address and does not begin there; the right one gets
  // `right`. noent: no range holds it; exist: there is a boundary already.
  Result<void> split(Address at, Value&& right) noexcept {
    detail::RangeHandle* const made = make(right);
    if (made == nullptr) return std::unexpected(Error::nomem);
    return or_unmake(core_->split(at.value, made, stop_), made, right);
  }
  Result<void> split(Address at, const Value& right) noexcept
    requires std::is_nothrow_copy_constructible_v<Value>
  {
    return split(at, Value(right));
  }
  // The same with a copy of the value.
  Result<void> split(Address at) noexcept
    requires std::is_nothrow_copy_constructible_v<Value>
  {
    const std::optional<View> found = find(at);
    if (!found) return std::unexpected(Error::noent);
    return split(at, Value(found->value));
  }

  // Makes one range of the two that meet at the address, with the left one's value. noent: one of
  // them is not there; inval: one range holds both sides.
  Result<void> merge(Address at) noexcept { return result(core_->merge(at.value, stop_)); }

  // Puts another value into the range that holds the address, and returns the old one.
  Result<Value> change(Address at, Value value) noexcept
    requires Stored::kWords || std::is_nothrow_move_assignable_v<Value>
  {
    const detail::RangePin pin = core_->open(at.value, stop_);
    if (pin.error != 0) return std::unexpected(Error{pin.error});
    void* const storage = detail::range_storage(pin.range);
    if constexpr (Stored::kWords) {
      Value old = Stored::get(storage);
      (void)Stored::put(storage, value);
      core_->settle(pin.range, stop_);
      return old;
    } else {
      Value old = std::exchange(Stored::object(storage), std::move(value));
      core_->settle(pin.range, stop_);
      return old;
    }
  }
  // Calls edit(Value&) on the value of the range that holds the address.
  template <class Edit>
  Result<void> update(Address at, Edit&& edit) {
    const detail::RangePin pin = core_->open(at.value, stop_);
    if (pin.error != 0) return std::unexpected(Error{pin.error});
    void* const storage = detail::range_storage(pin.range);
    if constexpr (Stored::kWords) {
      Value value = Stored::get(storage);
      edit(value);
      (void)Stored::put(storage, value);
    } else {
      edit(Stored::object(storage));
    }
    core_->settle(pin.range, stop_);
    return {};
  }

  // Removes the range that holds the address, after its holders have left; noent.
  Result<void> erase(Address at) noexcept { return one(at, &RangeWriter::erase_in); }
  // Removes every range that meets this one, whole; returns how many.
  Result<size_t> erase_in(Range range) noexcept {
    size_t count = 0;
    const int error = core_->erase(range, stop_, &count);
    if (error != 0) return std::unexpected(Error{error});
    return count;
  }
  // Empties exactly this range: ranges that reach into it are split first, with copies of their
  // values. Returns how many were removed.
  Result<size_t> cut(Range range) noexcept
    requires std::is_nothrow_copy_constructible_v<Value>;

  // The same without a wait: who holds the range keeps it, and the last of them runs the map's
  // on_retired() and destroys the value.
  Result<void> retire(Address at) noexcept { return one(at, &RangeWriter::retire_in); }
  Result<size_t> retire_in(Range range) noexcept {
    size_t count = 0;
    const int error = core_->retire(range, &count);
    if (error != 0) return std::unexpected(Error{error});
    return count;
  }

  // Takes the memory for so many inserts, splits, merges and erasures of this section in advance;
  // none of them gives nomem then (but for values that are kept in boxes of their own).
  Result<void> reserve(size_t changes) noexcept {
    return result(core_->reserve(changes) ? 0 : ENOMEM);
  }

  // --- looking; sees the section's own changes ---------------------------------------------------
  std::optional<View> find(Address at) const noexcept { return view(core_->at(at.value)); }
  // The first range that ends behind `from` and begins before `end`.
  std::optional<View> find_next(Address from, Address end) const noexcept {
    return view(core_->next(from.value, end.value));
  }
  std::optional<Address> find_gap(Range window, uint64_t bytes,
                                  GapSide side = GapSide::lowest) const noexcept {
    const std::optional<uint64_t> at = core_->gap(window, bytes, side);
    return at ? std::optional(Address{*at}) : std::nullopt;
  }

 private:
  static Result<void> result(int error) noexcept {
    if (error != 0) return std::unexpected(Error{error});
    return {};
  }
  Result<void> one(Address at, Result<size_t> (RangeWriter::*remove)(Range) noexcept) noexcept {
    if (at + 1 < at) return std::unexpected(Error::noent);  // The reserved index.
    const Result<size_t> count = (this->*remove)({at, at + 1});
    if (!count) return std::unexpected(count.error());
    return result(*count == 0 ? ENOENT : 0);
  }
  static std::optional<View> view(detail::RangeHandle* range) noexcept {
    if (range == nullptr) return std::nullopt;
    return View{detail::RangeCore::bounds(range), Stored::get(detail::range_storage(range))};
  }

  Result<void> load_at_once(std::span<RangeEntry<Value>> entries) noexcept;
  Result<void> load_one_by_one(std::span<RangeEntry<Value>> entries) noexcept;

  detail::RangeHandle* make(Value& value) noexcept {
    detail::RangeHandle* const made = core_->make();
    if (made == nullptr) return nullptr;
    if (Stored::put(detail::range_storage(made), value)) return made;
    core_->unmake(made);
    return nullptr;
  }
  Result<void> or_unmake(int error, detail::RangeHandle* made, Value& value) noexcept {
    if (error == 0) return {};
    if constexpr (Stored::kWords) {
      // The caller's value is as it was.
    } else if constexpr (std::is_nothrow_move_assignable_v<Value>) {
      value = Stored::take(detail::range_storage(made));
    } else {
      Stored::destroy(detail::range_storage(made));
    }
    core_->unmake(made);
    return std::unexpected(Error{error});
  }

  detail::RangeCore* core_;
  std::stop_token stop_;
};

template <class Value>
Result<void> RangeWriter<Value>::load(std::span<RangeEntry<Value>> entries) noexcept {
  for (size_t i = 0; i < entries.size(); ++i) {
    const Range range = entries[i].range;
    if (range.empty()) return std::unexpected(Error::inval);
    if (i > 0 && range.start < entries[i - 1].range.start) return std::unexpected(Error::inval);
    if (i > 0 && range.start < entries[i - 1].range.end) return std::unexpected(Error::exist);
    if (core_->next(range.start.value, range.end.value) != nullptr) {
      return std::unexpected(Error::exist);
    }
  }
  if (entries.empty()) return {};
  return core_->loads_at_once(entries.size()) ? load_at_once(entries) : load_one_by_one(entries);
}

template <class Value>
Result<void> RangeWriter<Value>::load_at_once(std::span<RangeEntry<Value>> entries) noexcept {
  // The last first, so that they are linked in their order.
  detail::RangeHandle* first = nullptr;
  size_t left = entries.size();
  while (left > 0) {
    detail::RangeHandle* const made = make(entries[left - 1].value);
    if (made == nullptr) break;
    detail::RangeCore::set_next_made(made, first);
    first = made;
    --left;
  }
  const auto bounds = [](const void* context, size_t i) noexcept {
    return static_cast<const RangeEntry<Value>*>(context)[i].range;
  };
  if (left == 0 && core_->load(first, entries.size(), bounds, entries.data()) == 0) return {};
  for (; first != nullptr; ++left) {
    detail::RangeHandle* const made = first;
    first = detail::RangeCore::next_made(made);
    (void)or_unmake(ENOMEM, made, entries[left].value);
  }
  return std::unexpected(Error::nomem);
}

template <class Value>
Result<void> RangeWriter<Value>::load_one_by_one(std::span<RangeEntry<Value>> entries) noexcept {
  // A value's own box may fail yet: then those before it are taken out again.
  const size_t changes = entries.size() * (Stored::kWords ? 1 : 2);
  if (!core_->reserve(changes)) return std::unexpected(Error::nomem);
  size_t done = 0;
  for (; done < entries.size(); ++done) {
    detail::RangeHandle* const made = make(entries[done].value);
    if (made == nullptr) break;
    const int error = core_->place(made, entries[done].range);
    if (error == 0) continue;
    (void)or_unmake(error, made, entries[done].value);
    break;
  }
  if (done == entries.size()) return {};
  // No memory for a box: nobody has seen the others yet, so they come back without a wait.
  while (done-- > 0) {
    const detail::RangePin pin = core_->open(entries[done].range.start.value, {});
    if constexpr (!Stored::kWords && std::is_nothrow_move_assignable_v<Value>) {
      entries[done].value = std::move(Stored::object(detail::range_storage(pin.range)));
    }
    size_t count = 0;
    (void)core_->erase(entries[done].range, {}, &count);
  }
  return std::unexpected(Error::nomem);
}

template <class Value>
Result<size_t> RangeWriter<Value>::cut(Range range) noexcept
  requires std::is_nothrow_copy_constructible_v<Value>
{
  if (range.empty()) return std::unexpected(Error::inval);
  if (!core_->reserve(3)) return std::unexpected(Error::nomem);
  // Every wait before the first change.
  for (Address from = range.start; from < range.end;) {
    const std::optional<View> v = find_next(from, range.end);
    if (!v) break;
    if (core_->open(v->range.start.value, stop_).error != 0) return std::unexpected(Error::intr);
    from = v->range.end;
  }
  const Result<void> left = split(range.start);
  if (!left && left.error() == Error::nomem) return std::unexpected(Error::nomem);
  const Result<void> right = split(range.end);
  if (!right && right.error() == Error::nomem) {
    // No memory for a value's own box. The boundary that was made is taken back.
    if (left) (void)core_->merge(range.start.value, {});
    return std::unexpected(Error::nomem);
  }
  return erase_in(range);
}

}  // namespace pervma
