// linux_abi.h: the numbers of Linux's memory calls, as recordings hold them. They are part of the
// kernel's x86-64 interface, so they are written out: a host's headers may lack the newer ones, and
// another architecture's may differ. linux_abi_test.cpp compares them with the host's on x86-64.
#pragma once

#include <cstdint>

namespace pervma::trace::abi {

inline constexpr uint32_t kProtNone = 0;
inline constexpr uint32_t kProtRead = 0x1;
inline constexpr uint32_t kProtWrite = 0x2;
inline constexpr uint32_t kProtExec = 0x4;
inline constexpr uint32_t kProtSem = 0x8;
inline constexpr uint32_t kProtGrowsDown = 0x01000000;
inline constexpr uint32_t kProtGrowsUp = 0x02000000;

inline constexpr uint32_t kMapShared = 0x1;
inline constexpr uint32_t kMapPrivate = 0x2;
inline constexpr uint32_t kMapSharedValidate = 0x3;
inline constexpr uint32_t kMapFixed = 0x10;
inline constexpr uint32_t kMapAnonymous = 0x20;
inline constexpr uint32_t kMap32Bit = 0x40;
inline constexpr uint32_t kMapGrowsDown = 0x100;
inline constexpr uint32_t kMapDenyWrite = 0x800;
inline constexpr uint32_t kMapExecutable = 0x1000;
inline constexpr uint32_t kMapLocked = 0x2000;
inline constexpr uint32_t kMapNoReserve = 0x4000;
inline constexpr uint32_t kMapPopulate = 0x8000;
inline constexpr uint32_t kMapNonblock = 0x10000;
inline constexpr uint32_t kMapStack = 0x20000;
inline constexpr uint32_t kMapHugeTlb = 0x40000;
inline constexpr uint32_t kMapSync = 0x80000;
inline constexpr uint32_t kMapFixedNoReplace = 0x100000;
inline constexpr uint32_t kMapDroppable = 0x8;
inline constexpr uint32_t kMapHugeShift = 26;

inline constexpr uint32_t kMremapMayMove = 0x1;
inline constexpr uint32_t kMremapFixed = 0x2;
inline constexpr uint32_t kMremapDontUnmap = 0x4;

inline constexpr uint32_t kMlockOnFault = 0x1;
inline constexpr uint32_t kMclCurrent = 0x1;
inline constexpr uint32_t kMclFuture = 0x2;
inline constexpr uint32_t kMclOnFault = 0x4;

inline constexpr uint32_t kMadvNormal = 0;
inline constexpr uint32_t kMadvRandom = 1;
inline constexpr uint32_t kMadvSequential = 2;
inline constexpr uint32_t kMadvWillNeed = 3;
inline constexpr uint32_t kMadvDontNeed = 4;
inline constexpr uint32_t kMadvFree = 8;
inline constexpr uint32_t kMadvRemove = 9;
inline constexpr uint32_t kMadvDontFork = 10;
inline constexpr uint32_t kMadvDoFork = 11;
inline constexpr uint32_t kMadvMergeable = 12;
inline constexpr uint32_t kMadvUnmergeable = 13;
inline constexpr uint32_t kMadvHugePage = 14;
inline constexpr uint32_t kMadvNoHugePage = 15;
inline constexpr uint32_t kMadvDontDump = 16;
inline constexpr uint32_t kMadvDoDump = 17;
inline constexpr uint32_t kMadvWipeOnFork = 18;
inline constexpr uint32_t kMadvKeepOnFork = 19;
inline constexpr uint32_t kMadvCold = 20;
inline constexpr uint32_t kMadvPageOut = 21;
inline constexpr uint32_t kMadvPopulateRead = 22;
inline constexpr uint32_t kMadvPopulateWrite = 23;
inline constexpr uint32_t kMadvDontNeedLocked = 24;
inline constexpr uint32_t kMadvCollapse = 25;
inline constexpr uint32_t kMadvHwPoison = 100;
inline constexpr uint32_t kMadvSoftOffline = 101;
inline constexpr uint32_t kMadvGuardInstall = 102;
inline constexpr uint32_t kMadvGuardRemove = 103;

inline constexpr uint64_t kCloneVm = 0x100;
inline constexpr uint64_t kCloneVfork = 0x4000;
inline constexpr uint64_t kCloneThread = 0x10000;

}  // namespace pervma::trace::abi
