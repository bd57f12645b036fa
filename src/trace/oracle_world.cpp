#include "trace/oracle_world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace pervma::trace::world {

namespace {

constexpr uint64_t kLowest = 0x10000;
constexpr uint64_t kTop = 0x7ffffffff000;
constexpr uint32_t kMostVmas = 4096;
constexpr uint64_t kStackBytes = uint64_t{1} << 20;
constexpr uint64_t kStackLimit = uint64_t{8} << 20;  // as SpaceOptions has it

struct Vma {
  uint64_t start;
  uint64_t end;
  uint64_t offset;
  uint64_t inode;
  char perms[5];
  char flags[107];

  bool same(const Vma& o) const noexcept {
    return start == o.start && end == o.end && offset == o.offset && inode == o.inode &&
           memcmp(perms, o.perms, sizeof perms) == 0 && strcmp(flags, o.flags) == 0;
  }
};

// The state of the one world of this (child) process. Static: there is no heap to put it in.
struct State {
  int out_fd = -1;
  int files[kFiles] = {-1, -1, -1, -1};
  int filler = -1;
  int user_faults = -1;
  int64_t user_fault_kind = -1;
  uint64_t inode_a = 0;
  uint64_t inode_b = 0;
  uint64_t shared_inodes[4096] = {};
  uint32_t shared_count = 0;
  Vma maps[2][kMostVmas] = {};
  Range ranges[kMostVmas] = {};  // of the map that was read last
  OracleKind kinds[kMostVmas] = {};
  bool told[kMostVmas] = {};
  uint32_t counts[2] = {0, 0};
  int now = 0;
  char out[1 << 16] = {};
  size_t out_used = 0;
  char in[1 << 16] = {};
};
State s;

sigjmp_buf s_back;
volatile sig_atomic_t s_signal;
volatile sig_atomic_t s_code;
char s_signal_stack[1 << 16];

void on_signal(int number, siginfo_t* info, void*) noexcept {
  s_signal = number;
  s_code = info->si_code;
  siglongjmp(s_back, 1);
}

void fill_file(int fd, uint64_t size, uint8_t base) noexcept {
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) return;
  unsigned char page[kPage];
  for (uint64_t at = 0; at < size; at += kPage) {
    const uint64_t n = size - at < kPage ? size - at : kPage;
    for (uint64_t i = 0; i < n; ++i) page[i] = static_cast<uint8_t>((at >> 12) * 7 + i + base);
    if (pwrite(fd, page, n, static_cast<off_t>(at)) < 0) return;
  }
}

int reopen(int fd, int flags) noexcept {
  char path[64] = "/proc/self/fd/";
  size_t n = strlen(path);
  if (fd >= 100) path[n++] = static_cast<char>('0' + fd / 100);
  if (fd >= 10) path[n++] = static_cast<char>('0' + fd / 10 % 10);
  path[n++] = static_cast<char>('0' + fd % 10);
  path[n] = 0;
  return open(path, flags | O_CLOEXEC);
}

uint64_t parse_hex(const char*& p) noexcept {
  uint64_t v = 0;
  for (;; ++p) {
    if (*p >= '0' && *p <= '9') {
      v = v * 16 + static_cast<uint64_t>(*p - '0');
    } else if (*p >= 'a' && *p <= 'f') {
      v = v * 16 + static_cast<uint64_t>(*p - 'a' + 10);
    } else {
      return v;
    }
  }
}

// "START-END PERMS OFFSET MA:MI INODE ..."; false: some other line.
bool parse_header(const char* p, Vma& v) noexcept {
  const char* begin = p;
  v.start = parse_hex(p);
  if (p == begin || *p != '-') return false;
  ++p;
  v.end = parse_hex(p);
  if (*p != ' ') return false;
  ++p;
  memcpy(v.perms, p, 4);
  v.perms[4] = 0;
  p += 5;
  v.offset = parse_hex(p);
  ++p;
  (void)parse_hex(p);
  ++p;
  (void)parse_hex(p);
  ++p;
  v.inode = 0;
  while (*p >= '0' && *p <= '9') v.inode = v.inode * 10 + static_cast<uint64_t>(*p++ - '0');
  v.flags[0] = 0;
  return true;
}

// "VmFlags: rd wr mr ..." as "rd.wr.mr", without soft-dirty.
void parse_flags(const char* p, Vma& v) noexcept {
  size_t n = 0;
  while (*p != 0) {
    while (*p == ' ') ++p;
    if (p[0] == 0 || p[1] == 0) break;
    if (!(p[0] == 's' && p[1] == 'd') && n + 4 < sizeof v.flags) {
      if (n != 0) v.flags[n++] = '.';
      v.flags[n++] = p[0];
      v.flags[n++] = p[1];
    }
    p += 2;
  }
  v.flags[n] = 0;
}

// Calls f(line) for each line of the file until it returns false.
template <class F>
bool for_each_line(const char* path, F f) noexcept {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t used = 0;
  bool go_on = true;
  while (go_on) {
    const ssize_t n = read(fd, s.in + used, sizeof s.in - 1 - used);
    if (n <= 0) break;
    used += static_cast<size_t>(n);
    char* line = s.in;
    char* const end = s.in + used;
    while (go_on) {
      auto* newline = static_cast<char*>(memchr(line, '\n', static_cast<size_t>(end - line)));
      if (newline == nullptr) break;
      *newline = 0;
      go_on = f(line);
      line = newline + 1;
    }
    used = static_cast<size_t>(end - line);
    memmove(s.in, line, used);
  }
  close(fd);
  return true;
}

void read_map() noexcept {
  s.now ^= 1;
  Vma* const map = s.maps[s.now];
  uint32_t& count = s.counts[s.now];
  count = 0;
  bool inside = false;
  for_each_line("/proc/self/smaps", [&](const char* line) {
    Vma v;
    if (parse_header(line, v)) {
      if (v.start >= kWindowEnd) return false;
      inside = v.start >= kWindow && count < kMostVmas;
      if (inside) map[count++] = v;
    } else if (inside && memcmp(line, "VmFlags:", 8) == 0) {
      parse_flags(line + 8, map[count - 1]);
    }
    return true;
  });
  for (uint32_t i = 0; i < count; ++i) {
    s.ranges[i] = {Address{map[i].start}, Address{map[i].end}};
    s.kinds[i] = map[i].inode == 0        ? OracleKind::anonymous
                 : map[i].perms[3] == 's' ? OracleKind::shared
                                          : OracleKind::private_file;
    const auto has = [&](const char* flag) { return strstr(map[i].flags, flag) != nullptr; };
    s.told[i] = has("um") || has("uw") || has("ui");
  }
  // Numbers in the order of first appearance, by address within one operation.
  for (uint32_t i = 0; i < count; ++i) {
    const Vma& v = map[i];
    if (v.inode == 0 || v.inode == s.inode_a || v.inode == s.inode_b) continue;
    bool known = false;
    for (uint32_t k = 0; k < s.shared_count; ++k) known = known || s.shared_inodes[k] == v.inode;
    if (!known && s.shared_count < 4096) s.shared_inodes[s.shared_count++] = v.inode;
  }
}

void put_vma(const Vma& v) noexcept {
  put_number((v.start - kWindow) / kPage);
  put("-");
  put_number((v.end - kWindow) / kPage);
}

void put_vma_whole(const char* mark, const Vma& v) noexcept {
  put(mark);
  put_vma(v);
  put(" ");
  put(v.perms);
  if (v.inode == 0) {
    put(" - anon ");
  } else {
    put(" ");
    put_number(v.offset / kPage);
    if (v.inode == s.inode_a) {
      put(" A ");
    } else if (v.inode == s.inode_b) {
      put(" B ");
    } else {
      uint32_t k = 0;
      while (k < s.shared_count && s.shared_inodes[k] != v.inode) ++k;
      put(" s");
      put_number(k);
      put(" ");
    }
  }
  put(v.flags);
  put("\n");
}

// Maps the gap [from, to) with a mapping that merges with nothing.
bool occupy(uint64_t from, uint64_t to) noexcept {
  if (from >= to) return true;
  return mmap(reinterpret_cast<void*>(from), to - from, PROT_NONE,
              MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, s.filler, 0) != MAP_FAILED;
}

// Everything that is free but the window becomes a foreign mapping.
bool occupy_all() noexcept {
  static uint64_t starts[kMostVmas];
  static uint64_t ends[kMostVmas];
  uint32_t n = 0;
  if (!for_each_line("/proc/self/maps", [&](const char* line) {
        Vma v;
        if (parse_header(line, v) && v.start < kTop && n < kMostVmas) {
          starts[n] = v.start;
          ends[n++] = v.end;
        }
        return true;
      })) {
    return false;
  }
  uint64_t at = kLowest;
  const auto fill_to = [&](uint64_t to) {
    if (at < kWindow && to > kWindow) {
      if (!occupy(at, kWindow)) return false;
      at = kWindowEnd;
    }
    return at >= to || occupy(at, to);
  };
  for (uint32_t i = 0; i < n; ++i) {
    if (starts[i] < kWindowEnd && ends[i] > kWindow) return false;  // The window is not empty.
    if (starts[i] > at && !fill_to(starts[i])) return false;
    if (ends[i] > at) at = ends[i];
  }
  return fill_to(kTop);
}

// The stack cannot grow once its neighbour below is taken.
void grow_stack() noexcept {
  volatile char space[kStackBytes];
  for (uint64_t i = 0; i < kStackBytes; i += kPage) space[i] = 0;
  (void)space[0];
}

// The i-th blank-separated number of a line of text, from 1; 0 where there is none.
uint64_t number_at(const char* text, unsigned i) noexcept {
  while (i > 1 && *text != 0) {
    if (*text++ == ' ') --i;
  }
  uint64_t v = 0;
  for (; *text >= '0' && *text <= '9'; ++text) v = v * 10 + static_cast<uint64_t>(*text - '0');
  return v;
}

// Reads a short file of /proc into `text`.
bool read_small(const char* path, std::span<char> text) noexcept {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t n = read(fd, text.data(), text.size() - 1);
  close(fd);
  text[n > 0 ? static_cast<size_t>(n) : 0] = 0;
  return n > 0;
}

// All fields at once: this form needs no capability, the ones for single fields do.
bool move_brk(int64_t page) noexcept {
  char text[2048];
  if (!read_small("/proc/self/stat", text)) return false;
  const char* after_name = strrchr(text, ')');
  if (after_name == nullptr) return false;
  // Of proc(5)'s numbering: the third field is the first behind the name.
  const auto field = [&](unsigned i) { return number_at(after_name + 2, i - 2); };
  const uint64_t at = kWindow + static_cast<uint64_t>(page) * kPage;
  prctl_mm_map map{};
  map.start_code = field(26);
  map.end_code = field(27);
  map.start_stack = field(28);
  // The kernel wants the break above the data segment, wherever it believes that to be.
  map.start_data = kLowest;
  map.end_data = kLowest + kPage;
  map.start_brk = at;
  map.brk = at;
  map.arg_start = field(48);
  map.arg_end = field(49);
  map.env_start = field(50);
  map.env_end = field(51);
  map.exe_fd = ~__u32{0};
  return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) == 0;
}

bool limit_address_space(int64_t pages) noexcept {
  char text[128];
  if (!read_small("/proc/self/statm", text)) return false;
  const rlim_t bytes = (number_at(text, 1) + static_cast<uint64_t>(pages)) * kPage;
  const rlimit limit{bytes, bytes};
  return setrlimit(RLIMIT_AS, &limit) == 0;
}

// VMAs of this process as the kernel counts them: all but the system call page that everybody has.
uint64_t count_vmas() noexcept {
  uint64_t n = 0;
  for_each_line("/proc/self/maps", [&](const char* line) {
    if (strstr(line, "[vsyscall]") == nullptr) ++n;
    return true;
  });
  return n;
}

// Cuts the mapping above the window into so many pieces that only `room` VMAs may be added.
bool crowd(int64_t room) noexcept {
  constexpr uint64_t kMostToCut = 100'000;
  constexpr uint64_t kFrom = kWindowEnd + (uint64_t{1} << 30);
  char text[32];
  if (!read_small("/proc/sys/vm/max_map_count", text)) return false;
  const uint64_t wanted = number_at(text, 1) - static_cast<uint64_t>(room);
  const uint64_t there = count_vmas();
  if (wanted < there || wanted - there > kMostToCut) return false;
  const auto cut = [](uint64_t page, int prot) {
    return mprotect(reinterpret_cast<void*>(kFrom + page * kPage), kPage, prot) == 0;
  };
  // Each page cut out of the middle makes two more; one beside such a page makes one more.
  const uint64_t pairs = (wanted - there) / 2;
  for (uint64_t i = 0; i < pairs; ++i) {
    if (!cut(2 * i, PROT_READ)) return false;
  }
  if ((wanted - there) % 2 != 0 && (pairs == 0 || !cut(2 * pairs - 1, PROT_WRITE))) return false;
  return count_vmas() == wanted;
}

bool limit_locking(int64_t pages) noexcept {
  const rlimit limit{static_cast<rlim_t>(pages) * kPage, static_cast<rlim_t>(pages) * kPage};
  if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return false;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  return syscall(SYS_capset, &header, none) == 0;
}

int open_user_faults(int64_t kind) noexcept {
  constexpr __u64 kUnpopulated = 1 << 13;  // UFFD_FEATURE_WP_UNPOPULATED
  constexpr __u64 kSigbus = 1 << 7;
  constexpr int kUserModeOnly = 1;
  const auto fd =
      static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly));
  if (fd < 0) return -1;
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = kind == 1 ? kSigbus | kUnpopulated : kSigbus;
  if (ioctl(fd, UFFDIO_API, &api) == 0) return fd;
  close(fd);
  return -1;
}

Touch touched() noexcept {
  if (s_signal == SIGBUS) return Touch::bus;
  return s_code == SEGV_ACCERR ? Touch::accerr : Touch::maperr;
}

}  // namespace

Made make(int out_fd, const OracleSetup& setup) noexcept {
  Made made;
  s.out_fd = out_fd;
  s.files[kFileA] = memfd_create("A", MFD_CLOEXEC);
  s.files[kFileB] = memfd_create("B", MFD_CLOEXEC);
  s.filler = memfd_create("filler", MFD_CLOEXEC);
  if (s.files[kFileA] < 0 || s.files[kFileB] < 0 || s.filler < 0) return made;
  fill_file(s.files[kFileA], kSizeA, 0x11);
  fill_file(s.files[kFileB], kSizeB, 0x83);
  s.files[kFileAReadOnly] = reopen(s.files[kFileA], O_RDONLY);
  s.files[kFileA2] = reopen(s.files[kFileA], O_RDWR);
  struct stat st{};
  fstat(s.files[kFileA], &st);
  s.inode_a = st.st_ino;
  fstat(s.files[kFileB], &st);
  s.inode_b = st.st_ino;
  if (s.files[kFileAReadOnly] < 0 || s.files[kFileA2] < 0) return made;
  (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);

  const stack_t stack{s_signal_stack, 0, sizeof s_signal_stack};
  sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);

  grow_stack();
  const rlimit stack_limit{kStackLimit, kStackLimit};
  (void)setrlimit(RLIMIT_STACK, &stack_limit);
  if (!occupy_all()) return made;
  if (setup.brk >= 0 && move_brk(setup.brk)) made.setup.brk = setup.brk;
  if (setup.user_faults >= 0) {
    s.user_fault_kind = setup.user_faults;
    s.user_faults = open_user_faults(setup.user_faults);
    if (s.user_faults >= 0) made.setup.user_faults = setup.user_faults;
  }
  if (setup.maps >= 0 && crowd(setup.maps)) made.setup.maps = setup.maps;
  if (setup.memlock >= 0 && limit_locking(setup.memlock)) made.setup.memlock = setup.memlock;
  if (setup.address_space >= 0 && limit_address_space(setup.address_space)) {
    made.setup.address_space = setup.address_space;
  }
  made.ok = true;
  read_map();
  return made;
}

int fd(File f) noexcept { return s.files[f]; }

int user_faults() noexcept { return s.user_faults; }

void reopen_user_faults() noexcept {
  if (s.user_faults < 0) return;
  close(s.user_faults);
  s.user_faults = open_user_faults(s.user_fault_kind);
}

void flush() noexcept {
  size_t at = 0;
  while (at < s.out_used) {
    const ssize_t n = write(s.out_fd, s.out + at, s.out_used - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(3);
    at += static_cast<size_t>(n);
  }
  s.out_used = 0;
}

void put(std::string_view text) noexcept {
  if (s.out_used + text.size() > sizeof s.out) flush();
  memcpy(s.out + s.out_used, text.data(), text.size());
  s.out_used += text.size();
}

void put_number(uint64_t v) noexcept { put(OracleText().number(v).view()); }

void put_changes() noexcept {
  read_map();
  const Vma* before = s.maps[s.now ^ 1];
  const Vma* after = s.maps[s.now];
  const uint32_t n = s.counts[s.now ^ 1];
  const uint32_t m = s.counts[s.now];
  // Both are in order: what has no equal on the other side was changed.
  for (uint32_t i = 0, k = 0; i < n; ++i) {
    while (k < m && after[k].start < before[i].start) ++k;
    if (k < m && after[k].same(before[i])) continue;
    put("- ");
    put_vma(before[i]);
    put("\n");
  }
  for (uint32_t i = 0, k = 0; k < m; ++k) {
    while (i < n && before[i].start < after[k].start) ++i;
    if (i < n && before[i].same(after[k])) continue;
    put_vma_whole("+ ", after[k]);
  }
}

void put_dump() noexcept {
  put("D ");
  put_number(s.counts[s.now]);
  put("\n");
  for (uint32_t i = 0; i < s.counts[s.now]; ++i) put_vma_whole("= ", s.maps[s.now][i]);
}

std::span<const Range> vmas() noexcept { return {s.ranges, s.counts[s.now]}; }
std::span<const OracleKind> kinds() noexcept { return {s.kinds, s.counts[s.now]}; }
std::span<const bool> told() noexcept { return {s.told, s.counts[s.now]}; }

bool is_private_anonymous(uint64_t a) noexcept {
  for (uint32_t i = 0; i < s.counts[s.now]; ++i) {
    const Vma& v = s.maps[s.now][i];
    if (v.start <= a && a < v.end) return v.inode == 0;
  }
  return false;
}

Touch read_byte(uint64_t a, uint8_t* value) noexcept {
  if (sigsetjmp(s_back, 1) != 0) return touched();
  *value = *reinterpret_cast<volatile uint8_t*>(a);
  return Touch::ok;
}

Touch write_byte(uint64_t a, uint8_t value) noexcept {
  if (sigsetjmp(s_back, 1) != 0) return touched();
  *reinterpret_cast<volatile uint8_t*>(a) = value;
  return Touch::ok;
}

}  // namespace pervma::trace::world
