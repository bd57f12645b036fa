// Playing recordings: the four that the project carries, and small ones that say something wrong.
#include "trace/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "temp_file.h"

namespace pervma::trace {
namespace {

// The repeats of the `long` suites by build: sanitizers make each some ten times slower.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

std::string project_trace(const std::string& name) {
  return std::string(PERVMA_TEST_TRACES) + "/" + name + ".txt.xz";
}

std::unique_ptr<Prepared> prepared(const std::string& path) {
  auto p = prepare(path);
  EXPECT_TRUE(p) << p.error().to_string();
  return p ? std::move(*p) : nullptr;
}

std::string first_mismatches(const ReplayResult& r) {
  std::ostringstream text;
  for (size_t i = 0; i < r.mismatches.size() && i < 5; ++i) {
    text << r.mismatches[i].line << ": " << r.mismatches[i].text << '\n';
  }
  return text.str();
}

class ProjectReplay : public ::testing::TestWithParam<const char*> {
 protected:
  void play(std::initializer_list<uint32_t> workers, int repeats) {
    const auto p = prepared(project_trace(GetParam()));
    ASSERT_TRUE(p);
    for (int i = 0; i < repeats; ++i) {
      for (const uint32_t w : workers) {
        for (const Design design : kDesigns) {
          // Every design, and the two that are compared most with every number of workers.
          const bool all = design == Design::mmap_lock || design == Design::refcount;
          if (!all && w != 2) continue;
          const Result<ReplayResult> r = replay(*p, {.design = design, .workers = w});
          ASSERT_TRUE(r);
          check(*p, *r, design, w);
        }
      }
    }
  }

 private:
  static void check(const Prepared& p, const ReplayResult& r, Design design, uint32_t workers) {
    SCOPED_TRACE(std::string(design_name(design)) + ", " + std::to_string(workers) + " workers");
    EXPECT_EQ(r.mismatch_count, 0u) << first_mismatches(r);
    EXPECT_EQ(r.faults, p.recording.user_faults);
    EXPECT_EQ(r.events, p.script.ops.size());
    const FaultCounters& c = r.fault_counters;
    EXPECT_EQ(c.success + c.retry + c.abort, r.faults) << "each user fault is one attempt";
    if (design == Design::mmap_lock) {
      EXPECT_EQ(c.abort, r.faults) << "no VMA lock: every fault falls back";
      return;
    }
    if (design == Design::speculative) {
      EXPECT_GT(c.success, r.faults / 4) << "most faults are in anonymous memory with tables";
      return;
    }
    EXPECT_LT(r.fallback_pct(), 2.0);
    // No more often than Linux; beside other workers at most 1 % of the faults more.
    const uint64_t allowed =
        p.recording.recorded_mmap_lock.read + (workers > 1 ? r.faults / 100 : 0);
    EXPECT_LE(r.lock.read, allowed);
  }
};

TEST_P(ProjectReplay, reproduces_every_recorded_result) {
  if (kSanitized) {
    play({2, 4}, 1);
  } else {
    play({1, 2, 4}, 1);
  }
}

class LongProjectReplay : public ProjectReplay {};

TEST_P(LongProjectReplay, reproduces_every_recorded_result_again_and_again) {
  if (kSanitized) {
    play({2, 4}, 3);
  } else {
    play({1, 2, 4}, 20);
  }
}

constexpr const char* kTraces[] = {"jvm-threads", "node-workers", "redis-bgsave", "cc1plus"};
const auto kName = [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
};
INSTANTIATE_TEST_SUITE_P(Traces, ProjectReplay, ::testing::ValuesIn(kTraces), kName);
INSTANTIATE_TEST_SUITE_P(Traces, LongProjectReplay, ::testing::ValuesIn(kTraces), kName);

// --- small recordings --------------------------------------------------------------------------

// Lines in the form of perf script; each gets its time.
class Log {
 public:
  Log() { line("PERF_RECORD_COMM exec: prog:100/100"); }
  Log& line(const std::string& rest, int tid = 100) {
    std::ostringstream out;
    out << "            prog 100/" << tid << "  1.0" << 10000 + time_++ << ": " << rest << '\n';
    text_ += out.str();
    return *this;
  }
  Log& lock(const char* mode, int tid = 100) {
    return line(std::string("mmap_lock:mmap_lock_acquire_returned: mm=0xff00 memcg_id=1 write=") +
                    (mode == std::string("write") ? "true" : "false") + " success=true",
                tid);
  }
  Log& exec_done() { return line("syscalls:sys_exit_execve: 0x0"); }
  // An anonymous private rw mapping of `pages` at `start`; the record shows `shown_*`.
  Log& map(const std::string& start, const std::string& bytes, const std::string& shown_start,
           const std::string& shown_bytes, int tid = 100, const std::string& prot = "rw-p") {
    const std::string number = prot == "---p" ? "0" : prot == "r--p" ? "1" : "3";
    line("syscalls:sys_enter_mmap: addr: 0x00000000, len: " + bytes + ", prot: 0x0000000" + number +
             ", flags: 0x00000022, fd: 0xffffffff, off: 0x00000000",
         tid);
    lock("write", tid);
    line("PERF_RECORD_MMAP2 100/" + std::to_string(tid) + ": [" + shown_start + "(" + shown_bytes +
             ") @ " + shown_start + " 00:00 0 0]: " + prot + " //anon",
         tid);
    return line("syscalls:sys_exit_mmap: " + start, tid);
  }
  Log& fault(const std::string& address, const std::string& code, int tid = 100) {
    return line("exceptions:page_fault_user: address=" + address + " ip=0x1 error_code=" + code,
                tid);
  }
  Log& thread(int tid) {
    return line("PERF_RECORD_FORK(100:" + std::to_string(tid) + "):(100:100)");
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  int time_ = 0;
};

ReplayResult play(const std::string& text, Design design = Design::refcount, uint32_t workers = 1) {
  const TempFile file(text);
  const auto p = prepared(file.path());
  if (p == nullptr) return {};
  Result<ReplayResult> r = replay(*p, {.design = design, .workers = workers});
  EXPECT_TRUE(r);
  return r ? std::move(*r) : ReplayResult{};
}

TEST(Replay, a_recording_that_is_right_has_no_difference) {
  Log log;
  log.exec_done()
      .map("0x7f0000010000", "0x00002000", "0x7f0000010000", "0x2000")
      .map("0x7f000000e000", "0x00002000", "0x7f000000e000", "0x4000")
      .fault("0x7f000000e010", "0x6")
      .fault("0x10", "0x4");
  const ReplayResult r = play(log.text());
  EXPECT_EQ(r.mismatch_count, 0u) << first_mismatches(r);
  EXPECT_EQ(r.faults, 2u);
}

TEST(Replay, a_merge_that_the_record_does_not_show_is_a_difference) {
  Log log;
  log.exec_done()
      .map("0x7f0000010000", "0x00002000", "0x7f0000010000", "0x2000")
      .map("0x7f000000e000", "0x00002000", "0x7f000000e000", "0x2000");
  const ReplayResult r = play(log.text());
  ASSERT_EQ(r.mismatch_count, 1u);
  EXPECT_EQ(r.mismatches[0].line, 9u) << "the line of the record";
  EXPECT_NE(r.mismatches[0].text.find("7f000000e000-7f0000012000"), std::string::npos);
}

TEST(Replay, two_vmas_faulted_apart_do_not_merge_over_a_new_range_between_them) {
  Log log;
  log.exec_done()
      .map("0x7f0000010000", "0x00001000", "0x7f0000010000", "0x1000")
      .map("0x7f0000012000", "0x00001000", "0x7f0000012000", "0x1000")
      .fault("0x7f0000010010", "0x6")
      .fault("0x7f0000012010", "0x6")
      .map("0x7f0000011000", "0x00001000", "0x7f0000010000", "0x2000");
  const ReplayResult r = play(log.text());
  EXPECT_EQ(r.mismatch_count, 0u) << first_mismatches(r);
}

TEST(Replay, another_result_is_a_difference_at_the_line_of_the_call) {
  Log log;
  log.exec_done().map("0x7f0000010000", "0x00002000", "0x7f0000010000", "0x2000");
  log.line("syscalls:sys_enter_munmap: addr: 0x7f0000010000, len: 0x00001000").lock("write");
  log.line("syscalls:sys_exit_munmap: 0xffffffffffffffea");
  const ReplayResult r = play(log.text());
  ASSERT_EQ(r.mismatch_count, 1u);
  EXPECT_EQ(r.mismatches[0].line, 7u);
  EXPECT_NE(r.mismatches[0].text.find("-EINVAL"), std::string::npos);
}

TEST(Replay, a_fault_must_be_refused_where_the_recorded_protection_refuses_it) {
  Log log;
  log.exec_done().map("0x7f0000010000", "0x00001000", "0x7f0000010000", "0x1000", 100, "---p");
  log.fault("0x7f0000010000", "0x4");
  const ReplayResult fine = play(log.text());
  EXPECT_EQ(fine.mismatch_count, 0u) << first_mismatches(fine);
}

TEST(Replay, a_fault_beside_an_open_call_on_its_range_may_end_either_way) {
  for (const char* code : {"0x4", "0x6"}) {
    Log log;
    log.exec_done().map("0x7f0000010000", "0x00001000", "0x7f0000010000", "0x1000").thread(101);
    log.line(
        "syscalls:sys_enter_mprotect: start: 0x7f0000010000, len: 0x00001000, prot: 0x00000000");
    log.fault("0x7f0000010000", code, 101);
    log.lock("write");
    log.line(
        "PERF_RECORD_MMAP2 100/100: [0x7f0000010000(0x1000) @ 0x7f0000010000 00:00 0 0]: ---p "
        "//anon");
    log.line("syscalls:sys_exit_mprotect: 0x0");
    for (const uint32_t workers : {1u, 2u}) {
      const ReplayResult r = play(log.text(), Design::refcount, workers);
      EXPECT_EQ(r.mismatch_count, 0u) << first_mismatches(r);
    }
  }
}

// strace shows no locks: the second thread's mmap was entered before the first one's munmap, and
// got the place that it emptied.
TEST(Replay, a_mapping_of_strace_counts_from_its_return) {
  const ReplayResult r = play(
      "100 1.000001 execve(\"/bin/p\", [\"p\"], 0x7ffc /* 1 var */) = 0\n"
      "100 1.000002 clone(child_stack=0x7f0000000000, flags=CLONE_VM|CLONE_FS|CLONE_FILES|"
      "CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM) = 101\n"
      "100 1.000003 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = "
      "0x7f0000010000\n"
      "101 1.000004 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0 "
      "<unfinished ...>\n"
      "100 1.000005 munmap(0x7f0000010000, 8192 <unfinished ...>\n"
      "101 1.000006 <... mmap resumed>) = 0x7f0000010000\n"
      "100 1.000007 <... munmap resumed>) = 0\n"
      "101 1.000008 mprotect(0x7f0000010000, 4096, PROT_READ) = 0\n");
  EXPECT_EQ(r.mismatch_count, 0u) << first_mismatches(r);
  EXPECT_EQ(r.events, 5u);
}

TEST(Replay, a_recording_cut_inside_a_call_plays_up_to_there_and_says_so) {
  Log log;
  log.exec_done().map("0x7f0000010000", "0x00001000", "0x7f0000010000", "0x1000");
  log.line("syscalls:sys_enter_munmap: addr: 0x7f0000010000, len: 0x00001000");
  const TempFile file(log.text());
  const auto p = prepared(file.path());
  ASSERT_TRUE(p);
  ASSERT_EQ(p->script.notes.size(), 1u);
  EXPECT_EQ(p->script.notes[0], "line 7: the recording ends inside munmap; replayed up to there");
  const Result<ReplayResult> r = replay(*p, {});
  ASSERT_TRUE(r);
  EXPECT_EQ(r->mismatch_count, 0u) << first_mismatches(*r);
}

// --- ordering ----------------------------------------------------------------------------------

// The operations of other threads that `op` waits for, by line.
std::vector<uint32_t> waits_of(const Prepared& p, uint32_t line) {
  std::vector<uint32_t> lines;
  for (OpIndex i = 0; i < p.script.ops.size(); ++i) {
    if (p.script.ops[i].line != line) continue;
    for (uint32_t d = p.dependencies.first[i]; d < p.dependencies.first[i + 1]; ++d) {
      lines.push_back(p.script.ops[p.dependencies.of[d]].line);
    }
  }
  return lines;
}

TEST(Dependencies, faults_of_two_threads_in_one_vma_do_not_wait_for_each_other) {
  Log log;
  log.exec_done().map("0x7f0000010000", "0x00004000", "0x7f0000010000", "0x4000").thread(101);
  log.fault("0x7f0000010000", "0x6");       // line 8 makes the anon_vma
  log.fault("0x7f0000011000", "0x6");       // line 9
  log.fault("0x7f0000012000", "0x6", 101);  // line 10
  const TempFile file(log.text());
  const auto p = prepared(file.path());
  ASSERT_TRUE(p);
  // It follows the mapping, its thread's beginning, and the fault that made the anon_vma; not
  // line 9.
  const std::vector<uint32_t> waits = waits_of(*p, 10);
  EXPECT_TRUE(std::ranges::find(waits, 8u) != waits.end());
  EXPECT_TRUE(std::ranges::find(waits, 9u) == waits.end());
}

TEST(Dependencies, a_change_waits_for_the_faults_of_its_range_only) {
  Log log;
  log.exec_done()
      .map("0x7f0000010000", "0x00001000", "0x7f0000010000", "0x1000")
      .map("0x7f0000020000", "0x00001000", "0x7f0000020000", "0x1000")
      .thread(101);
  log.fault("0x7f0000010000", "0x4", 101);  // line 12
  log.fault("0x7f0000020000", "0x4", 101);  // line 13
  log.line("syscalls:sys_enter_munmap: addr: 0x7f0000010000, len: 0x00001000").lock("write");
  log.line("syscalls:sys_exit_munmap: 0x0");
  const TempFile file(log.text());
  const auto p = prepared(file.path());
  ASSERT_TRUE(p);
  EXPECT_EQ(waits_of(*p, 14), std::vector<uint32_t>{12});
}

TEST(Schedule, a_worker_waits_for_each_step_of_another_once) {
  const auto p = prepared(project_trace("jvm-threads"));
  ASSERT_TRUE(p);
  for (const uint32_t workers : {1u, 2u, 4u}) {
    const std::vector<WorkerPlan> plans = make_schedule(p->script, p->dependencies, workers);
    size_t steps = 0;
    for (uint32_t w = 0; w < workers; ++w) {
      steps += plans[w].steps.size();
      std::vector<uint32_t> known(workers);
      for (const Wait& wait : plans[w].waits) {
        EXPECT_NE(wait.worker, w);
        EXPECT_GT(wait.done, known[wait.worker]);
        EXPECT_LE(wait.done, plans[wait.worker].steps.size());
        known[wait.worker] = wait.done;
      }
    }
    EXPECT_EQ(steps, p->script.ops.size());
  }
}

}  // namespace
}  // namespace pervma::trace
