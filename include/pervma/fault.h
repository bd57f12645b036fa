// fault.h: page faults as the caller sees them.
#pragma once

#include <cstdint>

namespace pervma {

enum class Access : uint8_t { read, write, exec };

// Where a fault comes from. A kernel fault (a copy on behalf of the program) is always served under
// the mmap lock, as Linux serves it, and is not counted among the VMA-lock attempts.
enum class FaultOrigin : uint8_t { user, kernel };

enum class FaultOutcome : uint8_t {
  resolved,       // the page is there with the right asked for
  map_error,      // nothing is mapped there: SIGSEGV, SEGV_MAPERR
  access_error,   // the mapping does not allow it: SIGSEGV, SEGV_ACCERR
  bus_error,      // beyond the end of the file, its page cannot be read, or a user fault was
                  // refused: SIGBUS
  out_of_memory,  // no frame or no table could be had
  interrupted,    // a stop was requested while waiting: for a lock, a page, memory or an answer
};

// What became of the attempts to serve user faults under the VMA lock: attempts = success + retry +
// abort. A miss is a VMA met detached and looked up again; one attempt may count several.
struct FaultCounters {
  uint64_t success = 0;  // decided under the VMA lock, a refused access included
  uint64_t abort = 0;    // no VMA lock was had
  uint64_t retry = 0;    // the VMA lock was had, but the fault needed the mmap lock
  uint64_t miss = 0;
};

}  // namespace pervma
