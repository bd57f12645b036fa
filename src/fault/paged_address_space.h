// paged_address_space.h: an address space with pages: the map of src/vm over a software MMU, the
// fault path between them, and access to data.
//
// A fault is served in two steps. First under the read lock of its VMA alone, found without the
// mmap lock. What cannot be done so, or met a writer, releases the VMA lock and is served again
// under the mmap lock for read. Only the second step waits.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "fault/fault_counts.h"
#include "fault/fault_wait.h"
#include "fault/soft_engine.h"
#include "fault/soft_mmu.h"
#include "vm/design_spaces.h"

namespace pervma {

// A base, so that the MMU is made before the map that refers to it, and destroyed after it.
class MmuHolder {
 protected:
  MmuHolder(SoftEngine& engine, Frame root) noexcept
      : engine_(engine),
        soft_mmu_(engine.frames(), engine.caches(), root, engine.swap(), engine.reclaim()) {
    engine_.space_begins();
  }
  ~MmuHolder() { engine_.space_ends(); }

  SoftEngine& engine_;
  SoftMmu soft_mmu_;
};

template <VmaLockDesign L>
class PagedUserFaults;

template <VmaLockDesign L>
class PagedAddressSpace final : private MmuHolder,
                                public BasicAddressSpace<L>,
                                private CollapseTarget {
 public:
  using Base = BasicAddressSpace<L>;
  using VmaT = typename Base::VmaT;

  // Null: no memory.
  static std::unique_ptr<PagedAddressSpace> create(SoftEngine&, const SpaceOptions&) noexcept;
  ~PagedAddressSpace() override {
    // A UserFaults outlives its space.
    PERVMA_ASSERT_OP(user_faults_.load(std::memory_order_relaxed), ==, 0u);
    PagedAddressSpace::exit();
  }
  // First the collapser goes: it would make huge pages where all is gone.
  void exit() noexcept override {
    engine_.collapser().remove(*this);
    Base::exit();
  }
  // From here on the engine's collapser may look at it. False: no memory.
  [[nodiscard]] bool show_to_collapser() noexcept { return engine_.collapser().add(*this); }

  // A child with a copy of this space's map and pages.
  Result<std::unique_ptr<AddressSpace>> fork(const std::stop_token&) noexcept;
  bool belongs_to(const SoftEngine& engine) const noexcept { return &engine_ == &engine; }

  FaultOutcome handle_fault(Address, Access, FaultOrigin, const std::stop_token&) override;
  FaultOutcome fault_in(VmaT&, Address, Access) noexcept override;
  FaultOutcome load(Address, std::span<std::byte> to, const std::stop_token&) override;
  FaultOutcome store(Address, std::span<const std::byte> from, const std::stop_token&) override;
  Result<void> copy_out(Address, std::span<std::byte> to, const std::stop_token&) override;
  Result<void> copy_in(Address, std::span<const std::byte> from, const std::stop_token&) override;
  Result<void> insert_pages(Address, std::span<PageBuffer>, const std::stop_token&) override;
  Result<std::unique_ptr<UserFaults>> create_user_faults(const UserFaultOptions&) override;
  std::byte* translate(Address a, Access access) const noexcept override {
    return soft_mmu_.translate(a, access);
  }
  FaultCounters fault_counters() const noexcept override { return counts_.sum(); }

  const SoftMmu& mmu() const noexcept { return soft_mmu_; }

 private:
  using Event = FaultCounts::Event;
  using Lookup = typename Base::Lookup;

  // What the first step leaves to the second.
  struct FirstStep {
    std::optional<FaultOutcome> outcome;  // nothing is left
    FaultHold next = FaultHold::mmap_lock;
  };
  // Ends the read of a VMA once, on every path out of its scope.
  class VmaHold {
   public:
    explicit VmaHold(const Lookup& found) noexcept : found_(found) {}
    ~VmaHold() { Base::end_read(*found_.vma, found_.token); }
    VmaHold(const VmaHold&) = delete;
    VmaHold& operator=(const VmaHold&) = delete;

   private:
    const Lookup& found_;
  };

  PagedAddressSpace(SoftEngine& engine, Frame root, const SpaceOptions& options) noexcept
      : MmuHolder(engine, root), Base(engine.vm(), soft_mmu_, options), options_(options) {}

  CollapseScan collapse_step(Address from, unsigned looks) noexcept override {
    return this->scan_for_collapse(from, looks);
  }
  Address collapse_end() const noexcept override { return options_.top; }

  FirstStep fault_under_vma_lock(Address, Access, const std::stop_token&) noexcept;
  FirstStep fault_speculatively(Address, Access) noexcept
    requires(L::kReadKind == ReadKind::validated);
  FaultOutcome fault_under_mmap_lock(Address, Access, FaultHold, const std::stop_token&) noexcept;

  // A fault in a VMA that the lock keeps.
  struct HeldFault {
    Address address;
    Access access;
    FaultHold hold;
    const std::stop_token& stop;
  };
  FaultStep serve(VmaT&, const HeldFault&) noexcept;
  FaultStep serve_under_vma_lock(VmaT&, const HeldFault&) noexcept;
  FaultStep serve_under_mmap_lock(VmaT&, const HeldFault&) noexcept;
  FaultStep remember(std::optional<FaultWait>&, VmaT&, const HeldFault&, FaultStep) noexcept;
  FirstStep wait_with_vma(const Lookup&, const HeldFault&, FaultStep) noexcept;
  FirstStep without_vma(FaultStep, Address) noexcept;

  struct Touching {
    Access access;
    FaultOrigin origin;
    const std::stop_token& stop;
  };
  template <class Byte, class Touch>
  FaultOutcome for_each_page(Address, std::span<Byte>, const Touching&, Touch) noexcept;

  // --- user_operations.h ---
  friend class PagedUserFaults<L>;
  bool has_identity(VmaT&) noexcept;
  template <class Check, class Run>
  SoftMmu::Insertion under_vma(Address, const std::stop_token&, Check, Run) noexcept;
  template <class Check, class Run>
  SoftMmu::Insertion under_two_vmas(Address, Address, const std::stop_token&, Check, Run) noexcept;

  const SpaceOptions options_;
  FaultCounts counts_;
  std::atomic<uint32_t> user_faults_{0};  // objects that refer to this one
};

}  // namespace pervma
