#include "trace/perf_reader.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "temp_file.h"
#include "trace/linux_abi.h"

namespace pervma::trace {
namespace {

std::string hex(uint64_t value) {
  char out[24];
  std::snprintf(out, sizeof out, "0x%08llx", static_cast<unsigned long long>(value));
  return out;
}

// "COMM PID/TID TIME: " as perf lays it out, then the event.
std::string at(double seconds, std::string_view event, int pid = 10, int tid = 10,
               std::string_view comm = "prog") {
  char head[80];
  std::snprintf(head, sizeof head, "%16.*s %5d/%-5d %12.6f: ", static_cast<int>(comm.size()),
                comm.data(), pid, tid, seconds);
  return head + std::string(event) + "\n";
}

std::string user_fault(uint64_t address) {
  return "          exceptions:page_fault_user: address=" + hex(address) +
         " ip=0x401000 error_code=0x6";
}

constexpr std::string_view kEnterMunmap =
    "           syscalls:sys_enter_munmap: addr: 0x7f0000001000, len: 0x0000a72f";
constexpr std::string_view kExitMunmap = "            syscalls:sys_exit_munmap: 0x0";
constexpr std::string_view kMap =
    "PERF_RECORD_MMAP2 10/10: [0x400000(0x3000) @ 0x1000 fe:1f 248222 17]: r-xp /bin/a b";

TraceResult<Recording> read_text(const std::string& text) {
  const TempFile file(text);
  return read_recording(file.path());
}

Recording good(const std::string& text) {
  auto r = read_text(text);
  EXPECT_TRUE(r) << r.error().to_string();
  return r ? std::move(*r) : Recording{};
}

// The error of `text`, without its file: "LINE: MESSAGE". Fails unless it is one line.
std::string problem(const std::string& text) {
  const TempFile file(text);
  const auto r = read_recording(file.path());
  if (r) return "(read without an error)";
  const std::string all = r.error().to_string();
  EXPECT_EQ(all.find('\n'), std::string::npos) << all;
  EXPECT_TRUE(all.starts_with(file.path() + ":")) << all;
  return all.substr(file.path().size() + 1);
}

TEST(PerfReader, reads_who_and_when_exactly) {
  const Recording r = good(at(4375.914154, user_fault(0x53e108), 27887, 27889));
  ASSERT_EQ(r.events.size(), 1u);
  const Event& e = r.events.at(0);
  EXPECT_EQ(e.time_ns, 4'375'914'154'000u);
  EXPECT_EQ(e.pid, 27887);
  EXPECT_EQ(e.tid, 27889);
  EXPECT_EQ(e.line, 1u);
  EXPECT_EQ(r.text(e.comm), "prog");
  ASSERT_TRUE(e.as<UserFault>());
  EXPECT_EQ(e.as<UserFault>()->address, Address{0x53e108});
  EXPECT_EQ(e.as<UserFault>()->ip, Address{0x401000});
  EXPECT_EQ(e.as<UserFault>()->error_code, fault_code::kWrite | fault_code::kUser);
  EXPECT_EQ(r.user_faults, 1u);
}

TEST(PerfReader, a_comm_may_hold_anything) {
  for (const std::string_view comm :
       {"a b: 1/2 3.4: x", "GC Thread#1", ":27889", "exec: x", "0/0 1.0: y", "syscalls:sys_en"}) {
    const Recording r = good(at(1.5, user_fault(1), 10, 11, comm));
    ASSERT_EQ(r.events.size(), 1u);
    EXPECT_EQ(r.text(r.events.at(0).comm), comm);
    EXPECT_EQ(r.events.at(0).tid, 11);
  }
}

TEST(PerfReader, reads_kernel_faults_with_the_function) {
  const Recording r =
      good(at(1,
              "        exceptions:page_fault_kernel: address=0x53e108 ip=rep_movs [kvm] "
              "error_code=0x2"));
  const auto* f = r.events.at(0).as<KernelFault>();
  ASSERT_TRUE(f);
  EXPECT_EQ(f->address, Address{0x53e108});
  EXPECT_EQ(r.text(f->ip), "rep_movs [kvm]");
  EXPECT_EQ(f->error_code, 2u);
  EXPECT_EQ(r.kernel_faults, 1u);
}

TEST(PerfReader, reads_a_mapping_whole) {
  const Recording r = good(at(1, kMap));
  const auto* m = r.events.at(0).as<Mmap2>();
  ASSERT_TRUE(m);
  EXPECT_EQ(m->range, (Range{{0x400000}, {0x403000}}));
  EXPECT_EQ(m->pgoff, 0x1000u);
  EXPECT_EQ(m->dev_major, 0xfeu);
  EXPECT_EQ(m->dev_minor, 0x1fu);
  EXPECT_EQ(m->inode, 248222u);
  EXPECT_EQ(m->generation, 17u);
  EXPECT_EQ(m->prot, abi::kProtRead | abi::kProtExec);
  EXPECT_EQ(m->sharing, Sharing::private_copy);
  EXPECT_EQ(r.text(m->name), "/bin/a b");
}

TEST(PerfReader, tells_shared_mappings_and_every_protection) {
  for (uint32_t prot = 0; prot < 8; ++prot) {
    const std::string rwx = std::string(prot & abi::kProtRead ? "r" : "-") +
                            (prot & abi::kProtWrite ? "w" : "-") +
                            (prot & abi::kProtExec ? "x" : "-");
    const Recording r =
        good(at(1, "PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) @ 0 00:00 0 0]: " + rwx + "s //anon"));
    EXPECT_EQ(r.events.at(0).as<Mmap2>()->prot, prot);
    EXPECT_EQ(r.events.at(0).as<Mmap2>()->sharing, Sharing::shared);
  }
}

TEST(PerfReader, pairs_enters_with_exits_by_thread_and_marks_what_is_inside) {
  const Recording r = good(at(1, kEnterMunmap, 10, 10) + at(2, kEnterMunmap, 10, 11) +
                           at(3, user_fault(1), 10, 12) + at(4, kMap) + at(5, kExitMunmap, 10, 11) +
                           at(6, kExitMunmap, 10, 10) + at(7, user_fault(1), 10, 10));
  ASSERT_EQ(r.events.size(), 7u);
  EXPECT_EQ(r.events.at(0).as<SyscallEnter>()->exit, 5u);
  EXPECT_EQ(r.events.at(1).as<SyscallEnter>()->exit, 4u);
  EXPECT_EQ(r.events.at(5).as<SyscallExit>()->enter, 0u);
  EXPECT_EQ(r.events.at(4).as<SyscallExit>()->enter, 1u);
  EXPECT_EQ(r.events.at(2).call, kNoEvent);
  EXPECT_EQ(r.events.at(3).call, 0u);
  EXPECT_EQ(r.events.at(5).call, 0u);
  EXPECT_EQ(r.events.at(6).call, kNoEvent);
  EXPECT_EQ(r.threads.size(), 3u);
  EXPECT_EQ(r.events.at(1).as<SyscallEnter>()->args[1], 0xa72fu);
  EXPECT_FALSE(r.ends_inside_a_call());
}

TEST(PerfReader, results_are_signed) {
  const Recording r =
      good(at(1, kEnterMunmap) + at(2, "syscalls:sys_exit_munmap: 0xffffffffffffffea"));
  EXPECT_EQ(r.events.at(1).as<SyscallExit>()->result, -22);
}

TEST(PerfReader, reads_every_call_with_its_arguments_in_order) {
  for (size_t i = 0; i < kSyscallCount; ++i) {
    const auto call = static_cast<Syscall>(i);
    std::string text = "syscalls:sys_enter_" + std::string(syscall_name(call)) + ": ";
    uint64_t value = 0x10;
    for (const std::string_view name : argument_names(call)) {
      text += (value == 0x10 ? "" : ", ") + std::string(name) + ": " + hex(value);
      ++value;
    }
    const Recording r = good(at(1, user_fault(1)) + at(1, text));
    const auto* enter = r.events.at(1).as<SyscallEnter>();
    ASSERT_TRUE(enter);
    EXPECT_EQ(enter->call, call);
    for (size_t a = 0; a < kMaxArgs; ++a) {
      EXPECT_EQ(enter->args[a], a < argument_names(call).size() ? 0x10 + a : 0);
    }
  }
}

TEST(PerfReader, counts_what_the_kernel_took_its_lock_for_and_failed_tries_apart) {
  const auto lock = [](const std::string& write, const std::string& success) {
    return at(1,
              "mmap_lock:mmap_lock_acquire_returned: mm=0xffff888100068640 memcg_id=4886 write=" +
                  write + " success=" + success);
  };
  const Recording r = good(lock("true", "true") + lock("false", "true") + lock("false", "true") +
                           lock("false", "false") + lock("false", "false") +
                           lock("false", "false") + lock("true", "false") +
                           at(1,
                              "mmap_lock:mmap_lock_acquire_returned: mm=0x8640 "
                              "memcg_path=/a write=b write=true success=true"));
  EXPECT_EQ(r.recorded_mmap_lock.write, 2u);
  EXPECT_EQ(r.recorded_mmap_lock.read, 2u);
  EXPECT_EQ(r.recorded_mmap_lock.failed_read, 3u);
  EXPECT_EQ(r.recorded_mmap_lock.failed_write, 1u);
  EXPECT_EQ(r.events.at(0).as<MmapLockAcquired>()->mm, 0xffff888100068640u);
  EXPECT_EQ(r.events.at(0).as<MmapLockAcquired>()->mode, LockMode::write);
  EXPECT_EQ(r.events.at(3).as<MmapLockAcquired>()->outcome, LockOutcome::failed);
}

constexpr std::string_view kEnterClone3 = "syscalls:sys_enter_clone3: uargs: 0x10, size: 0x58";
constexpr std::string_view kLockOwn =
    "mmap_lock:mmap_lock_acquire_returned: mm=0x640 memcg_id=1 write=true success=true";
constexpr std::string_view kLockChild =
    "mmap_lock:mmap_lock_acquire_returned: mm=0x999 memcg_id=1 write=true success=true";

TEST(PerfReader, follows_threads_from_fork_to_exit) {
  const Recording r =
      good(at(1, kEnterClone3) + at(2, "PERF_RECORD_FORK(10:11):(10:10)") +
           at(3, "syscalls:sys_exit_clone3: 0x0", 10, 11) + at(4, "syscalls:sys_exit_clone3: 0xb") +
           at(5, user_fault(1), 10, 11) +
           at(6, "syscalls:sys_enter_exit: error_code: 0x0", 10, 11) + at(7, kLockOwn, 10, 11) +
           at(8, "PERF_RECORD_EXIT(10:11):(10:10)", 10, 11) + at(9, kEnterClone3) +
           at(9, "PERF_RECORD_FORK(10:11):(10:10)") + at(9, user_fault(1), 10, 11));
  ASSERT_EQ(r.threads.size(), 3u) << "a tid used twice is two threads";
  EXPECT_EQ(r.processes.size(), 1u);
  EXPECT_EQ(r.threads.at(1).parent, 0u);
  EXPECT_EQ(r.threads.at(1).created, 1u);
  EXPECT_EQ(r.threads.at(1).first, 2u);
  EXPECT_EQ(r.threads.at(1).last, 7u);
  EXPECT_EQ(r.threads.at(1).end, ThreadEnd::exit);
  EXPECT_EQ(r.threads.at(2).end, ThreadEnd::none);
  EXPECT_EQ(r.events.at(1).as<Fork>()->child, 1u);
  EXPECT_EQ(r.events.at(1).as<Fork>()->space, ChildSpace::shared);
  EXPECT_EQ(r.events.at(1).call, 0u);
  EXPECT_EQ(r.events.at(2).as<SyscallExit>()->enter, kNoEvent) << "the child entered nothing";
  EXPECT_EQ(r.events.at(6).call, 5u) << "what a thread does after it entered exit";
  EXPECT_EQ(r.events.at(10).thread, 2u);
}

TEST(PerfReader, tells_whose_space_a_child_process_gets) {
  const auto child = [](std::string_view enter, std::string_view between) {
    const Recording r =
        good(at(1, enter) + std::string(between) + at(2, "PERF_RECORD_FORK(20:20):(10:10)"));
    EXPECT_EQ(r.processes.size(), 2u);
    EXPECT_EQ(r.processes.at(1).parent_pid, 10);
    EXPECT_EQ(r.processes.at(1).space, r.events.at(r.events.size() - 1).as<Fork>()->space);
    return r.processes.at(1).space;
  };
  const auto clone = [](uint64_t flags) {
    return "syscalls:sys_enter_clone: clone_flags: " + hex(flags) +
           ", newsp: 0x0, parent_tidptr: 0x0, child_tidptr: 0x0, tls: 0x0";
  };
  EXPECT_EQ(child("syscalls:sys_enter_fork: ", ""), ChildSpace::copied);
  EXPECT_EQ(child("syscalls:sys_enter_vfork: ", ""), ChildSpace::shared);
  EXPECT_EQ(child(clone(0x01200011), ""), ChildSpace::copied);
  EXPECT_EQ(child(clone(0x4111), ""), ChildSpace::shared);
  EXPECT_EQ(child(kEnterClone3, ""), ChildSpace::shared) << "no second space was locked";
  EXPECT_EQ(child(kEnterClone3, at(1.5, kLockOwn)), ChildSpace::shared);
  EXPECT_EQ(child(kEnterClone3, at(1.5, kLockOwn) + at(1.6, kLockChild)), ChildSpace::copied);
}

TEST(PerfReader, the_exec_of_another_thread_returns_under_the_leaders_tid) {
  const Recording r =
      good(at(1, "PERF_RECORD_FORK(10:11):(10:10)") +
           at(2, "syscalls:sys_enter_execve: filename: 0x1, argv: 0x2, envp: 0x3", 10, 11) +
           at(3, kEnterMunmap) + at(4, "PERF_RECORD_EXIT(10:10):(1:1)") + at(5, kLockChild) +
           at(6, "PERF_RECORD_COMM exec: true:10/10") + at(7, kMap) +
           at(8, "syscalls:sys_exit_execve: 0x0"));
  EXPECT_EQ(r.events.at(1).as<SyscallEnter>()->exit, 7u);
  EXPECT_EQ(r.events.at(7).as<SyscallExit>()->enter, 1u);
  EXPECT_EQ(r.events.at(6).call, 1u);
  EXPECT_EQ(r.events.at(2).as<SyscallEnter>()->exit, kNoEvent);
  EXPECT_EQ(r.processes.size(), 1u) << "it is still the same process";
  EXPECT_TRUE(r.open_calls.empty()) << "the leader's call died with it";
  EXPECT_EQ(r.threads.at(1).end, ThreadEnd::exec);
  EXPECT_EQ(r.text(r.events.at(5).as<CommExec>()->name), "true");
}

TEST(PerfReader, a_comm_event_belongs_to_the_thread_it_names) {
  const Recording r = good(at(1, user_fault(1), 10, 11) +
                           at(1, "PERF_RECORD_COMM: a:b c:10/11", 0, 0, "perf-exec"));
  EXPECT_EQ(r.events.at(1).tid, 11);
  EXPECT_EQ(r.text(r.events.at(1).as<Comm>()->name), "a:b c");
  EXPECT_EQ(r.threads.size(), 1u);
}

TEST(PerfReader, a_recording_may_begin_and_end_inside_calls_and_says_so) {
  const Recording r = good(at(1, kExitMunmap) + at(2, kEnterMunmap) + at(3, user_fault(1), 10, 12) +
                           at(4, "syscalls:sys_enter_brk: brk: 0x0", 10, 11) +
                           at(5, "syscalls:sys_enter_exit_group: error_code: 0x0", 10, 12));
  EXPECT_EQ(r.events.at(0).as<SyscallExit>()->enter, kNoEvent);
  ASSERT_EQ(r.open_calls.size(), 2u) << "exit_group never returns: nothing is missing";
  EXPECT_EQ(r.open_calls.at(0).tid, 10);
  EXPECT_EQ(r.open_calls.at(0).line, 2u);
  EXPECT_EQ(r.open_calls.at(0).call, Syscall::munmap);
  EXPECT_EQ(r.open_calls.at(1).tid, 11);
  EXPECT_EQ(r.open_calls.at(1).line, 4u);
  EXPECT_TRUE(r.ends_inside_a_call());
}

TEST(PerfReader, a_thread_killed_inside_a_call_leaves_nothing_open) {
  const Recording r =
      good(at(1, kEnterMunmap, 10, 11) + at(2, "PERF_RECORD_EXIT(10:11):(10:10)", 10, 11));
  EXPECT_TRUE(r.open_calls.empty());
  EXPECT_EQ(r.events.at(0).as<SyscallEnter>()->exit, kNoEvent);
}

TEST(PerfReader, a_last_line_without_newline_is_left_out_and_noted) {
  std::string text = at(1, user_fault(0x1000)) + at(2, user_fault(0x2000));
  text.resize(text.size() - 2);  // "error_code=0x": half a number may look like a whole one.
  const Recording r = good(text);
  EXPECT_EQ(r.events.size(), 1u);
  EXPECT_EQ(r.cut_line, 2u);
  EXPECT_TRUE(r.ends_inside_a_call());
}

TEST(PerfReader, ignores_the_kernels_own_text) {
  const Recording r =
      good(at(0,
              "PERF_RECORD_MMAP -1/0: [0xffffffff81000000(0x120bb08) @ 0xffffffff81000000]: x "
              "[kernel.kallsyms]_text",
              0, 0, "swapper") +
           at(1, user_fault(1)));
  EXPECT_EQ(r.events.size(), 1u);
  EXPECT_EQ(r.events.at(0).line, 2u);
}

TEST(PerfReader, the_name_is_the_files_without_its_endings) {
  const TempFile file(xz(at(1, user_fault(1))), "-x.txt.xz");
  const auto r = read_recording(file.path());
  ASSERT_TRUE(r);
  EXPECT_TRUE(r->name.ends_with("-x")) << r->name;
  EXPECT_EQ(r->name.find('/'), std::string::npos);
  EXPECT_EQ(r->source, Source::perf);
}

TEST(PerfReader, refuses_what_is_not_a_recording) {
  EXPECT_EQ(problem(""), "1: the recording is empty");
  EXPECT_EQ(problem("hello\n"),
            "1: neither the text of perf script nor of strace -f -ttt: 'hello'");
  EXPECT_EQ(problem("hello"), "1: neither the text of perf script nor of strace -f -ttt: 'hello'");
  EXPECT_EQ(problem(at(1, user_fault(1)) + "\n"), "2: not a line of perf script: ''");
  EXPECT_EQ(problem(at(1, user_fault(1)) + "Warning: \x01\n"),
            "2: not a line of perf script: 'Warning: ?'");
  EXPECT_EQ(problem(at(0, "PERF_RECORD_COMM: perf-exec:10/10", 0, 0, "perf-exec")),
            "1: the recording is empty");
}

TEST(PerfReader, refuses_lost_events) {
  EXPECT_EQ(problem(at(1, user_fault(1)) + at(2, "PERF_RECORD_LOST lost 140")),
            "2: events were lost while recording; record again with a larger buffer");
  EXPECT_EQ(problem(at(1, user_fault(1)) + at(2, "PERF_RECORD_LOST_SAMPLES lost 2")),
            "2: events were lost while recording; record again with a larger buffer");
  EXPECT_EQ(problem(at(1, user_fault(1)) + "LOST 12 events!\n"),
            "2: events were lost while recording: 'LOST 12 events!'");
}

TEST(PerfReader, refuses_calls_and_events_it_does_not_know) {
  EXPECT_EQ(problem(at(1, "syscalls:sys_enter_shmat: shmid: 0x1, shmaddr: 0x0, shmflg: 0x0")),
            "1: unknown system call 'shmat'");
  EXPECT_EQ(problem(at(1, "syscalls:sys_exit_shmat: 0x0")), "1: unknown system call 'shmat'");
  EXPECT_EQ(problem(at(1, "sched:sched_switch: prev=1")),
            "1: unknown event 'sched:sched_switch: prev=1'");
  EXPECT_EQ(problem(at(1, "PERF_RECORD_MMAP 10/10: [0x1000(0x1000) @ 0]: x /bin/a")),
            "1: unknown record 'PERF_RECORD_MMAP 10/10: [0x1000(0x1000) @ 0]: x /bin/a'");
}

TEST(PerfReader, refuses_an_order_that_no_kernel_produces) {
  EXPECT_EQ(problem(at(2, user_fault(1)) + at(1, user_fault(1))), "2: time goes backwards");
  EXPECT_EQ(problem(at(1, kEnterMunmap) + at(2, kEnterMunmap)),
            "2: thread 10 enters munmap while its munmap of line 1 has not returned");
  EXPECT_EQ(problem(at(1, kEnterMunmap) + at(2, "syscalls:sys_exit_brk: 0x0")),
            "2: thread 10 returns from brk while it is in munmap of line 1");
  EXPECT_EQ(problem(at(1, kEnterMunmap) + at(2, kExitMunmap) + at(3, kExitMunmap)),
            "3: thread 10 returns from munmap, which it has not entered");
  EXPECT_EQ(problem(at(1, kExitMunmap) + at(2, kExitMunmap)),
            "2: thread 10 returns from munmap, which it has not entered");
}

// Each event with one field taken out, cut, or spoilt.
TEST(PerfReader, refuses_every_missing_or_malformed_field) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"exceptions:page_fault_user: ip=0x1 error_code=0x4", "page fault without address="},
      {"exceptions:page_fault_user: address=0x1 error_code=0x4",
       "page fault with a malformed address= or no ip="},
      {"exceptions:page_fault_user: address=0x1 ip=0x1", "page fault without error_code="},
      {"exceptions:page_fault_user: address=0xg ip=0x1 error_code=0x4",
       "page fault with a malformed address= or no ip="},
      {"exceptions:page_fault_user: address=0x11112222333344445 ip=0x1 error_code=0x4",
       "page fault with a malformed address= or no ip="},
      {"exceptions:page_fault_user: address=0x1 ip=main error_code=0x4",
       "page fault: malformed ip="},
      {"exceptions:page_fault_user: address=0x1 ip=0x1 error_code=",
       "page fault: malformed error_code="},
      {"exceptions:page_fault_user: address=0x1 ip=0x1 error_code=0x4 x",
       "page fault: malformed error_code="},
      {"exceptions:page_fault_user: address=0x1 ip=0x1 error_code=0x100000000",
       "page fault: malformed error_code="},
      {"exceptions:page_fault_kernel: address=0x1 ip=f", "page fault without error_code="},
      {"syscalls:sys_enter_munmap: addr: 0x1", "munmap: argument 'len' is missing or malformed"},
      {"syscalls:sys_enter_munmap: len: 0x1", "munmap: argument 'addr' is missing or malformed"},
      {"syscalls:sys_enter_munmap: addr: 1, len: 0x1",
       "munmap: argument 'addr' is missing or malformed"},
      {"syscalls:sys_enter_munmap: addr: 0x1, len: 0x1, x: 0x1", "munmap: more than its arguments"},
      {"syscalls:sys_enter_munmap: addr: 0x1, len: 0x1 x", "munmap: more than its arguments"},
      {"syscalls:sys_enter_munmap", "system call without a name"},
      {"syscalls:sys_exit_munmap: ", "munmap: its result is missing or malformed"},
      {"syscalls:sys_exit_munmap: 0", "munmap: its result is missing or malformed"},
      {"syscalls:sys_exit_munmap: 0x0 y", "munmap: its result is missing or malformed"},
      {"mmap_lock:mmap_lock_acquire_returned: memcg_id=1 write=true success=true",
       "mmap lock event without mm="},
      {"mmap_lock:mmap_lock_acquire_returned: mm=zz memcg_id=1 write=true success=true",
       "mmap lock event with a malformed mm="},
      {"mmap_lock:mmap_lock_acquire_returned: mm=0x1 memcg_id=1 success=true",
       "mmap lock event without write="},
      {"mmap_lock:mmap_lock_acquire_returned: mm=0x1 memcg_id=1 write=yes success=true",
       "mmap lock event with a malformed write="},
      {"mmap_lock:mmap_lock_acquire_returned: mm=0x1 memcg_id=1 write=true",
       "mmap lock event with a malformed write="},
      {"mmap_lock:mmap_lock_acquire_returned: mm=0x1 memcg_id=1 write=true success=maybe",
       "mmap lock event without success=true or false"},
      {"PERF_RECORD_MMAP2 10: [0x1000(0x1000) @ 0 00:00 0 0]: rw-p a",
       "MMAP2 without its PID/TID and ["},
      {"PERF_RECORD_MMAP2 10/10: [0x1000 @ 0 00:00 0 0]: rw-p a", "MMAP2: malformed START(LEN)"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x0) @ 0 00:00 0 0]: rw-p a",
       "MMAP2: malformed START(LEN)"},
      {"PERF_RECORD_MMAP2 10/10: [0xfffffffffffff000(0x2000) @ 0 00:00 0 0]: rw-p a",
       "MMAP2: malformed START(LEN)"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) 00:00 0 0]: rw-p a",
       "MMAP2: malformed START(LEN)"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) @ 00:00 0 0]: rw-p a",
       "MMAP2: malformed page offset"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) @ 0 0 0]: rw-p a",
       "MMAP2: malformed device, inode or generation"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) @ 0 00:00 0]: rw-p a",
       "MMAP2: malformed device, inode or generation"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) @ 0 <0123456789abcdef>]: rw-p a",
       "MMAP2: malformed device, inode or generation"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) @ 0 00:00 0 0]: rw- a",
       "MMAP2: malformed protection"},
      {"PERF_RECORD_MMAP2 10/10: [0x1000(0x1000) @ 0 00:00 0 0]: rw-p ", "MMAP2 without a name"},
      {"PERF_RECORD_FORK(10:11):(10)", "FORK: malformed (PID:TID):(PID:TID)"},
      {"PERF_RECORD_EXIT(10:11)", "EXIT: malformed (PID:TID):(PID:TID)"},
      {"PERF_RECORD_COMM: name", "COMM without PID/TID"},
      {"PERF_RECORD_COMM: name:10", "COMM: malformed PID/TID"},
      {"PERF_RECORD_COMM", "COMM: malformed"},
  };
  for (const auto& [event, message] : cases) {
    EXPECT_EQ(problem(at(1, user_fault(1)) + at(2, event)), "2: " + message) << event;
  }
}

TEST(PerfReader, refuses_a_malformed_header) {
  const std::string ok = at(1, user_fault(1));
  const auto spoilt = [&](std::string_view from, std::string_view to) {
    std::string line = ok;
    line.replace(line.find(from), from.size(), to);
    return problem(ok + line);
  };
  const std::string_view expected = "2: not a line of perf script";
  EXPECT_TRUE(spoilt("   10/10", "   10 10").starts_with(expected));
  EXPECT_TRUE(spoilt("   10/10", "     /10").starts_with(expected));
  EXPECT_TRUE(spoilt("1.000000:", "1:      ").starts_with(expected));
  EXPECT_TRUE(spoilt("1.000000:", "1.0000000000:").starts_with(expected));
  EXPECT_TRUE(spoilt("1.000000:", "99999999999999999999.000000:").starts_with(expected));
  EXPECT_TRUE(spoilt("prog ", "prog!").starts_with(expected));
  EXPECT_TRUE(problem(ok + ok.substr(0, 17) + "\n").starts_with(expected));
}

}  // namespace
}  // namespace pervma::trace
