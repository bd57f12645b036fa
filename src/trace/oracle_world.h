// oracle_world.h: the inside of the recording child: the window, the files, the map as the kernel
// shows it, and text output. Nothing here allocates: once the world is made, the heap and the C
// library can get no more memory, or they would take it from the window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "trace/oracle_generator.h"
#include "trace/oracle_recording.h"

namespace pervma::trace::world {

inline constexpr uint64_t kPage = 4096;
inline constexpr uint64_t kWindow = 0x200000000000;
inline constexpr uint64_t kWindowPages = 65536;
inline constexpr uint64_t kWindowEnd = kWindow + kWindowPages * kPage;

inline constexpr uint64_t kSizeA = 64 * kPage;
inline constexpr uint64_t kSizeB = 20 * kPage + 291;
enum File : int { kFileA, kFileB, kFileAReadOnly, kFileA2, kFiles };

// What the child could arrange; the recording says so in its header.
struct Made {
  bool ok = false;
  OracleSetup setup;  // as it is now: -1 for what could not be had
};

// Arranges the address space of the calling process, which writes its recording to `out_fd`.
// Afterwards: no allocation, no C++ streams.
Made make(int out_fd, const OracleSetup&) noexcept;

int fd(File) noexcept;
// The userfaultfd of this process, -1: none. After a fork the child opens its own.
int user_faults() noexcept;
void reopen_user_faults() noexcept;

// --- text, buffered; flushed when full and by flush() ---
void put(std::string_view text) noexcept;
void put_number(uint64_t) noexcept;
void flush() noexcept;

// --- the map of the window ---
// Reads the map; prints what changed since the last time ("-" and "+" lines).
void put_changes() noexcept;
// Prints all of it ("D" and "=" lines).
void put_dump() noexcept;
// The VMAs' ranges as they were last read.
std::span<const Range> vmas() noexcept;
std::span<const OracleKind> kinds() noexcept;
std::span<const bool> told() noexcept;  // is each registered with a userfaultfd?
bool is_private_anonymous(uint64_t address) noexcept;

// --- touching memory ---
enum class Touch : uint8_t { ok, maperr, accerr, bus };
Touch read_byte(uint64_t address, uint8_t* value) noexcept;
Touch write_byte(uint64_t address, uint8_t value) noexcept;

}  // namespace pervma::trace::world
