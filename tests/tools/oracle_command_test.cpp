// `pervma oracle` as a user meets it: what it prints, its exit status, bad input, minimising.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "pervma/design.h"

namespace pervma {
namespace {

namespace fs = std::filesystem;

// A folder of its own for each test, where the command runs.
class OracleCommand : public ::testing::Test {
 protected:
  OracleCommand() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~OracleCommand() override { fs::remove_all(folder_); }

  struct Outcome {
    int status = -1;
    std::string out;
    std::string err;
  };
  Outcome oracle(const std::string& arguments) const {
    const std::string command = "cd " + folder_ + " && " + std::string(PERVMA_TEST_TOOL) +
                                " oracle " + arguments + " 2>err.txt";
    Outcome o;
    std::FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return o;
    std::array<char, 4096> buffer{};
    for (size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
      o.out.append(buffer.data(), n);
    }
    const int status = ::pclose(pipe);
    o.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    o.err = read("err.txt");
    return o;
  }
  std::string read(const std::string& name) const {
    std::ifstream in(folder_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }

  const std::string folder_ = ::testing::TempDir() + "pervma_oracle_" + std::to_string(::getpid());
  // Three calls that agree, and a fourth whose answer no kernel gives.
  const std::string good_ =
      "# pervma-oracle 1\nH window_pages=65536 brk=-1 memlock=-1 profile=directed\n"
      "F A 64+0 11\nF B 20+291 83\n"
      "O 0 munmap 400 4 -> 0\n"
      "O 1 mmap 100 4 rw- priv,anon,fixed - 0 -> @100\n+ 100-104 rw-p - anon rd.wr.mr.mw.me.ac\n"
      "O 2 mmap 200 4 r-- priv,anon,fixed - 0 -> @200\n+ 200-204 r--p - anon rd.mr.mw.me\n";
  const std::string wrong_ = good_ + "O 3 madvise 100 4 dontneed -> -EPERM\nE 4\n";
};

TEST_F(OracleCommand, agreement_is_one_line_and_status_0) {
  write("a.trace", good_ + "E 3\n");
  const Outcome o = oracle("a.trace --design refcount");
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out, "oracle: 1 recordings, 3 operations, 0 mismatches\n");
  const Outcome all = oracle("a.trace --json -");
  EXPECT_EQ(all.status, 0);
  const nlohmann::json j = nlohmann::json::parse(all.out);
  EXPECT_EQ(j["recordings"], kDesigns.size());
  EXPECT_EQ(j["mismatches"], 0);
}

TEST_F(OracleCommand, a_way_of_freeing_vmas_is_compared_under_the_designs_that_have_it) {
  write("a.trace", good_ + "O 3 munmap 100 4 -> 0\n- 100-104\nE 4\n");
  for (const char* way : {"rcu", "rcu_batched"}) {
    SCOPED_TRACE(way);
    const Outcome all = oracle(std::string("a.trace --json - --vma-free ") + way);
    EXPECT_EQ(all.status, 0) << all.err;
    const nlohmann::json j = nlohmann::json::parse(all.out);
    EXPECT_EQ(j["recordings"], std::ranges::count_if(
                                   kDesigns, [](Design d) { return design_info(d).frees_by_rcu; }));
    EXPECT_EQ(oracle(std::string("a.trace --design count --vma-free ") + way).status, 0);
    const Outcome refused =
        oracle(std::string("a.trace --design count,refcount --vma-free ") + way);
    EXPECT_EQ(refused.status, 2);
    EXPECT_NE(refused.err.find("refcount frees VMAs at_once only"), std::string::npos);
    EXPECT_EQ(std::ranges::count(refused.err, '\n'), 1) << refused.err;
  }
  EXPECT_EQ(oracle("a.trace --vma-free later").status, 2);
}

TEST_F(OracleCommand, a_bare_space_ends_where_the_window_does) {
  write("a.trace", good_ + "E 3\n");
  EXPECT_EQ(oracle("a.trace --bare --stopped").status, 0);
  // Below the window there is nothing that could be hit, and nothing can be mapped.
  write("b.trace", good_ +
                       "O 3 mmap !0x5000 1 r-- priv,anon - 0 -> @65535\n"
                       "+ 65535-65536 r--p - anon rd.mr.mw.me\nE 4\n");
  EXPECT_EQ(oracle("b.trace").status, 0);
  EXPECT_NE(oracle("b.trace --bare --design refcount").out.find("pervma answered @0"),
            std::string::npos);
}

TEST_F(OracleCommand, a_difference_names_the_place_and_shows_both_sides) {
  write("a.trace", wrong_);
  const Outcome o = oracle("a.trace --design refcount");
  EXPECT_EQ(o.status, 1);
  EXPECT_NE(o.out.find("a.trace:10: (refcount)\n  Linux:  O 3 madvise 100 4 dontneed -> -EPERM\n"
                       "  pervma: pervma answered 0\n"),
            std::string::npos)
      << o.out;
  EXPECT_NE(o.out.find("100-104 rw-p - anon rd.wr.mr.mw.me.ac"), std::string::npos);
  EXPECT_TRUE(o.out.ends_with("oracle: 1 recordings, 4 operations, 1 mismatches\n"));
  const nlohmann::json j = nlohmann::json::parse(oracle("a.trace --json -").out);
  ASSERT_EQ(j["differences"].size(), kDesigns.size());
  EXPECT_EQ(j["differences"][0]["line"], 10);
  EXPECT_EQ(j["differences"][0]["pervma"], "pervma answered 0");
}

TEST_F(OracleCommand, stop_at_first_stops_there) {
  write("a.trace", wrong_);
  write("b.trace", wrong_);
  const Outcome o = oracle(". --stop-at-first");
  EXPECT_EQ(o.status, 1);
  EXPECT_TRUE(o.out.ends_with("oracle: 1 recordings, 4 operations, 1 mismatches\n")) << o.out;
}

TEST_F(OracleCommand, minimise_writes_the_shortest_scenario_that_still_differs) {
  write("a.trace", wrong_);
  const Outcome o = oracle("a.trace --design refcount --minimise");
  EXPECT_EQ(o.status, 1);
  EXPECT_NE(o.out.find("minimised: 2 of 4 operations"), std::string::npos) << o.out;
  const std::string small = read("a.minimal.trace");
  EXPECT_EQ(std::ranges::count(small, 'O'), 2) << small;
  const Outcome again = oracle("a.minimal.trace --design refcount");
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.out.find("madvise 100 4 dontneed -> -EPERM\n  pervma: pervma answered 0"),
            std::string::npos)
      << again.out;
  EXPECT_EQ(oracle("a.trace --design refcount --minimise --out x.trace").status, 1);
  EXPECT_EQ(read("x.trace"), small);
}

TEST_F(OracleCommand, an_older_kernels_known_differences_are_named) {
  std::string old = good_ + "O 3 mremap 100 100 100 maymove,fixed 600 -> -EFAULT\nE 4\n";
  old.replace(old.find(" profile="), 1, " kernel=6.12.9 ");
  write("a.trace", old);
  const Outcome o = oracle("a.trace --design refcount");
  EXPECT_EQ(o.status, 1);
  EXPECT_NE(o.out.find("known (docs/linux-versions.md), since Linux 6.17"), std::string::npos)
      << o.out;
}

TEST_F(OracleCommand, bad_input_is_one_line_with_file_and_line_and_status_2) {
  std::string other = good_;
  other.replace(other.find("oracle 1"), 8, "oracle 2");
  write("version.trace", other + "E 3\n");
  write("cut.trace", good_);
  write("unknown.trace", good_ + "O 3 fly 1 2 -> 0\nE 4\n");
  write("nothing.trace", "");
  fs::create_directories(folder_ + "/empty");
  const std::pair<const char*, const char*> cases[] = {
      {"version.trace", "version.trace:1:"},
      {"cut.trace", "cut.trace:9: truncated"},
      {"unknown.trace", "unknown.trace:10: an operation that is not known"},
      {"nothing.trace", "nothing.trace:1: empty"},
      {"empty", "empty: no recordings"},
      {"none.trace", "none.trace: cannot open"},
      {"--live --seeds 9..1", "--seeds"},
      {"", "oracle"},
      {"cut.trace --live", "oracle"},
      {"/dev/zero", "/dev/zero:1: not a recording"},
      {"--live --seeds -1", "--seeds"},
      {"--live --seeds ' 1'", "--seeds"},
      {"--live --seeds 1..18446744073709551616", "--seeds"},
      {"--live --seeds 1..2 --record x.trace", "one seed"},
      {"good.trace --seeds 1..2", "--seeds requires --live"},
      {"good.trace --ops 7", "--ops requires --live"},
      {"good.trace --record x.trace --json x.json", "--record"},
      {"good.trace --minimise --out /no/such/folder/x", "--out"},
      {"cut.trace --design best", "best"}};
  write("good.trace", good_ + "E 3\n");
  for (const auto& [arguments, what] : cases) {
    SCOPED_TRACE(arguments);
    const Outcome o = oracle(arguments);
    EXPECT_EQ(o.status, 2);
    EXPECT_EQ(std::ranges::count(o.err, '\n'), 1) << o.err;
    EXPECT_NE(o.err.find(what), std::string::npos) << o.err;
    EXPECT_EQ(o.out.find("mismatches"), std::string::npos);
  }
  // Nothing is run when something cannot be read.
  EXPECT_EQ(oracle("good.trace cut.trace").status, 2);
}

}  // namespace
}  // namespace pervma
