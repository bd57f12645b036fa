// maps.h: looking at a whole space: its VMAs as values, the text of /proc/PID/maps, and check().
#pragma once

#include <fmt/format.h>

#include "vm/address_space.h"
#include "vm/maps_text.h"
#include "vm/vma_rules.h"

namespace pervma {

template <VmaLockDesign L>
VmaInfo BasicAddressSpace<L>::info_of(const VmaT& v) const {
  VmaInfo info;
  info.range = v.range;
  info.flags = v.flags();
  info.page_offset = v.pgoff;
  info.user_faults = v.user_modes();
  if (const AnonVma* anon = v.anon_vma()) info.anon_vma = anon->id();
  if (v.file != nullptr) {
    const FileIdentity& id = v.file->object().identity();
    info.has_file = true;
    info.device_major = id.device_major;
    info.device_minor = id.device_minor;
    info.inode = id.inode;
    info.name = id.name;
  } else if (v.name != nullptr) {
    info.name = v.flags().has(VmaFlag::special) ? v.name : fmt::format("[anon:{}]", v.name);
  } else if (v.start() < brk_.get() && v.end() > brk_start_.get()) {
    info.name = "[heap]";
  } else if (v.start() <= stack_.get() && v.end() >= stack_.get()) {
    info.name = "[stack]";
  }
  return info;
}

template <VmaLockDesign L>
std::vector<VmaInfo> BasicAddressSpace<L>::vmas() const {
  const MmapRead read(mm_);
  std::vector<VmaInfo> all;
  all.reserve(map_count_);
  MapleTree::Cursor cursor(tree_, 0);
  for (void* p = cursor.find(0, kLastIndex); p != nullptr; p = cursor.next(kLastIndex)) {
    all.push_back(info_of(*static_cast<const VmaT*>(p)));
  }
  return all;
}

template <VmaLockDesign L>
std::vector<VmaInfo> BasicAddressSpace<L>::vmas_in(Range r) const {
  std::vector<VmaInfo> found;
  if (r.empty()) return found;
  const MmapRead read(mm_);
  MapleTree::Cursor cursor(tree_, r.start.value);
  for (void* p = cursor.find(r.start.value, r.end.value - 1); p != nullptr;
       p = cursor.next(r.end.value - 1)) {
    found.push_back(info_of(*static_cast<const VmaT*>(p)));
  }
  return found;
}

template <VmaLockDesign L>
void BasicAddressSpace<L>::for_each_vma(Range r, VmaVisitor& visitor) const {
  if (r.empty()) return;
  const MmapRead read(mm_);
  MapleTree::Cursor cursor(tree_, r.start.value);
  for (void* p = cursor.find(r.start.value, r.end.value - 1); p != nullptr;
       p = cursor.next(r.end.value - 1)) {
    const VmaT& v = *static_cast<const VmaT*>(p);
    visitor.visit({.range = v.range,
                   .flags = v.flags(),
                   .page_offset = v.pgoff,
                   .file = v.file != nullptr ? &v.file->object().identity() : nullptr,
                   .user_faults = v.user_modes()});
  }
}

template <VmaLockDesign L>
std::optional<VmaInfo> BasicAddressSpace<L>::find_vma(Address a) const {
  const MmapRead read(mm_);
  const VmaT* v = vma_at(a);
  if (v == nullptr) return std::nullopt;
  return info_of(*v);
}

// Calls visit(const VmaT&) for one VMA after the other, each under its read lock alone. Gaps are
// validated (rule R20), so a VMA that is there all the time is met; one that grows over the place
// that was reached is met again.
template <VmaLockDesign L>
template <class Visit>
void BasicAddressSpace<L>::walk_vmas(Visit visit) const {
  if constexpr (kLocksVmas<L>) {
    struct Hold {
      NextVma next;
      ~Hold() {
        if (next.vma != nullptr) end_read(*next.vma, next.token);
      }
    };
    for (Address at{0}; at < options_.top;) {
      const Hold hold{lock_next_vma(at, options_.top)};
      if (hold.next.vma == nullptr) break;
      visit(static_cast<const VmaT&>(*hold.next.vma));
      at = hold.next.vma->end();
    }
  } else {
    const MmapRead read(mm_);
    MapleTree::Cursor cursor(tree_, 0);
    for (void* p = cursor.find(0, kLastIndex); p != nullptr; p = cursor.next(kLastIndex)) {
      visit(*static_cast<const VmaT*>(p));
    }
  }
}

template <VmaLockDesign L>
std::string BasicAddressSpace<L>::to_maps() const {
  std::string text;
  walk_vmas([&](const VmaT& v) { text += maps_line(info_of(v)); });
  return text;
}

template <VmaLockDesign L>
SpaceStatistics BasicAddressSpace<L>::statistics() const {
  SpaceStatistics s;
  walk_vmas([&](const VmaT& v) {
    ++s.vmas;
    s.mapped.value += v.range.pages().value;
    if (v.flags().has(VmaFlag::locked)) s.locked.value += v.range.pages().value;
    s.pages += mmu_.page_use(v.range);
  });
  return s;
}

template <VmaLockDesign L>
uint64_t BasicAddressSpace<L>::map_count() const {
  const MmapRead read(mm_);
  return map_count_;
}

template <VmaLockDesign L>
PageCount BasicAddressSpace<L>::mapped_pages() const {
  const MmapRead read(mm_);
  return {mapped_pages_};
}

template <VmaLockDesign L>
PageCount BasicAddressSpace<L>::locked_pages() const {
  const MmapRead read(mm_);
  return {locked_pages_};
}

template <VmaLockDesign L>
Design BasicAddressSpace<L>::design() const noexcept {
  return design_of<L>();
}

template <VmaLockDesign L>
LockCounters BasicAddressSpace<L>::lock_counters() const noexcept {
  const MmapLockStats s = mm_.stats();
  return {.read = s.read, .write = s.write, .wait_ns = s.wait_ns};
}

template <VmaLockDesign L>
std::string BasicAddressSpace<L>::check() const {
  const MmapWrite write(mm_);
  if (std::string wrong = tree_.check(); !wrong.empty()) return "tree: " + wrong;
  uint64_t count = 0;
  uint64_t pages = 0;
  Address last_end{0};
  MapleTree::Cursor cursor(tree_, 0);
  for (void* p = cursor.find(0, kLastIndex); p != nullptr; p = cursor.next(kLastIndex), ++count) {
    const VmaT& v = *static_cast<const VmaT*>(p);
    const auto wrong = [&](const char* what) {
      return fmt::format("VMA {:x}-{:x}: {}", v.start().value, v.end().value, what);
    };
    // bounds: aligned, not empty, in order, inside the space, and the tree's
    if (!v.start().is_page_aligned() || !v.end().is_page_aligned()) return wrong("not aligned");
    if (v.range.empty()) return wrong("empty");
    if (v.start() < last_end) return wrong("overlaps the one before");
    if (v.end() > options_.top) return wrong("beyond the top");
    if (cursor.first() != v.start().value || cursor.last() != v.end().value - 1) {
      return wrong("the tree has other bounds");
    }
    // state: attached, of this space
    if (v.is_detached()) return wrong("detached, but in the tree");
    if (!v.near.is_of(mm_)) return wrong("belongs to another space");
    // fields: rights within may_*, an identity only where private pages can be
    if (exceeds_may(v.flags())) return wrong("more rights than it may have");
    if (v.is_anonymous() && v.is_shared()) return wrong("shared without an object");
    if (v.anon_vma() != nullptr && v.is_shared()) return wrong("shared, with an anon_vma");
    if (v.ancestors != nullptr && v.anon_vma() == nullptr) return wrong("a chain without identity");
    const bool told = v.flags().has(VmaFlag::user_fault);
    if (told != (v.user_context() != nullptr) || told != (v.user_modes() != UserFaultModes::none)) {
      return wrong("half registered for user faults");
    }
    // reverse map: in the list that its frames lead to; its entries are right
    if (v.mappers() != nullptr && !v.is_linked()) return wrong("not in the list of its mappers");
    if (&v.mapper_space() != &mapper_space_) return wrong("another space's pages");
    if (const char* bad = mmu_.check(v); bad != nullptr) return wrong(bad);
    last_end = v.end();
    pages += v.range.pages().value;
  }
  // counts: of VMAs and of pages
  if (count != map_count_) {
    return fmt::format("map_count is {}, the tree has {}", map_count_, count);
  }
  if (pages != mapped_pages_) {
    return fmt::format("mapped_pages is {}, the VMAs have {}", mapped_pages_, pages);
  }
  return {};
}

}  // namespace pervma
