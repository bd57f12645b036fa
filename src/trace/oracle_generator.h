// oracle_generator.h: random operations on a window: clustered around what is mapped, so that
// merges and splits are common, with misaligned, overflowing, empty and absurd arguments among
// them. Never one that could reach what lies outside of the window. Allocates nothing.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "pervma/address.h"
#include "trace/oracle_operation.h"

namespace pervma::trace {

enum class OracleProfile : uint8_t {
  core,  // mapping, locking, advising, reading and writing
  ext,   // also mincore, msync, mlockall, fork, mseal, guards, populate, remove, droppable, stacks
};

// What a sequence is made of.
enum class OracleShape : uint8_t {
  mixed,        // everything, most of it as it is common
  wide,         // every right and unknown bits, stacks that grow, moves of several VMAs, duplicates
  user_faults,  // registrations with a userfaultfd and its operations on pages among the others
};
inline constexpr std::string_view kOracleShapes[] = {"mixed", "wide", "user_faults"};

// What a VMA maps.
enum class OracleKind : uint8_t { anonymous, shared, private_file };

// What the kernel, or the caller, does not let a sequence do.
struct OracleScope {
  OracleProfile profile = OracleProfile::ext;
  OracleShape shape = OracleShape::mixed;
  bool brk = true;
  bool seal = true;
  bool name = true;
  bool user_faults = false;
  uint32_t ops = 500;  // seals come in the last third only: they end most of what can happen
};

// What the generator looks at before each operation.
struct OracleSight {
  std::span<const Range> vmas;          // in order
  std::span<const OracleKind> kinds{};  // of each
  std::span<const bool> told{};         // is each registered with the userfaultfd?
  Address brk{};                        // where the break is
};

class OracleGenerator {
 public:
  OracleGenerator(uint64_t seed, const OracleScope& scope) noexcept;
  OracleOperation next(const OracleSight&) noexcept;

  uint64_t below(uint64_t n) noexcept { return (random() >> 16) % n; }
  bool chance(uint64_t percent) noexcept { return below(100) < percent; }

 private:
  uint64_t random() noexcept;

  OracleOperation map() noexcept;
  void map_placing(OracleOperation&) noexcept;
  void map_flags(OracleOperation&) noexcept;
  void map_file(OracleOperation&) noexcept;
  OracleOperation unmap() noexcept;
  OracleOperation protect() noexcept;
  OracleOperation advise() noexcept;
  OracleOperation remap() noexcept;
  OracleOperation lock() noexcept;
  OracleOperation move_break() noexcept;
  OracleOperation touch() noexcept;
  OracleOperation extended() noexcept;
  OracleOperation wide(uint64_t kind) noexcept;
  OracleOperation wide_map() noexcept;
  OracleOperation wide_protect() noexcept;
  OracleOperation wide_remap() noexcept;
  OracleOperation wide_touch() noexcept;
  OracleOperation move_several() noexcept;
  OracleOperation duplicate() noexcept;
  OracleOperation user_faults(uint64_t kind) noexcept;
  OracleOperation told() noexcept;
  OracleOperation registration() noexcept;
  OracleOperation move_pages() noexcept;
  OracleOperation pages_of_one(OracleCall) noexcept;
  uint64_t told_vma() noexcept;
  bool meets(const OracleOperation&, OracleKind) const noexcept;
  OracleOperation common(uint64_t kind) noexcept;
  OracleOperation over_a_range(OracleCall) noexcept;

  uint64_t place() noexcept;
  uint64_t address() noexcept;
  uint64_t length() noexcept;
  uint64_t absurd_length() noexcept;
  static uint64_t inside(uint64_t start, uint64_t bytes) noexcept;

  uint64_t state_;
  const OracleScope scope_;
  uint64_t home_;  // the page around which most happens
  uint32_t index_ = 0;
  OracleSight sight_;
  std::array<uint64_t, 4> stacks_{};  // where mappings were made that grow down
  uint32_t stack_count_ = 0;
};

}  // namespace pervma::trace
