// map.h: mmap.
#pragma once

#include "vm/place.h"
#include "vm/unmap.h"

namespace pervma {

// Flags of the VMA that a request makes; or how Linux refuses it.
template <VmaLockDesign L>
Result<VmaFlags> BasicAddressSpace<L>::flags_for(const MapRequest& req,
                                                 uint64_t length) const noexcept {
  VmaFlags flags = flags_from_prot(req.prot) | kMayFlags | future_flags_;
  if (any(req.flags & MapFlags::growsdown)) flags |= VmaFlag::growsdown;
  if (any(req.flags & MapFlags::locked)) flags |= VmaFlag::locked;
  if (any(req.flags & MapFlags::stack)) flags |= VmaFlag::nohugepage;
  if (any(req.flags & MapFlags::sync)) flags |= VmaFlag::sync;
  if (any(req.flags & MapFlags::locked) && options_.memlock_limit == 0) {
    return std::unexpected(Error::perm);
  }
  if (!may_lock(flags, length)) return std::unexpected(Error::again);
  const MapFlags type = req.flags & MapFlags::type_mask;
  const bool grows = flags.has(VmaFlag::growsdown);
  if (!any(req.flags & MapFlags::anonymous)) {
    // A file ends below 2^63; any object may, as far as this layer knows. The length fits the
    // space.
    constexpr uint64_t kLargestFile = ~uint64_t{0} >> 1;
    if (req.offset >> kPageShift > (kLargestFile - length) >> kPageShift) {
      return std::unexpected(Error::overflow);
    }
    const bool writable = req.file.get()->mode() == FileMode::read_write;
    // What shared_validate understands: Linux's flags of old, huge-page sizes among them.
    constexpr MapFlags kKnown =
        static_cast<MapFlags>(0x7f93f | 21u << 26 | 30u << 26 | 0x40u | 0x80u);
    switch (type) {
      case MapFlags::shared_validate:
        if (any(req.flags & ~kKnown)) return std::unexpected(Error::opnotsupp);
        [[fallthrough]];
      case MapFlags::shared:
        if (flags.has(VmaFlag::write) && !writable) return std::unexpected(Error::acces);
        flags |= VmaFlags(VmaFlag::shared) | VmaFlag::may_share;
        if (!writable) flags &= ~(VmaFlags(VmaFlag::may_write) | VmaFlag::shared);
        break;
      case MapFlags::private_: break;
      default: return std::unexpected(Error::inval);
    }
    if (grows) return std::unexpected(Error::inval);
  } else {
    switch (type) {
      case MapFlags::shared:
        if (grows) return std::unexpected(Error::inval);
        flags |= VmaFlags(VmaFlag::shared) | VmaFlag::may_share;
        break;
      case MapFlags::droppable:
        if (grows || any(req.flags & MapFlags::locked)) return std::unexpected(Error::inval);
        flags |= VmaFlags(VmaFlag::droppable) | VmaFlag::noreserve | VmaFlag::wipe_on_fork |
                 VmaFlag::dont_dump;
        break;
      case MapFlags::private_: break;
      default: return std::unexpected(Error::inval);
    }
  }
  if (any(req.flags & MapFlags::noreserve)) flags |= VmaFlag::noreserve;
  if (is_accountable(flags)) flags |= VmaFlag::account;
  return flags;
}

// Puts a range in place of whatever is there: a neighbour grows over it, or a new VMA is made. The
// tree changes in one store where a VMA was replaced, so that no reader sees a hole that is not
// there.
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::install(const RangeTraits& traits) noexcept {
  if (!reserve({3, 4})) return std::unexpected(Error::nomem);
  const Result<Removed> removed = gather(traits.range);
  if (!removed) return std::unexpected(removed.error());
  if (!may_map(traits.range.pages().value - removed->pages)) return std::unexpected(Error::nomem);
  if (removed->first != nullptr) {
    detach_all(*removed);
    // Gone before the new mapping can be faulted in.
    for (VmaT* v = removed->first; v != nullptr; v = v->next_detached) mmu_.zap(v->range);
  }
  VmaT* const prev = prev_of(traits.range.start);
  VmaT* const next = vma_from(traits.range.end);
  const bool lockable = can_be_locked(traits.flags);
  const Merge merge{traits, prev, nullptr, next, nullptr};
  VmaT* covering = merge_new(merge);
  if (covering == nullptr) {
    VmaT& v = take_spare();
    v.range = traits.range;
    v.pgoff = traits.pgoff;
    // Compared with its neighbours as if it could be locked: beside memory that is not, and like
    // it cannot be, it stays by itself.
    v.init_flags(lockable ? traits.flags : traits.flags & ~kLockedFlags);
    v.file = traits.file;
    if (v.file != nullptr) v.file->hold();
    v.name = traits.name;
    insert(v);
    covering = &v;
  }
  if (lockable && traits.flags.has(VmaFlag::locked)) locked_pages_ += traits.range.pages().value;
  tell(*covering);
  for (VmaT* v = removed->first; v != nullptr;) {
    VmaT* const after = v->next_detached;
    destroy(*v);
    v = after;
  }
  return {};
}

template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::map_locked(const MapRequest& req, uint64_t length) noexcept {
  if (map_count_ > options_.max_map_count) return std::unexpected(Error::nomem);
  const Result<Address> place = find_place(req.address, length, req.file.get(), req.flags);
  if (!place) return place;
  const Range range{*place, *place + length};
  if (any(req.flags & MapFlags::fixed_noreplace)) {
    const VmaT* v = vma_from(range.start);
    if (v != nullptr && v->start() < range.end) return std::unexpected(Error::exist);
  }
  Result<VmaFlags> flags = flags_for(req, length);
  if (!flags) return std::unexpected(flags.error());

  RangeTraits traits{range, *flags, req.offset >> kPageShift, req.file.get(), nullptr};
  FileRef shared_memory;
  if (any(req.flags & MapFlags::anonymous)) {
    traits.file = nullptr;
    traits.pgoff = range.start.page();
    if (flags->has(VmaFlag::shared)) {
      Result<FileRef> made = mmu_.create_shared_memory(length);
      if (!made) return std::unexpected(made.error());
      shared_memory = std::move(*made);
      traits.file = shared_memory.get();
      traits.pgoff = 0;
    }
  }
  if (Result<void> done = install(traits); !done) return std::unexpected(done.error());
  return range.start;
}

template <VmaLockDesign L>
Result<Address> BasicAddressSpace<L>::map(const MapRequest& request, const std::stop_token& stop) {
  MapRequest req = request;
  if ((req.offset & kPageMask) != 0) return std::unexpected(Error::inval);
  if (!any(req.flags & MapFlags::anonymous) && !req.file) return std::unexpected(Error::badf);
  if (any(req.flags & MapFlags::anonymous)) req.file = {};
  if (any(req.flags & MapFlags::hugetlb)) return std::unexpected(Error::inval);
  if (req.length == 0) return std::unexpected(Error::inval);
  const std::optional<uint64_t> length = page_align_up(req.length);
  if (!length) return std::unexpected(Error::nomem);
  if (any(req.flags & MapFlags::fixed_noreplace)) req.flags = req.flags | MapFlags::fixed;

  Result<Address> place = std::unexpected(Error::intr);
  bool populates = (req.flags & (MapFlags::populate | MapFlags::nonblock)) == MapFlags::populate ||
                   any(req.flags & MapFlags::locked);
  {
    std::optional<MmapWrite> write = MmapWrite::lock(mm_, stop);
    if (!write) return place;
    mm_.assert_held_write();
    place = map_locked(req, *length);
    populates = populates || future_flags_.has(VmaFlag::locked);
  }
  if (place && populates) (void)populate({*place, *place + *length}, OnFailure::next_vma, stop);
  return place;
}

template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::map_special(Range range, Prot prot, const char* name) {
  if (range.empty() || !range.start.is_page_aligned() || !range.end.is_page_aligned() ||
      range.end > options_.top) {
    return std::unexpected(Error::inval);
  }
  std::optional<MmapWrite> write = MmapWrite::lock(mm_, {});
  if (!write) return std::unexpected(Error::intr);
  mm_.assert_held_write();
  const VmaT* v = vma_from(range.start);
  if (v != nullptr && v->start() < range.end) return std::unexpected(Error::exist);
  const VmaFlags flags = flags_from_prot(prot) | kMayFlags | VmaFlag::dont_expand |
                         VmaFlag::special | VmaFlag::dont_dump;
  return install({range, flags, 0, nullptr, name});
}

}  // namespace pervma
