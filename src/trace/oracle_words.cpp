#include "trace/oracle_words.h"

#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <utility>

namespace pervma::trace {

namespace {

template <class T>
struct Word {
  std::string_view name;
  T value;
};

// The words of one kind, found by a hash that is made at compile time.
template <class T, size_t N>
class Words {
 public:
  explicit constexpr Words(const Word<T> (&words)[N]) {
    for (size_t i = 0; i < N; ++i) {
      words_[i] = words[i];
      size_t slot = hash(words[i].name);
      while (slots_[slot] != 0) slot = (slot + 1) % kSlots;
      slots_[slot] = static_cast<uint8_t>(i + 1);
    }
  }
  constexpr const Word<T>* begin() const noexcept { return words_.data(); }
  constexpr const Word<T>* end() const noexcept { return words_.data() + N; }

  constexpr std::optional<T> find(std::string_view name) const noexcept {
    for (size_t slot = hash(name); slots_[slot] != 0; slot = (slot + 1) % kSlots) {
      const Word<T>& word = words_[slots_[slot] - 1u];
      if (word.name == name) return word.value;
    }
    return std::nullopt;
  }
  constexpr std::string_view name_of(T value) const noexcept {
    for (const Word<T>& w : words_) {
      if (w.value == value) return w.name;
    }
    return {};
  }

 private:
  static constexpr size_t kSlots = std::bit_ceil(4 * N);
  static constexpr size_t hash(std::string_view name) noexcept {
    size_t h = name.size();
    for (const char c : name) h = h * 33 + static_cast<unsigned char>(c);
    return h % kSlots;
  }

  std::array<Word<T>, N> words_{};
  std::array<uint8_t, kSlots> slots_{};
};

// A list with commas; "0" is the empty one, "0xHEX" are bits without a name.
template <size_t N>
bool add_bits(const Words<uint32_t, N>& words, std::string_view list, uint32_t& bits) noexcept {
  if (list == "0") return true;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view word = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
    uint32_t value = 0;
    if (word.starts_with("0x")) {
      const auto [end, error] =
          std::from_chars(word.data() + 2, word.data() + word.size(), value, 16);
      if (error != std::errc{} || end != word.data() + word.size()) return false;
    } else if (const std::optional<uint32_t> known = words.find(word)) {
      value = *known;
    } else {
      return false;
    }
    bits |= value;
  }
  return true;
}

template <size_t N>
void put_bits(OracleText& text, const Words<uint32_t, N>& words, uint32_t bits) noexcept {
  if (bits == 0) {
    text.put("0");
    return;
  }
  const char* comma = "";
  for (const Word<uint32_t>& w : words) {
    if (w.value == 0 || (bits & w.value) != w.value) continue;
    text.put(comma).put(w.name);
    bits &= ~w.value;
    comma = ",";
  }
  if (bits != 0) text.put(comma).put("0x").number(bits, 16);
}

constexpr Word<OracleCall> kCallsList[] = {{"mmap", OracleCall::mmap},
                                           {"munmap", OracleCall::munmap},
                                           {"mprotect", OracleCall::mprotect},
                                           {"madvise", OracleCall::madvise},
                                           {"mremap", OracleCall::mremap},
                                           {"mlock", OracleCall::mlock},
                                           {"mlock2", OracleCall::mlock2},
                                           {"munlock", OracleCall::munlock},
                                           {"mlockall", OracleCall::mlockall},
                                           {"munlockall", OracleCall::munlockall},
                                           {"mseal", OracleCall::mseal},
                                           {"setname", OracleCall::setname},
                                           {"brk", OracleCall::brk},
                                           {"mincore", OracleCall::mincore},
                                           {"read", OracleCall::read},
                                           {"write", OracleCall::write},
                                           {"msync", OracleCall::msync},
                                           {"fork", OracleCall::fork},
                                           {"uffd_register", OracleCall::uffd_register},
                                           {"uffd_unregister", OracleCall::uffd_unregister},
                                           {"uffd_copy", OracleCall::uffd_copy},
                                           {"uffd_zeropage", OracleCall::uffd_zeropage},
                                           {"uffd_continue", OracleCall::uffd_continue},
                                           {"uffd_move", OracleCall::uffd_move},
                                           {"uffd_writeprotect", OracleCall::uffd_writeprotect}};
constexpr Words kCalls(kCallsList);

constexpr Word<OracleSignal> kSignalsList[] = {{"ok", OracleSignal::none},
                                               {"SIGSEGV/MAPERR", OracleSignal::segv_maperr},
                                               {"SIGSEGV/ACCERR", OracleSignal::segv_accerr},
                                               {"SIGBUS/ADRERR", OracleSignal::bus_adrerr}};
constexpr Words kSignals(kSignalsList);

constexpr Word<int> kErrorsList[] = {
    {"EPERM", EPERM},   {"ENOENT", ENOENT},       {"EINTR", EINTR},           {"EIO", EIO},
    {"EBADF", EBADF},   {"EAGAIN", EAGAIN},       {"ENOMEM", ENOMEM},         {"EACCES", EACCES},
    {"EFAULT", EFAULT}, {"EBUSY", EBUSY},         {"EEXIST", EEXIST},         {"ENODEV", ENODEV},
    {"EINVAL", EINVAL}, {"EOVERFLOW", EOVERFLOW}, {"EOPNOTSUPP", EOPNOTSUPP}, {"EFBIG", EFBIG},
    {"ENOSYS", ENOSYS}, {"ENOSPC", ENOSPC}};
constexpr Words kErrors(kErrorsList);

constexpr Word<uint32_t> kMapFlagsList[] = {
    {"validate", 3},      {"priv", 2},        {"shared", 1},           {"droppable", 8},
    {"anon", 0x20},       {"fixed", 0x10},    {"noreplace", 0x100000}, {"noreserve", 0x4000},
    {"populate", 0x8000}, {"locked", 0x2000}, {"stack", 0x20000},      {"growsdown", 0x100},
    {"nonblock", 0x10000}};
constexpr Words kMapFlags(kMapFlagsList);
constexpr Word<uint32_t> kRemapFlagsList[] = {
    {"maymove", 1}, {"fixed", 2}, {"dontunmap", 4}, {"bad8", 8}};
constexpr Words kRemapFlags(kRemapFlagsList);
constexpr Word<uint32_t> kLockFlagsList[] = {{"onfault", 1}, {"bad2", 2}};
constexpr Words kLockFlags(kLockFlagsList);
constexpr Word<uint32_t> kLockAllFlagsList[] = {{"current", 1}, {"future", 2}, {"onfault", 4}};
constexpr Words kLockAllFlags(kLockAllFlagsList);

constexpr Word<uint32_t> kSyncFlagsList[] = {
    {"async", 1}, {"invalidate", 2}, {"sync", 4}, {"bad8", 8}};
constexpr Words kSyncFlags(kSyncFlagsList);

constexpr Word<uint32_t> kToldFlagsList[] = {{"missing", 1}, {"wp", 2}, {"minor", 4}, {"bad8", 8}};
constexpr Words kToldFlags(kToldFlagsList);
constexpr Word<uint32_t> kFillFlagsList[] = {{"dontwake", 1}, {"wp", 2}, {"bad4", 4}};
constexpr Words kFillFlags(kFillFlagsList);
constexpr Word<uint32_t> kPageMoveFlagsList[] = {{"dontwake", 1}, {"holes", 2}, {"bad4", 4}};
constexpr Words kPageMoveFlags(kPageMoveFlagsList);
constexpr Word<uint32_t> kCloseFlagsList[] = {{"wp", 1}, {"dontwake", 2}, {"bad4", 4}};
constexpr Words kCloseFlags(kCloseFlagsList);

constexpr Word<int32_t> kAdviceList[] = {
    {"normal", 0},           {"random", 1},          {"sequential", 2},
    {"willneed", 3},         {"dontneed", 4},        {"free", 8},
    {"remove", 9},           {"dontfork", 10},       {"dofork", 11},
    {"mergeable", 12},       {"unmergeable", 13},    {"hugepage", 14},
    {"nohugepage", 15},      {"dontdump", 16},       {"dodump", 17},
    {"wipeonfork", 18},      {"keeponfork", 19},     {"cold", 20},
    {"pageout", 21},         {"populate_read", 22},  {"populate_write", 23},
    {"dontneed_locked", 24}, {"collapse", 25},       {"hwpoison", 100},
    {"soft_offline", 101},   {"guard_install", 102}, {"guard_remove", 103},
    {"bad999", 999}};
constexpr Words kAdvice(kAdviceList);

constexpr Word<uint8_t> kOpeningsList[] = {{"-", 0}, {"A", 1}, {"B", 2}, {"Aro", 3}, {"A2", 4}};
constexpr Words kOpenings(kOpeningsList);

// In smaps' order.
constexpr Word<VmaFlag> kVmaFlagsList[] = {
    {"rd", VmaFlag::read},         {"wr", VmaFlag::write},       {"ex", VmaFlag::exec},
    {"sh", VmaFlag::shared},       {"mr", VmaFlag::may_read},    {"mw", VmaFlag::may_write},
    {"me", VmaFlag::may_exec},     {"ms", VmaFlag::may_share},   {"gd", VmaFlag::growsdown},
    {"pf", VmaFlag::pfnmap},       {"lo", VmaFlag::locked},      {"lf", VmaFlag::lock_on_fault},
    {"io", VmaFlag::io},           {"sr", VmaFlag::sequential},  {"rr", VmaFlag::random},
    {"dc", VmaFlag::dont_copy},    {"de", VmaFlag::dont_expand}, {"gu", VmaFlag::maybe_guard},
    {"ac", VmaFlag::account},      {"nr", VmaFlag::noreserve},   {"sf", VmaFlag::sync},
    {"wf", VmaFlag::wipe_on_fork}, {"dd", VmaFlag::dont_dump},   {"mm", VmaFlag::mixedmap},
    {"dp", VmaFlag::droppable},    {"hg", VmaFlag::hugepage},    {"nh", VmaFlag::nohugepage},
    {"mg", VmaFlag::mergeable},    {"um", VmaFlag::user_fault},  {"uw", VmaFlag::user_fault},
    {"ui", VmaFlag::user_fault},   {"sl", VmaFlag::sealed}};
constexpr Words kVmaFlags(kVmaFlagsList);

constexpr Word<UserFaultModes> kUserModes[] = {{"um", UserFaultModes::missing},
                                               {"uw", UserFaultModes::write_protect},
                                               {"ui", UserFaultModes::minor}};

constexpr size_t letters_index(char a, char b) noexcept {
  return static_cast<size_t>(a - 'a') * 26 + static_cast<size_t>(b - 'a');
}

// Two letters of a name -> flag, without a search.
constexpr auto kFlagOfLetters = [] {
  std::array<uint32_t, 26 * 26> table{};
  for (const Word<VmaFlag>& w : kVmaFlags) {
    table[letters_index(w.name[0], w.name[1])] = static_cast<uint32_t>(w.value);
  }
  return table;
}();

}  // namespace

std::optional<OracleCall> oracle_call(std::string_view word) noexcept { return kCalls.find(word); }
std::string_view oracle_call_name(OracleCall call) noexcept { return kCalls.name_of(call); }
std::optional<OracleSignal> oracle_signal(std::string_view word) noexcept {
  return kSignals.find(word);
}
std::string_view oracle_signal_name(OracleSignal s) noexcept { return kSignals.name_of(s); }
int oracle_errno(std::string_view name) noexcept { return kErrors.find(name).value_or(0); }

std::string_view oracle_errno_name(int error) noexcept { return kErrors.name_of(error); }

std::optional<uint8_t> oracle_opening(std::string_view word) noexcept {
  return kOpenings.find(word);
}
std::string_view oracle_opening_name(uint8_t file) noexcept { return kOpenings.name_of(file); }

bool oracle_prot(std::string_view word, uint32_t& bits) noexcept {
  const size_t plus = word.find('+');
  for (const char c : word.substr(0, plus)) {
    switch (c) {
      case 'r': bits |= 1; break;
      case 'w': bits |= 2; break;
      case 'x': bits |= 4; break;
      case '-': break;
      default: return false;
    }
  }
  if (plus == std::string_view::npos) return true;
  return add_bits(kLockFlags, word.substr(plus + 1), bits);  // only the form 0xHEX can match
}

bool oracle_map_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kMapFlags, list, bits);
}
bool oracle_remap_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kRemapFlags, list, bits);
}
bool oracle_lock_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kLockFlags, list, bits);
}
bool oracle_lock_all_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kLockAllFlags, list, bits);
}
bool oracle_sync_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kSyncFlags, list, bits);
}
bool oracle_told_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kToldFlags, list, bits);
}
bool oracle_fill_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kFillFlags, list, bits);
}
bool oracle_move_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kPageMoveFlags, list, bits);
}
bool oracle_close_flags(std::string_view list, uint32_t& bits) noexcept {
  return add_bits(kCloseFlags, list, bits);
}
bool oracle_advice(std::string_view word, int32_t& advice) noexcept {
  if (word.starts_with("0x")) {
    uint32_t bits = 0;
    const bool known = add_bits(kLockFlags, word, bits);
    advice = static_cast<int32_t>(bits);
    return known;
  }
  const std::optional<int32_t> found = kAdvice.find(word);
  advice = found.value_or(0);
  return found.has_value();
}

void put_oracle_prot(OracleText& text, uint32_t bits) noexcept {
  text.put((bits & 1) != 0 ? "r" : "-");
  text.put((bits & 2) != 0 ? "w" : "-");
  text.put((bits & 4) != 0 ? "x" : "-");
  if ((bits & ~7u) != 0) text.put("+0x").number(bits & ~7u, 16);
}
void put_oracle_map_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kMapFlags, bits);
}
void put_oracle_remap_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kRemapFlags, bits);
}
void put_oracle_lock_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kLockFlags, bits);
}
void put_oracle_lock_all_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kLockAllFlags, bits);
}
void put_oracle_sync_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kSyncFlags, bits);
}
void put_oracle_told_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kToldFlags, bits);
}
void put_oracle_fill_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kFillFlags, bits);
}
void put_oracle_move_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kPageMoveFlags, bits);
}
void put_oracle_close_flags(OracleText& text, uint32_t bits) noexcept {
  put_bits(text, kCloseFlags, bits);
}
void put_oracle_advice(OracleText& text, int32_t advice) noexcept {
  const std::string_view name = kAdvice.name_of(advice);
  if (name.empty()) {
    text.put("0x").number(static_cast<uint32_t>(advice), 16);
  } else {
    text.put(name);
  }
}

std::optional<VmaFlags> oracle_vma_flags(std::string_view list) noexcept {
  uint32_t bits = 0;
  for (size_t i = 0; i < list.size(); i += 3) {
    if (i + 2 > list.size() || (i + 2 < list.size() && list[i + 2] != '.')) return std::nullopt;
    const char a = list[i];
    const char b = list[i + 1];
    if (a < 'a' || a > 'z' || b < 'a' || b > 'z') return std::nullopt;
    const uint32_t flag = kFlagOfLetters[letters_index(a, b)];
    if (flag == 0) return std::nullopt;
    bits |= flag;
  }
  return VmaFlags::from_bits(bits);
}

UserFaultModes oracle_user_modes(std::string_view list) noexcept {
  UserFaultModes modes{};
  for (size_t i = 0; i + 2 <= list.size(); i += 3) {
    for (const auto& [name, mode] : kUserModes) {
      if (list.substr(i, 2) == name) modes = modes | mode;
    }
  }
  return modes;
}

std::string oracle_flag_text(VmaFlags flags, UserFaultModes modes) {
  std::string text;
  for (const Word<VmaFlag>& w : kVmaFlags) {
    if (!flags.has(w.value)) continue;
    if (w.value == VmaFlag::user_fault && !includes(modes, oracle_user_modes(w.name))) continue;
    if (!text.empty()) text += '.';
    text += w.name;
  }
  return text;
}

std::array<char, 4> oracle_perms(VmaFlags f) noexcept {
  return {f.has(VmaFlag::read) ? 'r' : '-', f.has(VmaFlag::write) ? 'w' : '-',
          f.has(VmaFlag::exec) ? 'x' : '-', f.has(VmaFlag::may_share) ? 's' : 'p'};
}

}  // namespace pervma::trace
