// oracle_wide.cpp: the sequences of the shape `wide`: what the mixed ones seldom or never ask for.
#include <algorithm>
#include <iterator>

#include "trace/oracle_generator.h"

namespace pervma::trace {

namespace {

constexpr uint64_t kWindow = kOracleWindow.value;
constexpr uint64_t kWindowEnd = kWindow + kOracleWindowPages * kPageSize;
constexpr uint64_t kWindowBytes = kOracleWindowPages * kPageSize;

constexpr uint32_t kTypes = 15;
constexpr uint32_t kAnonymous = 0x20;
constexpr uint32_t kGrowsDown = 0x100;
constexpr uint32_t kMayMove = 1;
constexpr uint32_t kMoveFixed = 2;
constexpr uint32_t kDontUnmap = 4;
constexpr uint32_t kProtGrowsDown = 0x0100'0000;

}  // namespace

// Every combination of rights, bits that mean nothing or are ignored, types that are none.
OracleOperation OracleGenerator::wide_map() noexcept {
  static constexpr uint32_t kProts[] = {8, 0x10, 0x0100'0000, 0x0200'0000, 0x8000'0000};
  static constexpr uint32_t kFlags[] = {0x200,      0x400,      0x800,       0x1000,     0x20'0000,
                                        0x400'0000, 0x800'0000, 0x1000'0000, 0x8000'0000};
  OracleOperation op = map();
  if (chance(35)) op.prot = static_cast<uint32_t>(below(8));
  if (chance(3)) op.prot |= kProts[below(std::size(kProts))];
  if (chance(3)) op.flags |= kFlags[below(std::size(kFlags))];
  if (chance(2)) op.flags = (op.flags & ~kTypes) | static_cast<uint32_t>(below(kTypes + 1));
  if ((op.flags & kAnonymous) != 0 && chance(15)) {
    op.flags |= kGrowsDown;
    if (op.address.value > kWindow) {
      stacks_[stack_count_++ % stacks_.size()] = op.address.page_down().value;
    }
  }
  return op;
}

OracleOperation OracleGenerator::wide_protect() noexcept {
  OracleOperation op = protect();
  if (chance(35)) op.prot = (op.prot & ~7u) | static_cast<uint32_t>(below(8));
  if (chance(12)) op.prot |= kProtGrowsDown;
  return op;
}

// A run of VMAs, or from inside the first to inside the last, with the holes between them; to a
// place near by that may meet it.
OracleOperation OracleGenerator::move_several() noexcept {
  if (sight_.vmas.empty()) return remap();
  const uint64_t i = below(sight_.vmas.size());
  const uint64_t last = i + below(std::min<uint64_t>(6, sight_.vmas.size() - i));
  uint64_t start = sight_.vmas[i].start.value;
  uint64_t end = sight_.vmas[last].end.value;
  if (chance(25)) start += below(sight_.vmas[i].pages().value) * kPageSize;
  if (chance(20)) end -= below(sight_.vmas[last].pages().value) * kPageSize;
  if (chance(10)) end = std::min(end + (1 + below(4)) * kPageSize, kWindowEnd);
  if (chance(6)) start = std::max(start - (1 + below(4)) * kPageSize, kWindow);
  if (end <= start) end = start + kPageSize;
  const uint64_t bytes = end - start;
  uint64_t to = place();
  if (chance(25)) to = start + (1 + below(12)) * kPageSize;
  if (chance(25)) to = start - (1 + below(12)) * kPageSize;
  if (chance(20)) to = chance(50) ? end : start - bytes;
  if (to < kWindow || to > kWindowEnd - bytes) {
    to = kWindow + below((kWindowBytes - bytes) / kPageSize + 1) * kPageSize;
  }
  OracleOperation op{.call = OracleCall::mremap,
                     .flags = kMayMove | kMoveFixed,
                     .address = Address{start},
                     .length = bytes,
                     .new_length = bytes,
                     .new_address = Address{to}};
  if (chance(15)) op.flags |= kDontUnmap;
  return op;
}

// Length 0: of a shared mapping another one is made, over or beside what is there.
OracleOperation OracleGenerator::duplicate() noexcept {
  if (sight_.vmas.empty()) return remap();
  const Range v = sight_.vmas[below(sight_.vmas.size())];
  const uint64_t from = v.start.value + below(v.pages().value) * kPageSize;
  const uint64_t room = (kWindowEnd - from) / kPageSize;
  OracleOperation op{.call = OracleCall::mremap,
                     .flags = kMayMove,
                     .address = Address{from},
                     .new_length = (1 + below(std::min<uint64_t>(8, room))) * kPageSize};
  if (chance(10)) op.flags = 0;
  if (!chance(70)) return op;
  op.flags |= chance(90) ? kMoveFixed : kDontUnmap;
  uint64_t to = chance(50) ? place() : from - below(10) * kPageSize;
  if (chance(20)) to = from + below(10) * kPageSize;
  if (to < kWindow || to > kWindowEnd - op.new_length) to = kWindowEnd - op.new_length;
  op.new_address = Address{to};
  return op;
}

OracleOperation OracleGenerator::wide_remap() noexcept {
  const uint64_t kind = below(100);
  return kind < 45 ? move_several() : kind < 60 ? duplicate() : remap();
}

// Below what grows down: near, within what a stack may reach, or beyond.
OracleOperation OracleGenerator::wide_touch() noexcept {
  OracleOperation op = touch();
  if (stack_count_ == 0 || !chance(40)) return op;
  const uint64_t base = stacks_[below(std::min<uint64_t>(stack_count_, stacks_.size()))];
  const uint64_t most = chance(70) ? 4 : chance(70) ? 300 : 2300;
  const uint64_t at = base - (1 + below(most)) * kPageSize + below(kPageSize);
  if (at >= kWindow && at < kWindowEnd) op.address = Address{at};
  return op;
}

OracleOperation OracleGenerator::wide(uint64_t kind) noexcept {
  if (kind < 19) return wide_map();
  if (kind < 29) return unmap();
  if (kind < 43) return wide_protect();
  if (kind < 54) return advise();
  if (kind < 69) return wide_remap();
  if (kind < 77) return lock();
  if (kind < 80) return scope_.brk ? move_break() : wide_map();
  if (kind < 85) return extended();
  return wide_touch();
}

}  // namespace pervma::trace
