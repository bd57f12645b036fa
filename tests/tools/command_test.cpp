// The `pervma` command as a user meets it: output, exit status, and one line for bad input.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "pervma/design.h"
#include "support/command.h"

namespace pervma {
namespace {

using test::expect_refused;
using Outcome = test::CommandOutcome;

std::string slurp(const std::string& path) { return test::slurp(path); }
std::string temp(const std::string& name) { return test::temp_path(name); }
Outcome pervma(const std::string& arguments) { return test::run_pervma(arguments); }

std::string trace(const std::string& name) {
  return std::string(PERVMA_TEST_TRACES) + "/" + name + ".txt.xz";
}

TEST(Command, designs_tells_what_each_costs) {
  const Outcome text = pervma("designs");
  EXPECT_EQ(text.status, 0);
  const Outcome o = pervma("designs --json -");
  ASSERT_EQ(o.status, 0);
  const nlohmann::json all = nlohmann::json::parse(o.out);
  ASSERT_EQ(all.size(), kDesigns.size());
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i]["design"], design_name(kDesigns[i]));
    EXPECT_NE(text.out.find(std::string(design_name(kDesigns[i])) + ": "), std::string::npos);
    EXPECT_GT(all[i]["bytes_per_vma"]["lock"], 0);
    EXPECT_GE(all[i]["bytes_per_vma"]["total"], 128);
    for (const char* key : {"what", "reader_writes", "writer_waits_for", "weakness"}) {
      EXPECT_FALSE(all[i][key].get<std::string>().empty()) << key;
    }
    if (all[i]["design"] == "refcount" || all[i]["design"] == "scalable") {
      EXPECT_EQ(all[i]["bytes_per_vma"]["total"], 128);
    }
  }
}

// What docs/probes.md names is in the binary.
TEST(Command, has_the_static_probes) {
#if __has_include(<sys/sdt.h>)
  std::FILE* pipe = ::popen("readelf -n " PERVMA_TEST_TOOL, "r");
  ASSERT_NE(pipe, nullptr);
  std::string notes;
  std::array<char, 4096> buffer{};
  for (size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    notes.append(buffer.data(), n);
  }
  ASSERT_EQ(::pclose(pipe), 0);
  for (const char* name : {"mmap_wait", "mmap_acquire", "mmap_release", "vma_read", "vma_abort",
                           "vma_miss", "vma_retry", "writer_wait_begin", "writer_wait_end"}) {
    EXPECT_NE(notes.find(std::string("Name: ") + name + "\n"), std::string::npos) << name;
  }
#else
  GTEST_SKIP() << "built without <sys/sdt.h>";
#endif
}

TEST(Command, says_its_version_and_shows_examples) {
  EXPECT_EQ(pervma("--version").status, 0);
  EXPECT_TRUE(pervma("--version").out.starts_with("pervma "));
  for (const char* command : {"", "replay ", "maps ", "bench ", "bench lookup "}) {
    const Outcome o = pervma(std::string(command) + "--help");
    EXPECT_EQ(o.status, 0);
    EXPECT_NE(o.out.find("Example"), std::string::npos) << command;
  }
}

TEST(Command, replay_writes_one_json_row_per_trace_design_and_worker_count) {
  const std::string path = temp("rows.json");
  const Outcome o = pervma("replay " + trace("redis-bgsave") +
                           " --design all --workers 1,2 --repeat 2 --json " + path);
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("every recorded result was reproduced"), std::string::npos) << o.out;
  const auto rows = nlohmann::json::parse(slurp(path));
  ::unlink(path.c_str());
  ASSERT_EQ(rows.size(), 2 * kDesigns.size());
  for (const auto& row : rows) {
    EXPECT_EQ(row.at("trace"), "redis-bgsave");
    EXPECT_EQ(row.at("mismatches"), 0);
    EXPECT_TRUE(row.at("differences").empty());
    EXPECT_TRUE(row.at("notes").is_array());
    EXPECT_EQ(row.at("faults"), 5770);
    EXPECT_GT(row.at("faults_per_s").get<double>(), 0);
    for (const char* key : {"p50", "p99", "p999", "max"}) {
      EXPECT_GT(row.at("fault_ns").at(key).get<uint64_t>(), 0u);
    }
    EXPECT_TRUE(row.at("change_ns").contains("p99"));
    EXPECT_TRUE(row.at("fallback_pct").is_number());
    EXPECT_TRUE(row.at("mmap_lock").contains("wait_ns"));
    EXPECT_EQ(row.at("recorded_mmap_lock").at("read"), 599);
    EXPECT_TRUE(row.contains("design") && row.contains("workers") && row.contains("events"));
  }
}

TEST(Command, maps_prints_the_space_at_a_line) {
  const Outcome o = pervma("maps " + trace("cc1plus") + " --at 100");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("[stack]"), std::string::npos);
  EXPECT_NE(o.out.find("/usr/bin/x86_64-linux-gnu-g++-12\n"), std::string::npos);
  expect_refused(pervma("maps " + trace("cc1plus") + " --at 99999999"), "lines");
}

TEST(Command, maps_speaks_json) {
  const Outcome o = pervma("maps " + trace("redis-bgsave") + " --json -");
  EXPECT_EQ(o.status, 0) << o.err;
  const auto spaces = nlohmann::json::parse(o.out);
  ASSERT_FALSE(spaces.empty());
  EXPECT_EQ(spaces[0].at("line"), 6286);
  const auto& vma = spaces[0].at("vmas").at(0);
  for (const char* key : {"start", "end", "perms", "offset", "device", "inode", "name"}) {
    EXPECT_TRUE(vma.contains(key)) << key;
  }
}

TEST(Command, bad_input_gets_one_line_with_file_and_line) {
  const std::string path = temp("bad.txt");
  const auto with = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    return pervma("replay " + path);
  };
  expect_refused(with(""), path);
  expect_refused(with("this is a letter, not a recording\n"), path + ":1:");
  const std::string xz = slurp(trace("redis-bgsave"));
  expect_refused(with(xz.substr(0, xz.size() / 2)), path);
  std::string corrupt = xz;
  for (size_t i = 0; i < 64; ++i) corrupt[corrupt.size() / 2 + i] ^= 0x55;
  expect_refused(with(corrupt), path);
  const std::string good =
      "            prog 100/100  1.000001: PERF_RECORD_COMM exec: prog:100/100\n";
  expect_refused(
      with(good + "            prog 100/100  1.000002: exceptions:page_fault_user: ip=0x1\n"),
      path + ":2:");
  expect_refused(with(good + "            prog 100/100  1.000002: PERF_RECORD_LOST lost 5\n"),
                 path + ":2:");
  expect_refused(
      with(good + "            prog 100/100  1.000002: syscalls:sys_enter_frobnicate: a: 0x1\n"),
      path + ":2:");
  ::unlink(path.c_str());
  expect_refused(pervma("replay " + path), path);
}

TEST(Command, bad_requests_get_one_line) {
  expect_refused(pervma("replay " + trace("cc1plus") + " --design nonsense"), "nonsense");
  expect_refused(pervma("replay " + trace("cc1plus") + " --design ''"), "--design");
  expect_refused(pervma("replay " + trace("cc1plus") + " --workers 0"), "--workers");
  expect_refused(pervma("replay " + trace("cc1plus") + " --json /nonexistent/x.json"),
                 "/nonexistent");
  expect_refused(pervma("replay"), "TRACE");
  expect_refused(pervma("frobnicate"), "frobnicate");
  expect_refused(pervma(""), "subcommand");
  expect_refused(pervma("bench frobnicate"), "no command 'frobnicate'; see pervma bench --help");
  expect_refused(pervma("--frobnicate"), "no option '--frobnicate'; see pervma --help");
  expect_refused(pervma("maps " + trace("cc1plus") + " --at 0"), "--at");
  expect_refused(pervma("torture --seconds nan"), "--seconds");
  expect_refused(pervma("torture --seed -1"), "--seed");
  expect_refused(pervma("torture --seed 99999999999999999999"), "--seed");
}

// Of each command: the output that is asked for is refused before the work, and nothing is written.
TEST(Command, a_file_that_cannot_be_written_is_refused_before_the_work) {
  const std::string file = temp("file");
  std::ofstream(file) << "old";
  for (const std::string& command :
       {"replay " + trace("cc1plus"), "maps " + trace("cc1plus"), std::string("designs"),
        std::string("bench lookup"), std::string("bench machine"),
        std::string("torture --seconds 600"), std::string("oracle --live --seeds 1..9999999")}) {
    SCOPED_TRACE(command);
    for (const std::string& path :
         {std::string("''"), ::testing::TempDir(), file + "/x", std::string("/no/such/folder/x")}) {
      const Outcome o = pervma(std::string(command).append(" --json ").append(path));
      expect_refused(o, "--json: ");
      EXPECT_EQ(o.out, "");
    }
  }
  EXPECT_EQ(slurp(file), "old");
  ::unlink(file.c_str());
}

TEST(Command, what_cannot_be_printed_is_told) {
  for (const std::string& arguments :
       {std::string("designs"), std::string("designs --json -"), std::string("--help"),
        std::string("--version"), "replay " + trace("redis-bgsave"),
        "maps " + trace("redis-bgsave") + " --json -"}) {
    SCOPED_TRACE(arguments);
    expect_refused(pervma(arguments + " >/dev/full"), "No space left on device");
    expect_refused(pervma(arguments + " >&-"), "Bad file descriptor");
  }
  expect_refused(pervma("designs --json /dev/full"), "/dev/full: cannot be written");
}

// With the status that says so; the old file is replaced only when there is something to write.
TEST(Command, an_interrupted_run_tells_what_was_done) {
  const std::string path = temp("interrupted.json");
  for (const std::string& arguments : {std::string("torture --seconds 600 --design refcount"),
                                       "replay " + trace("redis-bgsave") + " --repeat 1000"}) {
    SCOPED_TRACE(arguments);
    std::ofstream(path) << "old";
    std::string command = "{ " PERVMA_TEST_TOOL " ";
    command.append(arguments).append(" --json ").append(path);
    // The signal comes when it is handled; not SIGINT, which a shell's background job ignores.
    command +=
        " & p=$!; for i in $(seq 2000); do"
        " grep -q '^SigCgt:.*[4-7c-f]...$' /proc/$p/status && break; sleep 0.01; done;"
        " kill -TERM $p; wait $p; }";
    const Outcome o = test::run_shell(command);
    EXPECT_EQ(o.status, 130) << o.err;
    EXPECT_EQ(o.err, "pervma: interrupted: this is what was done until then\n");
    const auto rows = nlohmann::json::parse(slurp(path), nullptr, false);
    EXPECT_TRUE(rows.is_array()) << slurp(path);
  }
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace pervma
