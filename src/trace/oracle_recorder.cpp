#include "trace/oracle_recorder.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "trace/oracle_world.h"

namespace pervma::trace {

namespace {

using namespace world;

// xorshift64*: small, and the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15u + 0x1234567) {
    for (int i = 0; i < 8; ++i) (void)next();
  }
  uint64_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  uint64_t below(uint64_t n) noexcept { return (next() >> 16) % n; }
  bool chance(uint64_t percent) noexcept { return below(100) < percent; }

 private:
  uint64_t state_;
};

struct Name {
  const char* name;
  uint64_t value;
};

constexpr Name kCoreAdvice[] = {
    {"normal", 0},      {"random", 1},     {"sequential", 2},   {"willneed", 3},
    {"dontneed", 4},    {"dontneed", 4},   {"free", 8},         {"dontfork", 10},
    {"dofork", 11},     {"mergeable", 12}, {"unmergeable", 13}, {"hugepage", 14},
    {"nohugepage", 15}, {"dontdump", 16},  {"dodump", 17},      {"wipeonfork", 18},
    {"keeponfork", 19}, {"cold", 20},      {"pageout", 21},     {"bad999", 999}};
constexpr Name kExtAdvice[] = {{"remove", 9},          {"populate_read", 22},
                               {"populate_write", 23}, {"dontneed_locked", 24},
                               {"guard_install", 102}, {"guard_remove", 103}};

const char* error_text(int e) noexcept { return error_name(static_cast<Error>(e)).data(); }

// Executes a random sequence in the window. Lives in the child: allocates nothing.
class Sequence {
 public:
  Sequence(const LiveOptions& options, OracleProfile profile, bool brk) noexcept
      : random_(options.seed), ops_(options.ops), ext_(profile == OracleProfile::ext), brk_(brk) {
    home_ = 64 + random_.below(kWindowPages - 1024);
  }

  void run(uint32_t dump_every) noexcept;

 private:
  void op() noexcept;
  void map() noexcept;
  void unmap() noexcept;
  void protect() noexcept;
  void advise() noexcept;
  void remap() noexcept;
  void lock() noexcept;
  void move_break() noexcept;
  void touch() noexcept;
  void extended() noexcept;

  // Lengths above it are meant to wrap around.
  static constexpr uint64_t kWrapping = uint64_t{1} << 48;

  uint64_t place() noexcept;
  static uint64_t inside(uint64_t start, uint64_t bytes) noexcept;
  uint64_t address() noexcept;
  uint64_t length() noexcept;
  void pick_range() noexcept;

  // "O i NAME "; the result is put by the functions below.
  void begin(const char* name) noexcept {
    put("O ");
    put_number(index_);
    put(" ");
    put(name);
  }
  void arg_address(uint64_t a) noexcept {
    put(" ");
    put_address(a);
  }
  void arg_length(uint64_t n) noexcept {
    put(" ");
    put_length(n);
  }
  void result(long r) noexcept {
    put(" -> ");
    if (r == -1) {
      put("-");
      put(error_text(errno));
    } else {
      put("0");
    }
    put("\n");
  }
  void result_address(long r) noexcept {
    put(" -> ");
    if (r == -1) {
      put("-");
      put(error_text(errno));
    } else {
      put("@");
      put_address(static_cast<uint64_t>(r));
    }
    put("\n");
  }
  void put_prot(uint64_t prot) noexcept;

  Random random_;
  const uint32_t ops_;
  const bool ext_;
  const bool brk_;
  uint64_t home_;  // the page around which most happens
  uint32_t index_ = 0;
  uint64_t start_ = 0;
  uint64_t bytes_ = 0;
};

// A page near where something is: the edge of a VMA, or home.
uint64_t Sequence::place() noexcept {
  if (vma_count() != 0 && random_.chance(75)) {
    const auto i = static_cast<uint32_t>(random_.below(vma_count()));
    uint64_t at = random_.chance(50) ? vma_start(i) : vma_end(i);
    if (random_.chance(40)) at += random_.below(8) * kPage;
    if (random_.chance(40)) at -= random_.below(8) * kPage;
    if (at >= kWindow && at < kWindowEnd) return at;
  }
  return kWindow + (home_ + random_.below(96)) * kPage;
}

uint64_t Sequence::address() noexcept {
  const uint64_t kind = random_.below(200);
  if (kind == 0) return 0;
  if (kind == 1) return ~uint64_t{0} & ~(kPage - 1);
  if (kind == 2) return uint64_t{1} << 47;
  if (kind == 3) return place() + 1 + random_.below(kPage - 1);
  return place();
}

uint64_t Sequence::length() noexcept {
  const uint64_t kind = random_.below(200);
  if (kind == 0) return 0;
  if (kind == 1) return ~uint64_t{0};
  if (kind == 2) return ~uint64_t{0} - 2 * kPage;
  uint64_t pages = 1 + random_.below(random_.chance(70) ? 6 : 24);
  if (random_.chance(3)) pages = 512 * (1 + random_.below(2));
  uint64_t bytes = pages * kPage;
  if (random_.chance(4)) bytes -= 1 + random_.below(kPage - 1);
  return bytes;
}

// The rest of the space is not ours: a range ends where the window does, if it is not one of those
// that wrap around and are refused.
uint64_t Sequence::inside(uint64_t start, uint64_t bytes) noexcept {
  if (bytes > kWrapping) return bytes;
  if (start < kWindow) return bytes < 8 * kPage ? bytes : 8 * kPage;  // Below the lowest filler.
  if (start < kWindowEnd && bytes > kWindowEnd - start) return kWindowEnd - start;
  return bytes;
}

// Often exactly one VMA, or a run of them.
void Sequence::pick_range() noexcept {
  if (vma_count() != 0 && random_.chance(30)) {
    const auto i = static_cast<uint32_t>(random_.below(vma_count()));
    const auto last =
        static_cast<uint32_t>(random_.chance(70) ? i : i + random_.below(vma_count() - i));
    start_ = vma_start(i);
    bytes_ = vma_end(last) - start_;
    return;
  }
  start_ = address();
  bytes_ = inside(start_, length());
}

void Sequence::put_prot(uint64_t prot) noexcept {
  put((prot & PROT_READ) != 0 ? "r" : "-");
  put((prot & PROT_WRITE) != 0 ? "w" : "-");
  put((prot & PROT_EXEC) != 0 ? "x" : "-");
  const uint64_t more = prot & ~uint64_t{7};
  if (more != 0) {
    put("+0x");
    put_hex(more);
  }
}

void Sequence::map() noexcept {
  static constexpr uint64_t kProts[] = {3, 3, 3, 3, 1, 1, 0, 5, 7};
  const uint64_t prot = kProts[random_.below(std::size(kProts))];
  const bool anonymous = random_.chance(60);
  const bool shared = random_.chance(anonymous ? 20 : 45);
  uint64_t flags = shared ? MAP_SHARED : MAP_PRIVATE;
  const uint64_t how = random_.below(100);
  uint64_t at = 0;
  const char* placing = "";
  if (how < 60) {
    flags |= MAP_FIXED;
    placing = ",fixed";
    at = address();
    if (at < kWindow) at = place();
  } else if (how < 80) {
    flags |= MAP_FIXED_NOREPLACE;
    placing = ",noreplace";
    at = address();
    if (at < kWindow) at = place();
  } else if (how < 90) {
    at = place();
  }
  const uint64_t bytes = at == 0 ? length() : inside(at, length());
  begin("mmap");
  arg_address(at);
  arg_length(bytes);
  put(" ");
  put_prot(prot);
  put(shared ? " shared" : " priv");
  if (anonymous) put(",anon");
  put(placing);
  if (random_.chance(7)) {
    flags |= MAP_NORESERVE;
    put(",noreserve");
  }
  if (random_.chance(7)) {
    flags |= MAP_LOCKED;
    put(",locked");
  }
  if (ext_ && random_.chance(6)) {
    flags |= MAP_POPULATE;
    put(",populate");
  }
  if (random_.chance(3)) {
    flags |= MAP_STACK;
    put(",stack");
  }
  int file = -1;
  uint64_t offset = 0;
  if (anonymous) {
    flags |= MAP_ANONYMOUS;
    put(" -");
  } else {
    static constexpr const char* kNames[] = {" A", " B", " Aro", " A2"};
    const auto f = static_cast<File>(random_.below(kFiles));
    file = fd(f);
    put(kNames[f]);
    offset = random_.below(12) * kPage;
    // Where it would continue what is to its left.
    if (random_.chance(50)) offset = (at / kPage) % 16 * kPage;
    if (random_.chance(1)) offset += 1;
  }
  put(" ");
  put_length(offset);
  result_address(syscall(SYS_mmap, at, bytes, prot, flags, file, offset));
}

void Sequence::unmap() noexcept {
  pick_range();
  begin("munmap");
  arg_address(start_);
  arg_length(bytes_);
  result(syscall(SYS_munmap, start_, bytes_));
}

void Sequence::protect() noexcept {
  static constexpr uint64_t kProts[] = {3, 3, 3, 1, 1, 0, 5, 7};
  pick_range();
  uint64_t prot = kProts[random_.below(std::size(kProts))];
  if (random_.chance(1)) prot |= 0x01000000;
  if (random_.chance(1)) prot |= 0x40;
  begin("mprotect");
  arg_address(start_);
  arg_length(bytes_);
  put(" ");
  put_prot(prot);
  result(syscall(SYS_mprotect, start_, bytes_, prot));
}

void Sequence::advise() noexcept {
  pick_range();
  const bool more = ext_ && random_.chance(35);
  const Name& advice = more ? kExtAdvice[random_.below(std::size(kExtAdvice))]
                            : kCoreAdvice[random_.below(std::size(kCoreAdvice))];
  begin("madvise");
  arg_address(start_);
  arg_length(bytes_);
  put(" ");
  put(advice.name);
  result(syscall(SYS_madvise, start_, bytes_, advice.value));
}

void Sequence::remap() noexcept {
  pick_range();
  const uint64_t old_bytes = random_.chance(3) ? 0 : bytes_;
  const uint64_t kind = random_.below(100);
  uint64_t new_bytes = old_bytes;
  if (kind < 35) new_bytes = old_bytes + (1 + random_.below(6)) * kPage;
  if (kind >= 35 && kind < 55) new_bytes = length();
  uint64_t flags = 0;
  if (random_.chance(70)) flags |= MREMAP_MAYMOVE;
  if (random_.chance(25)) flags |= MREMAP_FIXED;
  if (random_.chance(10)) flags |= MREMAP_DONTUNMAP;
  if (random_.chance(1)) flags |= 8;
  uint64_t to = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 ? address() : 0;
  if ((flags & MREMAP_FIXED) != 0 && to < kWindow) to = place();
  if (to != 0) new_bytes = inside(to, new_bytes);
  begin("mremap");
  arg_address(start_);
  arg_length(old_bytes);
  arg_length(new_bytes);
  put(" ");
  const char* comma = "";
  const auto flag = [&](uint64_t bit, const char* name) {
    if ((flags & bit) == 0) return;
    put(comma);
    put(name);
    comma = ",";
  };
  flag(MREMAP_MAYMOVE, "maymove");
  flag(MREMAP_FIXED, "fixed");
  flag(MREMAP_DONTUNMAP, "dontunmap");
  flag(8, "bad8");
  if (flags == 0) put("0");
  if (to == 0) {
    put(" -");
  } else {
    arg_address(to);
  }
  result_address(syscall(SYS_mremap, start_, old_bytes, new_bytes, flags, to));
}

void Sequence::lock() noexcept {
  pick_range();
  const uint64_t kind = random_.below(100);
  if (kind < 40) {
    begin("munlock");
    arg_address(start_);
    arg_length(bytes_);
    result(syscall(SYS_munlock, start_, bytes_));
  } else if (kind < 82) {
    begin("mlock");
    arg_address(start_);
    arg_length(bytes_);
    result(syscall(SYS_mlock, start_, bytes_));
  } else {
    const uint64_t flag = random_.chance(80) ? 1 : random_.chance(80) ? 0 : 2;
    begin("mlock2");
    arg_address(start_);
    arg_length(bytes_);
    put(flag == 1 ? " onfault" : flag == 0 ? " 0" : " bad2");
    result(syscall(SYS_mlock2, start_, bytes_, flag));
  }
}

void Sequence::move_break() noexcept {
  const auto now = static_cast<uint64_t>(syscall(SYS_brk, 0));
  uint64_t to = random_.chance(10) ? 0 : now + random_.below(9 * kPage);
  if (random_.chance(40)) to = now - random_.below(6 * kPage);
  if (random_.chance(60)) to &= ~(kPage - 1);
  begin("brk");
  arg_address(to);
  put(" -> @");
  put_address(static_cast<uint64_t>(syscall(SYS_brk, to)));
  put("\n");
}

void Sequence::touch() noexcept {
  uint64_t at = address();
  if (vma_count() != 0 && random_.chance(80)) {
    const auto i = static_cast<uint32_t>(random_.below(vma_count()));
    at = vma_start(i) + random_.below((vma_end(i) - vma_start(i)) / kPage) * kPage;
  }
  if (random_.chance(40)) at += random_.below(kPage - at % kPage);
  // Beyond the top a fault has no address to report; the rest of the space is not ours.
  if (at < kWindow || at >= kWindowEnd) at = kWindow + home_ * kPage;
  const bool writes = random_.chance(60);
  uint8_t value = static_cast<uint8_t>(random_.next());
  begin(writes ? "write" : "read");
  arg_address(at);
  static constexpr const char* kDigits = "0123456789abcdef";
  const auto put_byte = [&] {
    const char text[3] = {kDigits[value >> 4], kDigits[value & 15], 0};
    put(text);
  };
  if (writes) {
    put(" ");
    put_byte();
  }
  const Touch t = writes ? write_byte(at, value) : read_byte(at, &value);
  put(" -> ");
  switch (t) {
    case Touch::ok:
      put("ok");
      if (!writes) {
        put(" ");
        put_byte();
      }
      break;
    case Touch::maperr: put("SIGSEGV/MAPERR"); break;
    case Touch::accerr: put("SIGSEGV/ACCERR"); break;
    case Touch::bus: put("SIGBUS/ADRERR"); break;
  }
  put("\n");
}

void Sequence::extended() noexcept {
  const uint64_t kind = random_.below(100);
  if (kind < 30) {
    static unsigned char present[2048];
    pick_range();
    if (bytes_ <= sizeof present * kPage || bytes_ > (uint64_t{1} << 46)) {
      begin("mincore");
      arg_address(start_);
      arg_length(bytes_);
      const long r = syscall(SYS_mincore, start_, bytes_, present);
      if (r == -1) return result(r);
      put(" -> 0 ");
      const uint64_t pages = (bytes_ + kPage - 1) / kPage;
      if (pages == 0) put("-");
      for (uint64_t i = 0; i < pages; ++i) {
        const bool known = is_private_anonymous(start_ + i * kPage);
        put(!known ? "." : (present[i] & 1) != 0 ? "1" : "0");
      }
      put("\n");
      return;
    }
    return touch();
  }
  if (kind < 55) {
    begin("fork -> 0\n");
    flush();
    const pid_t child = fork();
    if (child < 0) _exit(4);
    if (child > 0) {
      int status = 0;
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
      }
      _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 5);
    }
    return;
  }
  if (kind < 72) {
    const bool onfault = random_.chance(40);
    begin(onfault ? "mlockall future,onfault" : "mlockall future");
    return result(syscall(SYS_mlockall, MCL_FUTURE | (onfault ? MCL_ONFAULT : 0)));
  }
  if (kind < 92) {
    begin("munlockall");
    return result(syscall(SYS_munlockall));
  }
  if (index_ > ops_ * 2 / 3 && random_.chance(50)) {
    constexpr long kMseal = 462;
    pick_range();
    begin("mseal");
    arg_address(start_);
    arg_length(bytes_);
    return result(syscall(kMseal, start_, bytes_, 0));
  }
  touch();
}

void Sequence::op() noexcept {
  const uint64_t kind = random_.below(100);
  if (kind < 20) return map();
  if (kind < 32) return unmap();
  if (kind < 46) return protect();
  if (kind < 58) return advise();
  if (kind < 68) return remap();
  if (kind < 78) return lock();
  if (kind < 82) return brk_ ? move_break() : map();
  if (kind < 86) return ext_ ? extended() : touch();
  touch();
}

void Sequence::run(uint32_t dump_every) noexcept {
  for (index_ = 0; index_ < ops_; ++index_) {
    op();
    put_changes();
    if ((index_ + 1) % dump_every == 0 || index_ + 1 == ops_) put_dump();
  }
  put("E ");
  put_number(ops_);
  put("\n");
  flush();
}

[[noreturn]] void child(const LiveOptions& options, OracleProfile profile, int out) noexcept {
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  Random random(options.seed ^ 0x5eed);
  utsname name{};
  uname(&name);
  const Setup setup{
      .out_fd = out,
      .brk_page =
          random.chance(45) ? static_cast<int64_t>(16 + random.below(kWindowPages - 64)) : -1,
      .memlock = random.chance(15) ? static_cast<int64_t>(8 + random.below(150)) : -1};
  const Made made = make(setup);
  if (!made.ok) _exit(2);
  constexpr uint32_t kDumpEvery = 50;
  put("# pervma-oracle 1\nH seed=");
  put_number(options.seed);
  put(" window_pages=65536 brk=");
  put_signed(made.brk ? setup.brk_page : -1);
  put(" memlock=");
  put_signed(made.memlock ? setup.memlock : -1);
  put(profile == OracleProfile::ext ? " profile=ext" : " profile=core");
  put(" dump_every=50 kernel=");
  put(name.release);
  put("\nF A 64+0 11\nF B 20+291 83\n");
  if (setup.brk_page >= 0 && !made.brk) put("# brk left out: moving it is not permitted\n");
  if (setup.memlock >= 0 && !made.memlock) put("# memlock left out: the limit cannot be set\n");
  Sequence(options, profile, made.brk).run(kDumpEvery);
  _exit(0);
}

}  // namespace

Result<LiveRecording> record_live(const LiveOptions& options) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return std::unexpected(Error::io);
  const OracleProfile profile = options.seed % 3 == 0 ? OracleProfile::ext : OracleProfile::core;
  std::fflush(nullptr);  // Or the child would have a copy of what is buffered.
  const pid_t pid = fork();
  if (pid < 0) {
    close(ends[0]);
    close(ends[1]);
    return std::unexpected(Error::again);
  }
  if (pid == 0) {
    close(ends[0]);
    child(options, profile, ends[1]);
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
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) return std::unexpected(Error::perm);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::unexpected(Error::io);
  for (size_t at = 0; (at = recording.text.find("\n# ", at)) != std::string::npos; ++at) {
    recording.left_out.push_back(
        recording.text.substr(at + 3, recording.text.find('\n', at + 1) - at - 3));
  }
  return recording;
}

}  // namespace pervma::trace
