#include "trace/oracle_recorder.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

#include "trace/oracle_kernel.h"
#include "trace/oracle_world.h"

namespace pervma::trace {

namespace {

using namespace world;

constexpr uint32_t kDumpEvery = 50;
// How the child ends when it is not done.
constexpr int kNotPermitted = 2;
constexpr int kNotSoSetUp = 6;

// A window's end that an operation may not pass, or a length with which it is refused whatever it
// is about.
bool stays_inside(Address start, uint64_t length) noexcept {
  constexpr Address kWindowEndAddress{kWindowEnd};
  constexpr Address kTop{0x7fff'ffff'f000};
  constexpr Address kLowestNeighbour{0x10000};
  const uint64_t bytes = page_align_up(length).value_or(0);
  if (bytes == 0) return true;
  if (start + bytes < start) return start >= kOracleWindow;  // It wraps around.
  const Address end = start + length;
  if (end <= kLowestNeighbour || start >= kTop) return true;
  return start >= kOracleWindow && end <= kWindowEndAddress;
}

// Executes operations and writes the recording. In the child: allocates nothing.
class Writer {
 public:
  void operation(const OracleOperation& op) noexcept {
    put("O ");
    put_number(count_++);
    put(" ");
    put(trace::text_of(op).view());
    if (op.call == OracleCall::fork) {
      put(" -> 0\n");  // Before the parent begins to wait, or it would be written twice.
      (void)execute(op);
    } else {
      const KernelAnswer a = execute(op);
      put(" -> ");
      put(trace::text_of(op.call, a.answer).view());
      if (op.call == OracleCall::mincore && a.answer.error == 0) put_bits(op, a.bits);
      put("\n");
    }
    put_changes();
    dumped_ = count_ % kDumpEvery == 0;
    if (dumped_) put_dump();
  }

  void end() noexcept {
    if (!dumped_ && count_ != 0) put_dump();
    put("E ");
    put_number(count_);
    put("\n");
    flush();
  }

 private:
  static void put_bits(const OracleOperation& op, std::span<const uint8_t> bits) noexcept {
    put(" ");
    if (bits.empty()) put("-");
    for (size_t i = 0; i < bits.size(); ++i) {
      const bool known = is_private_anonymous(op.address.value + i * kPage);
      put(!known ? "." : (bits[i] & 1) != 0 ? "1" : "0");
    }
  }

  uint32_t count_ = 0;
  bool dumped_ = false;
};

void put_signed(int64_t v) noexcept {
  if (v < 0) put("-");
  put_number(v < 0 ? -static_cast<uint64_t>(v) : static_cast<uint64_t>(v));
}

void put_head(const OracleSetup& wanted, const Made& made, uint64_t seed,
              std::string_view profile) noexcept {
  utsname name{};
  uname(&name);
  put("# pervma-oracle 1\nH seed=");
  put_number(seed);
  put(" window_pages=65536 brk=");
  put_signed(made.setup.brk);
  put(" memlock=");
  put_signed(made.setup.memlock);
  if (made.setup.address_space >= 0) {
    put(" as=");
    put_signed(made.setup.address_space);
  }
  if (made.setup.maps >= 0) {
    put(" maps=");
    put_signed(made.setup.maps);
  }
  if (made.setup.user_faults >= 0) {
    put(" uffd=");
    put_signed(made.setup.user_faults);
  }
  put(" profile=");
  put(profile);
  put(" dump_every=50 kernel=");
  put(name.release);
  put("\nF A 64+0 11\nF B 20+291 83\n");
  if (wanted.brk != made.setup.brk) {
    put("# brk is left out: the kernel does not let a process move it\n");
  }
  if (wanted.memlock != made.setup.memlock) {
    put("# RLIMIT_MEMLOCK is left out: it cannot be set\n");
  }
  if (wanted.address_space != made.setup.address_space) {
    put("# RLIMIT_AS is left out: it cannot be set\n");
  }
  if (wanted.user_faults != made.setup.user_faults) {
    put("# user faults are left out: this kernel does not let a process have a userfaultfd\n");
  }
  if (wanted.maps != made.setup.maps) {
    put("# vm.max_map_count is left out: it is too high to be met\n");
  }
}

// Operations that this kernel does not have, or answers by another configuration than the one
// that pervma was compared with.
OracleProfile profile_of(const LiveOptions& options) noexcept {
  const bool core = options.shape == OracleShape::mixed && options.seed % 2 != 0;
  return core ? OracleProfile::core : OracleProfile::ext;
}

OracleScope scope_here(const LiveOptions& options, const Made& made) noexcept {
  OracleScope scope{.profile = profile_of(options),
                    .shape = options.shape,
                    .brk = made.setup.brk >= 0,
                    .user_faults = made.setup.user_faults >= 0,
                    .ops = options.ops};
  constexpr OracleOperation kSealNothing{.call = OracleCall::mseal, .address = kOracleWindow};
  scope.seal = execute(kSealNothing).answer.error == 0;
  if (!scope.seal) put("# mseal is left out: this kernel does not have it\n");
  constexpr OracleOperation kNameNothing{.call = OracleCall::setname, .address = kOracleWindow};
  scope.name = execute(kNameNothing).answer.error == EINVAL;
  if (!scope.name) {
    put("# setname is left out: this kernel names anonymous memory, the recorded ones do not\n");
  }
  return scope;
}

[[noreturn]] void child_live(const LiveOptions& options, int out) noexcept {
  OracleGenerator choice(options.seed ^ 0x5eed, {});
  OracleSetup wanted;
  if (choice.chance(45)) wanted.brk = static_cast<int64_t>(16 + choice.below(kWindowPages - 64));
  if (choice.chance(20)) {
    wanted.memlock = choice.chance(8) ? 0 : static_cast<int64_t>(8 + choice.below(150));
  }
  if (choice.chance(15)) wanted.address_space = static_cast<int64_t>(40 + choice.below(600));
  if (choice.chance(4)) wanted.maps = static_cast<int64_t>(3 + choice.below(40));
  if (options.shape == OracleShape::user_faults) wanted.user_faults = options.seed % 2 == 0 ? 1 : 0;
  const Made made = make(out, wanted);
  if (!made.ok) _exit(kNotPermitted);
  put_head(wanted, made, options.seed,
           options.shape != OracleShape::mixed ? kOracleShapes[static_cast<size_t>(options.shape)]
           : profile_of(options) == OracleProfile::ext ? "ext"
                                                       : "core");
  OracleGenerator generator(options.seed, scope_here(options, made));
  Writer writer;
  for (uint32_t i = 0; i < options.ops; ++i) {
    writer.operation(
        generator.next({.vmas = vmas(), .kinds = kinds(), .told = told(), .brk = break_now()}));
  }
  writer.end();
  _exit(0);
}

[[noreturn]] void child_given(const OracleSetup& wanted,
                              std::span<const OracleOperation> operations, int out) noexcept {
  const Made made = make(out, wanted);
  if (!made.ok) _exit(kNotPermitted);
  if (made.setup != wanted) _exit(kNotSoSetUp);
  put_head(wanted, made, 0, "directed");
  Writer writer;
  for (const OracleOperation& op : operations) writer.operation(op);
  writer.end();
  _exit(0);
}

// A sanitizer keeps its own memory where the recorded world is, and has no part in the child.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

// Runs `child(fd)` in a process of its own and reads what it writes.
template <class Child>
Result<LiveRecording> record(Child child) {
  if (kSanitized) return std::unexpected(Error::perm);
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return std::unexpected(Error::io);
  std::fflush(nullptr);  // Or the child would have a copy of what is buffered.
  const pid_t pid = fork();
  if (pid < 0) {
    close(ends[0]);
    close(ends[1]);
    return std::unexpected(Error::again);
  }
  if (pid == 0) {
    close(ends[0]);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    child(ends[1]);
  }
  close(ends[1]);
  LiveRecording recording;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t n = read(ends[0], buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    recording.text.append(buffer.data(), static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotPermitted)
    return std::unexpected(Error::perm);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotSoSetUp) {
    return std::unexpected(Error::opnotsupp);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::unexpected(Error::io);
  for (size_t at = 0; (at = recording.text.find("\n# ", at)) != std::string::npos; ++at) {
    recording.left_out.push_back(
        recording.text.substr(at + 3, recording.text.find('\n', at + 1) - at - 3));
  }
  return recording;
}

}  // namespace

bool is_safe_to_record(const OracleOperation& op) noexcept {
  constexpr uint32_t kMapFixed = 0x10;
  constexpr uint32_t kMoveFixed = 2;
  constexpr uint64_t kTooLong = uint64_t{1} << 47;
  switch (op.call) {
    case OracleCall::mmap:
      return (op.flags & kMapFixed) == 0 ||
             (op.address >= kOracleWindow && stays_inside(op.address, op.length));
    case OracleCall::mremap:
      // A new length beyond every space is refused before anything else.
      return op.new_length > kTooLong ||
             (stays_inside(op.address, op.length) &&
              ((op.flags & kMoveFixed) == 0 || stays_inside(op.new_address, op.new_length)));
    case OracleCall::madvise:
      // The two that hurt memory on purpose are never asked for.
      return op.advice != 100 && op.advice != 101 && stays_inside(op.address, op.length);
    case OracleCall::mincore: return op.length <= kMostMincorePages * kPage || op.length > kTooLong;
    case OracleCall::munmap: return op.length >= kTooLong || stays_inside(op.address, op.length);
    case OracleCall::mlockall: return (op.flags & 5) != 1;  // Not everything of the process.
    case OracleCall::read:
    case OracleCall::write: return stays_inside(op.address, 1);
    case OracleCall::brk:
    case OracleCall::fork:
    case OracleCall::munlockall: return true;
    case OracleCall::uffd_copy:
      return op.length <= kOracleMostCopied && stays_inside(op.address, op.length);
    case OracleCall::uffd_move:
      return stays_inside(op.address, op.length) && stays_inside(op.new_address, op.length);
    default: return stays_inside(op.address, op.length);
  }
}

Result<LiveRecording> record_live(const LiveOptions& options) {
  return record([&](int out) { child_live(options, out); });
}

Result<LiveRecording> record_operations(const OracleSetup& setup,
                                        std::span<const OracleOperation> operations) {
  for (const OracleOperation& op : operations) {
    if (!is_safe_to_record(op)) return std::unexpected(Error::opnotsupp);
  }
  return record([&](int out) { child_given(setup, operations, out); });
}

}  // namespace pervma::trace
