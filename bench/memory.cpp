#include "bench/memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "bench/subjects.h"
#include "sync/rcu.h"

namespace pervma::bench {

namespace {

constexpr const char* kScenario = "memory";

// Bytes in use by this process: what malloc handed out, and all writable private memory that is not
// malloc's. Linux's VmData counts both sides' pages; malloc's own say what it has of them.
double bytes_in_use() {
  rcu_barrier();
  double data = 0;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmData:")) data = std::stod(line.substr(7)) * 1024;
  }
  const struct mallinfo2 heap = mallinfo2();
  return data - static_cast<double>(heap.arena) + static_cast<double>(heap.uordblks);
}

struct Filled {
  double bytes = 0;
  double seconds = 0;
};

// Fills the subject and says what that took; less than nothing: it could not be filled.
Filled fill(Subject& subject, const Layout& layout, const TickClock& clock) {
  const double before = bytes_in_use();
  const uint64_t begin = cpu_ticks_begin();
  const bool filled = subject.fill(layout);
  const uint64_t end = cpu_ticks_end();
  if (!filled) return {.bytes = -1};
  return {.bytes = bytes_in_use() - before, .seconds = clock.ns(end - begin) * 1e-9};
}

}  // namespace

BenchResult bench_memory(const BenchOptions& options) {
  const TickClock clock;
  std::vector<BenchRow> rows;
  for (const uint64_t ranges : options.ranges) {
    for (const Spacing spacing : {Spacing::adjacent, Spacing::gaps}) {
      const Layout layout{.ranges = ranges, .spacing = spacing};
      const std::vector<SubjectMaker> makers = subject_makers(options, ranges);
      if (options.run.planned != nullptr) options.run.planned->fetch_add(makers.size());
      for (const SubjectMaker& make : makers) {
        // Once for nothing: threads and whatever else is made at first use are there afterwards.
        const SubjectPtr first = make();
        const SubjectPtr subject = make();
        if (first == nullptr || subject == nullptr) {
          return std::unexpected(no_room_for(kScenario, ranges));
        }
        (void)fill(*first, {.ranges = std::min<uint64_t>(ranges, 1000)}, clock);
        const Filled filled = fill(*subject, layout, clock);
        if (filled.bytes < 0) return std::unexpected(no_room_for(kScenario, ranges));
        BenchRow row;
        row.scenario = kScenario;
        row.variant = spacing == Spacing::gaps ? "gaps" : "adjacent";
        row.subject = subject->name();
        row.ranges = ranges;
        row.repeats = 1;
        row.bytes = filled.bytes / static_cast<double>(ranges);
        row.ops_per_s = static_cast<double>(ranges) / filled.seconds;
        row.ns_mean = 1e9 / row.ops_per_s;
        rows.push_back(std::move(row));
        if (options.run.progress != nullptr) options.run.progress->fetch_add(1);
      }
    }
  }
  return rows;
}

}  // namespace pervma::bench
