// stage.h: where a script is played: the engine, its spaces, the files, and how one operation is
// done and compared with its record. Thread-safe for operations of different threads once their
// dependencies are met.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pervma/engine.h"
#include "trace/script.h"

namespace pervma::trace {

// A result that differs from the record.
struct Mismatch {
  uint32_t line = 0;
  std::string text;
};

// What one worker finds out while it plays operations. Not shared between workers while they run.
struct PlayLog {
  std::vector<Mismatch> mismatches;  // at most kMostMismatches are kept
  uint64_t mismatch_count = 0;
  static constexpr size_t kMostMismatches = 1000;

  void add(uint32_t line, std::string text);
};

class Stage final : private MapObserver {
 public:
  // `present`: pages of memory to have at hand before anything is played.
  static Result<std::unique_ptr<Stage>> create(const Script&, Design, PageCount present = {0});
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  // Does the operation and compares. Whatever it depends on must have been done.
  void play(const Op&, PlayLog&) noexcept;

  // The space, or null before it begins and after its end.
  AddressSpace* space(SpaceIndex i) const noexcept { return spaces_[i].get(); }

  // Ends every space that is left, and says what all did.
  struct Totals {
    FaultCounters faults;
    LockCounters lock;
    PageCount frames;  // in use before the end
  };
  Totals finish(PlayLog&) noexcept;

 private:
  Stage(const Script& script, Design design) : script_(script), design_(design) {}
  void changed(const Change&) noexcept override;

  FaultOutcome fault(const Op&) noexcept;
  int64_t call(const Op&) noexcept;
  int64_t map(const Op&, AddressSpace&) noexcept;
  int64_t remap(const Op&, AddressSpace&) noexcept;
  int64_t exec_stack(const Op&, AddressSpace&) noexcept;
  void new_space(const Op&, PlayLog&) noexcept;
  void fork(const Op&, PlayLog&) noexcept;
  void end_space(SpaceIndex, uint32_t line, PlayLog&) noexcept;
  void compare_fault(const Op&, FaultOutcome, PlayLog&) const;
  void compare_seen(const Op&, PlayLog&) const;

  const Script& script_;
  const Design design_;
  std::unique_ptr<Engine> engine_;
  std::vector<FileRef> files_;
  std::vector<std::unique_ptr<AddressSpace>> spaces_;
  std::vector<FaultCounters> ended_faults_;  // by space
  std::vector<LockCounters> ended_lock_;
};

// "7f0000000000-7f0000001000 rw-p @1f fe:00 42", for messages.
std::string describe(const SeenMapping&);
std::string result_text(OpKind, int64_t result);
std::string op_name(OpKind);

}  // namespace pervma::trace
