// The C functions of RangeMap: its core with values of one word, and a callback for those that
// leave the map.
#include <algorithm>
#include <cstring>
#include <stop_token>
#include <utility>

#include "capi/c_common.h"
#include "pervma/c.h"
#include "pervma/detail/range_core.h"

using pervma::Address;
using pervma::GapSide;
using pervma::Range;
using pervma::capi::current_stop;
using pervma::detail::RangeCore;
using pervma::detail::RangeHandle;
using pervma::detail::RangePin;

struct pervma_range_map {
  RangeCore* core;
  void (*destroy)(void* context, void* value);
  void* context;
};

namespace {

struct Guard {
  RangeCore* core;
  RangeHandle* range;
  uintptr_t handed_over;
};
static_assert(sizeof(Guard) <= sizeof(pervma_range_guard));

Guard get(const pervma_range_guard& from) noexcept {
  Guard guard{};
  std::memcpy(static_cast<void*>(&guard), &from, sizeof guard);
  return guard;
}
void set(pervma_range_guard& to, const Guard& guard) noexcept {
  to = {};
  std::memcpy(&to, static_cast<const void*>(&guard), sizeof guard);
}

void* value_of(const void* storage) noexcept {
  return reinterpret_cast<void*>(pervma::detail::range_word(storage, 0));
}
void set_value(RangeHandle* range, void* value) noexcept {
  pervma::detail::set_range_word(pervma::detail::range_storage(range), 0,
                                 reinterpret_cast<uint64_t>(value));
}

void destroy_value(void* context, void* storage) noexcept {
  const auto& map = *static_cast<const pervma_range_map*>(context);
  map.destroy(map.context, value_of(storage));
}

int hold(pervma_range_map* map, RangePin pin, pervma_range_guard* guard) noexcept {
  if (pin.error == 0) set(*guard, {map->core, pin.range, 0});
  return pin.error;
}

int show(const RangeHandle* range, pervma_range* to) noexcept {
  if (range == nullptr) return ENOENT;
  const Range bounds = RangeCore::bounds(range);
  *to = {bounds.start.value, bounds.end.value, value_of(pervma::detail::range_storage(range))};
  return 0;
}

Range range(uint64_t start, uint64_t end) noexcept { return {Address{start}, Address{end}}; }

// For calls that belong into a section.
int section_error(const pervma_range_map* map) noexcept {
  if (map == nullptr) return EINVAL;
  return map->core->writes_here() ? 0 : EPERM;
}

// A new range with this value goes in by `place`, or is taken back.
template <class Place>
int with_new(pervma_range_map* map, void* value, Place place) noexcept {
  if (const int error = section_error(map); error != 0) return error;
  RangeHandle* const made = map->core->make();
  if (made == nullptr) return ENOMEM;
  set_value(made, value);
  const int error = place(made);
  if (error != 0) map->core->unmake(made);
  return error;
}

int copied(int error, const uint64_t (&words)[3], pervma_range* to) noexcept {
  if (error == 0) *to = {words[0], words[1] + 1, reinterpret_cast<void*>(words[2])};
  return error;
}

int load_error(RangeCore& core, const pervma_range* ranges, size_t count) noexcept {
  for (size_t i = 0; i < count; ++i) {
    if (range(ranges[i].start, ranges[i].end).empty()) return EINVAL;
    if (i > 0 && ranges[i].start < ranges[i - 1].start) return EINVAL;
    if (i > 0 && ranges[i].start < ranges[i - 1].end) return EEXIST;
    if (core.next(ranges[i].start, ranges[i].end) != nullptr) return EEXIST;
  }
  return 0;
}

int load_at_once(RangeCore& core, const pervma_range* ranges, size_t count) noexcept {
  const auto bounds = [](const void* all, size_t i) noexcept {
    const pervma_range& at = static_cast<const pervma_range*>(all)[i];
    return range(at.start, at.end);
  };
  // The last first, so that they are linked in their order.
  RangeHandle* first = nullptr;
  size_t left = count;
  for (; left > 0; --left) {
    RangeHandle* const made = core.make();
    if (made == nullptr) break;
    set_value(made, ranges[left - 1].value);
    RangeCore::set_next_made(made, first);
    first = made;
  }
  if (left == 0 && core.load(first, count, bounds, ranges) == 0) return 0;
  while (first != nullptr) {
    RangeHandle* const made = std::exchange(first, RangeCore::next_made(first));
    core.unmake(made);
  }
  return ENOMEM;
}

// None of them overlaps another, and after the reservation nothing can fail.
int load_one_by_one(RangeCore& core, const pervma_range* ranges, size_t count) noexcept {
  if (!core.reserve(count)) return ENOMEM;
  for (size_t i = 0; i < count; ++i) {
    RangeHandle* const made = core.make();
    set_value(made, ranges[i].value);
    (void)core.place(made, range(ranges[i].start, ranges[i].end));
  }
  return 0;
}

}  // namespace

extern "C" {

int pervma_range_map_create(const pervma_range_map_options* options, pervma_range_map** map) {
  pervma_range_map_options given;
  if (map == nullptr || !pervma::capi::read_sized(options, given)) return EINVAL;
  auto* const made = new (std::nothrow) pervma_range_map{nullptr, given.destroy, given.context};
  if (made == nullptr) return ENOMEM;
  made->core = RangeCore::create({.words = 1,
                                  .destroy = given.destroy != nullptr ? &destroy_value : nullptr,
                                  .may_merge = nullptr,
                                  .rule = nullptr,
                                  .retired = nullptr,
                                  .context = made},
                                 nullptr, nullptr);
  if (made->core == nullptr) {
    delete made;
    return ENOMEM;
  }
  *map = made;
  return 0;
}

void pervma_range_map_destroy(pervma_range_map* map) {
  if (map == nullptr) return;
  RangeCore::destroy(map->core);
  delete map;
}

int pervma_range_find(pervma_range_map* map, uint64_t address, pervma_range_guard* guard) {
  if (map == nullptr || guard == nullptr) return EINVAL;
  if (get(*guard).range != nullptr) return EBUSY;
  return hold(map, map->core->find(address, current_stop()), guard);
}

int pervma_range_try_find(pervma_range_map* map, uint64_t address, pervma_range_guard* guard) {
  if (map == nullptr || guard == nullptr) return EINVAL;
  if (get(*guard).range != nullptr) return EBUSY;
  return hold(map, map->core->try_find(address), guard);
}

int pervma_range_find_next(pervma_range_map* map, uint64_t from, uint64_t end,
                           pervma_range_guard* guard) {
  if (map == nullptr || guard == nullptr) return EINVAL;
  if (get(*guard).range != nullptr) return EBUSY;
  return hold(map, map->core->find_next(from, end, current_stop()), guard);
}

int pervma_range_copy(pervma_range_map* map, uint64_t address, pervma_range* to) {
  if (map == nullptr || to == nullptr) return EINVAL;
  uint64_t words[3];
  return copied(map->core->copy(address, words, current_stop()), words, to);
}

int pervma_range_try_copy(pervma_range_map* map, uint64_t address, pervma_range* to) {
  if (map == nullptr || to == nullptr) return EINVAL;
  uint64_t words[3];
  return copied(map->core->try_copy(address, words), words, to);
}

int pervma_range_find_gap(pervma_range_map* map, uint64_t start, uint64_t end, uint64_t bytes,
                          int side, uint64_t* at) {
  if (map == nullptr || at == nullptr) return EINVAL;
  if (side != PERVMA_GAP_LOWEST && side != PERVMA_GAP_HIGHEST) return EINVAL;
  const GapSide which = side == PERVMA_GAP_LOWEST ? GapSide::lowest : GapSide::highest;
  return map->core->find_gap(range(start, end), bytes, which, current_stop(), at);
}

int pervma_range_guard_get(const pervma_range_guard* guard, pervma_range* to) {
  if (guard == nullptr || to == nullptr) return EINVAL;
  const Guard held = get(*guard);
  return held.range == nullptr ? EINVAL : show(held.range, to);
}

void pervma_range_guard_release(pervma_range_guard* guard) {
  if (guard == nullptr) return;
  const Guard held = get(*guard);
  set(*guard, {});
  if (held.range == nullptr) return;
  if (held.handed_over != 0) {
    held.core->drop(held.range);
  } else {
    held.core->unpin(held.range);
  }
}

int pervma_range_guard_hand_over(pervma_range_guard* guard) {
  if (guard == nullptr) return EINVAL;
  Guard held = get(*guard);
  if (held.range == nullptr || held.handed_over != 0) return EINVAL;
  held.core->hand_over(held.range);
  held.handed_over = 1;
  set(*guard, held);
  return 0;
}

int pervma_range_write_begin(pervma_range_map* map) {
  return map == nullptr ? EINVAL : map->core->begin_write(current_stop());
}

int pervma_range_write_end(pervma_range_map* map) {
  if (const int error = section_error(map); error != 0) return error;
  map->core->end_write();
  return 0;
}

int pervma_range_insert(pervma_range_map* map, uint64_t start, uint64_t end, void* value) {
  return with_new(map, value, [&](RangeHandle* made) noexcept {
    return map->core->insert(made, range(start, end), current_stop());
  });
}

int pervma_range_split(pervma_range_map* map, uint64_t at, void* right_value) {
  return with_new(map, right_value, [&](RangeHandle* made) noexcept {
    return map->core->split(at, made, current_stop());
  });
}

int pervma_range_merge(pervma_range_map* map, uint64_t at) {
  if (const int error = section_error(map); error != 0) return error;
  return map->core->merge(at, current_stop());
}

int pervma_range_change(pervma_range_map* map, uint64_t at, void* value, void** old) {
  if (const int error = section_error(map); error != 0) return error;
  const RangePin pin = map->core->open(at, current_stop());
  if (pin.error != 0) return pin.error;
  void* const before = value_of(pervma::detail::range_storage(pin.range));
  if (old == nullptr && map->destroy != nullptr) {
    // It leaves the map as an erased one does: with a range of its own, when the section ends.
    RangeHandle* const leaving = map->core->make();
    if (leaving == nullptr) return ENOMEM;
    set_value(leaving, before);
    map->core->discard(leaving);
  }
  set_value(pin.range, value);
  if (old != nullptr) *old = before;
  return 0;
}

int pervma_range_erase(pervma_range_map* map, uint64_t at) {
  size_t count = 0;
  if (at + 1 == 0) return ENOENT;
  const int error = pervma_range_erase_in(map, at, at + 1, &count);
  return error == 0 && count == 0 ? ENOENT : error;
}

int pervma_range_erase_in(pervma_range_map* map, uint64_t start, uint64_t end, size_t* count) {
  if (const int error = section_error(map); error != 0) return error;
  size_t erased = 0;
  const int error = map->core->erase(range(start, end), current_stop(), &erased);
  if (error == 0 && count != nullptr) *count = erased;
  return error;
}

int pervma_range_retire(pervma_range_map* map, uint64_t at) {
  size_t count = 0;
  if (at + 1 == 0) return ENOENT;
  const int error = pervma_range_retire_in(map, at, at + 1, &count);
  return error == 0 && count == 0 ? ENOENT : error;
}

int pervma_range_retire_in(pervma_range_map* map, uint64_t start, uint64_t end, size_t* count) {
  if (const int error = section_error(map); error != 0) return error;
  size_t retired = 0;
  const int error = map->core->retire(range(start, end), &retired);
  if (error == 0 && count != nullptr) *count = retired;
  return error;
}

int pervma_range_load(pervma_range_map* map, const pervma_range* ranges, size_t count) {
  if (const int error = section_error(map); error != 0) return error;
  if (ranges == nullptr && count != 0) return EINVAL;
  if (const int error = load_error(*map->core, ranges, count); error != 0 || count == 0) {
    return error;
  }
  return map->core->loads_at_once(count) ? load_at_once(*map->core, ranges, count)
                                         : load_one_by_one(*map->core, ranges, count);
}

int pervma_range_reserve(pervma_range_map* map, size_t changes) {
  if (const int error = section_error(map); error != 0) return error;
  return map->core->reserve(changes) ? 0 : ENOMEM;
}

int pervma_range_peek(pervma_range_map* map, uint64_t address, pervma_range* to) {
  if (to == nullptr) return EINVAL;
  if (const int error = section_error(map); error != 0) return error;
  return show(map->core->at(address), to);
}

int pervma_range_peek_next(pervma_range_map* map, uint64_t from, uint64_t end, pervma_range* to) {
  if (to == nullptr) return EINVAL;
  if (const int error = section_error(map); error != 0) return error;
  return show(map->core->next(from, end), to);
}

int pervma_range_map_get_stats(pervma_range_map* map, pervma_range_map_stats* stats) {
  if (map == nullptr || stats == nullptr || stats->size < 2 * sizeof(uint32_t)) return EINVAL;
  const pervma::RangeMapStats now = map->core->stats();
  const pervma_range_map_stats all{.size = stats->size,
                                   .reserved = 0,
                                   .ranges = now.ranges,
                                   .retired = now.retired,
                                   .bytes = now.bytes};
  std::memcpy(stats, &all, std::min(sizeof all, size_t{stats->size}));
  return 0;
}

int pervma_range_map_check(pervma_range_map* map, char* text, size_t size) {
  if (map == nullptr) return EINVAL;
  return pervma::capi::guarded([&] {
    const std::string report = map->core->check();
    if (text != nullptr && size != 0) {
      const size_t bytes = std::min(size - 1, report.size());
      std::memcpy(text, report.data(), bytes);
      text[bytes] = '\0';
    }
    return report.empty() ? 0 : EIO;
  });
}

}  // extern "C"
