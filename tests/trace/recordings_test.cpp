// The recordings that the project carries, and those of tests/trace/data/every_call.c.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "temp_file.h"
#include "trace/linux_abi.h"
#include "trace/recording.h"

namespace pervma::trace {
namespace {

Recording read_whole(const std::string& path) {
  auto r = read_recording(path);
  EXPECT_TRUE(r) << r.error().to_string();
  return r ? std::move(*r) : Recording{};
}

Recording project_trace(const std::string& name) {
  return read_whole(std::string(PERVMA_TEST_TRACES) + "/" + name + ".txt.xz");
}

Recording test_data(const std::string& name) {
  return read_whole(std::string(PERVMA_TEST_DATA) + "/data/" + name);
}

// What grep finds in the text.
struct Expected {
  std::string name;
  uint32_t lines, user_faults, kernel_faults, enters, exits, mmap2, forks, ends, execs, comms;
  uint64_t lock_read, lock_write, lock_failed;
  size_t threads, processes;
};

class ProjectTrace : public ::testing::TestWithParam<Expected> {};

TEST_P(ProjectTrace, has_the_events_that_grep_finds_in_its_text) {
  const Expected& x = GetParam();
  const Recording r = project_trace(x.name);
  std::map<size_t, uint32_t> kinds;
  for (const Event& e : r.events) ++kinds[e.body.index()];
  EXPECT_EQ(r.name, x.name);
  EXPECT_EQ(r.lines, x.lines);
  EXPECT_EQ(r.events.size(), x.lines - 1) << "all but the kernel's own text";
  EXPECT_EQ(r.user_faults, x.user_faults);
  EXPECT_EQ(r.kernel_faults, x.kernel_faults);
  const std::array<uint32_t, 10> expected{
      x.user_faults, x.kernel_faults,
      x.enters,      x.exits,
      x.mmap2,       x.forks,
      x.ends,        x.execs,
      x.comms,       static_cast<uint32_t>(x.lock_read + x.lock_write + x.lock_failed)};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(kinds[i], expected[i]) << i;
  EXPECT_EQ(r.recorded_mmap_lock.read, x.lock_read);
  EXPECT_EQ(r.recorded_mmap_lock.write, x.lock_write);
  EXPECT_EQ(r.recorded_mmap_lock.failed_read, x.lock_failed);
  EXPECT_EQ(r.recorded_mmap_lock.failed_write, 0u);
  EXPECT_EQ(r.threads.size(), x.threads);
  EXPECT_EQ(r.processes.size(), x.processes);
  EXPECT_TRUE(r.open_calls.empty());
  EXPECT_EQ(r.cut_line, 0u);
}

TEST_P(ProjectTrace, every_call_that_can_return_does_and_each_thread_but_the_first_has_a_parent) {
  const Recording r = project_trace(GetParam().name);
  for (EventIndex i = 0; i < r.events.size(); ++i) {
    if (const auto* enter = r.events[i].as<SyscallEnter>()) {
      ASSERT_EQ(enter->exit == kNoEvent, never_returns(enter->call)) << r.events[i].line;
      if (enter->exit == kNoEvent) continue;
      EXPECT_EQ(r.events[enter->exit].as<SyscallExit>()->enter, i);
      EXPECT_EQ(r.events[enter->exit].tid, r.events[i].tid);
    }
  }
  for (size_t t = 0; t < r.threads.size(); ++t) {
    EXPECT_EQ(r.threads[t].parent == kNoThread, t == 0) << r.threads[t].tid;
    EXPECT_EQ(r.threads[t].end, ThreadEnd::exit);
    ASSERT_NE(r.threads[t].first, kNoEvent);
    EXPECT_EQ(r.events[r.threads[t].first].thread, t);
  }
}

INSTANTIATE_TEST_SUITE_P(Recordings, ProjectTrace,
                         ::testing::Values(Expected{"cc1plus", 50383, 48296, 154, 414, 414, 423, 2,
                                                    3, 3, 1, 230, 442, 0, 3, 3},
                                           Expected{"jvm-threads", 32659, 21334, 4, 2992, 3004,
                                                    1748, 415, 416, 1, 415, 543, 1783, 3, 416, 1},
                                           Expected{"node-workers", 86891, 62880, 2, 5981, 5982,
                                                    4161, 18, 19, 1, 1, 1616, 5696, 533, 19, 1},
                                           Expected{"redis-bgsave", 10193, 5770, 80, 876, 886, 909,
                                                    21, 22, 11, 11, 599, 1007, 0, 22, 12}),
                         [](const auto& p) {
                           std::string name = p.param.name;
                           std::erase(name, '-');
                           return name;
                         });

// The calls of every_call.c by the thread that makes them, results aside, from any reader.
struct Made {
  Syscall call;
  std::vector<uint64_t> args;  // Those that do not differ from run to run.
  int64_t error;               // 0, or the negative errno.
};

std::vector<Made> memory_calls(const Recording& r) {
  std::vector<Made> out;
  bool begun = false;
  for (const Event& e : r.events) {
    const auto* enter = e.as<SyscallEnter>();
    if (enter == nullptr || e.thread != 0 || enter->exit == kNoEvent) continue;
    begun |= enter->call == Syscall::mmap && enter->args[1] == 8 * kPageSize;
    if (!begun || makes_a_child(enter->call)) continue;
    Made made{
        enter->call, {}, std::min<int64_t>(r.events[enter->exit].as<SyscallExit>()->result, 0)};
    for (const uint64_t a : enter->args) made.args.push_back(a < (1u << 20) ? a : 0);
    out.push_back(made);
    if (enter->call == Syscall::munmap && enter->args[1] == kPageSize && made.error == 0) break;
  }
  return out;
}

TEST(EveryCall, perf_and_strace_tell_of_the_same_calls) {
  const auto perf = memory_calls(test_data("every_call.txt.xz"));
  const std::vector<Syscall> expected{Syscall::mmap,     Syscall::mlock,    Syscall::mlock2,
                                      Syscall::munlock,  Syscall::mlockall, Syscall::munlockall,
                                      Syscall::mprotect, Syscall::mprotect, Syscall::madvise,
                                      Syscall::madvise,  Syscall::mmap,     Syscall::pkey_mprotect,
                                      Syscall::mseal,    Syscall::munmap,   Syscall::mremap,
                                      Syscall::mremap,   Syscall::munmap};
  ASSERT_EQ(perf.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(perf[i].call, expected[i]);
  EXPECT_EQ(perf[9].error, -22);
  EXPECT_EQ(perf[13].error, -1) << "a sealed mapping stays";
  for (const std::string name : {"every_call.strace.zst", "every_call_stderr.strace.gz"}) {
    const auto strace = memory_calls(test_data(name));
    ASSERT_EQ(strace.size(), perf.size()) << name;
    for (size_t i = 0; i < perf.size(); ++i) {
      EXPECT_EQ(strace[i].call, perf[i].call) << name << i;
      EXPECT_EQ(strace[i].args, perf[i].args) << name << i;
      EXPECT_EQ(strace[i].error, perf[i].error) << name << i;
    }
  }
}

TEST(EveryCall, its_processes_and_threads_are_found_by_both_readers) {
  for (const std::string name :
       {"every_call.txt.xz", "every_call.strace.zst", "every_call_stderr.strace.gz"}) {
    const Recording r = test_data(name);
    std::vector<ChildSpace> spaces;
    spaces.reserve(r.processes.size());
    for (const Process& p : r.processes) spaces.push_back(p.space);
    using enum ChildSpace;
    EXPECT_EQ(spaces, (std::vector{unknown, copied, shared, shared, copied, shared})) << name;
    EXPECT_EQ(
        std::ranges::count_if(r.events, [](const Event& e) { return e.as<Fork>() != nullptr; }), 7)
        << name;
    EXPECT_TRUE(r.open_calls.empty()) << name;
    // Its last exec is a thread's; what it returns to is the leader.
    const auto exec = std::find_if(r.events.rbegin(), r.events.rend(), [](const Event& e) {
      return e.as<SyscallExit>() != nullptr && e.as<SyscallExit>()->call == Syscall::execve;
    });
    ASSERT_NE(exec, r.events.rend());
    const Event& left = *exec;
    EXPECT_EQ(left.tid, left.pid) << name;
    ASSERT_NE(left.as<SyscallExit>()->enter, kNoEvent) << name;
    EXPECT_NE(r.events[left.as<SyscallExit>()->enter].tid, left.tid) << name;
  }
}

TEST(EveryCall, perf_shows_the_shared_mapping_and_the_strange_comm) {
  const Recording r = test_data("every_call.txt.xz");
  EXPECT_TRUE(std::ranges::any_of(r.events, [&](const Event& e) {
    const auto* m = e.as<Mmap2>();
    return m != nullptr && m->sharing == Sharing::shared &&
           r.text(m->name) == "/dev/zero (deleted)" && r.text(e.comm) == "a b: 1/2 3.4: x" &&
           m->dev_minor == 1;
  }));
}

}  // namespace
}  // namespace pervma::trace
