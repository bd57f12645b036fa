// mmu_under_test.h: what the conformance suite needs of an implementation of Mmu besides the
// interface itself: ways to touch pages as the program and its faults would.
#pragma once

#include <functional>
#include <memory>

#include "tests/fault/support.h"
#include "vm/mmu.h"

namespace pervma::test {

class MmuUnderTest {
 public:
  virtual ~MmuUnderTest() = default;

  virtual Mmu& mmu() = 0;
  // An Mmu for a fork's child of this one's space.
  virtual std::unique_ptr<MmuUnderTest> make_child() = 0;
  virtual FileRef open(std::shared_ptr<BackingObject> object) = 0;

  // Serves a fault of this kind, giving the VMA an anon_vma where one is needed.
  virtual FaultOutcome touch(LooseVma& vma, Address a, Access access) = 0;
  // Whether the access goes through without a fault.
  virtual bool reaches(Address a, Access access) = 0;
  // Only where reaches() is true.
  virtual std::byte read(Address a) = 0;
  virtual void write(Address a, std::byte value) = 0;

  // Pages in use by this Mmu, its relatives and its files.
  virtual uint64_t pages() = 0;
  // Makes every allocation beyond the next `n` fail, until told to stop.
  virtual void fail_after(uint64_t n) = 0;
  virtual void fail_never() = 0;
};

struct MmuKind {
  const char* name;
  std::function<std::unique_ptr<MmuUnderTest>()> make;
};

}  // namespace pervma::test
