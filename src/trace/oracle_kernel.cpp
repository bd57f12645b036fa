#include "trace/oracle_kernel.h"

#include <errno.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace/oracle_world.h"

namespace pervma::trace::world {

namespace {

constexpr long kMseal = 462;
constexpr int kSetVma = 0x53564d41;  // PR_SET_VMA
constexpr unsigned long kSetVmaName = 0;

OracleAnswer answer_of(long result) noexcept {
  OracleAnswer a;
  if (result == -1) a.error = errno;
  return a;
}

OracleAnswer place_of(long result) noexcept {
  OracleAnswer a;
  if (result == -1) {
    a.error = errno;
  } else {
    a.place = Address{static_cast<uint64_t>(result)};
  }
  return a;
}

OracleAnswer signal_of(Touch touch, uint8_t byte) noexcept {
  OracleAnswer a;
  switch (touch) {
    case Touch::ok: a.byte = byte; break;
    case Touch::maperr: a.signal = OracleSignal::segv_maperr; break;
    case Touch::accerr: a.signal = OracleSignal::segv_accerr; break;
    case Touch::bus: a.signal = OracleSignal::bus_adrerr; break;
  }
  return a;
}

OracleAnswer fork_on() noexcept {
  flush();
  const pid_t child = fork();
  if (child < 0) _exit(4);
  if (child == 0) {
    reopen_user_faults();
    return {};
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 5);
}

KernelAnswer residency(const OracleOperation& op) noexcept {
  static uint8_t present[kMostMincorePages];
  KernelAnswer a{answer_of(syscall(SYS_mincore, op.address.value, op.length, present)), {}};
  if (a.answer.error == 0) a.bits = {present, (op.length + kPage - 1) / kPage};
  return a;
}

OracleAnswer map(const OracleOperation& op) noexcept {
  static constexpr File kOpenings[kOracleOpenings] = {kFileA, kFileB, kFileAReadOnly, kFileA2};
  const int file = op.file == 0 ? -1 : fd(kOpenings[op.file - 1u]);
  return place_of(syscall(SYS_mmap, op.address.value, op.length, static_cast<uint64_t>(op.prot),
                          static_cast<uint64_t>(op.flags), file, op.offset));
}

// <linux/userfaultfd.h> of Linux 6.8 and later.
struct UffdMove {
  __u64 to;
  __u64 from;
  __u64 length;
  __u64 mode;
  __s64 done;
};
constexpr unsigned long kUffdMove = _IOWR(UFFDIO, 0x05, UffdMove);

// `done`: what the kernel said of the part that was done.
OracleAnswer part_of(int result, int64_t done) noexcept {
  OracleAnswer a = answer_of(result);
  if (a.error == EAGAIN) a.done = static_cast<uint64_t>(done);
  return a;
}

OracleAnswer fill(const OracleOperation& op) noexcept {
  static uint8_t bytes[kOracleMostCopied];
  const int fd = user_faults();
  const uffdio_range range{op.address.value, op.length};
  switch (op.call) {
    case OracleCall::uffd_copy: {
      memset(bytes, op.byte, sizeof bytes);
      uffdio_copy copy{op.address.value, reinterpret_cast<__u64>(bytes), op.length, op.flags, 0};
      const int result = ioctl(fd, UFFDIO_COPY, &copy);
      return part_of(result, copy.copy);
    }
    case OracleCall::uffd_zeropage: {
      uffdio_zeropage zero{range, op.flags, 0};
      const int result = ioctl(fd, UFFDIO_ZEROPAGE, &zero);
      return part_of(result, zero.zeropage);
    }
    case OracleCall::uffd_continue: {
      uffdio_continue shown{range, op.flags, 0};
      const int result = ioctl(fd, UFFDIO_CONTINUE, &shown);
      return part_of(result, shown.mapped);
    }
    default: {
      UffdMove move{op.address.value, op.new_address.value, op.length, op.flags, 0};
      const int result = ioctl(fd, kUffdMove, &move);
      return part_of(result, move.done);
    }
  }
}

OracleAnswer told(const OracleOperation& op) noexcept {
  const int fd = user_faults();
  uffdio_range range{op.address.value, op.length};
  switch (op.call) {
    case OracleCall::uffd_register: {
      uffdio_register registration{range, op.flags, 0};
      return answer_of(ioctl(fd, UFFDIO_REGISTER, &registration));
    }
    case OracleCall::uffd_unregister: return answer_of(ioctl(fd, UFFDIO_UNREGISTER, &range));
    case OracleCall::uffd_writeprotect: {
      uffdio_writeprotect protection{range, op.flags};
      return answer_of(ioctl(fd, UFFDIO_WRITEPROTECT, &protection));
    }
    default: return fill(op);
  }
}

}  // namespace

KernelAnswer execute(const OracleOperation& op) noexcept {
  const uint64_t start = op.address.value;
  switch (op.call) {
    case OracleCall::mmap: return {map(op), {}};
    case OracleCall::munmap: return {answer_of(syscall(SYS_munmap, start, op.length)), {}};
    case OracleCall::mprotect:
      return {answer_of(syscall(SYS_mprotect, start, op.length, static_cast<uint64_t>(op.prot))),
              {}};
    case OracleCall::madvise:
      return {answer_of(syscall(SYS_madvise, start, op.length, op.advice)), {}};
    case OracleCall::mremap:
      return {place_of(syscall(SYS_mremap, start, op.length, op.new_length,
                               static_cast<uint64_t>(op.flags), op.new_address.value)),
              {}};
    case OracleCall::mlock: return {answer_of(syscall(SYS_mlock, start, op.length)), {}};
    case OracleCall::mlock2:
      return {answer_of(syscall(SYS_mlock2, start, op.length, op.flags)), {}};
    case OracleCall::munlock: return {answer_of(syscall(SYS_munlock, start, op.length)), {}};
    case OracleCall::mlockall: return {answer_of(syscall(SYS_mlockall, op.flags)), {}};
    case OracleCall::munlockall: return {answer_of(syscall(SYS_munlockall)), {}};
    case OracleCall::mseal: return {answer_of(syscall(kMseal, start, op.length, 0)), {}};
    case OracleCall::setname:
      return {answer_of(prctl(kSetVma, kSetVmaName, start, op.length, "name")), {}};
    case OracleCall::msync: return {answer_of(syscall(SYS_msync, start, op.length, op.flags)), {}};
    case OracleCall::brk: return {place_of(syscall(SYS_brk, start)), {}};
    case OracleCall::mincore: return residency(op);
    case OracleCall::fork: return {fork_on(), {}};
    case OracleCall::read: {
      uint8_t byte = 0;
      const Touch touch = read_byte(start, &byte);
      return {signal_of(touch, byte), {}};
    }
    case OracleCall::write: return {signal_of(write_byte(start, op.byte), 0), {}};
    default: return {told(op), {}};
  }
}

Address break_now() noexcept { return Address{static_cast<uint64_t>(syscall(SYS_brk, 0))}; }

}  // namespace pervma::trace::world
