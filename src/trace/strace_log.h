// strace_log.h: the lines of a strace log, joined and taken apart, as events that still lack their
// processes: strace numbers threads only, and a child's first line may come before its parent's
// clone has returned.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "trace/input.h"
#include "trace/recording_builder.h"
#include "trace/scanner.h"

namespace pervma::trace {

// A clone, clone3, fork or vfork: positions in StraceLog::events().
struct StraceBirth {
  size_t enter = 0;
  size_t exit = SIZE_MAX;  // SIZE_MAX: it never returned.
  int32_t child_tid = 0;   // 0: none, or not known.
  uint64_t clone_flags = 0;
};

// The number of a thread that strace does not name; nothing where what should be one is malformed.
inline constexpr int32_t kUnnamedThread = 0;

// Takes "[pid N] " or "N  " before a line's time.
[[nodiscard]] std::optional<int32_t> take_strace_thread(Scanner& in) noexcept;

class StraceLog {
 public:
  explicit StraceLog(RecordingBuilder& names) : names_(names) {}

  // Takes one line; the error is a message.
  [[nodiscard]] std::expected<void, std::string> add(const Line& line);
  // Call once, after the last line.
  void finish();

  // Events in the order of the log; pid is not set.
  std::vector<Event>& events() noexcept { return events_; }
  const std::vector<StraceBirth>& births() const noexcept { return births_; }

 private:
  using Result = std::expected<void, std::string>;

  // A call that has not returned; its text so far.
  struct Open {
    size_t enter = 0;
    std::string text;
  };

  Result whole(std::string_view text);
  Result call(std::string_view text);
  Result resumed(std::string_view text);
  Result ended(std::string_view text);
  Result entered(std::string_view text, bool may_resume);
  std::vector<StraceBirth>::iterator birth(size_t enter);
  void left(size_t enter, Syscall call, int64_t result);
  int32_t unnamed_thread() const;
  void named_thread(int32_t tid);
  void push(EventBody body);

  RecordingBuilder& names_;
  std::vector<Event> events_;
  std::vector<StraceBirth> births_;
  std::unordered_map<int32_t, Open> open_;            // By tid.
  std::unordered_map<size_t, std::string> programs_;  // Of an execve, by its enter.
  std::set<int32_t> alive_{kUnnamedThread};
  std::string joined_;  // The begin of a line that strace's own message broke in two.
  uint32_t line_ = 0;
  uint64_t time_ns_ = 0;
  int32_t tid_ = 0;

  // The first process. strace names nobody while it has one thread only.
  int32_t root_ = kUnnamedThread;
};

}  // namespace pervma::trace
