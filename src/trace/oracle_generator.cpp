#include "trace/oracle_generator.h"

#include <iterator>

namespace pervma::trace {

namespace {

constexpr uint64_t kWindow = kOracleWindow.value;
constexpr uint64_t kWindowEnd = kWindow + kOracleWindowPages * kPageSize;
// Longer than any space: such a length is refused, or wraps around with any address of the window.
constexpr uint64_t kWrapping = ~uint64_t{0} - (uint64_t{1} << 20);

constexpr uint32_t kShared = 1;
constexpr uint32_t kPrivate = 2;
constexpr uint32_t kSharedValidate = 3;
constexpr uint32_t kDroppable = 8;
constexpr uint32_t kFixed = 0x10;
constexpr uint32_t kAnonymous = 0x20;
constexpr uint32_t kGrowsDown = 0x100;
constexpr uint32_t kLocked = 0x2000;
constexpr uint32_t kNoReserve = 0x4000;
constexpr uint32_t kPopulate = 0x8000;
constexpr uint32_t kNonBlock = 0x10000;
constexpr uint32_t kStack = 0x20000;
constexpr uint32_t kSync = 0x80000;
constexpr uint32_t kFixedNoReplace = 0x100000;

constexpr uint32_t kMayMove = 1;
constexpr uint32_t kMoveFixed = 2;
constexpr uint32_t kDontUnmap = 4;

constexpr int32_t kCoreAdvice[] = {0,  1,  2,  3,  4,  4,  8,  10, 11, 12,
                                   13, 14, 15, 16, 17, 18, 19, 20, 21, 999};
constexpr int32_t kExtAdvice[] = {9, 9, 22, 23, 24, 25, 102, 102, 103, 5, -1};

}  // namespace

OracleGenerator::OracleGenerator(uint64_t seed, const OracleScope& scope) noexcept
    : state_(seed * 0x9e3779b97f4a7c15u + 0x1234567), scope_(scope) {
  for (int i = 0; i < 8; ++i) (void)random();
  // Some sequences live at one of the window's ends.
  home_ = chance(15)   ? 0
          : chance(15) ? kOracleWindowPages - 128
                       : 64 + below(kOracleWindowPages - 1024);
}

// xorshift64*: small, and the same everywhere.
uint64_t OracleGenerator::random() noexcept {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return state_ * 0x2545f4914f6cdd1du;
}

// A page near where something is: the edge of a VMA, or home.
uint64_t OracleGenerator::place() noexcept {
  if (!sight_.vmas.empty() && chance(75)) {
    const Range& v = sight_.vmas[below(sight_.vmas.size())];
    uint64_t at = chance(50) ? v.start.value : v.end.value;
    if (chance(40)) at += below(8) * kPageSize;
    if (chance(40)) at -= below(8) * kPageSize;
    if (at >= kWindow && at < kWindowEnd) return at;
  }
  return kWindow + (home_ + below(96)) * kPageSize;
}

uint64_t OracleGenerator::address() noexcept {
  switch (below(400)) {
    case 0: return 0;
    case 1: return ~uint64_t{0} & ~kPageMask;
    case 2: return uint64_t{1} << 47;
    case 3: return uint64_t{1} << 63;
    case 4: return 0x7fff'ffff'f000;  // the end of the space
    case 5: return (uint64_t{1} << 63) + place();
    case 6:
    case 7:
    case 8: return place() + 1 + below(kPageSize - 1);
    default: return place();
  }
}

uint64_t OracleGenerator::absurd_length() noexcept {
  static constexpr uint64_t kLengths[] = {0,
                                          0,
                                          ~uint64_t{0},
                                          ~uint64_t{0} - kPageMask,
                                          ~uint64_t{0} - 2 * kPageSize,
                                          ~uint64_t{0} - 5 * kPageSize + 1};
  return kLengths[below(std::size(kLengths))];
}

uint64_t OracleGenerator::length() noexcept {
  if (below(60) == 0) return absurd_length();
  uint64_t pages = 1 + below(chance(70) ? 6 : 24);
  if (chance(3)) pages = 512 * (1 + below(2));
  uint64_t bytes = pages * kPageSize;
  if (chance(4)) bytes -= 1 + below(kPageSize - 1);
  return bytes;
}

// The rest of the space is not ours: a range ends where the window does, if it is not one of those
// that wrap around and are refused.
uint64_t OracleGenerator::inside(uint64_t start, uint64_t bytes) noexcept {
  constexpr uint64_t kBelowEverything = 8 * kPageSize;  // the lowest neighbour begins above
  if (start < kWindow) return bytes < kBelowEverything ? bytes : kBelowEverything;
  if (bytes > kWrapping) return bytes;
  if (start < kWindowEnd && bytes > kWindowEnd - start) return kWindowEnd - start;
  return bytes;
}

// Often exactly one VMA, or a run of them.
OracleOperation OracleGenerator::over_a_range(OracleCall call) noexcept {
  OracleOperation op{.call = call};
  if (!sight_.vmas.empty() && chance(30)) {
    const uint64_t i = below(sight_.vmas.size());
    const uint64_t last = chance(70) ? i : i + below(sight_.vmas.size() - i);
    op.address = sight_.vmas[i].start;
    op.length = sight_.vmas[last].end - op.address;
    return op;
  }
  op.address = Address{address()};
  op.length = inside(op.address.value, length());
  return op;
}

void OracleGenerator::map_placing(OracleOperation& op) noexcept {
  const uint64_t how = below(100);
  const uint64_t bytes = length();
  uint64_t at = 0;
  if (how < 30 && !sight_.vmas.empty() && bytes < kWrapping) {  // Beside what is there.
    const Range& v = sight_.vmas[below(sight_.vmas.size())];
    const uint64_t pages = (bytes + kPageMask) & ~kPageMask;
    at = chance(60) ? v.end.value : v.start.value - pages;
    if (at < kWindow || at >= kWindowEnd) at = place();
    op.flags |= chance(70) ? kFixed : kFixedNoReplace;
  } else if (how < 60) {
    op.flags |= kFixed;
    at = address();
    if (at < kWindow) at = place();
  } else if (how < 80) {
    op.flags |= kFixedNoReplace;
    at = address();
    if (at < kWindow) at = place();
  } else if (how < 90) {
    at = chance(90) ? place() : address();
  }
  op.address = Address{at};
  op.length = at == 0 ? bytes : inside(at, bytes);
}

void OracleGenerator::map_flags(OracleOperation& op) noexcept {
  if (chance(7)) op.flags |= kNoReserve;
  if (chance(7)) op.flags |= kLocked;
  if (chance(3)) op.flags |= kStack;
  if (scope_.profile != OracleProfile::ext) return;
  if (chance(6)) op.flags |= kPopulate;
  if (chance(2)) op.flags |= kNonBlock;
  if (chance(1)) op.flags |= kSync;
  if (chance(2)) op.flags |= kGrowsDown;
}

void OracleGenerator::map_file(OracleOperation& op) noexcept {
  op.file = static_cast<uint8_t>(1 + below(kOracleOpenings));
  op.offset = below(12) * kPageSize;
  // Where it would continue what is to its left.
  if (chance(50)) op.offset = op.address.page() % 16 * kPageSize;
  if (chance(1)) op.offset += 1;
  if (chance(2)) {
    static constexpr uint64_t kOffsets[] = {0x7fff'ffff'ffff'f000, 0x7fff'ffff'ffff'd000,
                                            0x8000'0000'0000'0000, 0xffff'ffff'ffff'f000,
                                            0x7fff'ffff'fff0'0000};
    op.offset = kOffsets[below(std::size(kOffsets))];
  }
}

OracleOperation OracleGenerator::map() noexcept {
  static constexpr uint32_t kProts[] = {3, 3, 3, 3, 1, 1, 0, 5, 7};
  const bool ext = scope_.profile == OracleProfile::ext;
  OracleOperation op{.call = OracleCall::mmap};
  op.prot = chance(40) ? 3 : kProts[below(std::size(kProts))];
  const bool anonymous = chance(65);
  op.flags = chance(anonymous ? 18 : 45) ? kShared : kPrivate;
  if (chance(2)) op.flags = chance(80) ? kSharedValidate : 0;
  if (ext && anonymous && chance(5)) op.flags = kDroppable;
  map_placing(op);
  map_flags(op);
  if (anonymous) {
    op.flags |= kAnonymous;
    if (chance(2)) op.offset = 0x7fff'ffff'ffff'f000;  // Anonymous memory has no offset to look at.
  } else {
    map_file(op);
  }
  return op;
}

// What is only compared with a limit may be as long as it likes.
OracleOperation OracleGenerator::unmap() noexcept {
  OracleOperation op = over_a_range(OracleCall::munmap);
  if (chance(1)) op.length = uint64_t{1} << (47 + below(17));
  return op;
}

OracleOperation OracleGenerator::protect() noexcept {
  static constexpr uint32_t kProts[] = {3, 3, 3, 1, 1, 0, 5, 7};
  static constexpr uint32_t kMore[] = {0x0100'0000, 0x0200'0000, 0x0300'0000, 8, 0x40, 0x8000'0000};
  OracleOperation op = over_a_range(OracleCall::mprotect);
  op.prot = kProts[below(std::size(kProts))];
  if (chance(2)) op.prot |= kMore[below(std::size(kMore))];
  return op;
}

OracleOperation OracleGenerator::advise() noexcept {
  OracleOperation op = over_a_range(OracleCall::madvise);
  const bool more = scope_.profile == OracleProfile::ext && chance(35);
  op.advice =
      more ? kExtAdvice[below(std::size(kExtAdvice))] : kCoreAdvice[below(std::size(kCoreAdvice))];
  return op;
}

OracleOperation OracleGenerator::remap() noexcept {
  OracleOperation op = over_a_range(OracleCall::mremap);
  if (chance(3)) op.length = 0;
  const uint64_t kind = below(100);
  op.new_length = op.length;
  if (kind < 35) op.new_length = op.length + (1 + below(6)) * kPageSize;
  if (kind >= 35 && kind < 55) op.new_length = length();
  if (kind == 99) op.new_length = uint64_t{1} << (47 + below(17));
  if (chance(70)) op.flags |= kMayMove;
  if (chance(25)) op.flags |= kMoveFixed;
  if (chance(10)) op.flags |= kDontUnmap;
  if (chance(1)) op.flags |= 8;
  uint64_t to = (op.flags & (kMoveFixed | kDontUnmap)) != 0 ? address() : 0;
  if ((op.flags & kMoveFixed) != 0 && to < kWindow) to = place();
  if (to != 0 && op.new_length <= uint64_t{1} << 47) op.new_length = inside(to, op.new_length);
  op.new_address = Address{to};
  return op;
}

OracleOperation OracleGenerator::lock() noexcept {
  const uint64_t kind = below(100);
  if (kind < 40) return over_a_range(OracleCall::munlock);
  if (kind < 82) return over_a_range(OracleCall::mlock);
  OracleOperation op = over_a_range(OracleCall::mlock2);
  op.flags = chance(80) ? 1 : chance(80) ? 0 : 2;
  return op;
}

OracleOperation OracleGenerator::move_break() noexcept {
  OracleOperation op{.call = OracleCall::brk};
  uint64_t to = chance(10) ? 0 : sight_.brk.value + below(9 * kPageSize);
  if (chance(40)) to = sight_.brk.value - below(6 * kPageSize);
  if (chance(60)) to &= ~kPageMask;
  if (chance(2)) to = address();
  op.address = Address{to};
  return op;
}

OracleOperation OracleGenerator::touch() noexcept {
  uint64_t at = address();
  if (!sight_.vmas.empty() && chance(80)) {
    const Range& v = sight_.vmas[below(sight_.vmas.size())];
    at = v.start.value + below(v.pages().value) * kPageSize;
  }
  if (chance(40)) at += below(kPageSize - (at & kPageMask));
  // Beyond the top a fault has no address to report; the rest of the space is not ours.
  if (at < kWindow || at >= kWindowEnd) at = kWindow + home_ * kPageSize;
  OracleOperation op{.call = chance(60) ? OracleCall::write : OracleCall::read,
                     .address = Address{at}};
  if (op.call == OracleCall::write) op.byte = static_cast<uint8_t>(random());
  return op;
}

OracleOperation OracleGenerator::extended() noexcept {
  const uint64_t kind = below(100);
  if (kind < 26) {
    OracleOperation op = over_a_range(OracleCall::mincore);
    const bool fits = op.length <= 2048 * kPageSize || op.length > uint64_t{1} << 47;
    return fits ? op : touch();
  }
  if (kind < 38) {
    OracleOperation op = over_a_range(OracleCall::msync);
    op.flags = static_cast<uint32_t>(below(chance(90) ? 8 : 16));
    return op;
  }
  if (kind < 55) return {.call = OracleCall::fork};
  if (kind < 72) {
    // Of what is mapped now only marks are asked for: bringing in the rest of the process is a
    // matter of minutes.
    static constexpr uint32_t kFlags[] = {2, 2, 6, 6, 5, 7, 0, 4, 8};
    return {.call = OracleCall::mlockall, .flags = kFlags[below(std::size(kFlags))]};
  }
  if (kind < 90) return {.call = OracleCall::munlockall};
  if (kind < 93 && scope_.name) return over_a_range(OracleCall::setname);
  if (index_ > scope_.ops * 2 / 3 && scope_.seal && chance(50)) {
    return over_a_range(OracleCall::mseal);
  }
  return touch();
}

OracleOperation OracleGenerator::next(const OracleSight& sight) noexcept {
  sight_ = sight;
  ++index_;
  const uint64_t kind = below(100);
  switch (scope_.shape) {
    case OracleShape::wide: return wide(kind);
    case OracleShape::user_faults: return user_faults(kind);
    case OracleShape::mixed: break;
  }
  return common(kind);
}

OracleOperation OracleGenerator::common(uint64_t kind) noexcept {
  if (kind < 20) return map();
  if (kind < 32) return unmap();
  if (kind < 46) return protect();
  if (kind < 58) return advise();
  if (kind < 68) return remap();
  if (kind < 78) return lock();
  if (kind < 82) return scope_.brk ? move_break() : map();
  if (kind < 87 && scope_.profile == OracleProfile::ext) return extended();
  return touch();
}

}  // namespace pervma::trace
