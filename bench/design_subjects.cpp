#include "bench/design_subjects.h"

#include <utility>

#include "pervma/engine.h"
#include "sync/mmap_guard.h"
#include "sync/rcu.h"
#include "vm/designs.h"
#include "vm/lookup.h"

namespace pervma::bench {

namespace {

// Neighbours get other rights, so that they stay apart.
bool map_page(AddressSpace& space, uint64_t start, uint64_t end) {
  const bool odd = ((start >> kPageShift) & 1) != 0;
  const Result<Address> mapped =
      space.map({.address = Address{start},
                 .length = end - start,
                 .prot = odd ? Prot::read : Prot::read | Prot::write,
                 .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace,
                 .file = {},
                 .offset = 0});
  return mapped.has_value();
}

template <VmaLockDesign L>
class SpaceMap {
 public:
  explicit SpaceMap(DesignSpace made)
      : owner_(std::move(made)), space_(static_cast<BasicAddressSpace<L>&>(*owner_.space)) {}

  uint64_t find(uint64_t address, unsigned) noexcept {
    const Address a{address};
    if constexpr (L::kReadKind == ReadKind::validated) {
      if (const uint64_t start = speculate(a); start != kNothing) return start;
    } else {
      const auto found = space_.lock_vma_under_rcu(a);
      if (found.end == LookupEnd::locked) [[likely]] {
        const uint64_t start = found.vma->start().value;
        space_.end_read(*found.vma, found.token);
        return start;
      }
    }
    const MmapRead read(space_.mmap_lock());
    const auto* vma = space_.vma_at(a);
    return vma == nullptr ? kNothing : vma->start().value;
  }
  // As every operation that changes a VMA.
  bool write_one(uint64_t address) noexcept {
    const MmapWrite write(space_.mmap_lock());
    auto* const vma = space_.vma_at(Address{address});
    return vma != nullptr && L::lock_write(vma->near, vma->far, space_.mmap_lock());
  }
  bool insert(uint64_t start, uint64_t end) noexcept { return map_page(space_, start, end); }
  bool erase(uint64_t start, uint64_t end) noexcept {
    return space_.unmap(Address{start}, end - start, {}).has_value();
  }

 private:
  // Without a lock: a copy, believed when no writer was there meanwhile.
  uint64_t speculate(Address a) const noexcept {
    const RcuReader rcu;
    auto* const vma = space_.vma_at(a);
    if (vma == nullptr) return kNothing;
    const auto attempt = L::begin_read(vma->near, vma->far, space_.mmap_lock());
    if (attempt.outcome != ReadTry::locked) return kNothing;
    const Range range{vma->start(), vma->end()};
    const bool valid = L::still_valid(vma->near, space_.mmap_lock(), attempt.token);
    L::end_read(vma->far, attempt.token);
    return valid && range.contains(a) ? range.start.value : kNothing;
  }

  const DesignSpace owner_;
  BasicAddressSpace<L>& space_;
};

}  // namespace

bool DesignSpace::fill(const Layout& layout) const {
  if (space == nullptr) return false;
  for (const uint64_t i : layout.shuffled()) {
    if (!map_page(*space, layout.start(i), layout.start(i) + kPageSize)) return false;
  }
  return true;
}

DesignSpace make_design_space(SpaceOptions options, uint64_t ranges) {
  DesignSpace made;
  Result<std::unique_ptr<Engine>> engine = Engine::create();
  if (!engine) return made;
  made.engine = std::move(*engine);
  options.max_map_count = 2 * ranges + 4096;
  Result<std::unique_ptr<AddressSpace>> space = made.engine->create_space(options);
  if (space) made.space = std::move(*space);
  return made;
}

SubjectPtr make_design_subject(Design design, uint64_t ranges) {
  DesignSpace made = make_design_space({.design = design}, ranges);
  if (made.space == nullptr) return nullptr;
  return with_design(design, [&]<class L>(DesignType<L>) -> SubjectPtr {
    std::string name(design_name(design));
    return std::make_unique<SubjectOf<SpaceMap<L>>>(std::move(name), std::move(made));
  });
}

}  // namespace pervma::bench
