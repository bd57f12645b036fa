#include "trace/oracle_operation.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "trace/oracle_words.h"

namespace pervma::trace {

OracleText& OracleText::put(std::string_view text) noexcept {
  const size_t n = std::min(text.size(), kCapacity - size_);
  std::memcpy(text_ + size_, text.data(), n);
  size_ += n;
  return *this;
}

OracleText& OracleText::number(uint64_t v, unsigned base) noexcept {
  char digits[64];
  char* p = digits + sizeof digits;
  do {
    *--p = "0123456789abcdef"[v % base];
    v /= base;
  } while (v != 0);
  return put({p, static_cast<size_t>(digits + sizeof digits - p)});
}

OracleText& OracleText::byte(uint8_t b) noexcept {
  const char text[2] = {"0123456789abcdef"[b >> 4], "0123456789abcdef"[b & 15]};
  return put({text, 2});
}

OracleText& OracleText::length(uint64_t n) noexcept {
  if (n > 2 * kOracleWindowPages * kPageSize) return put("!0x").number(n, 16);
  number(n >> kPageShift);
  if ((n & kPageMask) != 0) put("+").number(n & kPageMask);
  return *this;
}

OracleText& OracleText::address(Address a) noexcept {
  constexpr uint64_t kBeyond = (kOracleWindowPages + 64) * kPageSize;  // the upper neighbour's
  if (a.value == 0) return put("NULL");
  if (a < kOracleWindow || a > kOracleWindow + kBeyond) return put("!0x").number(a.value, 16);
  return length(a - kOracleWindow);
}

namespace {

void put_arguments(OracleText& text, const OracleOperation& op) noexcept {
  switch (op.call) {
    case OracleCall::mmap:
      text.put(" ");
      put_oracle_prot(text, op.prot);
      text.put(" ");
      put_oracle_map_flags(text, op.flags);
      text.put(" ").put(oracle_opening_name(op.file)).put(" ").length(op.offset);
      break;
    case OracleCall::mprotect:
      text.put(" ");
      put_oracle_prot(text, op.prot);
      break;
    case OracleCall::madvise:
      text.put(" ");
      put_oracle_advice(text, op.advice);
      break;
    case OracleCall::mlock2:
      text.put(" ");
      put_oracle_lock_flags(text, op.flags);
      break;
    case OracleCall::msync:
      text.put(" ");
      put_oracle_sync_flags(text, op.flags);
      break;
    case OracleCall::mremap:
      text.put(" ").length(op.new_length).put(" ");
      put_oracle_remap_flags(text, op.flags);
      text.put(" ");
      if (op.new_address.value == 0) {
        text.put("-");
      } else {
        text.address(op.new_address);
      }
      break;
    case OracleCall::uffd_register:
      text.put(" ");
      put_oracle_told_flags(text, op.flags);
      break;
    case OracleCall::uffd_copy:
      text.put(" ").byte(op.byte).put(" ");
      put_oracle_fill_flags(text, op.flags);
      break;
    case OracleCall::uffd_zeropage:
    case OracleCall::uffd_continue:
      text.put(" ");
      put_oracle_fill_flags(text, op.flags);
      break;
    case OracleCall::uffd_move:
      text.put(" ").address(op.new_address).put(" ");
      put_oracle_move_flags(text, op.flags);
      break;
    case OracleCall::uffd_writeprotect:
      text.put(" ");
      put_oracle_close_flags(text, op.flags);
      break;
    default: break;
  }
}

}  // namespace

OracleText text_of(const OracleOperation& op) noexcept {
  OracleText text;
  text.put(oracle_call_name(op.call));
  switch (op.call) {
    case OracleCall::fork:
    case OracleCall::munlockall: return text;
    case OracleCall::mlockall:
      text.put(" ");
      put_oracle_lock_all_flags(text, op.flags);
      return text;
    case OracleCall::brk:
    case OracleCall::read: text.put(" ").address(op.address); return text;
    case OracleCall::write: text.put(" ").address(op.address).put(" ").byte(op.byte); return text;
    default: break;
  }
  text.put(" ").address(op.address).put(" ").length(op.length);
  put_arguments(text, op);
  return text;
}

OracleText text_of(OracleCall call, const OracleAnswer& a) noexcept {
  OracleText text;
  if (a.error != 0) {
    const std::string_view name = oracle_errno_name(a.error);
    text.put("-");
    if (name.empty()) {
      text.put("E").number(static_cast<uint64_t>(a.error));
    } else {
      text.put(name);
    }
    if (fills_pages(call) && a.error == EAGAIN) text.put(" ").length(a.done);
    return text;
  }
  switch (call) {
    case OracleCall::mmap:
    case OracleCall::mremap:
    case OracleCall::brk: return text.put("@").address(a.place);
    case OracleCall::read:
    case OracleCall::write:
      text.put(oracle_signal_name(a.signal));
      if (call == OracleCall::read && a.signal == OracleSignal::none) text.put(" ").byte(a.byte);
      return text;
    default: return text.put("0");
  }
}

std::string errno_text(int error) {
  const std::string_view name = oracle_errno_name(error);
  return name.empty() ? std::to_string(error) : std::string(name);
}

}  // namespace pervma::trace
