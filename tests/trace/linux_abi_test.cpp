// The numbers of trace/linux_abi.h against those of the host's headers, where these have them.
#include "trace/linux_abi.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>

#if defined(__x86_64__) && defined(__linux__)

namespace pervma::trace {
namespace {

TEST(LinuxAbi, protections_and_map_flags_are_the_hosts) {
  EXPECT_EQ(abi::kProtRead, PROT_READ);
  EXPECT_EQ(abi::kProtWrite, PROT_WRITE);
  EXPECT_EQ(abi::kProtExec, PROT_EXEC);
  EXPECT_EQ(abi::kProtGrowsDown, PROT_GROWSDOWN);
  EXPECT_EQ(abi::kProtGrowsUp, PROT_GROWSUP);
  EXPECT_EQ(abi::kMapShared, MAP_SHARED);
  EXPECT_EQ(abi::kMapPrivate, MAP_PRIVATE);
  EXPECT_EQ(abi::kMapSharedValidate, MAP_SHARED_VALIDATE);
  EXPECT_EQ(abi::kMapFixed, MAP_FIXED);
  EXPECT_EQ(abi::kMapAnonymous, MAP_ANONYMOUS);
  EXPECT_EQ(abi::kMap32Bit, MAP_32BIT);
  EXPECT_EQ(abi::kMapGrowsDown, MAP_GROWSDOWN);
  EXPECT_EQ(abi::kMapDenyWrite, MAP_DENYWRITE);
  EXPECT_EQ(abi::kMapExecutable, MAP_EXECUTABLE);
  EXPECT_EQ(abi::kMapLocked, MAP_LOCKED);
  EXPECT_EQ(abi::kMapNoReserve, MAP_NORESERVE);
  EXPECT_EQ(abi::kMapPopulate, MAP_POPULATE);
  EXPECT_EQ(abi::kMapNonblock, MAP_NONBLOCK);
  EXPECT_EQ(abi::kMapStack, MAP_STACK);
  EXPECT_EQ(abi::kMapHugeTlb, MAP_HUGETLB);
  EXPECT_EQ(abi::kMapSync, MAP_SYNC);
  EXPECT_EQ(abi::kMapFixedNoReplace, MAP_FIXED_NOREPLACE);
}

TEST(LinuxAbi, advice_and_the_rest_are_the_hosts) {
  EXPECT_EQ(abi::kMadvDontNeed, MADV_DONTNEED);
  EXPECT_EQ(abi::kMadvFree, MADV_FREE);
  EXPECT_EQ(abi::kMadvRemove, MADV_REMOVE);
  EXPECT_EQ(abi::kMadvDontFork, MADV_DONTFORK);
  EXPECT_EQ(abi::kMadvHugePage, MADV_HUGEPAGE);
  EXPECT_EQ(abi::kMadvNoHugePage, MADV_NOHUGEPAGE);
  EXPECT_EQ(abi::kMadvDontDump, MADV_DONTDUMP);
  EXPECT_EQ(abi::kMadvWipeOnFork, MADV_WIPEONFORK);
  EXPECT_EQ(abi::kMadvCold, MADV_COLD);
  EXPECT_EQ(abi::kMadvPageOut, MADV_PAGEOUT);
  EXPECT_EQ(abi::kMadvPopulateRead, MADV_POPULATE_READ);
  EXPECT_EQ(abi::kMadvPopulateWrite, MADV_POPULATE_WRITE);
  EXPECT_EQ(abi::kMremapMayMove, static_cast<uint32_t>(MREMAP_MAYMOVE));
  EXPECT_EQ(abi::kMremapFixed, static_cast<uint32_t>(MREMAP_FIXED));
  EXPECT_EQ(abi::kMlockOnFault, static_cast<uint32_t>(MLOCK_ONFAULT));
  EXPECT_EQ(abi::kMclOnFault, static_cast<uint32_t>(MCL_ONFAULT));
  EXPECT_EQ(abi::kCloneVm, static_cast<uint64_t>(CLONE_VM));
  EXPECT_EQ(abi::kCloneVfork, static_cast<uint64_t>(CLONE_VFORK));
  EXPECT_EQ(abi::kCloneThread, static_cast<uint64_t>(CLONE_THREAD));
}

}  // namespace
}  // namespace pervma::trace

#endif
