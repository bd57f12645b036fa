#include "range/range_core.h"

#include "range/range_check.h"
#include "range/range_lifecycle.h"
#include "range/range_load.h"
#include "range/range_lookup.h"
#include "range/range_writer.h"
#include "sync/mmap_lock_slow.h"

namespace pervma {

template class BasicMmapLock<RangePlatform>;
template class BasicRangeCore<RangePlatform>;

namespace {
using Body = BasicRangeCore<RangePlatform>;
using Cell = Body::Cell;
static_assert(sizeof(Cell) == detail::kRangeHeadBytes);
static_assert(sizeof(SizedRangeCell<RangePlatform, 1>) == 48);
static_assert(Cell::kMaxWords == detail::kRangeMaxWords);

Body& body(detail::RangeCore* core) noexcept { return *static_cast<Body*>(core); }
Cell* cell_of(detail::RangeHandle* range) noexcept { return reinterpret_cast<Cell*>(range); }
const Cell* cell_of(const detail::RangeHandle* range) noexcept {
  return reinterpret_cast<const Cell*>(range);
}
detail::RangeHandle* handle_of(Cell* cell) noexcept {
  return reinterpret_cast<detail::RangeHandle*>(cell);
}
detail::RangePin pin_of(Body::Pin pin) noexcept { return {handle_of(pin.cell), pin.error}; }
}  // namespace

namespace detail {

RangeCore* RangeCore::create(const RangeValueOps& ops, bool (*hook)(void*),
                             void* context) noexcept {
  return Body::create(ops, {.fail = hook, .context = context}).release();
}
void RangeCore::destroy(RangeCore* core) noexcept { delete static_cast<Body*>(core); }

RangePin RangeCore::find(uint64_t address, const std::stop_token& stop) noexcept {
  return pin_of(body(this).find(address, stop));
}
RangePin RangeCore::find_next(uint64_t from, uint64_t end, const std::stop_token& stop) noexcept {
  if (from >= end) return {nullptr, ENOENT};
  return pin_of(body(this).find_next(from, end - 1, stop));
}
RangePin RangeCore::try_find(uint64_t address) noexcept {
  return pin_of(body(this).try_find(address));
}
int RangeCore::copy(uint64_t address, uint64_t* to, const std::stop_token& stop) noexcept {
  return body(this).copy(address, to, stop);
}
int RangeCore::try_copy(uint64_t address, uint64_t* to) noexcept {
  return body(this).try_copy(address, to);
}
void RangeCore::unpin(RangeHandle* range) noexcept { body(this).unpin(cell_of(range)); }
void RangeCore::hand_over(RangeHandle* range) noexcept { body(this).hand_over(cell_of(range)); }
void RangeCore::drop(RangeHandle* range) noexcept { body(this).drop(cell_of(range)); }
Range RangeCore::bounds(const RangeHandle* range) noexcept {
  return {Address{cell_of(range)->first_index()}, Address{cell_of(range)->last_index() + 1}};
}
int RangeCore::find_gap(Range window, uint64_t bytes, GapSide side, const std::stop_token& stop,
                        uint64_t* at) noexcept {
  return body(this).find_gap(window, bytes, side, stop, at);
}
RangeMapStats RangeCore::stats() const noexcept { return static_cast<const Body*>(this)->stats(); }
std::string RangeCore::check() { return body(this).check(); }

int RangeCore::begin_write(const std::stop_token& stop) noexcept {
  return body(this).begin_write(stop);
}
void RangeCore::end_write() noexcept { body(this).end_write(); }
RangeHandle* RangeCore::make() noexcept { return handle_of(body(this).make()); }
void RangeCore::unmake(RangeHandle* range) noexcept { body(this).unmake(cell_of(range)); }
void RangeCore::discard(RangeHandle* range) noexcept { body(this).discard(cell_of(range)); }
bool RangeCore::writes_here() const noexcept {
  return t_held_maps.writes(static_cast<const Body*>(this));
}
int RangeCore::insert(RangeHandle* range, Range where, const std::stop_token& stop) noexcept {
  return body(this).insert(cell_of(range), where, stop);
}
int RangeCore::place(RangeHandle* range, Range where) noexcept {
  return body(this).place(cell_of(range), where);
}
int RangeCore::split(uint64_t at, RangeHandle* right, const std::stop_token& stop) noexcept {
  return body(this).split(at, cell_of(right), stop);
}
int RangeCore::merge(uint64_t at, const std::stop_token& stop) noexcept {
  return body(this).merge(at, stop);
}
RangePin RangeCore::open(uint64_t address, const std::stop_token& stop) noexcept {
  return pin_of(body(this).open(address, stop));
}
void RangeCore::settle(RangeHandle* range, const std::stop_token& stop) noexcept {
  body(this).settle(cell_of(range), stop);
}
int RangeCore::erase(Range where, const std::stop_token& stop, size_t* count) noexcept {
  return body(this).erase(where, stop, count);
}
int RangeCore::retire(Range where, size_t* count) noexcept {
  return body(this).retire(where, count);
}
bool RangeCore::loads_at_once(size_t n) const noexcept {
  return static_cast<const Body*>(this)->loads_at_once(n);
}
RangeHandle* RangeCore::next_made(RangeHandle* range) noexcept {
  return handle_of(static_cast<Cell*>(cell_of(range)->free_next()));
}
void RangeCore::set_next_made(RangeHandle* range, RangeHandle* next) noexcept {
  cell_of(range)->set_free_next(cell_of(next));
}
int RangeCore::load(RangeHandle* first, size_t n,
                    Range (*where)(const void* context, size_t i) noexcept,
                    const void* context) noexcept {
  return body(this).load(cell_of(first), n, where, context);
}
bool RangeCore::reserve(size_t ranges) noexcept { return body(this).reserve(ranges); }
RangeHandle* RangeCore::next(uint64_t from, uint64_t end) noexcept {
  return from >= end ? nullptr : handle_of(body(this).next(from, end - 1));
}
RangeHandle* RangeCore::at(uint64_t address) noexcept { return handle_of(body(this).at(address)); }
std::optional<uint64_t> RangeCore::gap(Range window, uint64_t bytes, GapSide side) noexcept {
  return body(this).gap(window, bytes, side);
}

}  // namespace detail
}  // namespace pervma
