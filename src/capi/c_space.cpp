// The C functions of engines and address spaces.
#include <algorithm>
#include <cstring>
#include <memory>
#include <span>

#include "capi/c_common.h"
#include "capi/c_handles.h"

namespace {

using namespace pervma;
using capi::current_stop;
using capi::error_of;
using capi::guarded;

int error_of_fault(FaultOutcome outcome) noexcept {
  switch (outcome) {
    case FaultOutcome::resolved: return 0;
    case FaultOutcome::map_error: return EFAULT;
    case FaultOutcome::access_error: return EACCES;
    case FaultOutcome::bus_error: return EIO;
    case FaultOutcome::out_of_memory: return ENOMEM;
    case FaultOutcome::interrupted: return EINTR;
  }
  return EIO;
}

// False: no design has that name, or huge_pages is none of its values.
bool fill(const pervma_space_options& from, SpaceOptions& to) noexcept {
  if (from.design != nullptr) {
    const std::optional<Design> design = design_from_name(from.design);
    if (!design) return false;
    to.design = *design;
  }
  if (from.lowest != 0) to.lowest = Address{from.lowest};
  if (from.top != 0) to.top = Address{from.top};
  if (from.mmap_base != 0) to.mmap_base = Address{from.mmap_base};
  if (from.max_map_count != 0) to.max_map_count = from.max_map_count;
  if (from.stack_limit != 0) to.stack_limit = from.stack_limit;
  if (from.address_space_limit != 0) to.address_space_limit = from.address_space_limit;
  if (from.memlock_limit != 0) to.memlock_limit = from.memlock_limit;
  switch (from.huge_pages) {
    case PERVMA_HUGE_DEFAULT: break;
    case PERVMA_HUGE_REFUSED: to.huge_pages = HugePages::refused; break;
    case PERVMA_HUGE_ADVISED: to.huge_pages = HugePages::advised; break;
    case PERVMA_HUGE_ALWAYS: to.huge_pages = HugePages::always; break;
    default: return false;
  }
  return true;
}

int hand_out(Result<std::unique_ptr<AddressSpace>> made, pervma_space** space) {
  if (!made) return static_cast<int>(made.error());
  *space = new pervma_space{std::move(*made)};
  return 0;
}

}  // namespace

extern "C" {

uint32_t pervma_c_abi(void) { return PERVMA_C_ABI; }
const char* pervma_version(void) { return version().data(); }
const char* pervma_error_name(int error) { return error_name(Error{error}).data(); }

int pervma_file_store_create(const char* path, uint64_t pages, pervma_page_store** store) {
  if (path == nullptr || store == nullptr) return EINVAL;
  return guarded(
      [&] { return capi::hand_out_store(make_file_store(path, PageCount{pages}), store); });
}

void pervma_page_store_destroy(pervma_page_store* store) { delete store; }

int pervma_engine_create(const pervma_engine_options* options, pervma_engine** engine) {
  pervma_engine_options given;
  if (engine == nullptr || !capi::read_sized(options, given)) return EINVAL;
  return guarded([&] {
    EngineOptions to;
    if (given.frames != 0) to.frames = PageCount{given.frames};
    to.present = PageCount{given.present};
    if (given.swap != nullptr) to.swap = given.swap->store;
    if (given.collapser_thread != 0) to.collapser = CollapserKind::thread;
    Result<std::unique_ptr<Engine>> made = Engine::create(to);
    if (!made) return static_cast<int>(made.error());
    *engine = new pervma_engine{std::move(*made)};
    return 0;
  });
}

void pervma_engine_destroy(pervma_engine* engine) { delete engine; }

int pervma_engine_get_stats(pervma_engine* engine, pervma_engine_stats* stats) {
  if (engine == nullptr || stats == nullptr || stats->size < 2 * sizeof(uint32_t)) return EINVAL;
  const SwapCounters swap = engine->engine->swap_counters();
  const pervma_engine_stats all{.size = stats->size,
                                .reserved = 0,
                                .frames_used = engine->engine->frames_used().value,
                                .swap_out = swap.out,
                                .swap_in = swap.in,
                                .swap_write_errors = swap.write_errors,
                                .swap_read_errors = swap.read_errors,
                                .swapped = swap.slots};
  std::memcpy(stats, &all, std::min(sizeof all, size_t{stats->size}));
  return 0;
}

int pervma_space_create(pervma_engine* engine, const pervma_space_options* options,
                        pervma_space** space) {
  pervma_space_options given;
  SpaceOptions to;
  if (engine == nullptr || space == nullptr) return EINVAL;
  if (!capi::read_sized(options, given) || !fill(given, to)) return EINVAL;
  return guarded([&] { return hand_out(engine->engine->create_space(to), space); });
}

int pervma_space_fork(pervma_engine* engine, pervma_space* parent, pervma_space** child) {
  if (engine == nullptr || parent == nullptr || child == nullptr) return EINVAL;
  return guarded(
      [&] { return hand_out(engine->engine->fork(*parent->space, current_stop()), child); });
}

void pervma_space_destroy(pervma_space* space) { delete space; }

int pervma_mmap(pervma_space* space, uint64_t address, uint64_t length, uint32_t prot,
                uint32_t flags, uint64_t* at) {
  if (space == nullptr || at == nullptr) return EINVAL;
  return guarded([&] {
    const Result<Address> mapped = space->space->map({.address = Address{address},
                                                      .length = length,
                                                      .prot = Prot{prot},
                                                      .flags = MapFlags{flags},
                                                      .file = {},
                                                      .offset = 0},
                                                     current_stop());
    if (mapped) *at = mapped->value;
    return error_of(mapped);
  });
}

int pervma_munmap(pervma_space* space, uint64_t address, uint64_t length) {
  if (space == nullptr) return EINVAL;
  return guarded(
      [&] { return error_of(space->space->unmap(Address{address}, length, current_stop())); });
}

int pervma_mprotect(pervma_space* space, uint64_t address, uint64_t length, uint32_t prot) {
  if (space == nullptr) return EINVAL;
  return guarded([&] {
    return error_of(space->space->protect(Address{address}, length, Prot{prot}, current_stop()));
  });
}

int pervma_madvise(pervma_space* space, uint64_t address, uint64_t length, int32_t advice) {
  if (space == nullptr) return EINVAL;
  return guarded([&] {
    return error_of(space->space->advise(Address{address}, length, Advice{advice}, current_stop()));
  });
}

int pervma_mlock(pervma_space* space, uint64_t address, uint64_t length) {
  if (space == nullptr) return EINVAL;
  return guarded([&] {
    return error_of(space->space->lock(Address{address}, length, LockFlags::none, current_stop()));
  });
}

int pervma_munlock(pervma_space* space, uint64_t address, uint64_t length) {
  if (space == nullptr) return EINVAL;
  return guarded(
      [&] { return error_of(space->space->unlock(Address{address}, length, current_stop())); });
}

int pervma_set_brk_start(pervma_space* space, uint64_t start) {
  if (space == nullptr || start % PageCount{1}.bytes() != 0) return EINVAL;
  space->space->set_brk_start(Address{start});
  return 0;
}

int pervma_brk(pervma_space* space, uint64_t address, uint64_t* now) {
  if (space == nullptr || now == nullptr) return EINVAL;
  return guarded([&] {
    *now = space->space->brk(Address{address}, current_stop()).value;
    return 0;
  });
}

int pervma_mremap(pervma_space* space, uint64_t address, uint64_t length, uint64_t new_length,
                  uint32_t flags, uint64_t new_address, uint64_t* at) {
  if (space == nullptr || at == nullptr) return EINVAL;
  return guarded([&] {
    const Result<Address> moved = space->space->remap({.old_address = Address{address},
                                                       .old_length = length,
                                                       .new_length = new_length,
                                                       .flags = RemapFlags{flags},
                                                       .new_address = Address{new_address}},
                                                      current_stop());
    if (moved) *at = moved->value;
    return error_of(moved);
  });
}

int pervma_fault(pervma_space* space, uint64_t address, pervma_access access) {
  if (space == nullptr || access < PERVMA_READ || access > PERVMA_EXEC) return EINVAL;
  const auto kind = static_cast<Access>(access);
  return error_of_fault(
      space->space->handle_fault(Address{address}, kind, FaultOrigin::user, current_stop()));
}

int pervma_load(pervma_space* space, uint64_t address, void* to, size_t bytes) {
  if (space == nullptr || (to == nullptr && bytes != 0)) return EINVAL;
  return error_of_fault(
      space->space->load(Address{address}, std::span(static_cast<std::byte*>(to), bytes)));
}

int pervma_store(pervma_space* space, uint64_t address, const void* from, size_t bytes) {
  if (space == nullptr || (from == nullptr && bytes != 0)) return EINVAL;
  return error_of_fault(
      space->space->store(Address{address}, std::span(static_cast<const std::byte*>(from), bytes)));
}

int pervma_maps(pervma_space* space, char* text, size_t size, size_t* length) {
  if (space == nullptr || length == nullptr || (text == nullptr && size != 0)) return EINVAL;
  return guarded([&] {
    const std::string maps = space->space->to_maps();
    *length = maps.size();
    if (size <= maps.size()) return ERANGE;
    std::memcpy(text, maps.c_str(), maps.size() + 1);
    return 0;
  });
}

}  // extern "C"
