// oracle_world.h: the inside of the recording child: the window, the files, the map as the kernel
// shows it, and text output. Nothing here allocates: once the world is made, the heap and the C
// library can get no more memory, or they would take it from the window.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pervma::trace::world {

inline constexpr uint64_t kPage = 4096;
inline constexpr uint64_t kWindow = 0x200000000000;
inline constexpr uint64_t kWindowPages = 65536;
inline constexpr uint64_t kWindowEnd = kWindow + kWindowPages * kPage;

inline constexpr uint64_t kSizeA = 64 * kPage;
inline constexpr uint64_t kSizeB = 20 * kPage + 291;
enum File : int { kFileA, kFileB, kFileAReadOnly, kFileA2, kFiles };

struct Setup {
  int out_fd;        // where the recording's text goes
  int64_t brk_page;  // -1: brk is left alone
  int64_t memlock;   // pages; -1: no limit
};

// What the child could not arrange; the recording says so in its header.
struct Made {
  bool ok = false;
  bool brk = false;
  bool memlock = false;
};

// Arranges the address space of the calling process. Afterwards: no allocation, no C++ streams.
Made make(const Setup&) noexcept;

int fd(File) noexcept;

// --- text, buffered; flushed when full and by flush() ---
void put(const char* text) noexcept;
void put_number(uint64_t) noexcept;
void put_signed(int64_t) noexcept;
void put_hex(uint64_t) noexcept;
void put_address(uint64_t) noexcept;  // as the format's ADDR
void put_length(uint64_t) noexcept;   // as the format's LEN
void flush() noexcept;

// --- the map of the window ---
// Reads the map; prints what changed since the last time ("-" and "+" lines).
void put_changes() noexcept;
// Prints all of it ("D" and "=" lines).
void put_dump() noexcept;
// Number of VMAs, and whether the page is of private anonymous memory.
uint32_t vma_count() noexcept;
bool is_private_anonymous(uint64_t address) noexcept;
// Start and end of the i-th VMA.
uint64_t vma_start(uint32_t i) noexcept;
uint64_t vma_end(uint32_t i) noexcept;

// --- touching memory ---
enum class Touch : uint8_t { ok, maperr, accerr, bus };
Touch read_byte(uint64_t address, uint8_t* value) noexcept;
Touch write_byte(uint64_t address, uint8_t value) noexcept;

}  // namespace pervma::trace::world
