#include "trace/strace_symbols.h"

#include <cerrno>
#include <span>

#include "trace/linux_abi.h"
#include "trace/scanner.h"

namespace pervma::trace {
namespace {

struct Symbol {
  std::string_view name;
  uint64_t value;
};

constexpr Symbol kProt[] = {
    {"PROT_NONE", abi::kProtNone},       {"PROT_READ", abi::kProtRead},
    {"PROT_WRITE", abi::kProtWrite},     {"PROT_EXEC", abi::kProtExec},
    {"PROT_SEM", abi::kProtSem},         {"PROT_GROWSDOWN", abi::kProtGrowsDown},
    {"PROT_GROWSUP", abi::kProtGrowsUp},
};

constexpr Symbol kMap[] = {
    {"MAP_SHARED", abi::kMapShared},
    {"MAP_PRIVATE", abi::kMapPrivate},
    {"MAP_SHARED_VALIDATE", abi::kMapSharedValidate},
    {"MAP_DROPPABLE", abi::kMapDroppable},
    {"MAP_FILE", 0},
    {"MAP_FIXED", abi::kMapFixed},
    {"MAP_ANONYMOUS", abi::kMapAnonymous},
    {"MAP_ANON", abi::kMapAnonymous},
    {"MAP_32BIT", abi::kMap32Bit},
    {"MAP_GROWSDOWN", abi::kMapGrowsDown},
    {"MAP_DENYWRITE", abi::kMapDenyWrite},
    {"MAP_EXECUTABLE", abi::kMapExecutable},
    {"MAP_LOCKED", abi::kMapLocked},
    {"MAP_NORESERVE", abi::kMapNoReserve},
    {"MAP_POPULATE", abi::kMapPopulate},
    {"MAP_NONBLOCK", abi::kMapNonblock},
    {"MAP_STACK", abi::kMapStack},
    {"MAP_HUGETLB", abi::kMapHugeTlb},
    {"MAP_SYNC", abi::kMapSync},
    {"MAP_FIXED_NOREPLACE", abi::kMapFixedNoReplace},
    {"MAP_HUGE_2MB", uint64_t{21} << abi::kMapHugeShift},
    {"MAP_HUGE_1GB", uint64_t{30} << abi::kMapHugeShift},
};

constexpr Symbol kMremap[] = {
    {"MREMAP_MAYMOVE", abi::kMremapMayMove},
    {"MREMAP_FIXED", abi::kMremapFixed},
    {"MREMAP_DONTUNMAP", abi::kMremapDontUnmap},
};

constexpr Symbol kAdvice[] = {
    {"MADV_NORMAL", abi::kMadvNormal},
    {"MADV_RANDOM", abi::kMadvRandom},
    {"MADV_SEQUENTIAL", abi::kMadvSequential},
    {"MADV_WILLNEED", abi::kMadvWillNeed},
    {"MADV_DONTNEED", abi::kMadvDontNeed},
    {"MADV_FREE", abi::kMadvFree},
    {"MADV_REMOVE", abi::kMadvRemove},
    {"MADV_DONTFORK", abi::kMadvDontFork},
    {"MADV_DOFORK", abi::kMadvDoFork},
    {"MADV_MERGEABLE", abi::kMadvMergeable},
    {"MADV_UNMERGEABLE", abi::kMadvUnmergeable},
    {"MADV_HUGEPAGE", abi::kMadvHugePage},
    {"MADV_NOHUGEPAGE", abi::kMadvNoHugePage},
    {"MADV_DONTDUMP", abi::kMadvDontDump},
    {"MADV_DODUMP", abi::kMadvDoDump},
    {"MADV_WIPEONFORK", abi::kMadvWipeOnFork},
    {"MADV_KEEPONFORK", abi::kMadvKeepOnFork},
    {"MADV_COLD", abi::kMadvCold},
    {"MADV_PAGEOUT", abi::kMadvPageOut},
    {"MADV_POPULATE_READ", abi::kMadvPopulateRead},
    {"MADV_POPULATE_WRITE", abi::kMadvPopulateWrite},
    {"MADV_DONTNEED_LOCKED", abi::kMadvDontNeedLocked},
    {"MADV_COLLAPSE", abi::kMadvCollapse},
    {"MADV_HWPOISON", abi::kMadvHwPoison},
    {"MADV_SOFT_OFFLINE", abi::kMadvSoftOffline},
    {"MADV_GUARD_INSTALL", abi::kMadvGuardInstall},
    {"MADV_GUARD_REMOVE", abi::kMadvGuardRemove},
};

constexpr Symbol kMlock2[] = {{"MLOCK_ONFAULT", abi::kMlockOnFault}};

constexpr Symbol kMlockall[] = {
    {"MCL_CURRENT", abi::kMclCurrent},
    {"MCL_FUTURE", abi::kMclFuture},
    {"MCL_ONFAULT", abi::kMclOnFault},
};

constexpr Symbol kClone[] = {
    {"CLONE_VM", abi::kCloneVm},
    {"CLONE_FS", 0x200},
    {"CLONE_FILES", 0x400},
    {"CLONE_SIGHAND", 0x800},
    {"CLONE_PIDFD", 0x1000},
    {"CLONE_PTRACE", 0x2000},
    {"CLONE_VFORK", abi::kCloneVfork},
    {"CLONE_PARENT", 0x8000},
    {"CLONE_THREAD", abi::kCloneThread},
    {"CLONE_NEWNS", 0x20000},
    {"CLONE_SYSVSEM", 0x40000},
    {"CLONE_SETTLS", 0x80000},
    {"CLONE_PARENT_SETTID", 0x100000},
    {"CLONE_CHILD_CLEARTID", 0x200000},
    {"CLONE_DETACHED", 0x400000},
    {"CLONE_UNTRACED", 0x800000},
    {"CLONE_CHILD_SETTID", 0x1000000},
    {"CLONE_NEWCGROUP", 0x2000000},
    {"CLONE_NEWUTS", 0x4000000},
    {"CLONE_NEWIPC", 0x8000000},
    {"CLONE_NEWUSER", 0x10000000},
    {"CLONE_NEWPID", 0x20000000},
    {"CLONE_NEWNET", 0x40000000},
    {"CLONE_IO", 0x80000000},
    {"CLONE_CLEAR_SIGHAND", 0x100000000},
    {"CLONE_INTO_CGROUP", 0x200000000},
    {"CLONE_NEWTIME", 0x80},
    {"SIGCHLD", 17},
};

constexpr Symbol kErrno[] = {
    {"EPERM", EPERM},
    {"ENOENT", ENOENT},
    {"ESRCH", ESRCH},
    {"EINTR", EINTR},
    {"EIO", EIO},
    {"ENXIO", ENXIO},
    {"E2BIG", E2BIG},
    {"ENOEXEC", ENOEXEC},
    {"EBADF", EBADF},
    {"ECHILD", ECHILD},
    {"EAGAIN", EAGAIN},
    {"ENOMEM", ENOMEM},
    {"EACCES", EACCES},
    {"EFAULT", EFAULT},
    {"EBUSY", EBUSY},
    {"EEXIST", EEXIST},
    {"ENODEV", ENODEV},
    {"ENOTDIR", ENOTDIR},
    {"EISDIR", EISDIR},
    {"EINVAL", EINVAL},
    {"ENFILE", ENFILE},
    {"EMFILE", EMFILE},
    {"ETXTBSY", ETXTBSY},
    {"EFBIG", EFBIG},
    {"ENOSPC", ENOSPC},
    {"ESPIPE", ESPIPE},
    {"EROFS", EROFS},
    {"ENAMETOOLONG", ENAMETOOLONG},
    {"ENOSYS", ENOSYS},
    {"ELOOP", ELOOP},
    {"EOVERFLOW", EOVERFLOW},
    {"ELIBBAD", ELIBBAD},
    {"EUSERS", EUSERS},
    {"EOPNOTSUPP", EOPNOTSUPP},
    {"ENOTSUP", EOPNOTSUPP},
    {"EDEADLK", EDEADLK},
    {"ENOKEY", ENOKEY},
    {"EHWPOISON", EHWPOISON},
    // The kernel's own: the call will be made again.
    {"ERESTARTSYS", 512},
    {"ERESTARTNOINTR", 513},
    {"ERESTARTNOHAND", 514},
    {"ERESTART_RESTARTBLOCK", 516},
};

std::span<const Symbol> symbols(SymbolSet set) noexcept {
  switch (set) {
    case SymbolSet::prot: return kProt;
    case SymbolSet::map: return kMap;
    case SymbolSet::mremap: return kMremap;
    case SymbolSet::advice: return kAdvice;
    case SymbolSet::mlock2: return kMlock2;
    case SymbolSet::mlockall: return kMlockall;
    case SymbolSet::clone: return kClone;
  }
  return {};
}

std::optional<uint64_t> find(std::span<const Symbol> table, std::string_view name) noexcept {
  for (const Symbol& s : table) {
    if (s.name == name) return s.value;
  }
  return std::nullopt;
}

// "/* ... */" at the end is strace's remark on a number it has no name for.
std::string_view without_comment(std::string_view text) noexcept {
  if (const size_t at = text.find(" /*"); at != text.npos) text = text.substr(0, at);
  return text;
}

std::optional<uint64_t> decode_one(std::span<const Symbol> table, std::string_view text) noexcept {
  if (const auto value = find(table, text)) return value;
  constexpr std::string_view kHugeShift = "<<MAP_HUGE_SHIFT";
  if (text.ends_with(kHugeShift)) {
    const auto order = decode_number(text.substr(0, text.size() - kHugeShift.size()));
    if (!order || *order > 63) return std::nullopt;
    return *order << abi::kMapHugeShift;
  }
  return decode_number(text);
}

}  // namespace

std::optional<uint64_t> decode_number(std::string_view text) noexcept {
  text = without_comment(text);
  if (text == "NULL") return 0;
  Scanner in(text);
  std::optional<uint64_t> value;
  if (in.take("-")) {
    value = in.take_number<uint32_t>();
    if (value) value = static_cast<uint32_t>(-*value);
  } else {
    value = in.rest().starts_with("0x") ? in.take_hex() : in.take_number();
  }
  // With -y a descriptor is followed by what it is: "3</lib/x>".
  if (!in.done() && !(in.rest().front() == '<' && in.rest().back() == '>')) return std::nullopt;
  return value;
}

std::optional<uint64_t> decode_symbols(SymbolSet set, std::string_view text) noexcept {
  text = without_comment(text);
  const auto table = symbols(set);
  uint64_t value = 0;
  for (;;) {
    const size_t bar = text.find('|');
    const auto one = decode_one(table, text.substr(0, bar));
    if (!one) return std::nullopt;
    value |= *one;
    if (bar == text.npos) return value;
    text.remove_prefix(bar + 1);
  }
}

std::optional<int> decode_errno(std::string_view name) noexcept {
  const auto value = find(kErrno, name);
  if (!value) return std::nullopt;
  return static_cast<int>(*value);
}

}  // namespace pervma::trace
