#include "trace/strace_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "temp_file.h"
#include "trace/linux_abi.h"
#include "trace/strace_symbols.h"

namespace pervma::trace {
namespace {

TraceResult<Recording> read_text(const std::string& text) {
  const TempFile file(text, ".strace");
  return read_recording(file.path());
}

Recording good(const std::string& text) {
  auto r = read_text(text);
  EXPECT_TRUE(r) << r.error().to_string();
  if (!r) return {};
  EXPECT_EQ(r->source, Source::strace);
  return std::move(*r);
}

std::string problem(const std::string& text) {
  const TempFile file(text, ".strace");
  const auto r = read_recording(file.path());
  if (r) return "(read without an error)";
  const std::string all = r.error().to_string();
  EXPECT_EQ(all.find('\n'), std::string::npos) << all;
  EXPECT_TRUE(all.starts_with(file.path() + ":")) << all;
  return all.substr(file.path().size() + 1);
}

// The one call of a log of one line.
struct OneCall {
  SyscallEnter enter;
  int64_t result = 0;
};

OneCall one_call(const std::string& call) {
  const Recording r = good("7  1795225810.790757 " + call + "\n");
  if (r.events.size() != 2) {
    ADD_FAILURE() << call;
    return {};
  }
  return {*r.events.at(0).as<SyscallEnter>(), r.events.at(1).as<SyscallExit>()->result};
}

TEST(StraceReader, reads_a_call_with_its_flags_decoded) {
  const OneCall c = one_call(
      "mmap(0x7faf798ae000, 1400832, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, "
      "0x26000) = 0x7faf798ae000");
  EXPECT_EQ(c.enter.call, Syscall::mmap);
  EXPECT_EQ(c.enter.args, (std::array<uint64_t, 6>{0x7faf798ae000, 1400832, 5, 0x812, 3, 0x26000}));
  EXPECT_EQ(c.result, 0x7faf798ae000);
}

TEST(StraceReader, reads_every_memory_call) {
  using Args = std::array<uint64_t, 6>;
  const auto args = [](const std::string& call) { return one_call(call).enter.args; };
  EXPECT_EQ(
      args("mmap(NULL, 8192, PROT_NONE, MAP_SHARED|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0) = 0x1"),
      (Args{0, 8192, 0, 0x4021, 0xffffffff, 0}));
  EXPECT_EQ(args("mmap(NULL, 8192, 0x3 /* PROT_READ|PROT_WRITE */, 0x22 /* MAP_X */, -1, 0) = 0x1"),
            (Args{0, 8192, 3, 0x22, 0xffffffff, 0}));
  EXPECT_EQ(args("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, "
                 "3</x,(y>, 0) = 0x1"),
            (Args{0, 4096, 1, 0x40002 | (21u << 26), 3, 0}));
  EXPECT_EQ(args("munmap(0x7faf79a6a000, 42799)     = 0"), (Args{0x7faf79a6a000, 42799}));
  EXPECT_EQ(args("mprotect(0x1000, 4096, PROT_READ|PROT_WRITE|PROT_GROWSDOWN) = 0"),
            (Args{0x1000, 4096, 0x01000003}));
  EXPECT_EQ(args("pkey_mprotect(0x1000, 4096, PROT_READ, -1) = 0"),
            (Args{0x1000, 4096, 1, 0xffffffff}));
  EXPECT_EQ(args("madvise(0x1000, 4096, MADV_GUARD_INSTALL) = 0"), (Args{0x1000, 4096, 102}));
  EXPECT_EQ(args("madvise(0x1000, 4096, 0x3039 /* MADV_??? */) = 0"), (Args{0x1000, 4096, 0x3039}));
  EXPECT_EQ(args("mremap(0x1000, 4096, 12288, MREMAP_MAYMOVE) = 0x2000"),
            (Args{0x1000, 4096, 12288, 1}));
  EXPECT_EQ(args("mremap(0x1000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x9000) = 0x9000"),
            (Args{0x1000, 4096, 4096, 3, 0x9000}));
  EXPECT_EQ(args("brk(NULL)             = 0x5633720ca000"), Args{});
  EXPECT_EQ(args("mlock(0x1000, 8192) = 0"), (Args{0x1000, 8192}));
  EXPECT_EQ(args("mlock2(0x1000, 4096, MLOCK_ONFAULT) = 0"), (Args{0x1000, 4096, 1}));
  EXPECT_EQ(args("munlock(0x1000, 4096) = 0"), (Args{0x1000, 4096}));
  EXPECT_EQ(args("mlockall(MCL_CURRENT|MCL_ONFAULT) = 0"), (Args{5}));
  EXPECT_EQ(args("munlockall()          = 0"), Args{});
  EXPECT_EQ(args("mseal(0x1000, 4096, 0) = 0"), (Args{0x1000, 4096, 0}));
  EXPECT_EQ(args("syscall_0x1ce(0x1000, 0x1000, 0, 0, 0x7f, 0x7f) = 0"), (Args{0x1000, 4096, 0}));
}

TEST(StraceReader, results_may_be_errors_numbers_or_restarts) {
  EXPECT_EQ(one_call("munmap(0x1, 4096) = -1 EINVAL (Invalid argument)").result, -22);
  EXPECT_EQ(one_call("munmap(0x1000, 4096) = -1 EPERM (Operation not permitted) <0.1>").result, -1);
  EXPECT_EQ(one_call("mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE, -1, 0) = -1 ENOMEM (Cannot "
                     "allocate memory)")
                .result,
            -12);
  EXPECT_EQ(one_call("fork() = ? ERESTARTNOINTR (To be restarted)").result, -513);
  EXPECT_EQ(one_call("munmap(0x1000, 4096) = 0 <0.000012>").result, 0);
}

TEST(StraceReader, every_error_and_advice_has_its_number) {
  EXPECT_EQ(decode_errno("EAGAIN"), 11);
  EXPECT_EQ(decode_errno("EOVERFLOW"), 75);
  EXPECT_EQ(decode_errno("EOPNOTSUPP"), 95);
  EXPECT_EQ(decode_errno("EWHATEVER"), std::nullopt);
  EXPECT_EQ(decode_symbols(SymbolSet::advice, "MADV_DONTNEED_LOCKED"), 24u);
  EXPECT_EQ(decode_symbols(SymbolSet::prot, "PROT_READ|MAP_FIXED"), std::nullopt);
  EXPECT_EQ(decode_symbols(SymbolSet::prot, "PROT_READ|"), std::nullopt);
  EXPECT_EQ(decode_symbols(SymbolSet::prot, ""), std::nullopt);
  EXPECT_EQ(decode_number("-1"), 0xffffffffu);
  EXPECT_EQ(decode_number("3</x>"), 3u);
  EXPECT_EQ(decode_number("3x"), std::nullopt);
}

TEST(StraceReader, joins_a_call_that_another_thread_interrupted) {
  const Recording r = good(
      "10 1.000001 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0 <unfinished ...>\n"
      "11 1.000002 munmap(0x1000, 4096) = 0\n"
      "10 1.000003 <... mmap resumed>)        = 0x7000\n");
  ASSERT_EQ(r.events.size(), 4u);
  EXPECT_EQ(r.events.at(0).as<SyscallEnter>()->exit, 3u);
  EXPECT_EQ(r.events.at(0).as<SyscallEnter>()->args[1], 4096u);
  EXPECT_EQ(r.events.at(0).time_ns, 1'000'001'000u);
  EXPECT_EQ(r.events.at(3).time_ns, 1'000'003'000u);
  EXPECT_EQ(r.events.at(3).line, 3u);
  EXPECT_EQ(r.events.at(3).as<SyscallExit>()->result, 0x7000);
  EXPECT_EQ(r.events.at(1).as<SyscallEnter>()->exit, 2u);
}

constexpr std::string_view kThreadFlags =
    "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|"
    "CLONE_PARENT_SETTID|CLONE_CHILD_CLEARTID";

TEST(StraceReader, a_thread_is_known_by_its_first_line_though_clone_returns_later) {
  const Recording r =
      good("10 1.1 clone3({flags=" + std::string(kThreadFlags) +
           ", child_tid=0x7f, parent_tid=0x7f, exit_signal=0, stack=0x7f, stack_size=0x7fff80, "
           "tls=0x7f} <unfinished ...>\n"
           "11 1.2 mprotect(0x1000, 4096, PROT_NONE) = 0\n"
           "10 1.3 <... clone3 resumed> => {parent_tid=[11]}, 88) = 11\n"
           "11 1.4 exit(0)                           = ?\n"
           "11 1.5 +++ exited with 0 +++\n");
  ASSERT_EQ(r.events.size(), 7u);
  const auto* fork = r.events.at(1).as<Fork>();
  ASSERT_TRUE(fork);
  EXPECT_EQ(fork->child_pid, 10);
  EXPECT_EQ(fork->child_tid, 11);
  EXPECT_EQ(fork->parent_tid, 10);
  EXPECT_EQ(fork->space, ChildSpace::shared);
  EXPECT_EQ(r.events.at(1).call, 0u);
  EXPECT_EQ(r.events.at(2).pid, 10);
  EXPECT_EQ(r.events.at(2).tid, 11);
  EXPECT_EQ(r.events.at(0).as<SyscallEnter>()->exit, 4u);
  EXPECT_TRUE(r.events.at(6).as<Exit>());
  EXPECT_EQ(r.threads.size(), 2u);
  EXPECT_EQ(r.processes.size(), 1u);
  EXPECT_TRUE(r.open_calls.empty());
}

TEST(StraceReader, tells_whose_space_a_child_gets) {
  const auto child = [](const std::string& call) {
    const Recording r = good("10 1.1 " + call + " = 20\n20 1.2 brk(NULL) = 0x1000\n");
    EXPECT_EQ(r.processes.size(), 2u) << call;
    EXPECT_TRUE(r.events.at(1).as<Fork>()) << call;
    return r.processes.at(1).space;
  };
  EXPECT_EQ(child("fork()"), ChildSpace::copied);
  EXPECT_EQ(child("vfork()"), ChildSpace::shared);
  EXPECT_EQ(child("clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, "
                  "child_tidptr=0x7faf79885a10)"),
            ChildSpace::copied);
  EXPECT_EQ(child("clone(child_stack=0x7f, flags=CLONE_VM|CLONE_VFORK|SIGUSR1)"),
            ChildSpace::shared);
  EXPECT_EQ(child("clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f, "
                  "stack_size=0x9000}, 88)"),
            ChildSpace::shared);
  EXPECT_EQ(child("clone3({flags=0, exit_signal=SIGCHLD}, 88)"), ChildSpace::copied);
}

TEST(StraceReader, clone_has_its_arguments_in_the_kernels_order) {
  const Recording r = good(
      "10 1.1 clone(child_stack=0x10, flags=CLONE_VM|SIGCHLD, "
      "parent_tid=[7], tls=0x40, child_tidptr=0x30) = 20\n");
  EXPECT_EQ(r.events.at(0).as<SyscallEnter>()->args,
            (std::array<uint64_t, 6>{0x111, 0x10, 0, 0x30, 0x40}));
}

TEST(StraceReader, exec_replaces_the_program_and_failed_ones_do_not) {
  const Recording r = good(
      "10 1.1 execve(\"/a/b c\\\"(\", [\"x = 1\"], 0x7f /* 37 vars */) = -1 ENOENT (No such file)\n"
      "10 1.2 execve(\"/bin/ls\", [\"ls\", \"a)b\"...], 0x7f /* 37 vars */) = 0\n");
  ASSERT_EQ(r.events.size(), 5u);
  EXPECT_EQ(r.events.at(1).as<SyscallExit>()->result, -2);
  ASSERT_TRUE(r.events.at(3).as<CommExec>());
  EXPECT_EQ(r.text(r.events.at(3).as<CommExec>()->name), "ls");
  EXPECT_EQ(r.events.at(3).call, 2u) << "as in perf's log, before the call returns";
  EXPECT_EQ(r.events.at(4).as<SyscallExit>()->enter, 2u);
}

TEST(StraceReader, the_exec_of_another_thread_goes_on_under_the_leaders_number) {
  for (const std::string_view cut : {" <unfinished ...>", " <pid changed to 10 ...>"}) {
    const Recording r = good("10 1.0 clone(child_stack=0x7f, flags=" + std::string(kThreadFlags) +
                             ") = 11\n"
                             "10 1.1 munmap(0x1000, 4096 <unfinished ...>\n"
                             "11 1.2 execve(\"/bin/true\", [\"true\"], 0x7f /* 37 vars */" +
                             std::string(cut) +
                             "\n"
                             "10 1.3 +++ superseded by execve in pid 11 +++\n"
                             "10 1.4 <... execve resumed>) = 0\n"
                             "10 1.5 brk(NULL) = 0x1000\n");
    EXPECT_EQ(r.processes.size(), 1u);
    EXPECT_TRUE(r.open_calls.empty());
    const Event* exec = nullptr;
    for (const Event& e : r.events) {
      if (e.as<SyscallExit>() && e.as<SyscallExit>()->call == Syscall::execve) exec = &e;
    }
    ASSERT_TRUE(exec);
    EXPECT_EQ(exec->tid, 10);
    EXPECT_EQ(r.events.at(exec->as<SyscallExit>()->enter).tid, 11);
  }
}

TEST(StraceReader, lines_without_a_pid_belong_to_the_only_thread_left) {
  const Recording r = good(
      "1.1 brk(NULL) = 0x1000\n"
      "1.2 fork(strace: Process 20 attached\n"
      ")    = 20\n"
      "[pid    10] 1.3 brk(NULL) = 0x1000\n"
      "[pid    20] 1.4 brk(NULL) = 0x1000\n"
      "[pid    10] 1.5 exit_group(0) = ?\n"
      "[pid    10] 1.6 +++ exited with 0 +++\n"
      "1.7 brk(0x2000) = 0x2000\n");
  ASSERT_EQ(r.processes.size(), 2u);
  EXPECT_EQ(r.events.at(0).pid, 10) << "named only later";
  EXPECT_EQ(r.events.at(r.events.size() - 1).pid, 20);
}

TEST(StraceReader, a_message_of_strace_may_break_a_line_in_two) {
  const Recording r = good(
      "1.1 vfork(strace: Process 20 attached\n"
      " <unfinished ...>\n"
      "[pid    20] 1.2 exit_group(0) = ?\n"
      "[pid    10] 1.3 <... vfork resumed>)     = 20\n"
      "strace: Process 21 detached\n"
      "[pid    10] 1.4 clone3({flags=CLONE_VM|CLONE_THREAD}strace: Process 22 attached\n"
      " => {parent_tid=[22]}, 88) = 22\n"
      "strace: Process 30 attached\n"
      "[pid    22] 1.5 brk(NULL) = 0x1000\n");
  ASSERT_TRUE(r.events.at(1).as<Fork>());
  EXPECT_EQ(r.events.at(1).as<Fork>()->child_tid, 20);
  EXPECT_EQ(r.events.at(r.events.size() - 1).pid, 10);
  EXPECT_EQ(r.events.at(r.events.size() - 1).tid, 22);
}

TEST(StraceReader, skips_signals_and_calls_that_cannot_change_a_space) {
  const Recording r = good(
      "10 1.1 brk(NULL) = 0x1000\n"
      "10 1.2 --- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL} ---\n"
      "10 1.3 openat(AT_FDCWD, \"a = (\", O_RDONLY) = 3\n"
      "10 1.4 wait4(20,  <unfinished ...>\n"
      "10 1.5 <... wait4 resumed>NULL, 0, NULL) = 20\n"
      "10 1.6 +++ killed by SIGSEGV +++\n");
  EXPECT_EQ(r.events.size(), 3u);
  EXPECT_EQ(r.threads.at(0).end, ThreadEnd::exit);
}

TEST(StraceReader, a_log_may_begin_and_end_inside_calls_and_says_so) {
  const Recording r = good(
      "10 1.1 <... munmap resumed>) = -1 EINVAL (Invalid argument)\n"
      "10 1.2 mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0 <unfinished ...>\n"
      "11 1.3 exit(0) = ?\n");
  EXPECT_EQ(r.events.at(0).as<SyscallExit>()->result, -22);
  EXPECT_EQ(r.events.at(0).as<SyscallExit>()->enter, kNoEvent);
  ASSERT_EQ(r.open_calls.size(), 1u);
  EXPECT_EQ(r.open_calls.at(0).line, 2u);
  EXPECT_EQ(r.open_calls.at(0).call, Syscall::mmap);
}

TEST(StraceReader, a_thread_of_a_clone_that_never_returned_is_still_its_parents) {
  const Recording r = good("10 1.1 clone3({flags=" + std::string(kThreadFlags) +
                           ", stack=0x7f} <unfinished ...>\n"
                           "11 1.2 brk(NULL) = 0x1000\n");
  EXPECT_EQ(r.events.at(r.events.size() - 1).pid, 10);
  EXPECT_EQ(r.open_calls.size(), 1u);
}

TEST(StraceReader, killed_inside_a_call_is_no_open_call) {
  for (const std::string_view rest :
       {"munmap(0x1000, 4096 <unfinished ...>) = ?", "munmap(0x1000, 4096) = ?",
        "munmap(0x1000, 4096 <unfinished ...>\n10 1.2 <... munmap resumed>) = ?",
        "munmap(0x1000, 4096 <unfinished ...>\n10 1.2 <... munmap resumed> <unfinished ...>) = "
        "?"}) {
    const Recording r =
        good("10 1.1 " + std::string(rest) + "\n10 1.9 +++ killed by SIGKILL +++\n");
    EXPECT_TRUE(r.open_calls.empty()) << rest;
    EXPECT_EQ(r.events.size(), 2u) << rest;
  }
}

TEST(StraceReader, a_clock_that_was_set_back_is_no_error) {
  const Recording r = good("10 2.0 brk(NULL) = 0x1000\n10 1.0 brk(NULL) = 0x1000\n");
  EXPECT_EQ(r.events.at(r.events.size() - 1).time_ns, 2'000'000'000u);
}

TEST(StraceReader, a_last_line_without_newline_is_left_out_and_noted) {
  const Recording r = good("10 1.0 brk(NULL) = 0x1000\n10 1.5 brk(NULL) = 0x100");
  EXPECT_EQ(r.events.size(), 2u);
  EXPECT_EQ(r.cut_line, 2u);
}

TEST(StraceReader, refuses_what_it_cannot_understand_in_one_line) {
  const std::string ok = "10 1.0 brk(NULL) = 0x1000\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"10 1.1 shmat(1, NULL, 0) = 0x7f", "unknown system call 'shmat'"},
      {"10 1.1 syscall_0x200(0, 0) = 0", "unknown system call 'syscall_0x200'"},
      {"hello", "not a line of strace -f -ttt: 'hello'"},
      {"10 17:00:01 brk(NULL) = 0x1000",
       "not a line of strace -f -ttt: '10 17:00:01 brk(NULL) = 0x1000'"},
      {"10 1.1 some output", "not a call, a signal or an end: 'some output'"},
      {"[pid x] 1.1 brk(NULL) = 0x1000", "malformed [pid ...]"},
      {"10 1.1 munmap(0x1000) = 0", "munmap: argument 'len' is missing"},
      {"10 1.1 munmap(0x1000, abc) = 0", "munmap: argument 'len' is malformed: 'abc'"},
      {"10 1.1 mprotect(0x1000, 1, PROT_X) = 0",
       "mprotect: argument 'prot' is malformed: 'PROT_X'"},
      {"10 1.1 madvise(0x1000, 1, MADV_) = 0",
       "madvise: argument 'behavior' is malformed: 'MADV_'"},
      {"10 1.1 munmap(0x1000, 1", "munmap: no result"},
      {"10 1.1 munmap(0x1000, 1)", "munmap: no result: ''"},
      {"10 1.1 munmap(0x1000, 1) = x", "munmap: malformed result ' = x'"},
      {"10 1.1 munmap(0x1000, 1) = -1 EODD (Odd)", "munmap: unknown error 'EODD'"},
      {"10 1.1 clone(child_stack=NULL) = 5", "clone: no flags"},
      {"10 1.1 clone(flags=CLONE_X) = 5", "clone: malformed flags 'CLONE_X'"},
      {"10 1.1 +++ vanished +++", "unknown end: '+++ vanished +++'"},
      {"10 1.1 <... munmap", "malformed <... resumed>"},
      {"10 1.1 brk(NULL <unfinished ...>\n10 1.2 brk(NULL) = 0x1000",
       "thread 10 enters a call inside a call"},
      {"10 1.1 brk(NULL <unfinished ...>\n10 1.2 <... munmap resumed>) = 0x1000",
       "thread 10 resumes munmap, which it has not entered"},
  };
  for (const auto& [text, message] : cases) {
    const std::string line = text.find('\n') == text.npos ? "2: " : "3: ";
    EXPECT_EQ(problem(ok + text + "\n"), line + message) << text;
  }
  EXPECT_EQ(problem("10 1.1 openat(AT_FDCWD, \"x\", O_RDONLY) = 3\n"), "1: the recording is empty");
}

}  // namespace
}  // namespace pervma::trace
