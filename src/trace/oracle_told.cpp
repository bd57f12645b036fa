// oracle_told.cpp: the sequences of the shape `user_faults`: registrations with a userfaultfd, and
// its operations on pages, among the others.
#include <algorithm>
#include <iterator>

#include "trace/oracle_generator.h"

namespace pervma::trace {

namespace {

constexpr uint64_t kWindowEnd = kOracleWindow.value + kOracleWindowPages * kPageSize;
constexpr int32_t kAdviceRemove = 9;
constexpr int32_t kAdvicePageout = 21;
constexpr int32_t kAdviceGuardInstall = 102;

}  // namespace

// Does it reach into a VMA of this kind?
bool OracleGenerator::meets(const OracleOperation& op, OracleKind kind) const noexcept {
  for (size_t i = 0; i < sight_.vmas.size(); ++i) {
    const Range& v = sight_.vmas[i];
    if (sight_.kinds[i] == kind && v.end > op.address && op.address + op.length > v.start) {
      return true;
    }
  }
  return false;
}

// One of the VMAs, of those that are registered if there are any near where the search begins.
uint64_t OracleGenerator::told_vma() noexcept {
  const uint64_t n = sight_.vmas.size();
  const uint64_t from = below(n);
  if (chance(12)) return from;
  for (uint64_t i = 0; i < n; ++i) {
    if (sight_.told[(from + i) % n]) return (from + i) % n;
  }
  return from;
}

// Pages of one VMA, now and then a little more than it has.
OracleOperation OracleGenerator::pages_of_one(OracleCall call) noexcept {
  OracleOperation op{.call = call};
  if (sight_.vmas.empty() || chance(3)) {
    op.address = Address{place()};
    op.length = (1 + below(6)) * kPageSize;
    if (chance(30)) op.address = op.address + 1 + below(kPageSize - 1);
    if (chance(30)) op.length -= 1 + below(kPageSize - 1);
    if (chance(10)) op.length = 0;
  } else {
    const Range& v = sight_.vmas[told_vma()];
    const uint64_t first = chance(40) ? 0 : below(v.pages().value);
    op.address = v.start + first * kPageSize;
    uint64_t pages = 1 + below(std::min<uint64_t>(v.pages().value - first, chance(80) ? 4 : 64));
    if (chance(4)) pages = std::min<uint64_t>(pages + 1 + below(3), 64);
    op.length = pages * kPageSize;
  }
  op.length = std::min(op.length, kWindowEnd - op.address.value);
  return op;
}

// Private mappings of memory files are not modelled, nor is their registration.
OracleOperation OracleGenerator::registration() noexcept {
  static constexpr uint32_t kAnyModes[] = {1, 1, 2, 3, 4, 5, 6, 7, 0, 8};
  static constexpr uint32_t kPrivateModes[] = {1, 1, 1, 2, 3, 3, 3};
  OracleOperation op = over_a_range(OracleCall::uffd_register);
  if (!sight_.vmas.empty() && chance(50)) {
    const Range& v = sight_.vmas[below(sight_.vmas.size())];
    op.address = v.start;
    op.length = v.bytes();
  }
  if (meets(op, OracleKind::private_file)) return touch();
  const bool is_private = meets(op, OracleKind::anonymous) && chance(85);
  op.flags = is_private ? kPrivateModes[below(std::size(kPrivateModes))]
                        : kAnyModes[below(std::size(kAnyModes))];
  return op;
}

// Within a VMA, or from any other.
OracleOperation OracleGenerator::move_pages() noexcept {
  OracleOperation op = pages_of_one(OracleCall::uffd_move);
  const OracleOperation from = pages_of_one(OracleCall::uffd_move);
  op.new_address = from.address;
  op.length = std::min(op.length, from.length);
  if (chance(50)) op.length = std::min(op.length, kPageSize);
  if (chance(35)) {
    const uint64_t away = (1 + below(8)) * kPageSize;
    const uint64_t at = op.address.value + (chance(50) ? away : 0 - away);
    if (at >= kOracleWindow.value && at + op.length <= kWindowEnd) op.new_address = Address{at};
  }
  return op;
}

OracleOperation OracleGenerator::told() noexcept {
  const auto with = [this](OracleOperation op, uint32_t often, uint32_t bit) {
    op.flags = chance(often) ? bit : 0;
    if (chance(10)) op.flags ^= 3 - bit;
    if (chance(1)) op.flags |= 4;
    return op;
  };
  const uint64_t kind = below(100);
  if (kind < 24) return registration();
  if (kind < 30) {
    const OracleOperation op = over_a_range(OracleCall::uffd_unregister);
    return meets(op, OracleKind::private_file) ? touch() : op;
  }
  if (kind < 48) {
    OracleOperation op = with(pages_of_one(OracleCall::uffd_copy), 25, 2);
    op.byte = static_cast<uint8_t>(random());
    return op;
  }
  if (kind < 60) return with(pages_of_one(OracleCall::uffd_zeropage), 20, 1);
  if (kind < 70) return with(pages_of_one(OracleCall::uffd_continue), 25, 2);
  if (kind < 80) return with(pages_of_one(OracleCall::uffd_writeprotect), 75, 1);
  if (kind < 86) return with(over_a_range(OracleCall::uffd_writeprotect), 75, 1);
  return with(move_pages(), 60, 2);
}

OracleOperation OracleGenerator::user_faults(uint64_t kind) noexcept {
  if (scope_.user_faults && kind < 40) return told();
  if (kind < 46) return touch();
  OracleOperation op = common(below(100));
  if (op.call != OracleCall::madvise) return op;
  // What leaves holes in shared memory would tell what is cached there and what is not; guards over
  // closed pages of shared memory are for ever under way in Linux.
  const bool shared = meets(op, OracleKind::shared);
  if (op.advice == kAdviceRemove ||
      (shared && (op.advice == kAdvicePageout || op.advice == kAdviceGuardInstall))) {
    return touch();
  }
  return op;
}

}  // namespace pervma::trace
