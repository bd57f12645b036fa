// lifecycle.h: how a space begins, is duplicated by fork, and ends.
#pragma once

#include "vm/unmap.h"

namespace pervma {

// No VMA reaches into tables that lie partly above the space.
inline constexpr Range kEverywhere{Address{0}, Address{~kPageMask}};

template <VmaLockDesign L>
BasicAddressSpace<L>::BasicAddressSpace(VmContext& context, Mmu& mmu,
                                        const SpaceOptions& options) noexcept
    : mmu_(mmu),
      context_(context),
      cache_(context.template vmas<L>()),
      reaper_(cache_, options.vma_free),
      options_(options),
      tree_(context.nodes) {
  tree_.set_leftovers_taken();
  if (options.vma_free != VmaFree::at_once) context.frees_by_rcu();
}

template <VmaLockDesign L>
BasicAddressSpace<L>::~BasicAddressSpace() {
  PERVMA_ASSERT(exited_);
}

// Most pages go beside faults and readers. Each VMA's readers have left before it is detached;
// whoever is still on his way to one finds an empty tree or a detached VMA, and nothing at the
// address: so the tree forgets them before one is freed, and faults that came in between have left
// pages that go now. A space that was used again after its exit is emptied again.
template <VmaLockDesign L>
void BasicAddressSpace<L>::exit() noexcept {
  {
    const MmapRead read(mm_);
    MapleTree::Cursor cursor(tree_, 0);
    for (void* v = cursor.find(0, kLastIndex); v != nullptr; v = cursor.next(kLastIndex)) {
      mmu_.zap(static_cast<VmaT*>(v)->range);
    }
  }
  const MmapWrite write(mm_);
  exited_ = true;
  if (VmaT* const first = detach_everything()) {
    const Range all{Address{0}, options_.top};
    mmu_.zap(all);
    for (VmaT* v = first; v != nullptr; v = v->next_detached) leave_mappers(*v);
    mmu_.free_tables(all, kEverywhere);
    for (VmaT* v = first; v != nullptr;) {
      VmaT* const next = v->next_detached;
      destroy(*v);
      v = next;
    }
  }
  while (spares_ != nullptr) destroy(take_spare());
  reaper_.flush();
}

// Write-locks and detaches every VMA, then empties the tree. The VMAs, in a list.
template <VmaLockDesign L>
auto BasicAddressSpace<L>::detach_everything() noexcept -> VmaT* {
  VmaT* first = nullptr;
  VmaT** link = &first;
  {
    MapleTree::Cursor cursor(tree_, 0);
    for (void* p = cursor.find(0, kLastIndex); p != nullptr; p = cursor.next(kLastIndex)) {
      VmaT& v = *static_cast<VmaT*>(p);
      v.lock_write(mm_);
      L::detach(v.near, v.far, mm_);
      --map_count_;
      *link = &v;
      link = &v.next_detached;
    }
  }
  *link = nullptr;
  tree_.clear();
  PERVMA_ASSERT_OP(map_count_, ==, 0u);
  mapped_pages_ = 0;
  locked_pages_ = 0;
  return first;
}

// Of a fork's child that nobody has seen: ends the VMAs below `end`, whose pages are gone, and
// empties the tree whatever it holds above. They are freed directly.
template <VmaLockDesign L>
void BasicAddressSpace<L>::take_down(Address end) noexcept {
  tree_.set_rcu_mode(RcuMode::off);
  MapleTree::Cursor cursor(tree_, 0);
  void* p = end.value == 0 ? nullptr : cursor.find(0, end.value - 1);
  for (; p != nullptr; p = cursor.next(end.value - 1)) {
    VmaT& v = *static_cast<VmaT*>(p);
    v.lock_write(mm_);
    L::detach(v.near, v.far, mm_);
    --map_count_;
    destroy(v);
  }
  mmu_.free_tables({Address{0}, options_.top}, kEverywhere);
  tree_.clear();
  PERVMA_ASSERT_OP(map_count_, ==, 0u);
  mapped_pages_ = 0;
  locked_pages_ = 0;
}

// Gives a fork's child VMA its own identity below the parent's; the ancestors' pages stay reachable
// through its chain. False: no memory.
template <VmaLockDesign L>
bool BasicAddressSpace<L>::fork_anon_vma(VmaT& child, const VmaT& parent) noexcept {
  AnonVma* const from = parent.anon_vma();
  if (from == nullptr) return true;
  if (parent.ancestors != nullptr && parent.ancestors->contains(from)) {
    child.ancestors = parent.ancestors;  // A used-again identity: the chain gets no longer.
    child.ancestors->hold();
  } else {
    child.ancestors = AnonAncestors::create(parent.ancestors, from);
    if (child.ancestors == nullptr) return false;
  }
  AnonVma* own = nullptr;
  for (uint32_t i = 0; i < child.ancestors->size() && own == nullptr; ++i) {
    if (child.ancestors->at(i)->may_be_reused()) own = child.ancestors->at(i);
  }
  if (own != nullptr) {
    own->hold();
  } else {
    own = AnonVma::create(context_.next_anon_id(), from);
    if (own == nullptr) return false;
  }
  own->add_vma(1);
  child.set_anon_vma(own);
  return true;
}

// Puts a copy of the parent's VMA in its place in the tree, or nothing. True: its pages are to be
// copied too. Error::nomem: the parent's is still there.
template <VmaLockDesign L>
Result<bool> BasicAddressSpace<L>::copy_one(const VmaT& from) noexcept {
  if (!reserve({1, 1})) return std::unexpected(Error::nomem);
  if (from.flags().has(VmaFlag::dont_copy)) {
    tree_.erase_reserved(from.start().value, from.end().value - 1);
    return false;
  }
  VmaT& to = take_spare();
  to.range = from.range;
  to.pgoff = from.pgoff;
  // Who is told of the parent's faults is not told of the child's, as in Linux without
  // UFFD_FEATURE_EVENT_FORK.
  to.init_flags(from.flags() & ~(kLockedFlags | VmaFlag::user_fault));
  to.file = from.file;
  if (to.file != nullptr) to.file->hold();
  to.name = from.name;
  const bool wiped = from.flags().has(VmaFlag::wipe_on_fork);
  if (!wiped && !fork_anon_vma(to, from)) {
    destroy(to);
    return std::unexpected(Error::nomem);
  }
  insert(to);
  return !wiped;
}

// The tree is duplicated node by node, then each VMA in it is exchanged for its copy. Every parent
// VMA is write-locked from before its copy until no writable entry of it remains (rule R5): until
// the end. A copy that fails is emptied before its lock is released (rule R24).
template <VmaLockDesign L>
Result<void> BasicAddressSpace<L>::copy_from(BasicAddressSpace& parent,
                                             const std::stop_token& stop) noexcept {
  std::optional<MmapWrite> theirs = MmapWrite::lock(parent.mm_, stop);
  if (!theirs) return std::unexpected(Error::intr);
  parent.mm_.assert_held_write();
  const MmapWrite ours(mm_);
  brk_start_ = parent.brk_start_.get();
  brk_ = parent.brk_.get();
  stack_ = parent.stack_.get();
  tree_.set_rcu_mode(RcuMode::off);  // Nobody else sees this space yet.
  if (!parent.tree_.duplicate_into(tree_)) return std::unexpected(Error::nomem);
  Result<void> result{};
  Address done{0};  // Below it the tree holds what is ours.
  MapleTree::Cursor cursor(parent.tree_, 0);
  for (void* p = cursor.find(0, kLastIndex); p != nullptr && result; p = cursor.next(kLastIndex)) {
    VmaT& from = *static_cast<VmaT*>(p);
    if (!from.lock_write(parent.mm_, stop) || stop.stop_requested()) {
      result = std::unexpected(Error::intr);
      break;
    }
    const Result<bool> copied = copy_one(from);
    if (!copied) {
      result = std::unexpected(copied.error());
      break;
    }
    done = from.end();
    if (*copied) result = parent.mmu_.copy_to(mmu_, from);
  }
  if (!result) {
    mmu_.zap({Address{0}, options_.top});
    take_down(done);
  }
  tree_.set_rcu_mode(RcuMode::on);
  return result;
}

}  // namespace pervma
