// oracle_operation.h: one operation on a space as the format pervma-oracle 1 knows it, what was
// answered, and both as text. Values only: printing allocates nothing, because the process that
// executes operations on the kernel has no memory to allocate from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "pervma/address.h"

namespace pervma::trace {

inline constexpr Address kOracleWindow{0x2000'0000'0000};
inline constexpr uint64_t kOracleWindowPages = 65536;

enum class OracleCall : uint8_t {
  mmap,
  munmap,
  mprotect,
  madvise,
  mremap,
  mlock,
  mlock2,
  munlock,
  mlockall,
  munlockall,
  mseal,
  setname,
  msync,
  brk,
  mincore,
  read,
  write,
  fork,
  // Of a userfaultfd whose faults are bus errors (UFFD_FEATURE_SIGBUS): nobody waits.
  uffd_register,
  uffd_unregister,
  uffd_copy,
  uffd_zeropage,
  uffd_continue,
  uffd_move,  // from new_address to address
  uffd_writeprotect,
};
inline constexpr unsigned kOracleCalls = 18;  // without those of a userfaultfd
// Is it one of a userfaultfd's that may end after a part?
constexpr bool fills_pages(OracleCall call) noexcept {
  return call >= OracleCall::uffd_copy && call <= OracleCall::uffd_move;
}

// What one uffd_copy may fill.
inline constexpr uint64_t kOracleMostCopied = 64 * kPageSize;

// The openings that a recording's mmap calls name.
enum class OracleOpening : uint8_t { a, b, a_read_only, a_again };
inline constexpr unsigned kOracleOpenings = 4;

enum class OracleSignal : uint8_t { none, segv_maperr, segv_accerr, bus_adrerr };

// What is asked. Fields that the call does not have are zero.
struct OracleOperation {
  OracleCall call{};
  uint8_t file = 0;  // of mmap: 0, or the number of an OracleOpening plus 1
  uint8_t byte = 0;  // to write, or what uffd_copy fills pages with
  int32_t advice = 0;
  uint32_t prot = 0;
  uint32_t flags = 0;  // of mmap, mremap, mlock2, mlockall, msync; modes of a userfaultfd's
  Address address{};
  uint64_t length = 0;
  uint64_t new_length = 0;
  Address new_address{};
  uint64_t offset = 0;
  friend bool operator==(const OracleOperation&, const OracleOperation&) = default;
};

struct OracleAnswer {
  int32_t error = 0;
  OracleSignal signal = OracleSignal::none;
  uint8_t byte = 0;   // that was read
  Address place{};    // of mmap, mremap, brk
  uint64_t done = 0;  // bytes, where fills_pages() and the error is EAGAIN
  friend bool operator==(const OracleAnswer&, const OracleAnswer&) = default;
};

// Text of bounded length, made without allocation; what does not fit is cut off.
class OracleText {
 public:
  static constexpr size_t kCapacity = 256;

  OracleText& put(std::string_view) noexcept;
  OracleText& number(uint64_t, unsigned base = 10) noexcept;
  OracleText& byte(uint8_t) noexcept;     // two hexadecimal digits
  OracleText& length(uint64_t) noexcept;  // LEN of the format: pages, pages+bytes or raw
  OracleText& address(Address) noexcept;  // ADDR of the format
  std::string_view view() const noexcept { return {text_, size_}; }

 private:
  char text_[kCapacity];
  size_t size_ = 0;
};

// "mmap 100 4 rw- priv,anon,fixed - 0": the operation without number and answer.
OracleText text_of(const OracleOperation&) noexcept;
// "@100", "-EINVAL", "ok 5a", "0": the answer, but for mincore's bits.
OracleText text_of(OracleCall, const OracleAnswer&) noexcept;

// "EINVAL" for 22; the number for others.
std::string errno_text(int error);

}  // namespace pervma::trace
