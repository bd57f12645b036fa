#include "bench/design_subjects.h"

#include <tuple>

#include "pervma/engine.h"
#include "sync/mmap_guard.h"
#include "vm/lookup.h"

namespace pervma::bench {

namespace {

// The lock of every design.
using Locks = std::tuple<MmapLockDesign, RefcountLock>;
static_assert(std::tuple_size_v<Locks> == kDesigns.size(), "a design is missing here");

template <VmaLockDesign L>
class SpaceMap {
 public:
  SpaceMap(std::unique_ptr<Engine> engine, std::unique_ptr<AddressSpace> space)
      : engine_(std::move(engine)),
        owner_(std::move(space)),
        space_(static_cast<BasicAddressSpace<L>&>(*owner_)) {}

  uint64_t find(uint64_t address, unsigned) noexcept {
    const Address a{address};
    const auto found = space_.lock_vma_under_rcu(a);
    if (found.end == LookupEnd::locked) [[likely]] {
      const uint64_t start = found.vma->start().value;
      space_.end_read(*found.vma, found.token);
      return start;
    }
    const MmapRead read(space_.mmap_lock());
    const auto* vma = space_.vma_at(a);
    return vma == nullptr ? kNothing : vma->start().value;
  }
  bool insert(uint64_t start, uint64_t end) noexcept {
    // Neighbours get other rights, so that they stay apart.
    const bool odd = ((start >> kPageShift) & 1) != 0;
    const Result<Address> mapped =
        space_.map({.address = Address{start},
                    .length = end - start,
                    .prot = odd ? Prot::read : Prot::read | Prot::write,
                    .flags = MapFlags::private_ | MapFlags::anonymous | MapFlags::fixed_noreplace,
                    .file = {},
                    .offset = 0},
                   {});
    return mapped.has_value();
  }
  bool erase(uint64_t start, uint64_t end) noexcept {
    return space_.unmap(Address{start}, end - start, {}).has_value();
  }

 private:
  const std::unique_ptr<Engine> engine_;
  const std::unique_ptr<AddressSpace> owner_;
  BasicAddressSpace<L>& space_;
};

// Makes the subject if the space is of this lock's design.
template <VmaLockDesign L>
bool try_make(std::unique_ptr<Engine>& engine, std::unique_ptr<AddressSpace>& space,
              SubjectPtr& subject) {
  if (dynamic_cast<BasicAddressSpace<L>*>(space.get()) == nullptr) return false;
  subject = std::make_unique<SubjectOf<SpaceMap<L>>>(std::string(design_name(space->design())),
                                                     std::move(engine), std::move(space));
  return true;
}

}  // namespace

SubjectPtr make_design_subject(Design design, uint64_t ranges) {
  Result<std::unique_ptr<Engine>> engine = Engine::create();
  if (!engine) return nullptr;
  Result<std::unique_ptr<AddressSpace>> space =
      (*engine)->create_space({.design = design, .max_map_count = 2 * ranges + 4096});
  if (!space) return nullptr;
  SubjectPtr subject;
  std::apply(
      [&]<class... L>(const L*...) { (void)(try_make<L>(*engine, *space, subject) || ...); },
      std::apply([]<class... L>(const L&...) { return std::tuple<const L*...>(); }, Locks{}));
  return subject;
}

}  // namespace pervma::bench
